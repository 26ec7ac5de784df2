// SPDX-License-Identifier: MIT
/*
 * A recording from its first event to its last, into the model: see report-model.h.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tracer/progress.h"
#include "tracer/report-model.h"
#include "tracer/text.h"

#define PROGRESS_EVENTS 65536

static void release_callback(void *entry)
{
	struct report_callback *callback = entry;

	report_hist_release(&callback->calls.ns);
	if (callback->late)
		report_hist_release(callback->late);
	g_free(callback->late);
}

static void release_nested(void *entry)
{
	report_hist_release(&((struct report_nested *)entry)->calls.ns);
}

static void release_bql(void *entry)
{
	report_hist_release(&((struct report_bql *)entry)->wait.ns);
	report_hist_release(&((struct report_bql *)entry)->hold.ns);
}

static void release_thread(void *entry)
{
	struct report_thread *thread = entry;

	report_hist_release(&thread->between.ns);
	report_hist_release(&thread->iteration.ns);
	report_map_release(&thread->callbacks, release_callback);
	report_map_release(&thread->choosers, NULL);
	report_map_release(&thread->wakeups, NULL);
	report_map_release(&thread->nested_map, release_nested);
	report_map_release(&thread->tree, NULL);
	g_free(thread->stack);
	g_free(thread->open);
	g_free(thread->name);
}

static void release_fd(void *entry)
{
	g_free(((struct report_fd *)entry)->target);
}

static void release_context(void *entry)
{
	g_free(((struct report_context *)entry)->name);
}

static void release_name(void *entry)
{
	struct report_name *name = entry;

	g_free(name->symbol);
	g_free(name->file);
	g_free(name->text);
	g_free(name->bh_name);
}

static void release_source(void *entry)
{
	g_free(((struct report_source *)entry)->name);
}

void report_free(struct report *report)
{
	if (!report)
		return;
	report_map_release(&report->threads, release_thread);
	report_map_release(&report->fds, release_fd);
	report_map_release(&report->contexts, release_context);
	report_map_release(&report->names, release_name);
	report_map_release(&report->sources, release_source);
	report_map_release(&report->bql, release_bql);
	g_ptr_array_free(report->damaged, TRUE);
	g_ptr_array_free(report->notes, TRUE);
	ctf_reader_free(report->reader);
	g_free(report->path);
	g_free(report);
}

static struct report *report_new(const char *path)
{
	struct report *report = g_new0(struct report, 1);

	report->path = g_strdup(path);
	text_make_safe(report->path);
	report->damaged = g_ptr_array_new_with_free_func(g_free);
	report->notes = g_ptr_array_new_with_free_func(g_free);
	report->threads.entry_size = sizeof(struct report_thread);
	report->fds.entry_size = sizeof(struct report_fd);
	report->contexts.entry_size = sizeof(struct report_context);
	report->names.entry_size = sizeof(struct report_name);
	report->sources.entry_size = sizeof(struct report_source);
	report->bql.entry_size = sizeof(struct report_bql);
	report->reader = ctf_reader_new();
	return report;
}

/* Bytes of all its streams. */
static uint64_t size_of(const char *path)
{
	GDir *dir = g_dir_open(path, 0, NULL);
	const char *name;
	uint64_t size = 0;

	while (dir && (name = g_dir_read_name(dir))) {
		char *file = g_build_filename(path, name, NULL);
		struct stat st;

		if (!stat(file, &st))
			size += (uint64_t)st.st_size;
		g_free(file);
	}
	if (dir)
		g_dir_close(dir);
	return size;
}

/* What prints events as they are read says itself how far it is, on a terminal. */
static bool is_silent(const struct report *report)
{
	return report->watcher && isatty(STDOUT_FILENO);
}

static void show_progress(const struct report *report, const char *path, uint64_t *size)
{
	uint64_t bytes = ctf_reader_stats(report->reader)->packets * CTF_PACKET_BYTES;

	if (!*size)
		*size = size_of(path);
	progress("reading %s: %.0f %%", path, *size ? MIN(100.0, 100.0 * bytes / *size) : 0);
}

static void read_events(struct report *report, const char *path)
{
	const struct loop_event *event;
	int got = ctf_reader_next(report->reader, &event);
	bool silent = is_silent(report);
	uint64_t size = 0, n = 0;

	for (; got; got = ctf_reader_next(report->reader, &event)) {
		if (!(++n % PROGRESS_EVENTS) && !silent && progress_due())
			show_progress(report, path, &size);
		if (got > 0) {
			if (ctf_reader_stats(report->reader)->events == 1)
				report->begin_ns = event->time_ns;
			report_event(report, event);
			continue;
		}
		/* That stream ends here, the others go on. */
		char *error = g_strdup(ctf_reader_error(report->reader));

		text_make_safe(error);
		g_ptr_array_add(report->damaged, error);
	}
	progress_end();
}

/* Each thread's losses; true if there are others, that may be of any thread. */
static bool assign_losses(struct report *report)
{
	const struct ctf_reader_stats *stats = ctf_reader_stats(report->reader);
	uint64_t assigned = 0;

	for (uint64_t i = 0; i < stats->streams; i++) {
		struct ctf_reader_stream stream = ctf_reader_stream(report->reader, i);

		if (!stream.discarded || !stream.tid)
			continue;
		report_thread(report, (uint32_t)stream.tid)->lost += stream.discarded;
		assigned += stream.discarded;
	}
	return assigned != stats->discarded;
}

static void finish(struct report *report)
{
	bool lost = assign_losses(report);
	struct report_thread *thread;

	if (!report->damaged->len)
		report->end_ns = MAX(report->end_ns, ctf_reader_stats(report->reader)->end_ns);

	for (uint32_t i = 0; (thread = report_map_next(&report->threads, &i));) {
		/* A damaged stream has an end that nobody knows. */
		bool complete = !lost && !thread->lost && !report->damaged->len;

		report_polls_end(thread);
		report_settle(thread, complete ? report->end_ns : thread->last_ns);
		if (thread->hold)
			thread->hold->hold.unfinished++;
	}
}

/* A recording, but nothing in it. */
static int fail_empty(const struct report *report, struct failure *why)
{
	const struct ctf_reader_stats *stats = ctf_reader_stats(report->reader);

	if (report->damaged->len)
		return fail(why, -EBADMSG, "%s: damaged: %s", report->path,
			    (const char *)report->damaged->pdata[0]);
	if (stats->unknown)
		return fail(why, -ENODATA, "%s: all its %lu events are of a newer loopscope",
			    report->path, (unsigned long)stats->unknown);
	if (stats->discarded)
		return fail(why, -ENODATA, "%s: no event in it: all %lu were lost", report->path,
			    (unsigned long)stats->discarded);
	if (stats->cut_bytes)
		return fail(why, -ENODATA,
			    "%s: no event in it: it was cut before its first packet was whole",
			    report->path);
	return fail(why, -ENODATA, "%s: no event in it", report->path);
}

int report_read(const char *path, struct report **ret_report, struct failure *why)
{
	return report_read_watched(path, NULL, ret_report, why);
}

int report_read_watched(const char *path, const struct report_watcher *watcher,
			struct report **ret_report, struct failure *why)
{
	struct report *report = report_new(path);
	int err;

	report->watcher = watcher;

	if (!report->reader) {
		report_free(report);
		return fail(why, -ENOMEM, "no memory");
	}
	err = ctf_reader_open(report->reader, path);
	if (err) {
		const char *error = ctf_reader_error(report->reader);
		bool named = !strncmp(error, path, strlen(path));

		if (err != -EPROTO || !report_fail_inside(path, err, why))
			fail(why, err, "%s%s%s", named ? "" : path, named ? "" : ": ", error);
		report_free(report);
		return err;
	}
	read_events(report, path);
	if (!ctf_reader_stats(report->reader)->events) {
		err = fail_empty(report, why);
		report_free(report);
		return err;
	}
	finish(report);
	*ret_report = report;
	return 0;
}
