// SPDX-License-Identifier: MIT
/*
 * SPIN, DEAD FD and STARVED SOURCE from a recording: the verdict on a run of windows that had the
 * same cause in every turn, if there were at least two of them.
 */
#include <inttypes.h>
#include <string.h>

#include "tracer/doctor-trace-spin.h"
#include "tracer/report-words.h"

#define MIN_WINDOWS 2

static char *source_name(const struct trace_doctor *d, uint64_t addr, uint64_t cb)
{
	const struct report_source *source =
		report_map_find(&d->report->sources, (struct report_key){ .a = addr });
	char *function = report_place(d->report, cb), *text;

	text = source && source->name
		       ? g_strdup_printf("GSource \"%s\" (%s", source->name, function)
		       : g_strdup_printf("GSource 0x%" PRIx64 " (%s", addr, function);
	g_free(function);
	return text;
}

/* A descriptor that nobody drains; false if the recording cannot know whether somebody did. */
static bool say_fd(struct trace_doctor *d, uint32_t tid, const struct trace_run *run)
{
	const struct report_fd *fd =
		report_map_find(&d->report->fds, (struct report_key){ .a = run->a });
	bool gone = run->revents & (LOOP_POLL_BITS_HUP | LOOP_POLL_BITS_ERR);
	bool is_eventfd = fd && fd->kind == LOOP_FD_KIND_EVENTFD;
	char *what, *who;
	struct finding *f;

	if (run->revents & LOOP_POLL_BITS_NVAL || (!gone && !is_eventfd) ||
	    (is_eventfd && !trace_has_event(d, LOOP_EV_EVENT_NOTIFIER_CLEAR)))
		return false;
	f = trace_finding(d, gone ? "DEAD FD" : "SPIN", tid);
	what = trace_fd_name(d, (int32_t)run->a);
	who = run->cb ? trace_name(d, "handler", run->cb) : g_strdup("an unknown owner");
	f->culprit = g_strdup_printf("%s never drains %s", who, what);
	finding_say(f, "%s was ready in %" PRIu64 " of %" PRIu64 " turns", what, run->times,
		    run->turns);
	if (is_eventfd)
		finding_say(f, "nobody cleared it in that time");
	if (gone)
		finding_say(f, "poll() reports %s: the other end is gone",
			    run->revents & LOOP_POLL_BITS_HUP ? "a hang-up" : "an error");
	f->advice =
		gone ? "Nothing will come any more: remove the handler when the other end is gone."
		     : "Its callback runs and leaves the event there: let it read until EAGAIN, or "
		       "remove the handler.";
	g_free(what);
	g_free(who);
	return true;
}

static void say_bh(struct trace_doctor *d, uint32_t tid, const struct trace_run *run)
{
	struct finding *f = trace_finding(d, "SPIN", tid);
	char *name = trace_name(d, "BH", run->cb), *by = trace_name(d, "BH", run->by);

	f->culprit = run->by == run->cb ? g_strdup_printf("%s schedules itself", name)
					: g_strdup_printf("%s schedules %s each time", by, name);
	finding_say(
		f, "scheduled %" PRIu64 " times in %" PRIu64 " turns, in the callback %s each time",
		run->times, run->turns, by + strlen("BH "));
	f->advice =
		"A bottom half that waits for something must not schedule itself: let the event, "
		"or a timer, schedule it.";
	g_free(name);
	g_free(by);
}

static void say_timer(struct trace_doctor *d, uint32_t tid, const struct trace_run *run)
{
	struct finding *f = trace_finding(d, "SPIN", tid);
	char *name = trace_name(d, "timer", run->cb);

	f->culprit = g_strdup_printf("%s arms itself in the past", name);
	finding_say(f,
		    "armed in its own callback %" PRIu64 " times in %" PRIu64
		    " turns, each time for a time that had come",
		    run->times, run->turns);
	f->advice = "Compute the next expiry from the clock's now, not from the last expiry, and "
		    "later than it.";
	g_free(name);
}

static void say_source(struct trace_doctor *d, uint32_t tid, const struct trace_run *run)
{
	struct finding *f = trace_finding(d, "SPIN", tid);
	char *name = source_name(d, run->a, run->cb);
	const struct trace_source *s =
		report_map_find(&d->sources, (struct report_key){ .a = run->a });

	f->culprit = g_strdup_printf("%s) is always ready", name);
	finding_say(f, "dispatched %" PRIu64 " times in %" PRIu64 " turns", run->times, run->turns);
	if (trace_has_event(d, LOOP_EV_FD_READY))
		finding_say(f, "no descriptor was ready in more than a tenth of them");
	else if (s && s->has_fd)
		finding_say(f, "it watches a descriptor; what poll() said of that, and whether "
			       "anybody drained it, was not recorded");
	f->advice = s && s->has_fd
			    ? "Look at its descriptor while it runs: loopscope fds and loopscope "
			      "doctor, both with -p PID."
			    : "It must be ready only when there is something to be done: look at "
			      "its interval, at what its callback returns, at its prepare().";
	g_free(name);
}

static void say_starved(struct trace_doctor *d, uint32_t tid, const struct trace_run *run)
{
	const struct trace_source *s,
		*greedy = report_map_find(&d->sources, (struct report_key){ .a = run->a });
	struct finding *f = trace_finding(d, "STARVED SOURCE", tid);
	char *name = source_name(d, run->a, run->cb);
	GString *others = g_string_new(NULL);

	report_each (&d->sources, s) {
		char *other;

		if (s->gctx != greedy->gctx || s->priority <= greedy->priority ||
		    s->dispatched_ns >= run->from_ns)
			continue;
		other = report_map_find(&d->contexts, s->key) ? trace_context_name(d, s->key.a)
							      : source_name(d, s->key.a, 0);
		g_string_append_printf(others, "%s%s", others->len ? ", " : "", other);
		g_free(other);
	}
	f->culprit = g_strdup_printf("%s, priority %d) leaves %s no turn", name, greedy->priority,
				     others->str);
	finding_say(f, "it was dispatched %" PRIu64 " times in %" PRIu64 " turns", run->times,
		    run->turns);
	finding_say(f,
		    "%s were neither asked nor dispatched: only the highest ready priority gets a "
		    "turn. Whether they had something to do, the recording cannot tell",
		    others->str);
	f->advice =
		"A source that always has work needs the lowest priority, not a high one; or it "
		"has to stop being ready now and then.";
	g_string_free(others, TRUE);
	g_free(name);
}

void trace_spin_conclude(struct trace_doctor *d)
{
	struct trace_thread *t;

	report_each (&d->threads, t) {
		const struct trace_run *run = &t->spin.best;
		size_t n = d->findings->len;
		struct finding *f;
		char *from, *span;

		if (run->windows < MIN_WINDOWS || trace_has_finding(d, t->tid, "DEAD FD"))
			continue;
		switch (run->cause) {
		case CAUSE_FD:
			say_fd(d, t->tid, run);
			break;
		case CAUSE_BH:
			say_bh(d, t->tid, run);
			break;
		case CAUSE_TIMER:
			say_timer(d, t->tid, run);
			break;
		case CAUSE_SOURCE:
			say_source(d, t->tid, run);
			break;
		default:
			if (trace_has_event(d, LOOP_EV_SOURCE_PREPARE))
				say_starved(d, t->tid, run);
			else
				say_source(d, t->tid, run);
			break;
		}
		if (d->findings->len == n)
			continue;
		f = d->findings->pdata[n];
		from = trace_when(d, run->from_ns);
		span = report_duration(run->to_ns - run->from_ns);
		f->span = g_strdup_printf("%.0f turns a second, hardly one asleep",
					  (double)run->turns * 1e9 /
						  (double)(run->to_ns - run->from_ns));
		finding_say(f, "from %s on, for %s", from, span);
		g_free(from);
		g_free(span);
	}
}
