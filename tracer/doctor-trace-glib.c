// SPDX-License-Identifier: MIT
/*
 * NESTED WAIT and HANDLER LEAK of GLib's own loop, from a recording.
 *
 * A source's callback that spends most of a long time in waits, and in which the phases of another
 * iteration were seen, runs a loop of its own. Where this GLib shows no phases, a poll() of the
 * callback's own looks the same: then it is a call that blocks, and what in is left open.
 *
 * A leak is sources of one callback that are attached all along and never go: with a descriptor,
 * and never called; or without one, and called and kept.
 */
#include <inttypes.h>
#include <string.h>

#include "tracer/doctor-trace.h"
#include "tracer/report-words.h"

#define AS(type) ((const struct loop_##type *)event)

#define OFTEN	    4  /* one call in so many was long */
#define SAME	    10 /* times the limit, where both loops run one context */
#define WINDOW_NS   (100 * 1000000ULL)
#define MIN_ADDED   6
#define MIN_WINDOWS 4

/* --- waits in callbacks ----------------------------------------------------------------------- */

/* The outermost source's callback that the thread is in; NULL also below an aio_poll(). */
static const struct report_frame *outermost(const struct report_thread *model)
{
	for (uint32_t i = 0; i < model->depth; i++) {
		if (model->stack[i].kind == REPORT_SOURCE)
			return &model->stack[i];
		if (model->stack[i].kind == REPORT_AIO_POLL)
			return NULL;
	}
	return NULL;
}

/* What was seen of the callback that began then, in this thread. */
static struct trace_glib_call *call_of(struct trace_thread *t, const struct report_frame *frame)
{
	if (t->glib.begin_ns != frame->begin_ns)
		t->glib = (struct trace_glib_call){ .begin_ns = frame->begin_ns };
	return &t->glib;
}

static void end_callback(struct trace_doctor *d, struct trace_thread *t,
			 const struct report_thread *model, const struct report_frame *frame,
			 uint64_t now_ns, bool open)
{
	const struct trace_glib_call *call = &t->glib;
	uint64_t ns = now_ns - frame->begin_ns;
	struct trace_glib_wait *wait;

	if (call->begin_ns != frame->begin_ns || call->wait_ns * 2 < ns ||
	    ns < (uint64_t)d->min_ns * (call->same ? SAME : 1))
		return;
	wait = report_map_get(
		&d->glib_waits,
		(struct report_key){ (uint64_t)(uintptr_t)frame->entry, t->tid, 0, 0 });
	wait->times++;
	if (ns < wait->longest_ns)
		return;
	wait->callback = frame->entry;
	wait->tid = model->tid;
	wait->longest_ns = ns;
	wait->begin_ns = frame->begin_ns;
	wait->open = open;
	wait->call = *call;
}

void trace_glib_end(struct trace_doctor *d, struct trace_thread *t,
		    const struct report_thread *model, const struct report_frame *frame,
		    uint64_t now_ns, enum report_ending ending)
{
	const struct report_frame *outer = outermost(model);

	if (frame->kind == REPORT_NESTED_POLL && outer) {
		struct trace_glib_call *call = call_of(t, outer);

		call->wait_ns += now_ns - frame->begin_ns;
		call->waits++;
	} else if (frame->kind == REPORT_SOURCE && (!outer || outer->begin_ns >= frame->begin_ns)) {
		end_callback(d, t, model, frame, now_ns, ending == REPORT_OPEN);
	}
}

static bool is_sure(const struct trace_doctor *d, const struct trace_glib_wait *wait,
		    uint64_t calls)
{
	uint64_t limit = (uint64_t)d->min_ns;

	return (wait->times >= 2 && (uint64_t)wait->times * OFTEN >= calls) ||
	       wait->longest_ns >= limit * TRACE_ONCE ||
	       (wait->open && wait->longest_ns >= limit * 2);
}

static void say_wait(struct trace_doctor *d, const struct trace_glib_wait *wait)
{
	const struct report_callback *callback = wait->callback;
	uint64_t calls = callback->calls.ns.count + callback->calls.unfinished;
	char *name, *longest, *when, *inner;
	struct finding *f;

	if (!is_sure(d, wait, calls) || trace_has_finding(d, wait->tid, NULL))
		return;
	name = trace_callback_name(d, callback);
	longest = report_duration(wait->longest_ns);
	when = trace_when(d, wait->begin_ns);
	f = trace_finding(d, wait->call.inner ? "NESTED WAIT" : "BLOCKED CALLBACK", wait->tid);
	f->span = g_strdup_printf("for %s%s", wait->open ? "at least " : "", longest);
	f->culprit = wait->call.inner ? g_strdup_printf("%s waits in a loop of its own", name)
				      : g_strdup(name);
	finding_say(f, "%d of %" PRIu64 " calls took that long; the longest %s, from %s on%s",
		    wait->times, calls, longest, when,
		    wait->open ? ", and the recording ended in it" : "");
	finding_say(f, "it spent %.0f %% of that in %u wait%s inside of the callback",
		    100.0 * (double)wait->call.wait_ns / (double)wait->longest_ns, wait->call.waits,
		    wait->call.waits == 1 ? "" : "s");
	if (wait->call.inner) {
		inner = trace_context_name(d, wait->call.inner);
		finding_say(f,
			    wait->call.same
				    ? "the nested loop runs %s too: its other sources go on, what "
				      "waits for this callback does not"
				    : "the nested loop runs %s: what this thread runs otherwise "
				      "has no turn meanwhile",
			    inner);
		g_free(inner);
	} else {
		finding_say(f,
			    "in a loop of its own or a poll() of its own: this recording does not "
			    "show which");
	}
	f->advice = "A callback must not wait for an event: begin the operation, return, and go on "
		    "in the callback of what it waits for.";
	g_free(name);
	g_free(longest);
	g_free(when);
}

/* --- sources that pile up --------------------------------------------------------------------- */

static void gone(struct trace_source *s)
{
	if (s->group)
		s->group->gone++;
	s->group = NULL;
	s->calls = 0;
	s->has_fd = false;
}

static void attached(struct trace_doctor *d, struct trace_thread *t,
		     const struct loop_source_attach *event)
{
	struct trace_source *s =
		report_map_get(&d->sources, (struct report_key){ .a = event->source });
	uint64_t called = event->cb ? event->cb : event->dispatch;
	struct trace_glib_group *group =
		report_map_get(&d->glib_groups, (struct report_key){ event->ctx, called, 0, 0 });
	uint64_t window = event->h.time_ns / WINDOW_NS;
	bool has_fd = s->has_fd;

	if (s->group) /* it went, and that was not seen; its memory is another's now */
		gone(s);
	if (!group->added++)
		group->first_ns = event->h.time_ns;
	group->windows += group->window != window;
	group->window = window;
	group->last_ns = event->h.time_ns;
	group->with_fd += has_fd;
	group->tid = t->tid;
	s->group = group;
	s->has_fd = has_fd;
}

void trace_glib_event(struct trace_doctor *d, struct trace_thread *t,
		      const struct loop_event *event)
{
	const struct report_frame *outer;
	struct trace_source *s;

	switch (event->id) {
	case LOOP_EV_QUERY:
		outer = t->model ? outermost(t->model) : NULL;
		if (!outer)
			break;
		call_of(t, outer)->inner = AS(query)->ctx;
		s = report_map_find(&d->sources, (struct report_key){ .a = outer->ident });
		call_of(t, outer)->same = s && s->gctx == AS(query)->ctx;
		break;
	case LOOP_EV_SOURCE_ADD_FD:
		s = report_map_get(&d->sources,
				   (struct report_key){ .a = AS(source_add_fd)->source });
		s->has_fd = true;
		break;
	case LOOP_EV_SOURCE_ATTACH:
		attached(d, t, AS(source_attach));
		break;
	case LOOP_EV_SOURCE_DESTROY:
		gone(report_map_get(&d->sources,
				    (struct report_key){ .a = AS(source_destroy)->source }));
		break;
	case LOOP_EV_SOURCE_DISPATCH_BEGIN:
		s = report_map_get(&d->sources,
				   (struct report_key){ .a = AS(source_dispatch_begin)->source });
		if (s->group)
			s->group->called += !s->calls++;
		break;
	case LOOP_EV_SOURCE_DISPATCH_END:
		if (!AS(source_dispatch_end)->again)
			gone(report_map_get(
				&d->sources,
				(struct report_key){ .a = AS(source_dispatch_end)->source }));
		break;
	default:
		break;
	}
}

/* The recorder says which events it was told to leave out. */
static bool is_left_out(const struct trace_doctor *d, unsigned id)
{
	return !d->report->counts[id] && d->report->provenance[id] == LOOP_PROVENANCE_ABSENT;
}

static bool is_leak(const struct trace_doctor *d, const struct trace_glib_group *group)
{
	const struct ctf_reader_stats *stats = ctf_reader_stats(d->report->reader);

	if (group->gone || group->added < MIN_ADDED || group->windows < MIN_WINDOWS ||
	    stats->discarded || is_left_out(d, LOOP_EV_SOURCE_DESTROY) ||
	    is_left_out(d, LOOP_EV_SOURCE_DISPATCH_BEGIN) ||
	    is_left_out(d, LOOP_EV_SOURCE_DISPATCH_END))
		return false;
	return group->with_fd == group->added ? !group->called : group->called * 2 >= group->added;
}

static void say_leak(struct trace_doctor *d, const struct trace_glib_group *group)
{
	const struct report_context *c =
		report_map_find(&d->report->contexts, (struct report_key){ .a = group->key.a });
	char *ctx = trace_context_name(d, group->key.a),
	     *name = report_place(d->report, group->key.b),
	     *span = report_duration(group->last_ns - group->first_ns);
	struct finding *f =
		trace_finding(d, "HANDLER LEAK", c && c->home_tid ? c->home_tid : group->tid);

	f->span = g_strdup_printf("%" PRIu64 " more in %s", group->added, span);
	f->culprit = g_strdup_printf("more and more sources of callback %s in %s", name, ctx);
	finding_say(f, "%" PRIu64 " were attached, in %d spans of %d ms, and none was destroyed",
		    group->added, group->windows, (int)(WINDOW_NS / 1000000));
	if (group->called)
		finding_say(f, "%" PRIu64 " of them have been called and stay", group->called);
	else
		finding_say(f, "each watches a descriptor, and none of them was called");
	f->advice = "Who attaches it has to destroy it when it is of no use any more "
		    "(g_source_remove(), or G_SOURCE_REMOVE): look for the path that does not.";
	g_free(ctx);
	g_free(name);
	g_free(span);
}

void trace_glib_conclude(struct trace_doctor *d)
{
	const struct trace_glib_wait *wait;
	const struct trace_glib_group *group;

	/* In a QEMU's, a source may be an AioContext, whose callbacks and waits are told by
	 * themselves. */
	if (!trace_glib_only(d))
		return;
	report_each (&d->glib_waits, wait)
		say_wait(d, wait);
	report_each (&d->glib_groups, group)
		if (is_leak(d, group))
			say_leak(d, group);
}

/* --- what kind of program it is --------------------------------------------------------------- */

bool trace_glib_only(const struct trace_doctor *d)
{
	const struct report_context *c;
	bool glib = false;

	report_each (&d->report->contexts, c) {
		if (c->kind != LOOP_CONTEXT_KIND_GLIB && c->kind != LOOP_CONTEXT_KIND_UNKNOWN)
			return false;
		glib |= c->kind == LOOP_CONTEXT_KIND_GLIB;
	}
	return glib;
}
