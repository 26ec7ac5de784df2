// SPDX-License-Identifier: MIT
/*
 * A window of 50 ms in which a loop turned all the time and hardly ever slept: what kept it awake.
 *
 * A loop at work is as busy. So a descriptor counts only as long as nobody drains it, a bottom half
 * only where one schedules it and the calls are too short to get anything done. One cause in
 * windows that follow each other is a run; the longest run is what doctor-trace-spin-say.c says.
 */
#include <string.h>

#include "tracer/doctor-trace-spin.h"

#define WINDOW_NS (50 * 1000000ULL)
#define MIN_TURNS 5	 /* of a window: a hundred a second */
#define SHORT_NS  20000	 /* a call that gets nothing done */
#define WORK_NS	  100000 /* a source's dispatch that takes so long may get something done */

struct trace_counter *spin_counter(struct trace_thread *t, enum trace_cause cause, uint64_t a,
				   uint64_t b)
{
	struct trace_counter *c =
		report_map_get(&t->spin.counters, (struct report_key){ cause, a, b, 0 });

	if (c->window != t->spin.window) {
		struct report_key key = c->key;

		memset(c, 0, sizeof(*c));
		c->key = key;
		c->window = t->spin.window;
	}
	return c;
}

static bool is_all(uint64_t part, uint64_t whole)
{
	return whole && part * 100 >= whole * 98;
}

/* One of the same GMainContext with a priority that is never asked, and that was attached. */
static bool leaves_no_turn(struct trace_doctor *d, const struct trace_source *greedy,
			   uint64_t since_ns)
{
	const struct trace_source *s;

	if (!greedy || !greedy->attached)
		return false;
	report_each (&d->sources, s)
		if (s->attached && s->gctx == greedy->gctx && s->priority > greedy->priority &&
		    s->asked_ns < since_ns && s->dispatched_ns < since_ns)
			return true;
	return false;
}

/* Is this what keeps the loop awake? What else it needs for that. */
static bool is_cause(struct trace_doctor *d, const struct trace_thread *t,
		     const struct trace_counter *c, uint64_t turns)
{
	uint64_t mean_ns = c->calls ? c->ns / c->calls : 0;

	if (!is_all(c->n, turns))
		return false;
	switch (c->key.a) {
	case CAUSE_STARVES:
		return leaves_no_turn(
			d, report_map_find(&d->sources, (struct report_key){ .a = c->key.b }),
			t->spin.begin_ns);
	case CAUSE_FD:
		return !c->drained;
	case CAUSE_BH:
		return mean_ns < SHORT_NS;
	case CAUSE_SOURCE:
		return mean_ns < WORK_NS;
	default:
		return true;
	}
}

static const struct trace_counter *find_cause(struct trace_doctor *d, const struct trace_thread *t,
					      uint64_t turns)
{
	const struct trace_counter *c, *best = NULL;

	report_each (&t->spin.counters, c)
		if (c->window == t->spin.window && is_cause(d, t, c, turns) &&
		    (!best || c->key.a < best->key.a))
			best = c;
	return best;
}

/* A source that is asked for each turn is the cause only where no descriptor was ready. */
static bool is_driven_by_fd(const struct trace_thread *t, uint64_t turns)
{
	const struct trace_counter *c;

	report_each (&t->spin.counters, c)
		if (c->window == t->spin.window && c->key.a == CAUSE_FD && c->n * 10 > turns)
			return true;
	return false;
}

/* Without what GLib asked the sources, one that starves others is not told from one with work. */
static bool is_asked_for(const struct trace_doctor *d, const struct trace_counter *c)
{
	return c->key.a == CAUSE_SOURCE || (c->key.a == CAUSE_STARVES && !d->has_prepare);
}

static void close_window(struct trace_doctor *d, struct trace_thread *t, uint64_t now_ns)
{
	struct trace_spin *s = &t->spin;
	uint64_t turns = MAX(s->polls, s->iterations);
	const struct trace_counter *c = NULL;
	struct trace_run *run = &s->now;

	if (turns >= MIN_TURNS && turns * WINDOW_NS >= MIN_TURNS * (now_ns - s->begin_ns) &&
	    s->slept * 50 <= turns)
		c = find_cause(d, t, turns);
	if (c && is_asked_for(d, c) && (is_driven_by_fd(t, turns) || s->found * 10 > turns))
		c = NULL;
	if (!c || c->key.a != run->cause || c->key.b != run->a || c->key.c != run->b)
		*run = (struct trace_run){ .from_ns = s->begin_ns };
	if (!c)
		return;
	run->cause = c->key.a;
	run->a = c->key.b;
	run->b = c->key.c;
	run->cb = c->cb;
	run->by = c->by;
	run->revents |= c->revents;
	run->windows++;
	run->turns += turns;
	run->times += c->n;
	run->to_ns = now_ns;
	if (run->windows > s->best.windows)
		s->best = *run;
}

static void open_window(struct trace_thread *t, uint64_t now_ns)
{
	struct trace_spin *s = &t->spin;

	s->window++;
	s->began = true;
	s->begin_ns = now_ns;
	s->polls = s->iterations = s->slept = s->found = 0;
}

void spin_turn(struct trace_doctor *d, struct trace_thread *t, uint64_t now_ns)
{
	if (t->spin.began && now_ns - t->spin.begin_ns < WINDOW_NS)
		return;
	if (t->spin.began)
		close_window(d, t, now_ns);
	open_window(t, now_ns);
}
