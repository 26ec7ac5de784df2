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

static inline long now_ns(void)
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

static inline Cost measure(void (*fire_iteration)(const void *ctx), unsigned pause_us)
{
	static double costs[BURSTS];

	for (int i = 0; i < BURSTS; i++) {
		long start = now_ns();

		for (int n = 0; n < BURST / KINDS; n++)
			fire_iteration(&costs[n % BURSTS]);
		costs[i] = (double)(now_ns() - start) / BURST;
		if (pause_us)
			usleep(pause_us);
	}
	qsort(costs, BURSTS, sizeof(costs[0]), compare_costs);
	return (Cost){ costs[0], costs[BURSTS / 2] };
}

#endif
