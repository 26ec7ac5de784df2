// SPDX-License-Identifier: MIT
/*
 * NESTED WAIT: a callback waits in an aio_poll() of its own for something that does not come, and
 * its loop with it.
 *
 * Two stacks show the same call of aio_poll(), below the loop's dispatch, in one sleep; or, where
 * the loop's own wait is not an aio_poll(), without such a wait in between. What ends the wait is
 * told from what the sleeper polls: descriptors, timers, or nothing but its notifier, and then only
 * another thread can. Two cases of the last have verdicts of their own: other threads wait for the
 * big lock, which the sleeper keeps (BQL HOLD); a bottom half was scheduled in another context of
 * the same thread, which the nested aio_poll() does not run (WRONG CONTEXT).
 */
#include <string.h>

#include "tracer/clock.h"
#include "tracer/describe.h"
#include "tracer/doctor-nested.h"
#include "tracer/out.h"

#define CONFIRM_NS (50 * 1000000LL)
#define LATER_NS   (250 * 1000000LL) /* once it is sure */
#define TAKE_MS	   60
#define MAX_CHAIN  8

void nested_clear(struct nested *n)
{
	g_free(n->callback);
	g_free(n->caller);
	g_free(n->chain);
	g_free(n->waiters);
	g_free(n->stuck);
	g_free(n->stuck_what);
	n->callback = n->caller = n->chain = n->waiters = n->stuck = n->stuck_what = NULL;
	g_ptr_array_set_size(n->evidence, 0);
}

/* Since when it sleeps this sleep, and since when its loop has not polled; both as we saw it. */
static void note_sleep(const struct doctor *d, struct patient *p)
{
	struct watch_thread w = { 0 };
	struct nested *n = &p->nested;
	bool watched = watch_read_thread(d->watch, p->tid, &w);

	if (!n->since_ns || p->now.switches != n->switches) {
		n->switches = p->now.switches;
		n->since_ns = now_ns();
		n->is_none = watched && w.entered_ns > w.returned_ns && w.is_outer;
	}
	if (!n->outer_ns || w.outer != n->outer) {
		n->outer = w.outer;
		n->outer_ns = now_ns();
	}
}

/* --- sampling ------------------------------------------------------------------------------- */

/* The caller of aio_poll(); where it has no name, also the next outside it that has one. */
static char *caller_name(const struct doctor *d, const struct stack *stack, int from, int last)
{
	char *caller = frame_name(d, &stack->frames[from]), *outer, *text;

	if (from == last)
		g_clear_pointer(&caller, g_free); /* it is the callback */
	for (int i = from + 1; caller && strstr(caller, "+0x") && i <= last; i++) {
		outer = frame_name(d, &stack->frames[i]);
		text = strstr(outer, "+0x") ? NULL : g_strdup_printf("%s for %s", caller, outer);
		g_free(outer);
		if (!text)
			continue;
		g_free(caller);
		return text;
	}
	return caller;
}

void nested_note(struct doctor *d, struct patient *p, const struct stack *stack,
		 const struct nest *nest)
{
	int last = nest->callback >= 0 ? nest->callback : stack->n - 1;
	struct nested *n = &p->nested;

	nested_clear(n);
	n->depth = nest->depth;
	n->caller = caller_name(d, stack, nest->poll + 1, last);
	n->chain = doctor_callers(d, stack, nest->poll, MIN(last - nest->poll + 1, MAX_CHAIN));
	if (nest->callback >= 0)
		n->callback =
			doctor_callback_name(d, stack->frames[nest->callback].function, stack);
	n->stack = *stack;
	nested_look_around(d, p);
}

static void note_stack(struct doctor *d, struct patient *p, const struct stack *stack,
		       const struct nest *nest, bool one_sleep, int64_t ns)
{
	const struct frame *caller = &stack->frames[nest->poll + 1];
	struct nested *n = &p->nested;

	if (n->samples && n->site != caller->pc)
		n->samples = 0;
	if (!n->samples) {
		n->one_sleep = true;
		n->longest_ns = 0;
	}
	n->site = caller->pc;
	n->one_sleep &= one_sleep;
	n->longest_ns = MAX(n->longest_ns, ns);
	n->stack = *stack;
	if (++n->samples == 1)
		nested_note_outside(d, p);
	else if (n->samples == 2)
		nested_note(d, p, stack, nest);
}

static void sample(struct doctor *d, struct patient *p)
{
	int64_t now = now_ns(), asleep, away;
	struct nested *n = &p->nested;
	struct stack stack;
	struct nest nest;

	note_sleep(d, p);
	if (p->now.state != 'S' || !is_wait_call(p->now.nr) || n->is_none)
		return;
	asleep = now - n->since_ns;
	away = n->outer || p->tid == d->t->pid ? now - n->outer_ns : asleep;
	if (MAX(asleep, away) < d->min_ns ||
	    now - n->sampled_ns < (n->samples >= 2 ? LATER_NS : CONFIRM_NS))
		return;
	n->sampled_ns = now;
	if (stacks_take(d->stacks, p->tid, TAKE_MS, &stack, NULL))
		return;
	if (stack.thread.switches != n->switches)
		return; /* it woke up meanwhile */
	n->is_none = !doctor_nest(d, p->tid, &stack, &nest) || nest.poll + 1 >= stack.n;
	if (n->is_none || MAX(asleep, nest.glib_loop ? away : 0) < d->min_ns)
		return;
	p->is_loop = true;
	note_stack(d, p, &stack, &nest, asleep >= d->min_ns,
		   MAX(asleep, nest.glib_loop ? away : 0));
}

void nested_sample(struct doctor *d)
{
	for (size_t i = 0; i < d->patients->len; i++)
		sample(d, d->patients->pdata[i]);
}

/* --- verdict -------------------------------------------------------------------------------- */

static const char *advice_for(const struct nested *n)
{
	if (n->waiters)
		return "Those who could end the wait need the lock that it keeps: let go of it "
		       "around the wait, or do not wait here.";
	if (n->stuck)
		return n->stuck_co ? WRONG_CO_ADVICE : WRONG_BH_ADVICE;
	for (size_t i = 0; i < n->evidence->len; i++)
		if (g_str_has_prefix(n->evidence->pdata[i], "it polls fd"))
			return "Look at the other end of what it polls; a loop must not wait for a "
			       "peer in a callback.";
	return "Whoever makes its condition true has to call aio_wait_kick() after that: look at "
	       "who completes what it waits for, and whether that still runs.";
}

static char *culprit_of(const struct nested *n)
{
	char *wait, *text;

	wait = g_strdup_printf("%s waits in aio_poll()%s%s",
			       n->callback ?: "the thread, outside its loop,",
			       n->caller ? ", called by " : "", n->caller ?: "");
	if (n->waiters)
		text = g_strdup_printf("%s, and keeps the big lock", wait);
	else if (n->stuck)
		text = g_strdup_printf("%s, while %s", n->stuck_what, wait);
	else
		return wait;
	g_free(wait);
	return text;
}

struct finding *nested_finding(struct doctor *d, struct patient *p, const char *span,
			       const char *first)
{
	struct nested *n = &p->nested;
	struct finding *f;

	f = finding_new(d, n->waiters ? "BQL HOLD" : n->stuck ? "WRONG CONTEXT" : "NESTED WAIT", p);
	f->span = g_strdup(span);
	f->culprit = culprit_of(n);
	finding_say(f, "%s; aio_poll() depth %d", first, n->depth);
	finding_say(f, "the wait: %s", n->chain);
	if (n->waiters)
		finding_say(f, "%s", n->waiters);
	if (n->stuck)
		finding_say(f, "%s", n->stuck);
	for (size_t i = 0; i < n->evidence->len; i++)
		finding_say(f, "%s", (char *)n->evidence->pdata[i]);
	f->stack = g_memdup2(&n->stack, sizeof(n->stack));
	f->advice = advice_for(n);
	return f;
}

static void conclude(struct doctor *d, struct patient *p)
{
	struct nested *n = &p->nested;
	char *longest, *span, *first;

	/* What should have woken it is a better answer. */
	if (n->samples < 2 || doctor_has_finding(d, p->tid, "LOST WAKEUP"))
		return;
	longest = out_duration(n->longest_ns);
	span = g_strdup_printf("for at least %s", longest);
	first = g_strdup_printf("%d stacks show it, %s", n->samples,
				n->one_sleep ? "all in one sleep"
					     : "and between them the loop's own poll was not "
					       "reached");
	nested_finding(d, p, span, first);
	g_free(first);
	g_free(span);
	g_free(longest);
}

void nested_conclude(struct doctor *d)
{
	for (size_t i = 0; i < d->patients->len; i++)
		conclude(d, d->patients->pdata[i]);
}
