// SPDX-License-Identifier: MIT
/* LOST WAKEUP from a recording: of what each thread missed, the verdict on the best proof. */
#include "tracer/doctor-trace-work.h"
#include "tracer/report-words.h"

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

	report_each (&d->misses, miss) {
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
		&d->report->contexts, (struct report_key){ .a = work_context(d, work) });

	return told && told->home_tid ? told->home_tid : work_home(d, work);
}

void trace_lost_conclude(struct trace_doctor *d)
{
	struct trace_thread *t;
	const struct trace_work *work;

	report_each (&d->work, work) {
		bool known = work->was_taken || trace_is_complete(d);
		uint32_t home =
			work->open && known && work->key.a != WORK_CO ? home_at_end(d, work) : 0;

		t = home ? report_map_find(&d->threads, (struct report_key){ .a = home }) : NULL;
		if (t && t->waits)
			work_check(d, t, work, d->report->end_ns, true);
	}
	report_each (&d->threads, t) {
		const struct trace_miss *miss = first_miss(d, t->tid);

		if (miss)
			say(d, miss);
	}
}
