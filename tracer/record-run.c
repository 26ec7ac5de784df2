// SPDX-License-Identifier: MIT
/*
 * While a recording runs: hits are taken from the ring, what is new in the target's tables is
 * followed and attached to, stalls are looked for; until the target ends, the time is over, or a
 * signal comes. See record-run.h.
 */
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bpf/record.skel.h"
#include "tracer/clock.h"
#include "tracer/progress.h"
#include "tracer/record-run.h"

#define DRAIN_MS 5

volatile sig_atomic_t record_interrupted;
static volatile sig_atomic_t asked;

static void on_signal(int number)
{
	if (number == SIGUSR1)
		asked = 1;
	else
		record_interrupted = 1;
}

void record_catch_signals(bool flight)
{
	struct sigaction action = { .sa_handler = on_signal };

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	if (flight)
		sigaction(SIGUSR1, &action, NULL);
}

void record_read_tables(struct recorder *r, struct failure *why)
{
	struct session *s = r->s;

	if (!s->l && session_layout(s, why))
		return;
	if (!loops_read(s->t, s->images, s->l, s->fds, READ_MEM, 0, &r->loops, NULL))
		emit_tables(r, NULL);
}

/* A command that was attached to before it ran: its tables, as soon as it has some. */
static void look_into_command(struct recorder *r)
{
	struct session *s = r->s;

	if (r->loops || (uint64_t)now_ns() < r->look_ns)
		return;
	/* Soon and then ever more rarely: a look costs some milliseconds of a CPU. */
	r->look_wait_ns = MIN(r->look_wait_ns * 2 + DRAIN_MS * 1000000, 1000000000);
	r->look_ns = now_ns() + r->look_wait_ns;
	session_close(s);
	if (session_open_process(s, s->options, r->pid, NULL) ||
	    strcmp(images_program(s->images)->build_id, r->program->build_id))
		session_close(s); /* not there yet, or gone */
	else
		record_read_tables(r, NULL);
}

/* Handlers have changed: look at the tables again, tell what is new, learn new callbacks. */
static void follow_changes(struct recorder *r)
{
	struct session *s = r->s;
	struct loops *before = r->loops;

	if (!r->looks || !before)
		return;
	r->looks--;
	if (loops_read(s->t, s->images, s->l, s->fds, READ_MEM, 0, &r->loops, NULL)) {
		r->loops = before;
		return;
	}
	emit_tables(r, before);
	record_follow_functions(r);
	record_add_callbacks(r, before);
	loops_free(before);
}

/* Attach what has been learned since the last time, once: to handlers' callbacks and timers'. */
static void attach_new(struct recorder *r, size_t *attached)
{
	if (r->probes->len > *attached)
		record_attach(r, *attached, NULL);
	*attached = r->probes->len;
}

static bool target_ended(int pidfd, int timeout_ms)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };

	return poll(&p, 1, timeout_ms) > 0;
}

/* Stalls that the events show: their stacks, and what the flight recorder does about them. */
static void look_for_stalls(struct recorder *r)
{
	uint64_t lost = record_lost(r);
	struct record_stall stall;

	if (!r->watch)
		return;
	if (lost != r->lost_seen)
		record_watch_forget(r->watch);
	r->lost_seen = lost;
	if (r->flight)
		record_flight_lost(r, lost);
	while (record_watch_next(r->watch, &stall)) {
		if (stall.goes_on)
			record_watch_take_stack(r, &stall);
		if (r->flight)
			record_flight_stall(r, &stall);
	}
	record_watch_step(r);
	if (r->flight && asked)
		record_flight_asked(r);
	asked = 0;
	if (r->flight)
		record_flight_step(r);
}

bool record_run(struct recorder *r)
{
	const struct options *o = r->s->options;
	uint64_t started = now_ns();
	uint64_t end = o->duration_ms ? started + o->duration_ms * 1000000ULL : UINT64_MAX;
	int pidfd = (int)syscall(SYS_pidfd_open, r->pid, 0);
	size_t attached = r->probes->len;
	bool ended = false;

	while (!record_interrupted && !r->error && (uint64_t)now_ns() < end) {
		ended = pidfd < 0 || target_ended(pidfd, DRAIN_MS);
		ring_buffer__consume(r->ring);
		if (ended)
			break;
		record_levels_look(r);
		emit_flush(r);
		look_for_stalls(r);
		if (progress_due())
			progress("%.0f s, %" PRIu64 " events, %" PRIu64 " lost; Ctrl-C ends",
				 (double)((uint64_t)now_ns() - started) / 1e9, r->written,
				 (uint64_t)r->skel->bss->lost);
		if (r->program)
			look_into_command(r);
		follow_changes(r);
		attach_new(r, &attached);
	}
	progress_end();
	if (pidfd >= 0)
		close(pidfd);
	return ended;
}
