// SPDX-License-Identifier: MIT
/*
 * BLOCKED CALLBACK: a loop's thread has been away from its wait for too long, and two stacks taken
 * meanwhile show the same callback.
 *
 * Away is since the last wait returned (a probe saw it) or since we came. The time in which the
 * thread wanted a CPU and got none does not count: that is the host's fault, not the callback's.
 * Who sleeps in a nested wait is not away.
 */
#include <inttypes.h>
#include <string.h>

#include "tracer/clock.h"
#include "tracer/doctor.h"
#include "tracer/out.h"

#define CONFIRM_NS (50 * 1000000LL)
#define MAX_STACKS 12 /* of one thread: each costs some milliseconds at most */
#define TAKE_MS	   60

/* Since when it is away, and its counters then; false if it waits. */
static bool is_away(const struct doctor *d, const struct patient *p, uint64_t *ret_since,
		    uint64_t *ret_run, uint64_t *ret_delay)
{
	struct watch_thread w;

	if (p->now.state != 'R' && is_wait_call(p->now.nr))
		return false;
	if (!watch_read_thread(d->watch, p->tid, &w)) {
		*ret_since = p->first_ns;
		*ret_run = p->at_start.run_ns;
		*ret_delay = p->at_start.delay_ns;
		return true;
	}
	*ret_since = w.returned_ns;
	*ret_run = w.out_run_ns;
	*ret_delay = w.out_delay_ns;
	return w.returned_ns > w.entered_ns;
}

/* How long it has been away, without its time in the queue for a CPU; 0 if it is not. */
static int64_t away_ns(const struct doctor *d, const struct patient *p, uint64_t *ret_since,
		       uint64_t *ret_cpu)
{
	uint64_t run, delay;
	int64_t ns;

	if (!is_away(d, p, ret_since, &run, &delay))
		return 0;
	ns = now_ns() - (int64_t)*ret_since;
	*ret_cpu = p->now.run_ns > run ? p->now.run_ns - run : 0;
	if (p->now.delay_ns > delay)
		ns -= (int64_t)(p->now.delay_ns - delay);
	/* One that runs has to have run for that long: a queue is counted only when it ends. */
	if (p->now.state == 'R')
		ns = MIN(ns, (int64_t)*ret_cpu + d->min_ns / 4);
	return ns;
}

static void note_stack(struct doctor *d, struct patient *p, const struct stack *stack,
		       const struct where *w, int64_t ns, uint64_t cpu)
{
	struct blocked *b = &p->blocked;
	uint64_t callback = 0;

	if (w->callback >= 0)
		callback = stack->frames[w->callback].function;
	if (!b->samples || callback != b->callback) {
		b->samples = 0;
		b->longest_ns = 0;
	}
	b->callback = callback;
	b->samples++;
	if (ns < b->longest_ns)
		return;
	b->longest_ns = ns;
	b->before_us = b->since_ns == (uint64_t)p->first_ns;
	b->cpu_ns = cpu;
	b->stack = *stack;
	g_free(b->wait);
	g_free(b->name);
	b->name = callback ? doctor_callback_name(d, callback, stack) : NULL;
	g_ptr_array_set_size(b->others, 0);
	b->wait = doctor_describe_wait(d, stack, b->others);
	doctor_find_waiters(d, p->tid, b->others);
}

static void sample(struct doctor *d, struct patient *p)
{
	uint64_t since = 0, again, cpu = 0;
	int64_t ns = away_ns(d, p, &since, &cpu);
	struct blocked *b = &p->blocked;
	struct stack stack;
	struct where w;

	/* Who stopped it (a debugger, a signal) is to blame for this time, not the callback. */
	if (p->now.state == 'T' && since)
		b->void_ns = since;
	if (ns < d->min_ns || p->is_none || since == b->void_ns)
		return;
	if (since == b->since_ns && b->samples > 1)
		b->longest_ns = MAX(b->longest_ns, ns);
	if (b->stacks == MAX_STACKS ||
	    (since == b->since_ns && now_ns() - b->sampled_ns < CONFIRM_NS))
		return;
	if (stacks_take(d->stacks, p->tid, TAKE_MS, &stack, NULL))
		return;
	b->stacks++;
	doctor_where(d, &stack, &w);
	if (w.machine < 0 && !p->is_loop) {
		p->is_none = true; /* a worker, a vCPU: no loop is in its chain of calls */
		return;
	}
	p->is_loop = true;
	/* It may have come back while the stack was taken: then the stack is of something else. */
	p->now = stack.thread;
	if (!away_ns(d, p, &again, &cpu) || again != since || w.busy_polling)
		return;
	b->since_ns = since;
	b->sampled_ns = now_ns();
	note_stack(d, p, &stack, &w, ns, cpu);
}

void blocked_sample(struct doctor *d)
{
	for (size_t i = 0; i < d->patients->len; i++)
		sample(d, d->patients->pdata[i]);
}

static const char *advice_for(const struct blocked *b, const struct where *w)
{
	if (w->for_bql)
		return "The loop is ready to go on and may not: look at the holder of the lock, not at "
		       "the loop.";
	if (b->stack.thread.state == 'R')
		return "It computes while every other event of this loop waits: do it in pieces, or in "
		       "a thread.";
	if (strstr(b->wait, "mutex"))
		return "Look at the holder: a callback must not wait for a lock that is held for long.";
	if (b->stack.thread.state == 'D')
		return "It waits for storage: look at the device behind the file, or make the call "
		       "asynchronous.";
	return "A callback must not sleep: make the descriptor non-blocking, or do this in a thread.";
}

static void conclude(struct doctor *d, struct patient *p)
{
	struct blocked *b = &p->blocked;
	struct finding *f;
	struct where w;
	char *span;

	if (b->samples < 2 || p->spins)
		return;
	f = finding_new(d, "BLOCKED CALLBACK", p);
	span = out_duration(b->longest_ns);
	f->span = g_strdup_printf("for %s%s", b->before_us ? "at least " : "", span);
	doctor_where(d, &b->stack, &w);
	if (w.callback >= 0)
		f->culprit = g_strdup(b->name);
	else if (w.for_bql)
		f->culprit = g_strdup("the loop itself, waiting for the big lock");
	else if (w.machine >= 0)
		f->culprit = frame_name(d, &b->stack.frames[MAX(w.machine - 1, 0)]);
	else
		f->culprit =
			g_strdup("a coroutine: the chain of calls ends where its stack begins");
	finding_say(f, "%s", b->wait);
	finding_say(f,
		    "away from its wait for %s, without what it waited for a CPU; it used one for "
		    "%.0f ms of that",
		    span, (double)b->cpu_ns / 1e6);
	finding_say(f, "%d stacks taken meanwhile show it", b->samples);
	for (size_t i = 0; i < b->others->len; i++)
		finding_say(f, "%s", (char *)b->others->pdata[i]);
	f->stack = g_new(struct stack, 1);
	*f->stack = b->stack;
	f->advice = advice_for(b, &w);
	g_free(span);
}

static bool waited_for_bql(const struct doctor *d, const struct patient *p)
{
	const struct patient last = { .now = p->blocked.stack.thread };

	return p->blocked.samples && doctor_waits_for_bql(d, &last);
}

void blocked_conclude(struct doctor *d)
{
	for (size_t i = 0; i < d->patients->len; i++)
		if (!waited_for_bql(d, d->patients->pdata[i]))
			conclude(d, d->patients->pdata[i]);
}

void blocked_conclude_waiters(struct doctor *d)
{
	for (size_t i = 0; i < d->patients->len; i++)
		if (waited_for_bql(d, d->patients->pdata[i]) &&
		    !doctor_has_finding(d, d->hold.owner, NULL) &&
		    !doctor_has_finding(d, d->held.owner, NULL))
			conclude(d, d->patients->pdata[i]);
}
