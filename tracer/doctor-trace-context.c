// SPDX-License-Identifier: MIT
/*
 * WRONG CONTEXT from a recording: bottom halves were scheduled in a context that no thread runs.
 *
 * It is said of a context whose whole life, or whose IOThread's end, is recorded, so that a thread
 * which runs it would have been seen to do so; hence only of a program that carries all probes. A
 * thread that has just been created may wait for a CPU of a busy host, so it takes time to be sure.
 */
#include <inttypes.h>

#include "tracer/doctor-trace.h"
#include "tracer/report-words.h"

#define AS(type) ((const struct loop_##type *)event)

static void forget(struct trace_doctor *d, uint64_t ctx)
{
	struct trace_orphan *o;

	report_each (&d->orphans, o)
		if (o->key.a == ctx)
			o->times = 0;
}

/* Somebody runs it: what was scheduled there is no orphan. */
static void note_run(struct trace_doctor *d, uint64_t ctx)
{
	struct trace_context *c = trace_context(d, ctx);

	if (!c->is_run)
		forget(d, ctx);
	c->is_run = true;
}

/* Another one may have been at the same address. */
static void note_new(struct trace_doctor *d, uint64_t ctx)
{
	struct trace_context *c = trace_context(d, ctx);

	forget(d, ctx);
	c->is_new = true;
	c->is_run = c->has_ended = false;
}

static struct trace_orphan *orphan(struct trace_doctor *d, uint64_t ctx, uint64_t cb)
{
	return report_map_get(&d->orphans, (struct report_key){ .a = ctx, .b = cb });
}

static void note_schedule(struct trace_doctor *d, const struct trace_thread *t,
			  const struct loop_bh_schedule *event)
{
	struct trace_orphan *o;

	if (event->flags & (LOOP_BH_BITS_IDLE | LOOP_BH_BITS_DELETED) ||
	    trace_context(d, event->ctx)->is_run)
		return;
	o = orphan(d, event->ctx, event->cb);
	if (!o->times++)
		o->since_ns = event->h.time_ns;
	o->tid = t->tid;
	o->withdrawn_ns = 0;
}

static void note_iothread(struct trace_doctor *d, const struct loop_iothread_state *event)
{
	struct trace_context *c = trace_context(d, event->ctx);

	if (event->phase == LOOP_IOTHREAD_PHASE_POLLING || event->phase == LOOP_IOTHREAD_PHASE_GLIB)
		note_run(d, event->ctx);
	if (event->phase != LOOP_IOTHREAD_PHASE_STOPPED)
		return;
	c->is_run = false;
	c->has_ended = true;
}

void trace_context_event(struct trace_doctor *d, const struct trace_thread *t,
			 const struct loop_event *event)
{
	switch (event->id) {
	case LOOP_EV_CONTEXT_NEW:
		note_new(d, AS(context_new)->ctx);
		break;
	case LOOP_EV_IOTHREAD_STATE:
		note_iothread(d, AS(iothread_state));
		break;
	case LOOP_EV_BH_SCHEDULE:
		note_schedule(d, t, AS(bh_schedule));
		break;
	case LOOP_EV_BH_CANCEL:
	case LOOP_EV_BH_DELETE:
		orphan(d, AS(bh_cancel)->ctx, AS(bh_cancel)->cb)->withdrawn_ns = event->time_ns;
		break;
	case LOOP_EV_BH_BEGIN:
		note_run(d, AS(bh_begin)->ctx);
		break;
	case LOOP_EV_HANDLER_BEGIN:
		note_run(d, AS(handler_begin)->ctx);
		break;
	case LOOP_EV_NOTIFY_ACCEPT:
		note_run(d, AS(notify_accept)->ctx);
		break;
	case LOOP_EV_NOTIFY_ME:
		note_run(d, AS(notify_me)->ctx);
		break;
	default:
		break;
	}
}

static void say(struct trace_doctor *d, const struct trace_orphan *o, uint64_t ns, bool has_ended)
{
	char *bh = trace_name(d, "BH", o->key.b), *ctx = trace_context_name(d, o->key.a),
	     *length = report_duration(ns), *when = trace_when(d, o->since_ns);
	struct finding *f = trace_finding(d, "WRONG CONTEXT", o->tid);

	f->span = g_strdup_printf("for at least %s", length);
	f->culprit = g_strdup_printf("%s waits in %s, which no thread runs", bh, ctx);
	finding_say(f, "%s",
		    has_ended ? "its IOThread had ended, and nobody ran it afterwards"
			      : "nobody has run it since it was made");
	finding_say(f,
		    "the bottom half was scheduled %" PRIu64 " time%s, from %s on, and never "
		    "called",
		    o->times, o->times == 1 ? "" : "s", when);
	f->advice = ORPHAN_ADVICE;
	g_free(bh);
	g_free(ctx);
	g_free(length);
	g_free(when);
}

void trace_context_conclude(struct trace_doctor *d)
{
	const struct trace_orphan *o;

	if (!trace_is_complete(d) ||
	    d->report->provenance[LOOP_EV_BH_BEGIN] == LOOP_PROVENANCE_ABSENT ||
	    d->report->provenance[LOOP_EV_IOTHREAD_STATE] == LOOP_PROVENANCE_ABSENT)
		return;
	report_each (&d->orphans, o) {
		const struct trace_context *c =
			report_map_find(&d->contexts, (struct report_key){ .a = o->key.a });
		uint64_t until_ns = o->withdrawn_ns ? o->withdrawn_ns : d->report->end_ns;

		if (o->times && c && !c->is_run && (c->is_new || c->has_ended) &&
		    until_ns - o->since_ns >= (uint64_t)d->min_ns * TRACE_BUSY &&
		    !trace_has_finding(d, o->tid, "WRONG CONTEXT"))
			say(d, o, until_ns - o->since_ns, c->has_ended);
	}
}
