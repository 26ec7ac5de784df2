/* SPDX-License-Identifier: MIT */
/* The bursts of bench selfrec with LTTng-UST's tracepoints; selfrec.sh makes the session. */
#include <stdio.h>
#include <stdint.h>

#define LTTNG_UST_TRACEPOINT_CREATE_PROBES
#define LTTNG_UST_TRACEPOINT_DEFINE
#include "tests/bench/lttng-loop.h"
#include "tests/bench/selfrec-burst.h"

#define fire(...) lttng_ust_tracepoint(loop, __VA_ARGS__)

static void __attribute__((noinline)) fire_iteration(const void *ctx)
{
	fire(iteration_begin, ctx, 2, 1);
	fire(timeout_chosen, ctx, -1, 1, NULL, NULL);
	fire(poll_enter, ctx, 5, -1, 1, 1, 1);
	fire(poll_exit, ctx, 1);
	fire(fd_ready, ctx, 7, 1, 1);
	fire(handler_begin, ctx, &ctx, 7, 1, (const void *)fire_iteration, NULL);
	fire(handler_end, ctx, &ctx, 7, 1, (const void *)fire_iteration);
	fire(iteration_end, ctx, 2, 1);
}

int main(void)
{
	Cost cost;

	measure(fire_iteration, 1000);
	cost = measure(fire_iteration, 1000);
	printf("LTTng    %.1f ns an event in the fastest burst, %.1f in the middle one\n",
	       cost.fastest, cost.middle);
	return 0;
}
