// SPDX-License-Identifier: MIT
/*
 * What tests/bench/tracer.py traces: a program with the demo's probes that does what it is told on
 * its standard input, a line each, and answers with a line.
 *
 *	armed                    1 if somebody listens to all of its probes, else 0
 *	burst BURSTS EVENTS US   ns an event in the fastest burst and in the middle one; pauses
 *between pace RATE SECONDS N      RATE events a second, in N threads together; answers how many in
 *how many ns poll N                   ns for a ppoll that does not wait, with probes around it
 *
 * The events are those of an iteration with one ready fd, eight of them. Built with UFTRACE, each
 *is a call of a function with the same arguments, for uftrace to trace.
 */
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>

#include "tests/bench/selfrec-burst.h"
#ifdef UFTRACE
#define probe_enabled(name) false
#define FUNCTION(name, ...)                                                                        \
	__attribute__((noipa)) void name(__VA_ARGS__)                                              \
	{                                                                                          \
		__asm__ volatile("");                                                              \
	}
FUNCTION(probe_iteration_begin, const void *ctx, uint32_t kind, uint32_t blocking)
FUNCTION(probe_iteration_end, const void *ctx, uint32_t kind, uint32_t progress)
FUNCTION(probe_timeout_chosen, const void *ctx, int64_t ns, uint32_t by, const void *what,
	 const void *cb)
FUNCTION(probe_poll_enter, const void *ctx, uint32_t n_fds, int64_t ns, uint32_t monitor,
	 uint32_t depth, uint32_t bql)
FUNCTION(probe_poll_exit, const void *ctx, int32_t ret)
FUNCTION(probe_fd_ready, const void *ctx, int32_t fd, uint32_t events, uint32_t revents)
FUNCTION(probe_handler_begin, const void *ctx, const void *node, int32_t fd, uint32_t op,
	 const void *cb, const void *opaque)
FUNCTION(probe_handler_end, const void *ctx, const void *node, int32_t fd, uint32_t op,
	 const void *cb)
#define NOT_TRACED __attribute__((no_instrument_function))
#else
#include "trace/loop_probes.h"
#define NOT_TRACED
#endif

static NOT_TRACED __attribute__((noinline)) void fire_iteration(const void *ctx)
{
	probe_iteration_begin(ctx, 2, 1);
	probe_timeout_chosen(ctx, -1, 1, NULL, NULL);
	probe_poll_enter(ctx, 5, -1, 1, 1, 1);
	probe_poll_exit(ctx, 1);
	probe_fd_ready(ctx, 7, 1, 1);
	probe_handler_begin(ctx, ctx, 7, 1, (const void *)fire_iteration, NULL);
	probe_handler_end(ctx, ctx, 7, 1, (const void *)fire_iteration);
	probe_iteration_end(ctx, 2, 1);
}

static NOT_TRACED bool all_armed(void)
{
	return probe_enabled(iteration_begin) && probe_enabled(timeout_chosen) &&
	       probe_enabled(poll_enter) && probe_enabled(poll_exit) && probe_enabled(fd_ready) &&
	       probe_enabled(handler_begin) && probe_enabled(handler_end) &&
	       probe_enabled(iteration_end);
}

static NOT_TRACED void poll_often(long times)
{
	struct timespec no_time = { 0, 0 };
	long start = now_ns();

	for (long i = 0; i < times; i++) {
		probe_poll_enter(&no_time, 0, 0, 1, 1, 1);
		ppoll(NULL, 0, &no_time, NULL);
		probe_poll_exit(&no_time, 0);
	}
	printf("%.1f\n", (double)(now_ns() - start) / times);
}

/* Each iteration when its time has come; late ones in a row. */
struct pace {
	pthread_t thread;
	double rate;
	long seconds, fired;
};

static NOT_TRACED void *fire_paced(void *data)
{
	struct pace *pace = data;
	long iterations = (long)(pace->rate * pace->seconds / KINDS), start = now_ns();
	double each_ns = 1e9 * KINDS / pace->rate;

	for (long i = 0; i < iterations; i++) {
		while (now_ns() < start + (long)(i * each_ns))
			;
		fire_iteration(pace);
	}
	pace->fired = iterations * KINDS;
	return NULL;
}

static NOT_TRACED void pace_threads(double rate, long seconds, int n)
{
	struct pace paces[64];
	long start = now_ns(), fired = 0;

	for (int i = 0; i < n; i++) {
		paces[i] = (struct pace){ .rate = rate / n, .seconds = seconds };
		pthread_create(&paces[i].thread, NULL, fire_paced, &paces[i]);
	}
	for (int i = 0; i < n; i++) {
		pthread_join(paces[i].thread, NULL);
		fired += paces[i].fired;
	}
	printf("%ld %ld\n", fired, now_ns() - start);
}

int NOT_TRACED main(void)
{
	long a, b, c;
	char line[128];

	setvbuf(stdout, NULL, _IOLBF, 0);
	puts("ready");
	while (fgets(line, sizeof(line), stdin)) {
		if (sscanf(line, "burst %ld %ld %ld", &a, &b, &c) == 3 && a > 0 && a <= BURSTS) {
			Cost cost = measure_bursts(fire_iteration, a, b, c);

			printf("%.2f %.2f\n", cost.fastest, cost.middle);
		} else if (sscanf(line, "pace %ld %ld %ld", &a, &b, &c) == 3 && c > 0 && c <= 64) {
			pace_threads((double)a, b, (int)c);
		} else if (sscanf(line, "poll %ld", &a) == 1) {
			poll_often(a);
		} else {
			printf("%d\n", all_armed());
		}
	}
	return 0;
}
