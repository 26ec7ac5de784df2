// SPDX-License-Identifier: MIT
/*
 * LOST WAKEUP from a recording: a thread slept on although there was something for it to do.
 *
 * Work that was published is remembered until it is taken: scheduled bottom halves, armed timers,
 * eventfds that were written, notifications of a context. Who takes a piece of it, or has not by
 * the end, and slept all the while, has missed it (doctor-trace-work.c). Here is which event
 * publishes, takes or withdraws what.
 */
#include "tracer/doctor-trace-work.h"

#define AS(type) ((const struct loop_##type *)event)

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

static void set_notifier(struct trace_doctor *d, struct trace_thread *t,
			 const struct loop_event_notifier_set *event)
{
	const struct trace_fd *fd =
		report_map_find(&d->fds, (struct report_key){ .a = (uint32_t)event->fd });

	if (!fd || !fd->has_handler)
		return;
	work_publish(d, t, WORK_FD, (uint32_t)event->fd, fd->ctx, 0, event->h.time_ns);
}

static void schedule(struct trace_doctor *d, struct trace_thread *t,
		     const struct loop_bh_schedule *event)
{
	if (!(event->flags & (LOOP_BH_BITS_IDLE | LOOP_BH_BITS_DELETED)))
		work_publish(d, t, WORK_BH, event->bh, event->ctx, event->cb, event->h.time_ns);
}

static void arm(struct trace_doctor *d, struct trace_thread *t, const struct loop_timer_arm *event)
{
	uint64_t in_ns = event->in_ns > 0 ? (uint64_t)event->in_ns : 0;

	work_withdraw(d, WORK_TIMER, event->timer, event->h.time_ns);
	if (event->in_ns == LOOP_NS_UNKNOWN)
		return;
	work_publish(d, t, WORK_TIMER, event->timer, event->list, event->cb,
		     event->h.time_ns + in_ns);
	t->armed_list = event->list;
}

/* Whose clock stands still, is not due; which lists are its own, is not always known. */
static void forget_timers(struct trace_doctor *d)
{
	struct trace_work *work;

	report_each (&d->work, work)
		if (work->key.a == WORK_TIMER)
			work->open = false;
}

static void notify(struct trace_doctor *d, struct trace_thread *t, const struct loop_notify *event)
{
	struct trace_context *c = trace_context(d, event->ctx);

	if (event->written)
		work_written(c, event->h.time_ns);
	/* A timer that becomes the first of its list notifies the list's context. */
	if (t->armed_list)
		trace_context(d, t->armed_list)->list_of = event->ctx;
	work_publish(d, t, WORK_NOTIFY, event->ctx, event->ctx, 0, event->h.time_ns);
	work_settle(t, event->h.time_ns);
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
		work_withdraw(d, WORK_FD, (uint32_t)AS(handler_remove)->fd, event->time_ns);
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
	work_settle(t, event->time_ns);
	switch (event->id) {
	case LOOP_EV_BH_SCHEDULE:
		schedule(d, t, AS(bh_schedule));
		break;
	case LOOP_EV_BH_BEGIN:
		seen_by(d, t, AS(bh_begin)->ctx);
		work_take(d, t, WORK_BH, AS(bh_begin)->bh);
		break;
	case LOOP_EV_BH_CANCEL:
	case LOOP_EV_BH_DELETE:
		work_withdraw(d, WORK_BH, AS(bh_cancel)->bh,
			      event->time_ns); /* of the same layout */
		break;
	case LOOP_EV_TIMER_ARM:
		arm(d, t, AS(timer_arm));
		return;
	case LOOP_EV_TIMER_DEL:
		work_withdraw(d, WORK_TIMER, AS(timer_del)->timer, event->time_ns);
		break;
	case LOOP_EV_TIMER_BEGIN:
		seen_by(d, t, AS(timer_begin)->list);
		work_take(d, t, WORK_TIMER, AS(timer_begin)->timer);
		break;
	case LOOP_EV_CLOCK_ENABLE:
		forget_timers(d);
		break;
	case LOOP_EV_EVENT_NOTIFIER_SET:
		set_notifier(d, t, AS(event_notifier_set));
		break;
	case LOOP_EV_EVENT_NOTIFIER_CLEAR:
		work_withdraw(d, WORK_FD, (uint32_t)AS(event_notifier_clear)->fd, event->time_ns);
		break;
	case LOOP_EV_FD_READY:
		work_found(d, WORK_FD, (uint32_t)AS(fd_ready)->fd);
		break;
	case LOOP_EV_HANDLER_BEGIN:
		seen_by(d, t, AS(handler_begin)->ctx);
		work_take(d, t, WORK_FD, (uint32_t)AS(handler_begin)->fd);
		break;
	case LOOP_EV_NOTIFY:
		notify(d, t, AS(notify));
		break;
	case LOOP_EV_NOTIFY_ACCEPT:
		if (AS(notify_accept)->notified)
			work_accepted(trace_context(d, AS(notify_accept)->ctx), event->time_ns);
		work_take(d, t, WORK_NOTIFY, AS(notify_accept)->ctx);
		break;
	case LOOP_EV_AIO_CO_SCHEDULE:
		work_publish(d, t, WORK_CO, AS(aio_co_schedule)->co, AS(aio_co_schedule)->ctx, 0,
			     event->time_ns);
		break;
	case LOOP_EV_AIO_CO_SCHEDULE_BH_CB:
		work_withdraw(d, WORK_CO, AS(aio_co_schedule_bh_cb)->co, event->time_ns);
		break;
	default:
		loop_event(d, t, event);
		break;
	}
	t->armed_list = 0;
}
