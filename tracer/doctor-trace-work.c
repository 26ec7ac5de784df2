// SPDX-License-Identifier: MIT
/*
 * Work that was published in a recording, until somebody takes it: and whether the one who takes
 * it, or withdraws it, slept although it was due.
 *
 * A thread that was woken, and waits for a CPU of a busy host, looks asleep to a recording: its
 * poll has not returned. So it slept on only as long as nothing had woken it: until its own
 * timeout, or until its context's notifier was written, if nobody else took that; and a descriptor
 * that its poll then finds ready, has woken it. Nor was it to be woken before whoever published the
 * work went on.
 */
#include "tracer/doctor-trace-work.h"

static struct trace_work *work_of(struct trace_doctor *d, enum trace_work_kind kind, uint64_t a)
{
	return report_map_get(&d->work, (struct report_key){ kind, a, 0, 0 });
}

void work_publish(struct trace_doctor *d, struct trace_thread *t, enum trace_work_kind kind,
		  uint64_t a, uint64_t ctx, uint64_t cb, uint64_t due_ns)
{
	struct trace_work *work = work_of(d, kind, a);

	if (work->open && work->due_ns <= due_ns)
		return;
	work->settled = false;
	t->published = work;
	work->open = true;
	work->ctx = ctx;
	work->cb = cb;
	work->due_ns = due_ns;
}

void work_settle(struct trace_thread *t, uint64_t now_ns)
{
	struct trace_work *work = t->published;

	t->published = NULL;
	if (!work || work->settled)
		return;
	work->settled = true;
	work->due_ns = MAX(work->due_ns, now_ns);
}

void work_written(struct trace_context *c, uint64_t now_ns)
{
	c->write_ns = now_ns;
	c->pending_ns = c->pending_ns ?: now_ns;
}

void work_accepted(struct trace_context *c, uint64_t now_ns)
{
	if (!c->pending_ns)
		return;
	c->was_pending_ns = c->pending_ns;
	c->accepted_ns = now_ns;
	c->pending_ns = 0;
}

/* Since when the notifier was ready that ended the sleep at @until_ns, or should have; 0: it was
 * not. */
static uint64_t woken_since(const struct trace_context *c, uint64_t until_ns)
{
	if (!c)
		return 0;
	if (c->pending_ns && c->pending_ns <= until_ns)
		return c->pending_ns;
	return c->accepted_ns >= until_ns && c->was_pending_ns <= until_ns ? c->was_pending_ns : 0;
}

uint64_t work_context(const struct trace_doctor *d, const struct trace_work *work)
{
	const struct trace_context *list =
		report_map_find(&d->contexts, (struct report_key){ .a = work->ctx });

	return work->key.a == WORK_TIMER && list && list->list_of ? list->list_of : work->ctx;
}

void work_check(struct trace_doctor *d, const struct trace_thread *t, const struct trace_work *work,
		uint64_t until_ns, bool at_end)
{
	uint64_t ctx = work_context(d, work), from_ns = MAX(work->due_ns, t->enter_ns), limit;
	const struct trace_context *c =
		report_map_find(&d->contexts, (struct report_key){ .a = ctx });
	uint64_t woken_ns = woken_since(c, until_ns);
	struct trace_miss *miss;
	bool woken;

	if (!t->enter_ns || !t->timeout_ns || !work->settled ||
	    (work->key.a == WORK_NOTIFY && !t->in_aio_poll) ||
	    (t->nested_ctx && ctx && t->nested_ctx != ctx))
		return;
	if (t->timeout_ns > 0)
		until_ns = MIN(until_ns, t->enter_ns + (uint64_t)t->timeout_ns);
	if (woken_ns)
		until_ns = MIN(until_ns, woken_ns);
	if (until_ns <= from_ns)
		return;
	/* Somebody else took the notification: or that is what it looks like. */
	woken = (c && c->write_ns > work->due_ns) || work->key.a == WORK_FD;
	limit = (uint64_t)d->min_ns * (woken ? TRACE_BUSY : 1);
	if (until_ns - from_ns < limit)
		return;
	miss = report_map_get(
		&d->misses,
		(struct report_key){ t->tid, work->key.a, work->cb ? work->cb : work->key.b, ctx });
	miss->times++;
	if (until_ns - from_ns < miss->ns)
		return;
	miss->work = *work;
	miss->work.ctx = ctx;
	miss->enter_ns = t->enter_ns;
	miss->ns = until_ns - from_ns;
	miss->timeout_ns = t->timeout_ns;
	miss->at_end = at_end;
}

void work_take(struct trace_doctor *d, struct trace_thread *t, enum trace_work_kind kind,
	       uint64_t a)
{
	struct trace_work *work = report_map_find(&d->work, (struct report_key){ kind, a, 0, 0 });

	if (!work)
		return;
	work->was_taken = true;
	if (!work->open)
		return;
	work->open = false;
	if (t->exit_ns > t->enter_ns)
		work_check(d, t, work, t->exit_ns, false);
}

void work_found(struct trace_doctor *d, enum trace_work_kind kind, uint64_t a)
{
	struct trace_work *work = report_map_find(&d->work, (struct report_key){ kind, a, 0, 0 });

	if (!work)
		return;
	work->was_taken = true;
	work->open = false;
}

uint32_t work_home(const struct trace_doctor *d, const struct trace_work *work)
{
	const struct trace_context *c =
		report_map_find(&d->contexts, (struct report_key){ .a = work_context(d, work) });

	return c ? c->home_tid : 0;
}

void work_withdraw(struct trace_doctor *d, enum trace_work_kind kind, uint64_t a, uint64_t now_ns)
{
	struct trace_work *work = report_map_find(&d->work, (struct report_key){ kind, a, 0, 0 });
	const struct trace_thread *t;

	if (!work || !work->open)
		return;
	work->open = false;
	t = report_map_find(&d->threads, (struct report_key){ .a = work_home(d, work) });
	if (t && t->waits && kind != WORK_CO)
		work_check(d, t, work, now_ns, false);
}
