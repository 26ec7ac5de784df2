/* SPDX-License-Identifier: MIT */
/* What an event costs, in bursts between which the other side has time to empty its buffers. */
#ifndef SELFREC_BURST_H
#define SELFREC_BURST_H

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define BURST  8000 /* events */
#define BURSTS 400
#define KINDS  8 /* events of an iteration */

typedef struct {
	double fastest, middle; /* ns an event */
} Cost;

static inline __attribute__((always_inline)) long now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000L + now.tv_nsec;
}

static inline int compare_costs(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* Of the processor, in this thread: that others run meanwhile is no cost of ours. */
static inline long used_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return now.tv_sec * 1000000000L + now.tv_nsec;
}

/* So many bursts, at most BURSTS, of so many events. */
static inline Cost measure_bursts(void (*fire_iteration)(const void *ctx), long bursts, long events,
				  unsigned pause_us)
{
	static double costs[BURSTS];

	for (long i = 0; i < bursts; i++) {
		long start = used_ns();

		for (long n = 0; n < events / KINDS; n++)
			fire_iteration(&costs[n % BURSTS]);
		costs[i] = (double)(used_ns() - start) / events;
		if (pause_us)
			usleep(pause_us);
	}
	qsort(costs, bursts, sizeof(costs[0]), compare_costs);
	return (Cost){ costs[0], costs[bursts / 2] };
}

static inline Cost measure(void (*fire_iteration)(const void *ctx), unsigned pause_us)
{
	return measure_bursts(fire_iteration, BURSTS, BURST, pause_us);
}

#endif
