// SPDX-License-Identifier: MIT
/*
 * Is it one call? A stack shows that a thread is in a function, two stacks that it was so twice:
 * ten calls of 20 ms look like one of 200. So once a stack has named the function, its calls by
 * that thread are counted. From then on a call is timed from its entry; the one under way, whose
 * entry was missed, from the first stack after that, as long as no other call is counted. Where the
 * function cannot be probed, a sleep that lasts is one call too.
 *
 * The time in which the thread wanted a CPU and got none is not the call's.
 */
#include <string.h>

#include "tracer/clock.h"
#include "tracer/doctor.h"

#define UNCOUNTED (-1)

static void begin(const struct doctor *d, struct call *c, uint64_t function)
{
	memset(c, 0, sizeof(*c));
	c->function = function;
	c->number = function ? watch_calls(d->watch, function) : UNCOUNTED;
	c->number = MAX(c->number, UNCOUNTED);
}

/* Since @from_ns, without the queue for a CPU; of one that runs, the time that it did run. */
static int64_t lasted_ns(const struct thread_now *now, uint64_t from_ns, uint64_t run_ns,
			 uint64_t delay_ns)
{
	int64_t ns = now_ns() - (int64_t)from_ns;

	if (now->delay_ns > delay_ns)
		ns -= (int64_t)(now->delay_ns - delay_ns);
	/* A queue is counted only when it ends, running time at the next tick. */
	if (now->state == 'R')
		ns = MIN(ns, (int64_t)(now->run_ns - MIN(run_ns, now->run_ns)) + CALL_TICKS_NS);
	return ns;
}

static struct watch_call calls_of(const struct doctor *d, const struct call *c, pid_t tid)
{
	static const struct watch_call none;

	return c->function && c->number != UNCOUNTED ? watch_read_call(d->watch, c->number, tid)
						     : none;
}

int64_t call_lasted_ns(const struct doctor *d, const struct call *c, const struct thread_now *now,
		       uint64_t since_ns)
{
	struct watch_call w = calls_of(d, c, now->tid);

	if (!c->is_known)
		return -1;
	if (w.entered_ns > since_ns)
		return lasted_ns(now, w.entered_ns, w.run_ns, w.delay_ns);
	if (c->since_ns != since_ns || c->count != w.count ||
	    (c->function && c->number == UNCOUNTED && c->switches != now->switches))
		return -1;
	return lasted_ns(now, c->first_ns, c->first_run_ns, c->first_delay_ns);
}

int64_t call_seen(const struct doctor *d, struct call *c, const struct thread_now *now,
		  uint64_t function, uint64_t since_ns)
{
	struct watch_call w;
	int64_t ns;

	if (!c->is_known || function != c->function) {
		begin(d, c, function);
		c->is_known = true;
		return -1; /* what the stack showed may be over by now */
	}
	w = calls_of(d, c, now->tid);
	c->is_entry = w.entered_ns > since_ns;
	ns = call_lasted_ns(d, c, now, since_ns);
	if (ns >= 0)
		return ns;
	c->since_ns = since_ns;
	c->count = w.count;
	c->switches = now->switches;
	c->first_ns = (uint64_t)now_ns();
	c->first_run_ns = now->run_ns;
	c->first_delay_ns = now->delay_ns;
	return 0;
}
