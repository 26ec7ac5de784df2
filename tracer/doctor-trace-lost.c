// SPDX-License-Identifier: MIT
/*
 * LOST WAKEUP from a recording: a thread slept on although there was something for it to do.
 *
 * Work that was published is remembered until it is taken: scheduled bottom halves, armed timers,
 * eventfds that were written, notifications of a context. Who takes a piece of it, or has not by
 * the end, and slept all the while, has missed it. A thread that was woken may wait for a CPU of a
 * busy host: then, and where its own timeout was right, it takes more time to be sure.
 */
#include <inttypes.h>

#include "tracer/doctor-trace.h"
#include "tracer/report-words.h"

#define AS(type) ((const struct loop_##type *)event)

static struct trace_work *work_of(struct trace_doctor *d, enum trace_work_kind kind, uint64_t a)
{
	return report_map_get(&d->work, (struct report_key){ kind, a, 0, 0 });
}

static void publish(struct trace_doctor *d, enum trace_work_kind kind, uint64_t a, uint64_t ctx,
		    uint64_t cb, uint64_t due_ns)
{
	struct trace_work *work = work_of(d, kind, a);

	if (work->open && work->due_ns <= due_ns)
		return;
	work->open = true;
	work->ctx = ctx;
	work->cb = cb;
	work->due_ns = due_ns;
}

/* --- was it missed? --------------------------------------------------------------------------- */

static uint64_t context_of(const struct trace_doctor *d, const struct trace_work *work)
{
	const struct trace_context *list =
		report_map_find(&d->contexts, (struct report_key){ .a = work->ctx });

	return work->key.a == WORK_TIMER && list && list->list_of ? list->list_of : work->ctx;
}

/* The thread slept from enter_ns on, until @until_ns. */
static void check(struct trace_doctor *d, const struct trace_thread *t,
		  const struct trace_work *work, uint64_t until_ns, bool at_end)
{
	uint64_t ctx = context_of(d, work), from_ns = MAX(work->due_ns, t->enter_ns), limit;
	const struct trace_context *c =
		report_map_find(&d->contexts, (struct report_key){ .a = ctx });
	struct trace_miss *miss;
	bool woken;

	if (!t->enter_ns || !t->timeout_ns || until_ns <= from_ns ||
	    (work->key.a == WORK_NOTIFY && !t->in_aio_poll) ||
	    (t->nested_ctx && ctx && t->nested_ctx != ctx))
		return;
	woken = c && c->write_ns > work->due_ns;
	/* Its own timeout would have ended the wait in time. */
	woken |= work->key.a == WORK_TIMER && t->timeout_ns > 0 &&
		 t->enter_ns + (uint64_t)t->timeout_ns <= work->due_ns + (uint64_t)d->min_ns / 4;
	woken |= work->key.a == WORK_FD;
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

/* The thread takes it: was it due while the thread slept? */
static void take(struct trace_doctor *d, struct trace_thread *t, enum trace_work_kind kind,
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
		check(d, t, work, t->exit_ns, false);
}

static uint32_t home_of(const struct trace_doctor *d, const struct trace_work *work)
{
	const struct trace_context *c =
		report_map_find(&d->contexts, (struct report_key){ .a = context_of(d, work) });

	return c ? c->home_tid : 0;
}

/* It is taken back: did its thread sleep up to now? */
static void withdraw(struct trace_doctor *d, enum trace_work_kind kind, uint64_t a, uint64_t now_ns)
{
	struct trace_work *work = report_map_find(&d->work, (struct report_key){ kind, a, 0, 0 });
	const struct trace_thread *t;

	if (!work || !work->open)
		return;
	work->open = false;
	t = report_map_find(&d->threads, (struct report_key){ .a = home_of(d, work) });
	if (t && t->waits && kind != WORK_CO)
		check(d, t, work, now_ns, false);
}

/* --- events ----------------------------------------------------------------------------------- */

static struct trace_context *seen_by(struct trace_doctor *d, const struct trace_thread *t,
				     uint64_t ctx)
{
	struct trace_context *c = trace_context(d, ctx);

	if (!c->is_home)
		c->home_tid = t->tid;
	return c;
}

static void note_poll(struct trace_doctor *d, struct trace_thread *t,
		      const struct loop_poll_enter *event)
{
	struct trace_context *c =
		report_map_find(&d->contexts, (struct report_key){ .a = event->ctx });

	if (c && event->timeout_ns && !t->nested_ctx) {
		c->is_home = true;
		c->home_tid = t->tid;
	}
	t->waits = true;
	t->enter_ns = event->h.time_ns;
	t->exit_ns = 0;
	t->timeout_ns = event->timeout_ns;
	t->poll_ctx = event->ctx;
	t->n_fds = event->n_fds;
	/* A GMainContext is no context of ours: its polls are GLib's. */
	t->in_aio_poll = c != NULL;
}

static void note_handler(struct trace_doctor *d, const struct loop_handler_add *event)
{
	struct trace_fd *fd =
		report_map_get(&d->fds, (struct report_key){ .a = (uint32_t)event->fd });

	trace_context(d, event->ctx);
	fd->ctx = event->ctx;
	fd->has_handler = true;
}

static void set_notifier(struct trace_doctor *d, const struct loop_event_notifier_set *event)
{
	const struct trace_fd *fd =
		report_map_find(&d->fds, (struct report_key){ .a = (uint32_t)event->fd });

	if (!fd || !fd->has_handler)
		return;
	publish(d, WORK_FD, (uint32_t)event->fd, fd->ctx, 0, event->h.time_ns);
}

static void schedule(struct trace_doctor *d, const struct loop_bh_schedule *event)
{
	if (!(event->flags & (LOOP_BH_BITS_IDLE | LOOP_BH_BITS_DELETED)))
		publish(d, WORK_BH, event->bh, event->ctx, event->cb, event->h.time_ns);
}

static void arm(struct trace_doctor *d, struct trace_thread *t, const struct loop_timer_arm *event)
{
	uint64_t in_ns = event->in_ns > 0 ? (uint64_t)event->in_ns : 0;

	withdraw(d, WORK_TIMER, event->timer, event->h.time_ns);
	if (event->in_ns == LOOP_NS_UNKNOWN)
		return;
	publish(d, WORK_TIMER, event->timer, event->list, event->cb, event->h.time_ns + in_ns);
	t->armed_list = event->list;
}

/* Whose clock stands still, is not due; which lists are its own, is not always known. */
static void forget_timers(struct trace_doctor *d)
{
	struct trace_work *work;

	report_each(&d->work, work) if (work->key.a == WORK_TIMER) work->open = false;
}

static void notify(struct trace_doctor *d, const struct trace_thread *t,
		   const struct loop_notify *event)
{
	struct trace_context *c = trace_context(d, event->ctx);

	if (event->written)
		c->write_ns = event->h.time_ns;
	/* A timer that becomes the first of its list notifies the list's context. */
	if (t->armed_list)
		trace_context(d, t->armed_list)->list_of = event->ctx;
	publish(d, WORK_NOTIFY, event->ctx, event->ctx, 0, event->h.time_ns);
}

static void loop_event(struct trace_doctor *d, struct trace_thread *t,
		       const struct loop_event *event)
{
	switch (event->id) {
	case LOOP_EV_POLL_ENTER:
		note_poll(d, t, AS(poll_enter));
		break;
	case LOOP_EV_POLL_EXIT:
		t->waits = false;
		t->exit_ns = event->time_ns;
		break;
	case LOOP_EV_AIO_POLL_ENTER:
		t->nested_ctx = AS(aio_poll_enter)->ctx;
		break;
	case LOOP_EV_AIO_POLL_EXIT:
		t->nested_ctx = 0;
		break;
	case LOOP_EV_CONTEXT_NEW:
		trace_context(d, AS(context_new)->ctx);
		break;
	case LOOP_EV_HANDLER_ADD:
		note_handler(d, AS(handler_add));
		break;
	case LOOP_EV_HANDLER_REMOVE:
		withdraw(d, WORK_FD, (uint32_t)AS(handler_remove)->fd, event->time_ns);
		((struct trace_fd *)report_map_get(
			 &d->fds, (struct report_key){ .a = (uint32_t)AS(handler_remove)->fd }))
			->has_handler = false;
		break;
	default:
		break;
	}
}

void trace_lost_event(struct trace_doctor *d, struct trace_thread *t,
		      const struct loop_event *event)
{
	switch (event->id) {
	case LOOP_EV_BH_SCHEDULE:
		schedule(d, AS(bh_schedule));
		break;
	case LOOP_EV_BH_BEGIN:
		seen_by(d, t, AS(bh_begin)->ctx);
		take(d, t, WORK_BH, AS(bh_begin)->bh);
		break;
	case LOOP_EV_BH_CANCEL:
	case LOOP_EV_BH_DELETE:
		withdraw(d, WORK_BH, AS(bh_cancel)->bh, event->time_ns); /* of the same layout */
		break;
	case LOOP_EV_TIMER_ARM:
		arm(d, t, AS(timer_arm));
		return;
	case LOOP_EV_TIMER_DEL:
		withdraw(d, WORK_TIMER, AS(timer_del)->timer, event->time_ns);
		break;
	case LOOP_EV_TIMER_BEGIN:
		seen_by(d, t, AS(timer_begin)->list);
		take(d, t, WORK_TIMER, AS(timer_begin)->timer);
		break;
	case LOOP_EV_CLOCK_ENABLE:
		forget_timers(d);
		break;
	case LOOP_EV_EVENT_NOTIFIER_SET:
		set_notifier(d, AS(event_notifier_set));
		break;
	case LOOP_EV_EVENT_NOTIFIER_CLEAR:
		withdraw(d, WORK_FD, (uint32_t)AS(event_notifier_clear)->fd, event->time_ns);
		break;
	case LOOP_EV_FD_READY:
		take(d, t, WORK_FD, (uint32_t)AS(fd_ready)->fd);
		break;
	case LOOP_EV_HANDLER_BEGIN:
		seen_by(d, t, AS(handler_begin)->ctx);
		take(d, t, WORK_FD, (uint32_t)AS(handler_begin)->fd);
		break;
	case LOOP_EV_NOTIFY:
		notify(d, t, AS(notify));
		break;
	case LOOP_EV_NOTIFY_ACCEPT:
		take(d, t, WORK_NOTIFY, AS(notify_accept)->ctx);
		break;
	case LOOP_EV_AIO_CO_SCHEDULE:
		publish(d, WORK_CO, AS(aio_co_schedule)->co, AS(aio_co_schedule)->ctx, 0,
			event->time_ns);
		break;
	case LOOP_EV_AIO_CO_SCHEDULE_BH_CB:
		withdraw(d, WORK_CO, AS(aio_co_schedule_bh_cb)->co, event->time_ns);
		break;
	default:
		loop_event(d, t, event);
		break;
	}
	t->armed_list = 0;
}

/* --- verdict ---------------------------------------------------------------------------------- */

static char *describe(const struct trace_doctor *d, const struct trace_miss *miss)
{
	char *ctx = trace_context_name(d, miss->work.ctx), *what, *text;

	switch (miss->work.key.a) {
	case WORK_BH:
		what = trace_name(d, "BH", miss->work.cb);
		break;
	case WORK_TIMER:
		what = trace_name(d, "timer", miss->work.cb);
		break;
	case WORK_FD:
		what = trace_fd_name(d, (int32_t)miss->work.key.b);
		break;
	default:
		what = g_strdup("a notification");
		break;
	}
	text = g_strdup_printf("%s of %s", what, ctx);
	g_free(what);
	g_free(ctx);
	return text;
}

static const char *proof_of(const struct trace_miss *miss)
{
	switch (miss->work.key.a) {
	case WORK_BH:
		return "was scheduled";
	case WORK_TIMER:
		return "was due";
	case WORK_FD:
		return "was to be watched, or written to";
	default:
		return "was given, with its notified flag";
	}
}

static const char *advice_for(const struct trace_miss *miss)
{
	switch (miss->work.key.a) {
	case WORK_TIMER:
		return "Whoever armed it has to wake the loop when it becomes the first: look at the "
		       "list's notify callback, and at who else accepts the context's notifications.";
	case WORK_FD:
		return "Was it added while the context changed its fd monitor? Adding another handler, "
		       "or removing this one and adding it again, wakes the loop.";
	default:
		return "Work was published and the loop not woken: look for a missing barrier, or a "
		       "missing aio_notify(), between publishing and reading notify_me.";
	}
}

/* The best proof first: what was due, before the notification of it. */
static struct trace_miss *first_miss(struct trace_doctor *d, uint32_t tid)
{
	struct trace_miss *miss, *best = NULL;

	report_each(&d->misses, miss)
	{
		/* Where not all is recorded, a descriptor may have been drained unseen. */
		if (miss->key.a != tid ||
		    (!trace_is_complete(d) && (miss->key.b == WORK_FD || !miss->work.was_taken)))
			continue;
		if (!best || miss->key.b < best->key.b ||
		    (miss->key.b == best->key.b && miss->ns > best->ns))
			best = miss;
	}
	return best;
}

static void say(struct trace_doctor *d, const struct trace_miss *miss)
{
	char *what = describe(d, miss), *slept = report_duration(miss->ns),
	     *enter = trace_when(d, miss->enter_ns), *due = trace_when(d, miss->work.due_ns),
	     *timeout = miss->timeout_ns < 0 ? g_strdup("for ever")
					     : report_duration((uint64_t)miss->timeout_ns);
	struct finding *f = trace_finding(d, "LOST WAKEUP", (uint32_t)miss->key.a);

	f->span = g_strdup_printf("asleep with work to do for %s", slept);
	f->culprit = g_strdup(what);
	finding_say(f, "the thread slept from %s on, timeout %s%s", enter, timeout,
		    miss->at_end ? ", until the recording ended" : "");
	finding_say(f, "%s %s at %s: it slept on for %s", what, proof_of(miss), due, slept);
	if (miss->times > 1)
		finding_say(f, "the same happened %d times", miss->times);
	f->advice = advice_for(miss);
	g_free(what);
	g_free(slept);
	g_free(enter);
	g_free(due);
	g_free(timeout);
}

/* Who runs the context of this work: told by the recorder, or seen. */
static uint32_t home_at_end(const struct trace_doctor *d, const struct trace_work *work)
{
	const struct report_context *told = report_map_find(
		&d->report->contexts, (struct report_key){ .a = context_of(d, work) });

	return told && told->home_tid ? told->home_tid : home_of(d, work);
}

void trace_lost_conclude(struct trace_doctor *d)
{
	struct trace_thread *t;
	const struct trace_work *work;

	report_each(&d->work, work)
	{
		bool known = work->was_taken || trace_is_complete(d);
		uint32_t home =
			work->open && known && work->key.a != WORK_CO ? home_at_end(d, work) : 0;

		t = home ? report_map_find(&d->threads, (struct report_key){ .a = home }) : NULL;
		if (t && t->waits)
			check(d, t, work, d->report->end_ns, true);
	}
	report_each(&d->threads, t)
	{
		const struct trace_miss *miss = first_miss(d, t->tid);

		if (miss)
			say(d, miss);
	}
}
