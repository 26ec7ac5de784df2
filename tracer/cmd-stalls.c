// SPDX-License-Identifier: MIT
/*
 * loopscope stalls -p PID: which callbacks keep the loops from their wait, and what they do there?
 *
 *	loopscope stalls -p PID [--min 10ms] [-d SECONDS] [-t TID]
 *	loopscope stalls [--min 10ms] -- COMMAND ...
 *	loopscope stalls [--min 10ms] DIR
 *
 * It watches until the time is over, the process ends or Ctrl-C, and then shows what it saw.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tracer/child.h"
#include "tracer/clock.h"
#include "tracer/describe.h"
#include "tracer/out.h"
#include "tracer/progress.h"
#include "tracer/session.h"
#include "tracer/stall-recording.h"
#include "tracer/stalls.h"

#define DEFAULT_MIN_MS 10

static int64_t min_ns(const struct options *options)
{
	return (options->min_ms ? options->min_ms : DEFAULT_MIN_MS) * 1000000LL;
}

struct seen {
	struct stall_rows *rows;
	uint64_t stalls;
	int64_t longest_ns;
};

static volatile sig_atomic_t stop;

static void on_signal(int number)
{
	(void)number;
	stop = 1;
}

static void take(void *data, const struct stall *stall)
{
	struct seen *seen = data;

	seen->stalls++;
	seen->longest_ns = MAX(seen->longest_ns, stall->ns);
	stall_rows_add(seen->rows, stall);
}

static void show_progress(const struct seen *seen, int64_t ns)
{
	char *longest;

	if (!progress_due())
		return;
	longest = out_duration(seen->longest_ns);
	progress("%.0f s, %lu stalls%s%s; Ctrl-C ends", (double)ns / 1e9,
		 (unsigned long)seen->stalls, seen->stalls ? ", the longest " : "",
		 seen->stalls ? longest : "");
	g_free(longest);
}

static void show(const GPtrArray *rows, const struct options *options,
		 const struct stalls_totals *totals, uint64_t stalls, const char *of, int64_t ns)
{
	char *n = stalls ? g_strdup_printf("%" PRIu64, stalls) : g_strdup("no");
	char *min = out_duration(min_ns(options));

	for (size_t i = 0; i < rows->len; i++) {
		if (options->json)
			stall_row_print_json(rows->pdata[i], i + 1);
		else
			stall_row_print(rows->pdata[i]);
	}
	if (options->json)
		out_json(json_pack("{s:s, s:I, s:i, s:I, s:i, s:f, s:I, s:I, s:I}", "type", "total",
				   "stalls", (json_int_t)stalls, "rows", (int)rows->len,
				   "iterations", (json_int_t)totals->iterations, "loops",
				   totals->loops, "seconds", (double)ns / 1e9, "min_ns",
				   (json_int_t)min_ns(options), "lost", (json_int_t)totals->lost,
				   "lost_stacks", (json_int_t)totals->lost_stacks));
	else
		printf("%s stall%s longer than %s in %.1f s, %" PRIu64 " iteration%s of %d loop%s "
		       "of %s.\n",
		       n, stalls > 1 ? "s" : "", min, (double)ns / 1e9, totals->iterations,
		       totals->iterations == 1 ? "" : "s", totals->loops,
		       totals->loops == 1 ? "" : "s", of);
	if (totals->lost && !options->json)
		printf("INCOMPLETE: %" PRIu64 " %s.\n", totals->lost,
		       options->path ? "events were lost" : "stalls found no room");
	g_free(n);
	g_free(min);
}

static int watch(struct session *s, const struct options *options, struct failure *why)
{
	struct doctor d = { .min_ns = min_ns(options) };
	struct stalls_totals totals;
	struct stalls *stalls = NULL;
	struct seen seen = { 0 };
	int64_t begun, end;
	char *target;
	int err = doctor_open_tables(&d, s->t, s->images, s->l, s->fds, why);

	seen.rows = stall_rows_new(&d);
	if (!err)
		err = stalls_open(&d, d.min_ns, options->tid, true, take, &seen, &stalls, why);
	if (err)
		goto cleanup;
	stalls_totals(stalls, &totals);
	fprintf(stderr, "loopscope: attached to process %d: %d loop%s; Ctrl-C ends\n", s->t->pid,
		totals.loops, totals.loops == 1 ? "" : "s");
	begun = now_ns();
	end = options->duration_ms ? begun + options->duration_ms * 1000000LL : INT64_MAX;
	while (!stop && now_ns() < end && !err) {
		usleep(stalls_pause_us(stalls));
		err = stalls_step(stalls);
		show_progress(&seen, now_ns() - begun);
	}
	progress_end();
	stalls_end(stalls);
	stalls_totals(stalls, &totals);
	target = describe_target(d.loops);
	show(stall_rows_sorted(seen.rows), options, &totals, seen.stalls, target, now_ns() - begun);
	g_free(target);
	err = seen.stalls ? EXIT_FINDING : EXIT_FINE;

cleanup:
	stalls_close(stalls);
	stall_rows_free(seen.rows);
	doctor_close(&d);
	return err;
}

static int stalls_of_command(struct session *s, const struct options *options, struct failure *why)
{
	struct child child;
	int err = child_start(options->command, &child, why);

	if (err)
		return err;
	child_go(&child);
	err = child_find_loop(&child, s, &stop, why);
	if (!err)
		err = watch(s, options, why);
	child_end(&child);
	return err;
}

/* What the recording has not. */
static void say_unrecorded(const struct stalls_recorded *recorded)
{
	bool has_stack = false;

	for (size_t i = 0; i < recorded->rows->len; i++)
		has_stack |= ((const struct stall_row *)recorded->rows->pdata[i])->view != NULL;
	if (!recorded->unsplit)
		return;
	if (recorded->has_splits)
		printf("What the time of %" PRIu64
		       " of them went into is not in the recording: it tells that only of\nstalls "
		       "longer than its own --min or --on-stall, from begin to end.\n",
		       recorded->unsplit);
	else
		printf("This recording does not tell how that time divides into running, waiting for a "
		       "CPU and asleep in\nwhich call%s: loopscope record --stacks -p PID -o DIR "
		       "does.\n",
		       has_stack ? "" : ", and it has no stacks");
}

static int show_recording(const struct options *options, struct failure *why)
{
	struct stalls_recorded recorded;
	struct stalls_totals totals = { 0 };
	int err = stalls_of_recording(options->path, min_ns(options), &recorded, why);

	if (err)
		return err;
	totals.iterations = recorded.iterations;
	totals.loops = recorded.loops;
	totals.lost = recorded.lost;
	show(recorded.rows, options, &totals, recorded.stalls, recorded.target, recorded.ns);
	if (!options->json)
		say_unrecorded(&recorded);
	g_free(recorded.target);
	g_ptr_array_free(recorded.rows, TRUE);
	return recorded.stalls ? EXIT_FINDING : EXIT_FINE;
}

int cmd_stalls(const struct options *options, struct failure *why)
{
	struct sigaction action = { .sa_handler = on_signal };
	struct session s = { .options = options };
	int err;

	if (options->path)
		return show_recording(options, why);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	if (options->command) {
		err = stalls_of_command(&s, options, why);
	} else {
		err = session_open(&s, options, why);
		if (!err)
			err = session_layout(&s, why);
		if (!err)
			err = watch(&s, options, why);
	}
	session_close(&s);
	return err;
}
