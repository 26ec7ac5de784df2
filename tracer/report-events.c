// SPDX-License-Identifier: MIT
/*
 * One event into the model: what begins, what ends, what is counted. Records (names, states) are in
 * report-names.c, waits in report-polls.c.
 *
 * This runs for every event of a recording, tens of millions a second: nothing here allocates but
 * the first time that a thread, callback, call site or fd is met.
 */
#include "tracer/report-model.h"

#define AS(type) ((const struct loop_##type *)event)

struct report_thread *report_thread(struct report *report, uint32_t tid)
{
	struct report_thread *thread = report->latest;

	if (thread && thread->tid == tid)
		return thread;
	thread = report_map_get(&report->threads, (struct report_key){ .a = tid });
	if (!thread->callbacks.entry_size) {
		thread->tid = tid;
		thread->watcher = report->watcher;
		thread->set_fd = -1;
		thread->callbacks.entry_size = sizeof(struct report_callback);
		thread->choosers.entry_size = sizeof(struct report_chooser);
		thread->wakeups.entry_size = sizeof(struct report_wakeup);
		thread->nested_map.entry_size = sizeof(struct report_nested);
		thread->tree.entry_size = sizeof(struct report_node);
	}
	report->latest = thread;
	return thread;
}

struct report_fd *report_fd(struct report *report, int32_t number)
{
	struct report_fd *fd =
		report_map_get(&report->fds, (struct report_key){ .a = (uint32_t)number });

	fd->fd = number;
	return fd;
}

struct report_context *report_context(struct report *report, uint64_t ctx)
{
	return report_map_get(&report->contexts, (struct report_key){ .a = ctx });
}

/* --- callbacks -------------------------------------------------------------------------------- */

struct callback_id {
	enum report_kind kind;
	uint32_t op;
	int32_t fd;
	uint64_t ctx, cb, source;
};

static struct report_callback *begin_callback(struct report_thread *thread, uint64_t now_ns,
					      uint64_t ident, const struct callback_id *id)
{
	struct report_key key = { id->cb, id->ctx,
				  (uint64_t)(uint32_t)id->fd << 32 | id->op << 8 | id->kind,
				  id->source };
	struct report_callback *callback = report_map_get(&thread->callbacks, key);
	struct report_frame frame = { .begin_ns = now_ns,
				      .ident = ident,
				      .calls = &callback->calls,
				      .entry = callback,
				      .kind = id->kind };

	callback->kind = id->kind;
	callback->op = id->op;
	callback->fd = id->fd;
	callback->ctx = id->ctx;
	callback->cb = id->cb;
	callback->source = id->source;
	report_push(thread, &frame);
	return callback;
}

static void begin_handler(struct report *report, struct report_thread *thread,
			  const struct loop_handler_begin *event)
{
	struct callback_id id = { REPORT_HANDLER, event->op, event->fd, event->ctx, event->cb, 0 };

	report_fd_handled(report, thread, event->fd, event->cb, event->op == LOOP_HANDLER_OP_WRITE);
	begin_callback(thread, event->h.time_ns, event->node, &id);
}

static void begin_timer(struct report_thread *thread, const struct loop_timer_begin *event)
{
	struct callback_id id = { REPORT_TIMER, 0, -1, event->list, event->cb, 0 };
	struct report_callback *callback =
		begin_callback(thread, event->h.time_ns, event->timer, &id);

	if (event->late_ns == LOOP_NS_UNKNOWN) {
		callback->late_unknown++;
		return;
	}
	if (!callback->late)
		callback->late = g_new0(struct report_hist, 1);
	callback->early += event->late_ns < 0;
	report_hist_add(callback->late, event->late_ns < 0 ? 0 : event->late_ns);
}

static bool in_callback(const struct report_thread *thread)
{
	for (uint32_t i = 0; i < thread->depth; i++)
		if (thread->stack[i].kind <= REPORT_NOTIFIER)
			return true;
	return false;
}

static void begin_source(struct report_thread *thread,
			 const struct loop_source_dispatch_begin *event)
{
	/* Without a callback of its own the source stands for itself: an AioContext's, say. */
	struct callback_id id = { .kind = REPORT_SOURCE,
				  .fd = -1,
				  .ctx = event->ctx,
				  .cb = event->cb ? event->cb : event->dispatch,
				  .source = event->cb ? 0 : event->source };
	/* In GLib's own loop: how long after the wait its turn comes. */
	bool waits_turn = thread->loop_kind == LOOP_LOOP_KIND_GLIB && thread->returned_ns &&
			  !in_callback(thread);
	struct report_callback *callback;

	callback = begin_callback(thread, event->h.time_ns, event->source, &id);
	if (!waits_turn)
		return;
	if (!callback->late)
		callback->late = g_new0(struct report_hist, 1);
	report_hist_add(callback->late, event->h.time_ns - thread->returned_ns);
}

/* --- all of them ------------------------------------------------------------------------------ */

static void begin(struct report_thread *thread, enum report_kind kind, uint64_t now_ns,
		  uint64_t ident)
{
	struct report_frame frame = { .begin_ns = now_ns, .ident = ident, .kind = kind };

	report_push(thread, &frame);
}

static void begin_iteration(struct report_thread *thread, const struct loop_iteration_begin *event)
{
	report_cut(thread, 0, event->h.time_ns); /* it is the outermost */
	thread->iteration_begins++;
	thread->loop_kind = event->kind;
	report_push(thread, &(struct report_frame){ .begin_ns = event->h.time_ns,
						    .ident = event->ctx,
						    .calls = &thread->iteration,
						    .kind = REPORT_ITERATION });
}

static void end_iteration(struct report_thread *thread, const struct loop_iteration_end *event)
{
	thread->iteration_ends++;
	thread->without_callback += !event->progress;
	report_pop(thread, REPORT_ITERATION, event->ctx, event->h.time_ns);
}

/* Callbacks, and what is registered for them. */
static void callback_event(struct report *report, struct report_thread *thread,
			   const struct loop_event *event)
{
	uint64_t now_ns = event->time_ns;
	struct callback_id id;

	switch (event->id) {
	case LOOP_EV_HANDLER_BEGIN:
		begin_handler(report, thread, AS(handler_begin));
		break;
	case LOOP_EV_HANDLER_END:
		report_pop(thread, REPORT_HANDLER, AS(handler_end)->node, now_ns);
		break;
	case LOOP_EV_BH_BEGIN:
		id =
			(struct callback_id){ REPORT_BH,	0, -1, AS(bh_begin)->ctx,
					      AS(bh_begin)->cb, 0 };
		begin_callback(thread, now_ns, AS(bh_begin)->bh, &id);
		break;
	case LOOP_EV_BH_END:
		report_pop(thread, REPORT_BH, AS(bh_end)->bh, now_ns);
		break;
	case LOOP_EV_TIMER_BEGIN:
		begin_timer(thread, AS(timer_begin));
		break;
	case LOOP_EV_TIMER_END:
		report_pop(thread, REPORT_TIMER, AS(timer_end)->timer, now_ns);
		break;
	case LOOP_EV_SOURCE_DISPATCH_BEGIN:
		report_source_dispatched(report, thread, AS(source_dispatch_begin)->source,
					 AS(source_dispatch_begin)->cb);
		begin_source(thread, AS(source_dispatch_begin));
		break;
	case LOOP_EV_SOURCE_DISPATCH_END:
		report_pop(thread, REPORT_SOURCE, AS(source_dispatch_end)->source, now_ns);
		break;
	case LOOP_EV_POLL_NOTIFIER_BEGIN:
		id = (struct callback_id){ REPORT_NOTIFIER,
					   AS(poll_notifier_begin)->phase,
					   -1,
					   0,
					   AS(poll_notifier_begin)->cb,
					   0 };
		begin_callback(thread, now_ns, AS(poll_notifier_begin)->notifier, &id);
		break;
	case LOOP_EV_POLL_NOTIFIER_END:
		report_pop(thread, REPORT_NOTIFIER, AS(poll_notifier_end)->notifier, now_ns);
		break;
	case LOOP_EV_HANDLER_ADD:
	case LOOP_EV_HANDLER_MODIFY: /* of the same layout, as the table says */
		report_fd_owned(report_fd(report, AS(handler_add)->fd), AS(handler_add)->io_read,
				AS(handler_add)->io_write, 0);
		break;
	case LOOP_EV_HANDLER_REMOVE:
		report_fd_given_up(report_fd(report, AS(handler_remove)->fd));
		break;
	default:
		report_record(report, event);
		break;
	}
}

/* Who wakes whom. */
static void wake_event(struct report *report, struct report_thread *thread,
		       const struct loop_event *event)
{
	switch (event->id) {
	case LOOP_EV_NOTIFY:
		if (AS(notify)->written)
			report_notify(report, thread, AS(notify)->ctx, AS(notify)->site);
		break;
	case LOOP_EV_EVENT_NOTIFIER_SET:
		report_notifier_set(report, thread, AS(event_notifier_set)->fd,
				    AS(event_notifier_set)->site);
		break;
	case LOOP_EV_EVENT_NOTIFIER_CLEAR:
		report_notifier_clear(report, AS(event_notifier_clear)->fd);
		break;
	case LOOP_EV_CONTEXT_WAKEUP:
		report_notify(report, thread, AS(context_wakeup)->ctx, AS(context_wakeup)->site);
		break;
	default:
		callback_event(report, thread, event);
		break;
	}
}

/* Iterations and all kinds of waits. */
static void loop_event(struct report *report, struct report_thread *thread,
		       const struct loop_event *event)
{
	uint64_t now_ns = event->time_ns;

	switch (event->id) {
	case LOOP_EV_ITERATION_BEGIN:
		begin_iteration(thread, AS(iteration_begin));
		break;
	case LOOP_EV_ITERATION_END:
		end_iteration(thread, AS(iteration_end));
		break;
	case LOOP_EV_AIO_POLL_ENTER:
		report_enter_aio_poll(thread, AS(aio_poll_enter));
		break;
	case LOOP_EV_AIO_POLL_EXIT:
		report_pop(thread, REPORT_AIO_POLL, AS(aio_poll_exit)->depth, now_ns);
		break;
	case LOOP_EV_TIMEOUT_CHOSEN:
		report_timeout_chosen(thread, AS(timeout_chosen));
		break;
	case LOOP_EV_POLL_ENTER:
		report_poll_enter(thread, AS(poll_enter));
		break;
	case LOOP_EV_POLL_EXIT:
		report_poll_exit(thread, AS(poll_exit));
		break;
	case LOOP_EV_FD_READY:
		report_fd_ready(report, thread, AS(fd_ready));
		break;
	case LOOP_EV_DISPATCH_BEGIN:
		begin(thread, REPORT_DISPATCH, now_ns, AS(dispatch_begin)->ctx);
		break;
	case LOOP_EV_DISPATCH_END:
		report_pop(thread, REPORT_DISPATCH, AS(dispatch_end)->ctx, now_ns);
		break;
	case LOOP_EV_RUN_POLL_HANDLERS_BEGIN:
		begin(thread, REPORT_BUSY_POLL, now_ns, AS(run_poll_handlers_begin)->ctx);
		break;
	case LOOP_EV_RUN_POLL_HANDLERS_END:
		report_pop(thread, REPORT_BUSY_POLL, AS(run_poll_handlers_end)->ctx, now_ns);
		break;
	case LOOP_EV_AIO_WAIT_ENTER:
		report_enter_aio_wait(thread, AS(aio_wait_enter));
		break;
	case LOOP_EV_AIO_WAIT_EXIT:
		report_pop(thread, REPORT_AIO_WAIT, 0, now_ns);
		break;
	case LOOP_EV_BQL_WAIT:
		report_bql_wait(report, thread, AS(bql_wait));
		break;
	case LOOP_EV_BQL_ACQUIRED:
		report_bql_acquired(report, thread, AS(bql_acquired));
		break;
	case LOOP_EV_BQL_RELEASED:
		report_bql_released(thread, now_ns);
		break;
	default:
		wake_event(report, thread, event);
		break;
	}
}

/* Events of this thread were lost between its latest event and this one, or near: what was open may
 * have ended, and its end may be that of another call. */
static void cut_at_loss(struct report_thread *thread, uint64_t lost, uint64_t now_ns)
{
	report_cut(thread, 0, now_ns);
	if (thread->watcher && thread->watcher->lost)
		thread->watcher->lost(thread->watcher->data, thread, lost - thread->gaps_seen);
	if (thread->hold)
		thread->hold->hold.unfinished++;
	thread->hold = NULL;
	thread->chosen.known = false;
	thread->returned_ns = 0;
	thread->awaits_fd = false;
	thread->gaps_seen = lost;
}

void report_event(struct report *report, const struct loop_event *event)
{
	struct report_thread *thread;

	if (report->watcher && report->watcher->event)
		report->watcher->event(report->watcher->data, event);
	report->counts[event->id]++;
	report->end_ns = event->time_ns;
	if (!event->tid) { /* the recorder */
		report_record(report, event);
		return;
	}
	thread = report_thread(report, event->tid);
	if (ctf_reader_stats(report->reader)->discarded) {
		uint64_t lost = ctf_reader_discarded(report->reader);

		if (lost != thread->gaps_seen)
			cut_at_loss(thread, lost, event->time_ns);
	}
	if (!thread->events++ && !thread->waited)
		thread->first_ns = event->time_ns;
	else if (thread->events == 1 && event->id != LOOP_EV_POLL_EXIT)
		report_wait_over(thread, event->time_ns);
	thread->last_ns = event->time_ns;
	loop_event(report, thread, event);
	thread->last_id = event->id;
}
