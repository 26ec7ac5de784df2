// SPDX-License-Identifier: MIT
/*
 * What long calls did, where a recording tells what the time of stalls went into: the time in which
 * the thread wanted a CPU and got none, or was stopped, is not the call's, as for the live doctor.
 *
 * That is told some milliseconds after the call, and of one that goes on when the recording ends
 * before its end: so calls wait for it, and the last of each thread waits for a call.
 */
#include "tracer/doctor-trace.h"
#include "tracer/report-words.h"

/* Is the call most of that time away, and the time known for most of the call? */
static bool is_of(const struct stall_split *split, const struct trace_recent *call)
{
	uint64_t from = MAX(split->begin_ns, call->begin_ns), to = MIN(split->end_ns, call->end_ns),
		 ns = call->end_ns - call->begin_ns;

	return to > from && to - from >= (split->since_attach ? ns / 2 : ns - ns / 10) &&
	       to - from >= (split->end_ns - split->begin_ns) / 2;
}

static void apply(const struct trace_doctor *d, const struct trace_recent *call,
		  const struct stall_split *split)
{
	struct trace_long *l = call->call;
	uint64_t queued = (uint64_t)(split->ns[STALLS_RUNNABLE] + split->ns[STALLS_STOPPED]);
	bool is_longest = l->begin_ns == call->begin_ns && l->longest_ns == call->ns;
	uint64_t ns = call->ns - MIN(queued, call->ns);

	if (is_longest) {
		l->longest_ns = ns;
		trace_long_forget_split(l);
		l->split = stall_split_copy(split);
		l->has_split = true;
	}
	if (ns < (uint64_t)d->min_ns) {
		l->times--;
		l->excused++;
	}
}

void trace_long_forget_split(struct trace_long *l)
{
	stall_split_clear(&l->split);
	l->has_split = false;
}

void trace_split_call(const struct trace_doctor *d, struct trace_thread *t,
		      const struct trace_recent *call)
{
	if (t->has_split && is_of(&t->split, call))
		apply(d, call, &t->split);
	else
		t->recent[t->n_recent++ % TRACE_RECENT] = *call;
}

void trace_split_event(struct trace_doctor *d, const struct loop_event *event)
{
	const struct stall_split *split = stall_splits_event(d->splits, event);
	struct trace_thread *t;

	if (!split)
		return;
	t = trace_thread(d, split->tid);
	for (int i = 0; i < TRACE_RECENT; i++) {
		struct trace_recent *call = &t->recent[i];

		if (call->call && is_of(split, call)) {
			apply(d, call, split);
			call->call = NULL;
		}
	}
	stall_split_clear(&t->split);
	t->split = stall_split_copy(split);
	t->has_split = true;
}

void trace_split_say(const struct trace_doctor *d, struct finding *f, const struct trace_long *l)
{
	bool has = d->report->provenance[LOOP_EV_STALL_SPLIT] == LOOP_PROVENANCE_TRACEPOINT;
	const struct stall_split *split = &l->split;
	int64_t whole = (int64_t)(split->end_ns - split->begin_ns);
	char *words, *away;

	if (l->has_split) {
		words = stall_split_words(split->ns, split->calls, whole);
		away = report_duration((uint64_t)whole);
		finding_say(f, "the %s that its thread was away from its wait then: %s", away,
			    words);
		g_free(words);
		g_free(away);
	} else if (has) {
		finding_say(f, "what it did in that time is not in the recording");
	} else {
		finding_say(f, "what it did in that time this recording does not show: loopscope "
			       "record --stacks makes one that does");
	}
	if (l->excused)
		finding_say(f,
			    "%d more only wanted a CPU for so long and got none, or were stopped",
			    l->excused);
}
