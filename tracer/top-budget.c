// SPDX-License-Identifier: MIT
/*
 * Keeping top within its budget.
 *
 * What a hit costs was measured; how many hits there are is counted all the time. As long as all
 * probes together cost less than the budget they stay. When they cost more, they are there in short
 * windows only, so seldom that the budget is kept; rates and shares are of those windows. When that
 * would be too seldom, or the kernel is too slow at it, only waits are watched.
 */
#include <string.h>

#include "tracer/clock.h"
#include "tracer/top.h"

#define FIRST_LOOK_NS  200000000
#define LOOK_NS	       1000000000
#define WINDOW_NS      50000000
#define LONG_PERIOD_NS 10000000000 /* a picture that comes more seldom is none */
#define SLACK	       1.1	   /* so much above the budget is not worth a change */
#define ROOM	       0.7	   /* so much of it, and there is room for everything */

const char *top_mode_name(enum top_mode mode)
{
	static const char *const names[] = { "full", "sampled", "waits" };

	return names[mode];
}

void top_budget_open(struct top *top, double percent)
{
	top->budget = percent;
	if (percent > 0 && overhead_measure(top_load_copy, &top->cost, NULL))
		top->budget = 0;
}

/* What the hits since the last look cost, in percent of a processor, in so much time. What a hit
 * costs was reckoned high, but no thread can lose more than all of its time. */
static double cost_since(struct top *top, uint64_t ns)
{
	uint64_t hits[2];
	double seconds = (double)MAX(ns, 1) / 1e9, all, stepped;

	top_read_hits(top, hits);
	all = (double)(hits[0] - top->hits_then[0]) / seconds;
	stepped = (double)(hits[1] - top->hits_then[1]) / seconds;
	memcpy(top->hits_then, hits, sizeof(hits));
	return MIN(overhead_percent(&top->cost, all - stepped, stepped),
		   100.0 * MAX(g_hash_table_size(top->threads), 1));
}

/* How far windows have to be apart, now that it is known what they cost. */
static void plan(struct top *top, uint64_t now)
{
	double times = top->full_percent / top->budget;

	top->period_ns = (uint64_t)((double)top->on_ns * MAX(times, 1));
	if (top->mode != TOP_WAITS && (!attach_has_multi() || top->period_ns > LONG_PERIOD_NS)) {
		/* What that costs is known after the next window. */
		top->mode = TOP_WAITS;
		top->period_ns = MIN(top->period_ns, LONG_PERIOD_NS);
	}
	top->percent = top->full_percent * (double)top->on_ns / (double)top->period_ns;
	top->next_ns = MAX(top->opened_ns + top->period_ns, now);
}

/* A window is open all the time: is that still within the budget? */
static void look(struct top *top, uint64_t now)
{
	top->full_percent = top->percent = cost_since(top, now - top->looked_ns);
	top->looked_ns = now;
	top->next_ns = now + LOOK_NS;
	if (top->percent <= top->budget * SLACK)
		return;
	top_end(top);
	if (top->mode == TOP_FULL)
		top->mode = TOP_SAMPLED;
	plan(top, now);
}

static void close_window(struct top *top, uint64_t now)
{
	uint64_t open_ns = now - top->window_ns;

	top_end(top);
	top->full_percent = cost_since(top, open_ns);
	plan(top, now);
	if (top->full_percent > top->budget * ROOM)
		return;
	/* There is room for all of them now; that waits alone have room says nothing of the rest.
	 */
	if (top->mode == TOP_SAMPLED)
		top->mode = TOP_FULL;
	top->period_ns = 0;
	top->next_ns = now;
}

static int open_window(struct top *top, struct failure *why)
{
	int err = top_begin(top, why);

	top->looked_ns = now_ns();
	top->next_ns = top->looked_ns + (top->period_ns ? WINDOW_NS : LOOK_NS);
	return err;
}

int top_budget_keep(struct top *top, struct failure *why)
{
	uint64_t now = now_ns();

	if (!top->looked_ns) {
		top->looked_ns = now;
		top->next_ns = now + FIRST_LOOK_NS;
	}
	if (top->budget <= 0 || now < top->next_ns)
		return 0;
	if (!top->window_ns)
		return open_window(top, why);
	if (top->period_ns)
		close_window(top, now);
	else
		look(top, now);
	return 0;
}

char *top_budget_words(const struct top *top)
{
	double on = (double)top->on_ns / 1e6, period = (double)top->period_ns / 1e9;

	if (top->budget <= 0)
		return g_strdup("every call is counted, without a budget for what that costs");
	if (!top->period_ns && top->mode == TOP_FULL)
		return g_strdup_printf("every call is counted, which costs %.1f %% of a processor",
				       top->percent);
	if (top->mode == TOP_SAMPLED)
		return g_strdup_printf("SAMPLED %.0f ms in %.1f s: to count every call would cost "
				       "%.0f %% (--overhead %g)",
				       on, period, top->full_percent, top->budget);
	if (!top->period_ns)
		return g_strdup_printf("WAITS ONLY: callbacks would cost more than --overhead %g",
				       top->budget);
	return g_strdup_printf("WAITS ONLY, %.0f ms in %.1f s: callbacks would cost more than "
			       "--overhead %g",
			       on, period, top->budget);
}
