// SPDX-License-Identifier: MIT
/*
 * loopscope top: which callbacks run, how often and for how long, and where the time of each loop
 * goes; once a second, until the target ends, a time is over, or Ctrl-C.
 *
 *	loopscope top -p PID [-i SECONDS] [-d SECONDS] [--sort KEY] [--json]
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tracer/clock.h"
#include "tracer/out.h"
#include "tracer/top.h"

#define FOLLOW_MS   10
#define INTERVAL_MS 1000

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
	(void)number;
	interrupted = 1;
}

/* --- plain lines --- */

static void print_lines(GArray *lines)
{
	for (size_t i = 0; i < lines->len; i++)
		puts(g_array_index(lines, struct top_line, i).text);
}

static void print_block(const struct top *top, const struct top_view *view, bool total)
{
	GArray *lines = top_lines_new();

	if (total)
		puts("In all:");
	top_add_status(lines, top, view, OUT_COLUMNS);
	top_add_loops(lines, view, OUT_COLUMNS);
	if (view->rows->len)
		top_add_rows(lines, view, OUT_COLUMNS);
	print_lines(lines);
	putchar('\n');
	fflush(stdout);
	g_array_free(lines, TRUE);
}

static void show(struct top *top, enum top_sort sort, bool total)
{
	struct top_view view;

	top_read(top, total, &view);
	top_sort_rows(view.rows, sort);
	if (!top->s->options->json)
		print_block(top, &view, total);
	else if (total)
		top_print_total_json(top, &view);
	else
		top_print_json(top, &view);
	top_view_clear(&view);
}

static bool target_ended(int pidfd, int64_t timeout_ms)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };

	return poll(&p, 1, (int)CLAMP(timeout_ms, 0, FOLLOW_MS)) > 0;
}

static void run(struct top *top, int pidfd)
{
	const struct options *o = top->s->options;
	int64_t step = o->interval_ms ? o->interval_ms : INTERVAL_MS;
	int64_t end = o->duration_ms ? now_ms() + o->duration_ms : INT64_MAX;
	int64_t next = now_ms() + step;
	bool ended = false;

	while (!interrupted && !ended && now_ms() < end) {
		ended = target_ended(pidfd, MIN(next, end) - now_ms());
		top_follow(top);
		if (now_ms() < next || ended)
			continue;
		show(top, o->sort, false);
		next = MAX(next + step, now_ms());
	}
	top_end(top);
	show(top, o->sort, true);
}

static int watch_process(struct top *top, struct failure *why)
{
	int pidfd = (int)syscall(SYS_pidfd_open, top->s->t->pid, 0);
	int err = pidfd < 0 ? fail(why, -ESRCH, "process %d has exited", top->s->t->pid) : 0;

	if (!err)
		err = top_begin(top, why);
	if (!err) {
		fprintf(stderr, "loopscope: attached to process %d: %u probes\n", top->s->t->pid,
			top->probes->len);
		run(top, pidfd);
	}
	if (pidfd >= 0)
		close(pidfd);
	return err;
}

int cmd_top(const struct options *options, struct failure *why)
{
	struct sigaction action = { .sa_handler = on_signal };
	struct session s = { .options = options };
	struct top top;
	int err;

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	err = top_open(&top, &s, why);
	if (!err)
		err = watch_process(&top, why);
	if (err && s.fds && session_check_alive(&s, why))
		err = -ESRCH;
	top_close(&top);
	return err;
}
