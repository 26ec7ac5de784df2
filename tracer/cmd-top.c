// SPDX-License-Identifier: MIT
/*
 * loopscope top: which callbacks run, how often and for how long, and where the time of each loop
 * goes; once a second, until the target ends, a time is over, or Ctrl-C.
 *
 *	loopscope top -p PID [-i SECONDS] [-d SECONDS] [--sort KEY] [--overhead PERCENT] [--json]
 *
 * On a terminal it is a live view with keys; elsewhere a block of lines for each interval.
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
#define BUDGET	    3	/* percent of a processor */
#define FIRST_MS    200 /* nobody looks at an empty screen for long */

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

/* What is shown, and where. */
struct display {
	struct top *top;
	struct top_screen *screen; /* NULL: plain lines, or JSON */
};

static void print_view(const struct top *top, struct top_view *view, bool total)
{
	top_sort_rows(view->rows, top->s->options->sort);
	if (!top->s->options->json)
		print_block(top, view, total);
	else if (total)
		top_print_total_json(top, view);
	else
		top_print_json(top, view);
	top_view_clear(view);
}

static void show(struct display *d, bool total)
{
	struct top_view view;

	if (!total && !top_has_news(d->top))
		return; /* no window was open meanwhile */
	top_read(d->top, total, &view);
	if (!d->screen) {
		print_view(d->top, &view, total);
		return;
	}
	if (top_screen_wants_total(d->screen)) {
		top_view_clear(&view);
		top_read(d->top, true, &view);
	}
	top_screen_show(d->screen, &view);
}

/* Sleep for a while, no longer than @timeout_ms; true if the target has ended. */
static bool target_ended(int pidfd, bool keys, int64_t timeout_ms)
{
	struct pollfd p[] = { { .fd = pidfd, .events = POLLIN },
			      { .fd = keys ? STDIN_FILENO : -1, .events = POLLIN } };

	return poll(p, G_N_ELEMENTS(p), (int)CLAMP(timeout_ms, 0, FOLLOW_MS)) > 0 && p[0].revents;
}

static int run(struct display *d, int pidfd, struct failure *why)
{
	const struct options *o = d->top->s->options;
	int64_t step = o->interval_ms ? o->interval_ms : INTERVAL_MS;
	int64_t end = o->duration_ms ? now_ms() + o->duration_ms : INT64_MAX;
	int64_t next = now_ms() + (d->screen ? MIN(step, FIRST_MS) : step);
	bool ended = false, quit = false;
	int err = 0;

	while (!err && !interrupted && !ended && !quit && now_ms() < end) {
		ended = target_ended(pidfd, d->screen, MIN(next, end) - now_ms());
		top_follow(d->top);
		err = top_budget_keep(d->top, why);
		if (d->screen)
			quit = top_screen_keys(d->screen);
		if (now_ms() < next || ended)
			continue;
		show(d, false);
		next = MAX(next + step, now_ms());
	}
	top_end(d->top);
	top_screen_close(d->screen);
	d->screen = NULL;
	/* One that ends cannot be probed any more: that is no failure. */
	if (err && target_ended(pidfd, false, FOLLOW_MS))
		err = 0;
	if (!quit && !err)
		show(d, true);
	return err;
}

static int watch_process(struct top *top, struct failure *why)
{
	int pidfd = (int)syscall(SYS_pidfd_open, top->s->t->pid, 0);
	struct display d = { .top = top };
	int err = pidfd < 0 ? fail(why, -ESRCH, "process %d has exited", top->s->t->pid) : 0;

	top_budget_open(top, top->s->options->overhead < 0 ? BUDGET : top->s->options->overhead);
	if (!err)
		err = top_begin(top, why);
	if (!err) {
		if (top->s->options->verbose && top->budget > 0)
			fprintf(stderr,
				"loopscope: a hit of a probe costs %.0f ns here, a single-stepped "
				"one %.0f ns\n",
				top->cost.emulated_ns, top->cost.stepped_ns);
		fprintf(stderr, "loopscope: attached to process %d: %u probes\n", top->s->t->pid,
			top->probes->len);
		d.screen = top->s->options->json ? NULL : top_screen_open(top);
		err = run(&d, pidfd, why);
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
