// SPDX-License-Identifier: MIT
/*
 * BLOCKED CALLBACK, NESTED WAIT, BQL HOLD and WRONG CONTEXT from a recording: calls, waits and
 * holds of the lock that lasted too long. How long is measured here; whose fault it is,
 * doctor-trace-long-say.c says.
 */
#include "tracer/doctor-trace.h"

#define AS(type) ((const struct loop_##type *)event)

/* It ended at @now_ns, after @ns of its own. */
static struct trace_long *note(struct trace_doctor *d, const struct report_thread *thread,
			       enum report_kind kind, void *entry, uint64_t begin_ns,
			       uint64_t now_ns, uint64_t ns, bool open)
{
	struct trace_long *l = report_map_get(
		&d->longs, (struct report_key){ (uint64_t)(uintptr_t)entry, thread->tid, kind, 0 });

	bool is_longest = ns >= l->longest_ns;

	l->times++;
	if (is_longest) {
		l->thread = thread;
		l->entry = entry;
		l->kind = kind;
		l->longest_ns = ns;
		l->begin_ns = begin_ns;
		l->open = open;
		trace_long_forget_split(l);
	}
	trace_split_call(d, trace_thread(d, thread->tid),
			 &(struct trace_recent){ l, begin_ns, now_ns, ns });
	return is_longest ? l : NULL;
}

/* --- calls and waits -------------------------------------------------------------------------- */

/* The frame is of a wait inside a callback: the outermost one. */
static bool is_outermost(const struct report_thread *model)
{
	for (uint32_t i = 0; i < model->depth; i++)
		if (model->stack[i].kind == REPORT_AIO_POLL ||
		    model->stack[i].kind == REPORT_AIO_WAIT)
			return false;
	return true;
}

static const struct report_callback *caller_of(const struct report_thread *model)
{
	for (uint32_t i = model->depth; i-- > 0;)
		if (model->stack[i].kind <= REPORT_NOTIFIER)
			return model->stack[i].entry;
	return NULL;
}

/* Who waited for the big lock all the time, or for most of it. */
static uint32_t lock_waiters(struct trace_doctor *d, uint64_t begin_ns, uint64_t now_ns)
{
	const struct trace_thread *t;
	uint32_t n = 0;

	report_each (&d->threads, t)
		if (t->bql_wait_ns && now_ns - MAX(t->bql_wait_ns, begin_ns) >= (uint64_t)d->min_ns)
			n++;
	return n;
}

/* May the thread run this context, as far as was seen? */
static bool may_run(struct trace_doctor *d, const struct trace_thread *t, uint64_t ctx)
{
	const struct trace_context *c =
		report_map_find(&d->contexts, (struct report_key){ .a = ctx });

	return c && (!c->home_tid || c->home_tid == t->tid);
}

/*
 * A coroutine or else a bottom half in a context of the same thread that the wait does not run.
 */
static const struct trace_work *stuck_work(struct trace_doctor *d, const struct trace_thread *t,
					   uint64_t ctx, uint64_t now_ns)
{
	const struct trace_work *work, *bh = NULL;

	report_each (&d->work, work) {
		if (!work->open || !ctx || work->ctx == ctx ||
		    (work->key.a != WORK_CO && work->key.a != WORK_BH) ||
		    now_ns - work->due_ns < (uint64_t)d->min_ns || !may_run(d, t, work->ctx))
			continue;
		if (work->key.a == WORK_CO)
			return work;
		if (!bh)
			bh = work;
	}
	return bh;
}

static void end_wait(struct trace_doctor *d, const struct trace_thread *t,
		     const struct report_thread *model, const struct report_frame *frame,
		     uint64_t now_ns, bool open)
{
	const struct report_nested *nested = frame->entry;
	const struct trace_work *stuck;
	struct trace_long *l;

	if (now_ns - frame->begin_ns < (uint64_t)d->min_ns || !is_outermost(model) ||
	    !caller_of(model))
		return;
	l = note(d, model, frame->kind, frame->entry, frame->begin_ns, now_ns,
		 now_ns - frame->begin_ns, open);
	if (!l)
		return;
	l->callback = caller_of(model);
	l->n_fds = t->n_fds;
	l->depth = nested->max_depth;
	l->waiters =
		model->hold || d->bql_tid == t->tid ? lock_waiters(d, frame->begin_ns, now_ns) : 0;
	stuck = stuck_work(d, t, nested->ctx, now_ns);
	/*
	 * A bottom half is the cause only of a wait that polls its notifier alone, and that has not
	 * ended: what has ended one was something else.
	 */
	l->is_stuck =
		stuck && (stuck->key.a == WORK_CO || (open && t->n_fds == 1 && t->timeout_ns < 0));
	l->stuck_ctx = stuck ? stuck->ctx : 0;
	l->stuck_bh = stuck && stuck->key.a == WORK_BH ? stuck->cb : 0;
	l->stuck_ns = stuck ? stuck->due_ns : 0;
}

void trace_long_end(struct trace_doctor *d, struct trace_thread *t,
		    const struct report_thread *model, const struct report_frame *frame,
		    uint64_t now_ns, enum report_ending ending)
{
	bool open = ending == REPORT_OPEN;
	uint64_t own_ns = now_ns - frame->begin_ns - frame->child_ns;

	if (frame->kind <= REPORT_NOTIFIER) {
		if (own_ns >= (uint64_t)d->min_ns)
			note(d, model, frame->kind, frame->entry, frame->begin_ns, now_ns, own_ns,
			     open);
	} else if (frame->kind == REPORT_AIO_POLL || frame->kind == REPORT_AIO_WAIT) {
		end_wait(d, t, model, frame, now_ns, open);
	}
}

/* --- the big lock ----------------------------------------------------------------------------- */

static void end_hold(struct trace_doctor *d, uint64_t now_ns, bool open)
{
	const struct trace_thread *t =
		report_map_find(&d->threads, (struct report_key){ .a = d->bql_tid });
	struct trace_long *l;
	uint32_t waiters;

	if (!t || now_ns - d->bql_since_ns < (uint64_t)d->min_ns)
		return;
	waiters = lock_waiters(d, d->bql_since_ns, now_ns);
	if (!waiters)
		return;
	l = report_map_get(&d->longs,
			   (struct report_key){ d->bql_site, t->tid, REPORT_BQL_WAIT, 0 });
	l->times++;
	if (now_ns - d->bql_since_ns < l->longest_ns)
		return;
	l->kind = REPORT_BQL_WAIT;
	l->longest_ns = now_ns - d->bql_since_ns;
	l->begin_ns = d->bql_since_ns;
	l->open = open;
	l->waiters = waiters;
	l->site = d->bql_site;
}

void trace_long_event(struct trace_doctor *d, struct trace_thread *t,
		      const struct loop_event *event)
{
	switch (event->id) {
	case LOOP_EV_BQL_WAIT:
		t->bql_wait_ns = event->time_ns;
		break;
	case LOOP_EV_BQL_ACQUIRED:
		t->bql_wait_ns = 0;
		d->bql_tid = t->tid;
		d->bql_since_ns = event->time_ns;
		d->bql_site = AS(bql_acquired)->site;
		break;
	case LOOP_EV_BQL_RELEASED:
		if (d->bql_tid == t->tid)
			end_hold(d, event->time_ns, false);
		d->bql_tid = 0;
		break;
	default:
		break;
	}
}

void trace_long_conclude(struct trace_doctor *d)
{
	if (d->bql_tid)
		end_hold(d, d->report->end_ns, true);
	trace_long_say(d);
}
