// SPDX-License-Identifier: MIT
/*
 * SPIN, DEAD FD and STARVED SOURCE from a recording: what each turn of a loop has that could be why
 * it does not sleep, counted in windows (doctor-trace-cause.c).
 */
#include "tracer/doctor-trace-spin.h"

#define SLEPT_NS   50000 /* a poll of that length was asleep */
#define AT_ONCE_NS 1000	 /* armed for that soon, it has come before anybody looks */

#define AS(type) ((const struct loop_##type *)event)

void trace_spin_lost(struct trace_thread *t)
{
	/* What was lost were whole packets: what is left shows whole turns, but for one. */
	t->spin.polls -= t->spin.polls > t->spin.iterations;
}

static void count_schedule(struct trace_thread *t, const struct loop_bh_schedule *event)
{
	const struct report_frame *frame = trace_callback(t);
	const struct report_callback *by = frame ? frame->entry : NULL;
	struct trace_counter *c;

	if (!by || frame->kind != REPORT_BH)
		return;
	c = spin_counter(t, CAUSE_BH, event->cb, event->ctx);
	c->n++;
	c->cb = event->cb;
	c->by = by->cb;
}

static void count_arm(struct trace_thread *t, const struct loop_timer_arm *event)
{
	const struct report_frame *frame = trace_callback(t);
	struct trace_counter *c;

	if (!frame || frame->kind != REPORT_TIMER || frame->ident != event->timer ||
	    event->in_ns == LOOP_NS_UNKNOWN || event->in_ns > AT_ONCE_NS)
		return;
	c = spin_counter(t, CAUSE_TIMER, event->cb, event->list);
	c->n++;
	c->cb = event->cb;
}

static void count_source(struct trace_doctor *d, struct trace_thread *t,
			 const struct loop_source_dispatch_begin *event)
{
	struct trace_source *s =
		report_map_get(&d->sources, (struct report_key){ .a = event->source });
	struct trace_counter *c;

	s->dispatched_ns = event->h.time_ns;
	if (!s->attached) {
		s->gctx = event->ctx;
		s->priority = event->priority;
	}
	for (int cause = CAUSE_STARVES; cause <= CAUSE_SOURCE;
	     cause += CAUSE_SOURCE - CAUSE_STARVES) {
		/* An AioContext's dispatch is no event: what it calls is counted. */
		if (report_map_find(&d->contexts, (struct report_key){ .a = event->source }))
			return;
		c = spin_counter(t, cause, event->source, 0);
		c->n++;
		c->cb = event->cb ? event->cb : event->dispatch;
	}
}

static void note_source(struct trace_doctor *d, const struct loop_event *event)
{
	struct trace_source *s;
	uint64_t addr = event->id == LOOP_EV_SOURCE_PREPARE ? AS(source_prepare)->source
							    : AS(source_attach)->source;

	if (event->id == LOOP_EV_SOURCE_DESTROY)
		addr = AS(source_destroy)->source;
	s = report_map_get(&d->sources, (struct report_key){ .a = addr });
	if (event->id == LOOP_EV_SOURCE_ATTACH) {
		s->attached = true;
		s->gctx = AS(source_attach)->ctx;
		s->priority = AS(source_attach)->priority;
	} else if (event->id == LOOP_EV_SOURCE_DESTROY) {
		s->attached = false;
	}
	s->asked_ns = event->time_ns;
}

void trace_spin_record(struct trace_doctor *d, const struct loop_event *event)
{
	struct trace_source *s;

	if (event->id == LOOP_EV_CONTEXT)
		trace_context(d, AS(context)->ctx);
	if (event->id == LOOP_EV_FD_STATE && AS(fd_state)->owner) {
		s = report_map_get(&d->sources, (struct report_key){ .a = AS(fd_state)->owner });
		s->has_fd = true;
	}
	if (event->id != LOOP_EV_SOURCE_STATE)
		return;
	s = report_map_get(&d->sources, (struct report_key){ .a = AS(source_state)->source });
	s->attached = true;
	s->gctx = AS(source_state)->ctx;
	s->priority = AS(source_state)->priority;
}

static void count_ready(struct trace_thread *t, int32_t fd, uint32_t revents)
{
	struct trace_counter *c = spin_counter(t, CAUSE_FD, (uint32_t)fd, 0);

	c->n++;
	c->revents |= revents;
}

void trace_spin_event(struct trace_doctor *d, struct trace_thread *t,
		      const struct loop_event *event)
{
	struct trace_spin *s = &t->spin;

	switch (event->id) {
	case LOOP_EV_ITERATION_BEGIN:
		spin_turn(d, t, event->time_ns);
		s->iterations++;
		break;
	case LOOP_EV_POLL_ENTER:
		spin_turn(d, t, event->time_ns);
		s->polls++;
		break;
	case LOOP_EV_POLL_EXIT:
		s->found += AS(poll_exit)->ret > 0;
		s->slept += t->enter_ns && t->timeout_ns && event->time_ns - t->enter_ns > SLEPT_NS;
		break;
	case LOOP_EV_FD_READY:
		count_ready(t, AS(fd_ready)->fd, AS(fd_ready)->revents);
		break;
	case LOOP_EV_EVENT_NOTIFIER_CLEAR:
		spin_counter(t, CAUSE_FD, (uint32_t)AS(event_notifier_clear)->fd, 0)->drained++;
		break;
	case LOOP_EV_HANDLER_BEGIN:
		spin_counter(t, CAUSE_FD, (uint32_t)AS(handler_begin)->fd, 0)->cb =
			AS(handler_begin)->cb;
		break;
	case LOOP_EV_BH_SCHEDULE:
		count_schedule(t, AS(bh_schedule));
		break;
	case LOOP_EV_TIMER_ARM:
		count_arm(t, AS(timer_arm));
		break;
	case LOOP_EV_SOURCE_DISPATCH_BEGIN:
		count_source(d, t, AS(source_dispatch_begin));
		break;
	case LOOP_EV_SOURCE_ATTACH:
	case LOOP_EV_SOURCE_DESTROY:
	case LOOP_EV_SOURCE_PREPARE:
		note_source(d, event);
		break;
	default:
		break;
	}
}

void trace_spin_called(struct trace_thread *t, const struct report_frame *frame, uint64_t ns)
{
	const struct report_callback *callback = frame->entry;
	struct trace_counter *c;

	if (frame->kind == REPORT_BH)
		c = spin_counter(t, CAUSE_BH, callback->cb, callback->ctx);
	else if (frame->kind == REPORT_SOURCE)
		c = spin_counter(t, CAUSE_SOURCE, frame->ident, 0);
	else
		return;
	c->calls++;
	c->ns += ns;
}
