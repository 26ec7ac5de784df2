// SPDX-License-Identifier: MIT
/*
 * loopscope export DIR: a recording in the format of another program.
 *
 *	loopscope export DIR [--to FORMAT] [-o FILE] [--only EVENT,EVENT...] [--watch SECONDS]
 *
 * A recording is read twice: names are records of their own, and may come after the first event
 * that mentions them. A file gets its name when it is complete.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tracer/export.h"
#include "tracer/output.h"
#include "tracer/text.h"

#define WAIT_MS 100

/* What a file of another program's format cannot say. */
static void tell_what_is_missing(const struct report *report)
{
	uint64_t lost = ctf_reader_stats(report->reader)->discarded;

	if (lost)
		fprintf(stderr, "loopscope: INCOMPLETE: %lu events were lost\n",
			(unsigned long)lost);
	for (uint32_t i = 0; i < report->damaged->len; i++)
		fprintf(stderr, "loopscope: DAMAGED %s\n", (const char *)report->damaged->pdata[i]);
}

static int export_to(enum export_format format, const char *path, const struct report *report,
		     char **only, struct failure *why)
{
	switch (format) {
	case EXPORT_NDJSON:
		return export_ndjson(path, report, only, why);
	case EXPORT_CSV:
		return export_csv(path, report, only, why);
	case EXPORT_PFTRACE:
		return export_pftrace(path, report, why);
	case EXPORT_SPEEDSCOPE:
		return export_speedscope(path, report, why);
	case EXPORT_OPENMETRICS:
	case EXPORT_PROMETHEUS:
		export_openmetrics(report, format == EXPORT_PROMETHEUS);
		return 0;
	default:
		return export_text(path, report, only, why);
	}
}

static int check_only(char **only, struct failure *why)
{
	for (int i = 0; only && only[i]; i++)
		if (loop_event_id(only[i]) < 0)
			return fail(why, -EINVAL, "\"%s\" is no event (loopscope list names them)",
				    only[i]);
	return 0;
}

static int check_options(enum export_format format, const struct options *options,
			 struct failure *why)
{
	if (options->json && format != EXPORT_NDJSON)
		return fail(why, -EINVAL, "--json is --to ndjson, not another format");
	if (options->only && format != EXPORT_TEXT && format != EXPORT_NDJSON &&
	    format != EXPORT_CSV)
		return fail(why, -EINVAL, "--only goes with text, ndjson and csv");
	if (options->watch_ms && !options->output)
		return fail(why, -EINVAL, "--watch needs -o FILE");
	if (format == EXPORT_PFTRACE && !options->output && isatty(STDOUT_FILENO))
		return fail(why, -EINVAL, "a pftrace is nothing for a terminal: -o FILE");
	return 0;
}

/* Read it, write it. @ret_report is set as soon as it is read. */
static int export_once(enum export_format format, const struct options *options, char **only,
		       struct report **ret_report, struct failure *why)
{
	char *part = NULL;
	int err = report_read(options->path, ret_report, why);

	if (!err)
		err = output_open(options->output, &part, why);
	if (!err) {
		err = export_to(format, options->path, *ret_report, only, why);
		err = output_close(options->output, part, err, why);
	}
	g_free(part);
	return err;
}

/* --- --watch ---------------------------------------------------------------------------------- */

/* True if Ctrl-C or SIGTERM, which are blocked, comes within the time. */
static bool told_to_end(const sigset_t *signals, int ms)
{
	struct timespec time = { ms / 1000, ms % 1000 * 1000000L };

	return sigtimedwait(signals, NULL, &time) > 0;
}

/* A recorder writes its metadata at once. False if somebody ends this before. */
static bool wait_for_begin(const char *path, const sigset_t *signals)
{
	char *metadata = g_build_filename(path, "metadata", NULL);
	bool told = false, end = false;
	struct stat st;

	while (!end && (stat(metadata, &st) || !st.st_size)) {
		if (!told)
			fputs("loopscope: waiting for the recording to begin\n", stderr);
		told = true;
		end = told_to_end(signals, WAIT_MS);
	}
	g_free(metadata);
	return !end;
}

/*
 * Until the target has ended and the recording does not grow any more, or somebody ends this: then
 * once more.
 */
static int export_again(enum export_format format, const struct options *options, char **only,
			struct report **ret_report, struct failure *why)
{
	uint64_t before = 0;
	bool last = false;
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	if (!wait_for_begin(options->path, &signals))
		return 0;
	for (;;) {
		int err = export_once(format, options, only, ret_report, why);
		uint64_t events = 0;
		bool gone = false;

		if (err && err != -ENODATA) /* there is no event yet */
			return err;
		if (*ret_report) {
			events = ctf_reader_stats((*ret_report)->reader)->events;
			gone = kill((pid_t)export_pid(*ret_report), 0) && errno == ESRCH;
		}
		if (last || (gone && events == before))
			return err; /* also of a recording that is still empty */
		before = events;
		report_free(*ret_report);
		*ret_report = NULL;
		/* Until there is a first event it is looked for often. */
		last = told_to_end(&signals,
				   err ? MIN(WAIT_MS, options->watch_ms) : options->watch_ms);
	}
}

int cmd_export(const struct options *options, struct failure *why)
{
	char **only = options->only ? g_strsplit(options->only, ",", -1) : NULL;
	enum export_format format = options->format;
	struct report *report = NULL;
	int err;

	if (options->json && format == EXPORT_TEXT)
		format = EXPORT_NDJSON;
	err = check_options(format, options, why);
	if (!err)
		err = check_only(only, why);
	if (!err)
		err = (options->watch_ms ? export_again : export_once)(format, options, only,
								       &report, why);
	if (!err && report && format != EXPORT_TEXT && format != EXPORT_NDJSON)
		tell_what_is_missing(report); /* text and NDJSON say it themselves */
	report_free(report);
	g_strfreev(only);
	return err;
}
