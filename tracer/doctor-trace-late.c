// SPDX-License-Identifier: MIT
/*
 * TIMER LATE, and the SPIN of an idle bottom half, from what the report of a recording has summed
 * up.
 *
 * On a busy host every timer is late now and then. So it is the median that has to be late, and the
 * loop's callbacks, each counted with its median, have to take much of the time: then they are what
 * the timers wait for.
 */
#include <inttypes.h>

#include "tracer/doctor-trace.h"
#include "tracer/report-words.h"

#define LATE_NS	     (20 * 1000000ULL)
#define MIN_TIMES    8
#define MIN_SHARE    3 /* of the time, one part in so many */
#define MIN_WAKE_UPS 20
#define PER_S	     30

/* What is ordinary for the callbacks of the thread, in all; and the callback with the most of it.
 */
static uint64_t ordinary_ns(const struct report_thread *thread,
			    const struct report_callback **ret_most)
{
	const struct report_callback *callback;
	uint64_t sum = 0, most = 0;

	report_each (&thread->callbacks, callback) {
		uint64_t ns =
			report_hist_quantile(&callback->calls.ns, 500) * callback->calls.ns.count;

		if (callback->kind == REPORT_SOURCE && !callback->calls.own_ns)
			continue;
		/* An AioContext's source, say, contains the others. */
		ns = MIN(ns, callback->calls.own_ns);
		sum += ns;
		if (ns <= most)
			continue;
		most = ns;
		*ret_most = callback;
	}
	return sum;
}

static void say_late(struct trace_doctor *d, const struct report_thread *thread,
		     const struct report_callback *timer, const struct report_callback *most,
		     uint64_t sum)
{
	uint64_t median = report_hist_quantile(timer->late, 500);
	char *name = trace_callback_name(d, timer), *before = trace_callback_name(d, most),
	     *late = report_duration(median),
	     *worst = report_duration(report_hist_quantile(timer->late, 900));
	struct finding *f = trace_finding(d, "TIMER LATE", thread->tid);
	char *ctx = trace_context_name(d, report_context_of(d->report, timer->ctx));

	f->span = g_strdup_printf("by up to %s", worst);
	f->culprit = g_strdup_printf("%s comes late, behind %s", name, before);
	finding_say(f,
		    "half of its %" PRIu64 " calls came more than %s late, one in ten more than %s",
		    timer->late->count, late, worst);
	finding_say(
		f,
		"callbacks take %.0f %% of the loop's time, each with its median; %s has most of "
		"that, %" PRIu64 " calls",
		100.0 * (double)sum / (double)(thread->end_ns - thread->first_ns), before,
		most->calls.ns.count);
	f->advice = "Short callbacks add up, and timers come after them in each iteration: do less "
		    "in one iteration, or move the work to a thread.";
	g_free(name);
	g_free(before);
	g_free(late);
	g_free(worst);
	g_free(ctx);
}

void trace_late_conclude(struct trace_doctor *d)
{
	const struct report_thread *thread;

	report_each (&d->report->threads, thread) {
		const struct report_callback *callback, *most = NULL, *latest = NULL;
		uint64_t sum = ordinary_ns(thread, &most), span = thread->end_ns - thread->first_ns;

		if (!most || sum * MIN_SHARE < span || trace_has_finding(d, thread->tid, NULL))
			continue;
		report_each (&thread->callbacks, callback)
			if (callback->late && callback->late->count >= MIN_TIMES &&
			    report_hist_quantile(callback->late, 500) >= LATE_NS &&
			    (!latest || callback->late->max > latest->late->max))
				latest = callback;
		if (latest)
			say_late(d, thread, latest, most, sum);
	}
}

/* --- an idle bottom half ---------------------------------------------------------------------- */

static void check_chooser(struct trace_doctor *d, const struct report_thread *thread,
			  const struct report_chooser *chooser)
{
	double seconds = (double)(thread->last_ns - thread->first_ns) / 1e9;
	struct finding *f;
	char *name;

	if (chooser->by != LOOP_CHOOSER_IDLE_BH || chooser->count < MIN_WAKE_UPS ||
	    (double)chooser->count < PER_S * seconds ||
	    chooser->count * 10 < thread->iterations * 9 ||
	    thread->polls_ready * 10 > thread->iterations ||
	    trace_has_finding(d, thread->tid, NULL))
		return;
	f = trace_finding(d, "SPIN", thread->tid);
	name = trace_name(d, "BH", chooser->cb);
	f->span = g_strdup_printf("%.0f wake-ups a second", (double)chooser->count / seconds);
	f->culprit = g_strdup_printf("idle %s schedules itself", name);
	finding_say(f,
		    "it chose the timeout of %" PRIu64 " of %" PRIu64
		    " waits, 10 ms at most; %" PRIu64 " of them found something ready",
		    chooser->count, thread->iterations, thread->polls_ready);
	f->advice =
		"An idle bottom half that waits for something polls for it: let the event, or a "
		"timer, schedule it.";
	g_free(name);
}

void trace_idle_conclude(struct trace_doctor *d)
{
	const struct report_thread *thread;
	const struct report_chooser *chooser;

	report_each (&d->report->threads, thread)
		report_each (&thread->choosers, chooser)
			check_chooser(d, thread, chooser);
}
