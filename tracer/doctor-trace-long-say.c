// SPDX-License-Identifier: MIT
/*
 * BLOCKED CALLBACK, NESTED WAIT, BQL HOLD and WRONG CONTEXT from a recording: what was long enough,
 * or often enough, to be said. One long call among many short ones is nothing, unless it is ten
 * times as long as the limit: it may have waited for a CPU of a busy host, which no event shows.
 */
#include <inttypes.h>
#include <string.h>

#include "tracer/doctor-trace.h"
#include "tracer/report-words.h"

#define OFTEN 4 /* one call in so many was long */

/* Twice and not by chance, or once beyond doubt; @calls: of its kind in all. */
static bool is_sure(const struct trace_doctor *d, const struct trace_long *l, uint64_t calls)
{
	uint64_t limit = (uint64_t)d->min_ns;

	return (l->times >= 2 && (uint64_t)l->times * OFTEN >= calls) ||
	       l->longest_ns >= limit * TRACE_ONCE || (l->open && l->longest_ns >= limit * 2);
}

static void say_long(struct trace_doctor *d, struct finding *f, const struct trace_long *l,
		     const char *what, uint64_t calls)
{
	char *longest = report_duration(l->longest_ns), *when = trace_when(d, l->begin_ns),
	     *limit = report_duration((uint64_t)d->min_ns);

	f->span = g_strdup_printf("for %s%s", l->open ? "at least " : "", longest);
	finding_say(f, "%d of %" PRIu64 " %s took more than %s; the longest %s, from %s on%s",
		    l->times, calls, what, limit, longest, when,
		    l->open ? ", and the recording ended in it" : "");
	g_free(longest);
	g_free(when);
	g_free(limit);
}

static void say_blocked(struct trace_doctor *d, const struct trace_long *l)
{
	const struct report_callback *callback = l->entry;
	uint64_t calls = callback->calls.ns.count + callback->calls.unfinished;
	struct finding *f;

	if (!is_sure(d, l, calls) || trace_has_finding(d, l->thread->tid, NULL))
		return;
	f = trace_finding(d, "BLOCKED CALLBACK", l->thread->tid);
	f->culprit = trace_callback_name(d, callback);
	say_long(d, f, l, "calls", calls);
	trace_split_say(d, f, l);
	f->advice =
		"A callback must not sleep or compute for long: make the call asynchronous, do it in "
		"pieces, or in a thread.";
}

/* Whose call of aio_poll() it is, unless it is the callback's own; or NULL. */
static char *caller_name(const struct trace_doctor *d, uint64_t site, const char *callback)
{
	char *name = report_symbol(d->report, site);

	if (name)
		*strchrnul(name, '+') = 0;
	if (!name || g_str_has_suffix(callback, name))
		g_clear_pointer(&name, g_free);
	return name;
}

static char *wait_culprit(const struct trace_doctor *d, const struct trace_long *l)
{
	const struct report_nested *nested = l->entry;
	char *name = trace_callback_name(d, l->callback), *wait, *text,
	     *caller = caller_name(d, nested->site, name), *ctx, *what;

	wait = g_strdup_printf("%s waits in aio_poll()%s%s%s", name, caller ? ", called by " : "",
			       caller ? caller : "", l->waiters ? ", and keeps the big lock" : "");
	if (l->is_stuck) {
		ctx = trace_context_name(d, l->stuck_ctx);
		what = l->stuck_bh ? trace_name(d, "BH", l->stuck_bh) : g_strdup("a coroutine");
		text = g_strdup_printf("%s scheduled in %s, while %s", what, ctx, wait);
		g_free(what);
		g_free(ctx);
		g_free(wait);
	} else {
		text = wait;
	}
	g_free(name);
	g_free(caller);
	return text;
}

static void say_stuck(struct trace_doctor *d, struct finding *f, const struct trace_long *l)
{
	const struct report_nested *nested = l->entry;
	char *ctx = trace_context_name(d, l->stuck_ctx), *when = trace_when(d, l->stuck_ns),
	     *polled = trace_context_name(d, nested->ctx),
	     *what = l->stuck_bh ? trace_name(d, "BH", l->stuck_bh) : g_strdup("the coroutine");

	finding_say(f, "%s%s was scheduled in %s at %s, and this wait runs only %s",
		    l->is_stuck ? "" : "meanwhile ", what, ctx, when, polled);
	g_free(ctx);
	g_free(when);
	g_free(polled);
	g_free(what);
}

static void say_wait(struct trace_doctor *d, const struct trace_long *l)
{
	const struct report_nested *nested = l->entry;
	uint64_t calls = nested->calls.ns.count + nested->calls.unfinished;
	const char *verdict = l->waiters    ? "BQL HOLD"
			      : l->is_stuck ? "WRONG CONTEXT"
					    : "NESTED WAIT";
	struct finding *f;

	if (!is_sure(d, l, calls) || trace_has_finding(d, l->thread->tid, NULL))
		return;
	f = trace_finding(d, verdict, l->thread->tid);
	f->culprit = wait_culprit(d, l);
	say_long(d, f, l, "waits there", calls);
	if (l->waiters)
		finding_say(f, "%u thread%s waited for the big lock, which it kept", l->waiters,
			    l->waiters == 1 ? "" : "s");
	if (l->stuck_ctx)
		say_stuck(d, f, l);
	if (!l->is_stuck && l->n_fds == 1)
		finding_say(f,
			    "it polled one descriptor, its notifier: only another thread could end "
			    "this, by aio_wait_kick() or a bottom half");
	else if (!l->is_stuck && l->n_fds)
		finding_say(f, "it polled %u descriptors", l->n_fds);
	if (l->depth > 2)
		finding_say(f, "aio_poll() was up to %u deep", l->depth);
	f->advice =
		l->waiters
			? "Those who could end the wait need the lock that it keeps: let go of it "
			  "around the wait, or do not wait here."
		: l->is_stuck && l->stuck_bh ? WRONG_BH_ADVICE
		: l->is_stuck
			? WRONG_CO_ADVICE
			: "Whoever makes its condition true has to call aio_wait_kick() after that: "
			  "look at who completes what it waits for, and whether that still runs.";
}

static void say_hold(struct trace_doctor *d, const struct trace_long *l)
{
	uint32_t tid = (uint32_t)l->key.b;
	const struct report_bql *bql = NULL, *b;
	char *name, *site;
	struct finding *f;

	report_each (&d->report->bql, b)
		if (b->site == l->site)
			bql = b;
	if (!is_sure(d, l, bql ? bql->hold.ns.count : 0) || trace_has_finding(d, tid, NULL))
		return;
	name = trace_thread_name(d, tid);
	site = report_place(d->report, l->site);
	f = trace_finding(d, "BQL HOLD", tid);
	f->culprit = g_strdup_printf("%s holds the big lock, taken at %s", name, site);
	say_long(d, f, l, "holds from there, with others waiting,",
		 bql ? MAX(bql->hold.ns.count, (uint64_t)l->times) : (uint64_t)l->times);
	finding_say(f, "%u thread%s waited for it meanwhile", l->waiters,
		    l->waiters == 1 ? "" : "s");
	f->advice = "What it does there must not wait with the lock held: hand it to a thread or a "
		    "bottom half, or make the call asynchronous.";
	g_free(name);
	g_free(site);
}

/* Who runs a context may have been told only later: another thread is not kept by this wait. */
static void forget_stuck_elsewhere(const struct trace_doctor *d, struct trace_long *l)
{
	const struct report_context *told =
		report_map_find(&d->report->contexts, (struct report_key){ .a = l->stuck_ctx });

	if (told && told->home_tid && told->home_tid != l->thread->tid) {
		l->stuck_ctx = l->stuck_bh = 0;
		l->is_stuck = false;
	}
}

void trace_long_say(struct trace_doctor *d)
{
	struct trace_long *l;

	report_each (&d->longs, l)
		if (l->stuck_ctx)
			forget_stuck_elsewhere(d, l);
	report_each (&d->longs, l)
		if (l->kind == REPORT_AIO_POLL || l->kind == REPORT_AIO_WAIT)
			say_wait(d, l);
	report_each (&d->longs, l)
		if (l->kind <= REPORT_NOTIFIER)
			say_blocked(d, l);
	report_each (&d->longs, l)
		if (l->kind == REPORT_BQL_WAIT)
			say_hold(d, l);
}
