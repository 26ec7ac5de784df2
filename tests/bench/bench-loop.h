/* SPDX-License-Identifier: MIT */
/*
 * The rows of "make bench-loop" and who runs in them:
 *
 *   bench-loop-aio.c    the loop, by QEMU's API and nothing else: compiles against QEMU as well
 *   bench-loop-glib.c   the same work done by plain GLib
 *   bench-loop-bare.c   the system calls that the work needs, and nothing around them
 *   bench-loop.c        runs them in turn, prints the table
 *
 * A contestant is set up once, then runs its batch of operations many times, in the thread that set
 * it up.  Each has descriptors of its own, eventfds of which one at a time is ready: a ring or an
 * epoll instance of another would be woken by them too.
 */
#ifndef BENCH_LOOP_H
#define BENCH_LOOP_H

typedef struct BenchParam {
	unsigned n; /* descriptors, timers, bottom halves in a burst */
	int *fds;   /* n eventfds of this contestant's, if the row has any */
} BenchParam;

typedef struct BenchContestant {
	void *(*setup)(const BenchParam *param);
	void (*run)(void *state, unsigned ops);
	void (*teardown)(void *state);
} BenchContestant;

typedef enum BenchRow {
	BENCH_BH,	       /* a bottom half schedules itself again; a turn of the loop each */
	BENCH_ONESHOT,	       /* n are scheduled, then all are called */
	BENCH_NOTIFIER,	       /* an event notifier is set, waited for, cleared in its handler */
	BENCH_FDS_POLL,	       /* the same for one of n, by aio_poll() */
	BENCH_FDS_SOURCE,      /* the same by g_main_context_iteration() */
	BENCH_TIMERS,	       /* n are armed, in no order, then all fire */
	BENCH_CROSS,	       /* a bottom half in another thread schedules one here; both sleep */
	BENCH_CROSS_BUSY_POLL, /* the same, both polling busily before they sleep */
	BENCH_ROWS,
} BenchRow;

/* A contestant that has nothing to do in a row has no run(). */
extern const BenchContestant bench_aio[BENCH_ROWS];
extern const BenchContestant bench_glib[BENCH_ROWS];
extern const BenchContestant bench_bare[BENCH_ROWS];

/* Before the first row: the loop's clocks. */
void bench_aio_init(void);

/*
 * The other thread of a cross-thread row calls it first: to which CPU.  Left to the scheduler, the
 * two share one or not from one run to the next, and that decides the figure.
 */
void bench_pin_other(void);

/* Which of n is next, in an order that no cache line foresees; the same in every run. */
static inline unsigned bench_next(unsigned *seed, unsigned n)
{
	*seed = *seed * 1664525u + 1013904223u;
	return (unsigned)(((uint64_t)*seed * n) >> 32);
}

#endif
