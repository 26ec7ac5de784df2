// SPDX-License-Identifier: MIT
/*
 * BLOCKED CALLBACK: a loop's thread has been away from its wait for too long, and two stacks show
 * it in a call of one callback that had lasted for too long by then.
 *
 * Away is since the last wait returned (a probe saw it) or since we came. The time in which the
 * thread wanted a CPU and got none does not count: that is the host's fault, not the callback's.
 * Who sleeps in a nested wait is not away.
 */
#include <inttypes.h>
#include <string.h>

#include "tracer/clock.h"
#include "tracer/doctor-glib.h"
#include "tracer/out.h"

#define CONFIRM_NS (50 * 1000000LL)
#define MAX_STACKS 16 /* of one thread: each costs some milliseconds at most */
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
		ns = MIN(ns, (int64_t)*ret_cpu + CALL_TICKS_NS);
	return ns;
}

static void note_stack(struct doctor *d, struct patient *p, const struct stack *stack,
		       const struct where *w, int64_t ns, uint64_t cpu)
{
	struct blocked *b = &p->blocked;

	b->samples++;
	if (ns < b->longest_ns)
		return;
	b->longest_ns = ns;
	b->before_us = !b->call.is_entry;
	b->cpu_ns = cpu;
	b->stack = *stack;
	g_free(b->wait);
	g_free(b->name);
	b->name = w->callback < 0
			  ? NULL
			  : doctor_callback_name(d, stack->frames[w->callback].function, stack);
	g_ptr_array_set_size(b->others, 0);
	b->wait = doctor_describe_wait(d, stack, b->others);
	doctor_find_waiters(d, p->tid, b->others);
}

/* Whose calls are to be told apart; 0: what happens once in a time away. */
static uint64_t subject(const struct doctor *d, const struct stack *stack, const struct where *w)
{
	if (w->callback >= 0)
		return stack->frames[w->callback].function;
	if (w->for_bql)
		return 0;
	if (w->machine < 0)
		return doctor_function(d, "qemu_aio_coroutine_enter");
	return stack->frames[MAX(w->machine - 1, 0)].function;
}

/* Take a stack of it, unless it comes back meanwhile; -1 then, and if it is no loop's. */
static int take(struct doctor *d, struct patient *p, uint64_t since, struct stack *stack,
		struct where *w, uint64_t *ret_cpu)
{
	uint64_t again = 0;

	if (stacks_take(d->stacks, p->tid, TAKE_MS, stack, NULL))
		return -1;
	p->blocked.stacks++;
	doctor_where(d, stack, w);
	if (w->machine < 0 && !p->is_loop) {
		p->is_none = true; /* a worker, a vCPU: no loop is in its chain of calls */
		return -1;
	}
	p->is_loop = true;
	/* If it came back while the stack was taken, then the stack is of something else. */
	p->now = stack->thread;
	return !away_ns(d, p, &again, ret_cpu) || again != since || w->busy_polling ? -1 : 0;
}

static void sample(struct doctor *d, struct patient *p)
{
	uint64_t since = 0, cpu = 0, function;
	int64_t ns = away_ns(d, p, &since, &cpu), call_ns;
	struct blocked *b = &p->blocked;
	struct stack stack;
	struct where w;

	/* Who stopped it (a debugger, a signal) is to blame for this time, not the callback. */
	if (p->now.state == 'T' && since)
		b->void_ns = since;
	if (ns < d->min_ns || p->is_none || since == b->void_ns)
		return;
	call_ns = call_lasted_ns(d, &b->call, &p->now, since);
	if (since == b->since_ns && b->samples > 1 && call_ns >= 0)
		b->longest_ns = MAX(b->longest_ns, call_ns);
	if (b->stacks >= MAX_STACKS || (call_ns >= 0 && call_ns < d->min_ns) ||
	    (since == b->since_ns && now_ns() - b->sampled_ns < CONFIRM_NS))
		return;
	if (take(d, p, since, &stack, &w, &cpu))
		return;
	b->since_ns = since;
	b->sampled_ns = now_ns();
	function = subject(d, &stack, &w);
	if (!b->call.is_known || b->call.function != function)
		b->samples = 0, b->longest_ns = 0;
	call_ns = call_seen(d, &b->call, &p->now, function, since);
	/* Only now its calls are counted: what the stack showed may have been the one before. */
	if (call_ns < 0 && !take(d, p, since, &stack, &w, &cpu) &&
	    subject(d, &stack, &w) == function)
		call_ns = call_seen(d, &b->call, &p->now, function, since);
	if (call_ns >= d->min_ns)
		note_stack(d, p, &stack, &w, call_ns, cpu);
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
	if (strstr(b->wait, "mutex") || strstr(b->wait, "GMutex") || strstr(b->wait, "GRWLock"))
		return "Look at the holder: a callback must not wait for a lock that is held for long.";
	if (b->stack.thread.state == 'D')
		return "It waits for storage: look at the device behind the file, or make the call "
		       "asynchronous.";
	return "A callback must not sleep: make the descriptor non-blocking, or do this in a thread.";
}

/* The source that it is called for, unless that is QEMU's business. */
static void say_source(struct doctor *d, struct finding *f, uint64_t callback)
{
	const struct loop_gcontext *g;
	const struct loop_source *s = glib_source_called(d, callback, &g);
	char *words;

	if (!s)
		return;
	words = glib_source_words(d, g, s);
	finding_say(f, "called for %s%s%s%s", s->name[0] ? "\"" : "", s->name,
		    s->name[0] ? "\", " : "", words);
	g_free(words);
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
	if (w.callback >= 0)
		say_source(d, f, b->stack.frames[w.callback].function);
	finding_say(f,
		    "one call of it lasts %s, without what it waited for a CPU; it used one for "
		    "%.0f ms since its last wait",
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
