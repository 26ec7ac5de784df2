// SPDX-License-Identifier: MIT
/*
 * Export as metrics: what a report counts and measures, as counters and histograms with labels.
 *
 * OpenMetrics and Prometheus's older text format differ in what a counter is called where it is
 * described (without or with "_total"), and in the end mark; this writes either.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tracer/export-metric.h"
#include "tracer/export.h"
#include "tracer/report-words.h"

struct metrics {
	const struct report *report;
	GPtrArray *threads;
	GPtrArray *labels; /* char *, by thread: thread="100",thread_name="...",loop="main loop" */
	bool prometheus;
};

/* --- threads ---------------------------------------------------------------------------------- */

static char *thread_labels(const struct report *report, const struct report_thread *thread)
{
	GString *labels = g_string_new(NULL);

	metric_add_words(labels, "thread", g_strdup_printf("%u", thread->tid));
	metric_add_label(labels, "thread_name", thread->name);
	metric_add_words(labels, "loop",
			 report_is_loop(thread) ? report_loop_name(report, thread) : g_strdup(""));
	return g_string_free(labels, FALSE);
}

#define each_thread(m, i, thread)                                                                  \
	for (uint32_t i = 0; i < (m)->threads->len && ((thread) = (m)->threads->pdata[i], true);   \
	     i++)

static void write_polls(const struct metrics *m)
{
	static const char name[] = "loopscope_polls";
	const struct report_thread *thread;

	metric_head(m->prometheus, name, "counter",
		    "Waits of a loop by what they returned; nested ones too.");
	each_thread(m, i, thread)
	{
		const char *labels = m->labels->pdata[i];

		if (!report_is_loop(thread))
			continue;
		metric_count_with(name, labels, "result", "ready", thread->polls_ready);
		metric_count_with(name, labels, "result", "timed_out", thread->polls_timed_out);
		metric_count_with(name, labels, "result", "no_wait", thread->polls_no_wait);
		metric_count_with(name, labels, "result", "failed", thread->polls_failed);
	}
}

static void write_wakeups(const struct metrics *m)
{
	static const char name[] = "loopscope_wakeups";
	const struct report_thread *thread;

	metric_head(m->prometheus, name, "counter",
		    "What ended waits; one wait may have several causes.");
	each_thread(m, i, thread)
	{
		uint64_t causes[REPORT_CAUSES] = { 0 };
		const struct report_wakeup *wakeup;

		if (!report_is_loop(thread))
			continue;
		report_each (&thread->wakeups, wakeup)
			causes[wakeup->cause] += wakeup->count;
		for (int cause = 0; cause < REPORT_CAUSES; cause++)
			metric_count_with(name, m->labels->pdata[i], "cause",
					  report_cause_name(cause), causes[cause]);
	}
}

static void time_in(const char *labels, const char *state, uint64_t ns)
{
	char *all = metric_with_label(labels, "state", state);

	printf("loopscope_time_seconds_total{%s} ", all);
	metric_put_seconds(ns);
	putchar('\n');
	g_free(all);
}

static void write_times(const struct metrics *m)
{
	const struct report_thread *thread;

	metric_head(m->prometheus, "loopscope_time_seconds", "counter",
		    "Where a loop's time went; states do not overlap.");
	each_thread(m, i, thread)
	{
		const char *labels = m->labels->pdata[i];

		if (!report_is_loop(thread))
			continue;
		time_in(labels, "asleep", thread->time_ns[REPORT_POLL]);
		time_in(labels, "nested_asleep", thread->time_ns[REPORT_NESTED_POLL]);
		time_in(labels, "busy_poll", thread->time_ns[REPORT_BUSY_POLL]);
		time_in(labels, "bql_wait", thread->time_ns[REPORT_BQL_WAIT]);
		time_in(labels, "callbacks", report_callbacks_ns(thread));
		time_in(labels, "dispatch", thread->time_ns[REPORT_DISPATCH]);
		time_in(labels, "unknown", thread->unknown_ns);
		time_in(labels, "other", report_other_ns(thread));
	}
}

static void write_lost(const struct metrics *m)
{
	const struct report_thread *thread;
	uint64_t others = ctf_reader_stats(m->report->reader)->discarded;

	metric_head(m->prometheus, "loopscope_lost_events", "counter",
		    "Events that the recording lacks.");
	each_thread(m, i, thread)
	{
		metric_count("loopscope_lost_events", m->labels->pdata[i], thread->lost);
		others -= thread->lost;
	}
	metric_count("loopscope_lost_events", "thread=\"\",thread_name=\"\",loop=\"\"", others);
}

static void write_loops(const struct metrics *m)
{
	const struct report_thread *thread;

	metric_head(m->prometheus, "loopscope_between_polls_seconds", "histogram",
		    "What a loop does from the end of a wait to the begin of its next one.");
	each_thread(m, i, thread) if (thread->between.ns.count) metric_histogram(
		"loopscope_between_polls_seconds", m->labels->pdata[i], &thread->between.ns);
	metric_head(m->prometheus, "loopscope_iteration_seconds", "histogram",
		    "Iterations of a loop, with their wait.");
	each_thread(m, i, thread) if (thread->iteration.ns.count) metric_histogram(
		"loopscope_iteration_seconds", m->labels->pdata[i], &thread->iteration.ns);
}

/* --- callbacks, the big lock ------------------------------------------------------------------ */

/* What has the same labels is one series: a function that serves many fds, say. */
struct series {
	struct report_hist ns;
	uint64_t unfinished;
};

static void series_free(void *data)
{
	struct series *series = data;

	report_hist_release(&series->ns);
	g_free(series);
}

static void add_series(GTree *all, char *labels, const struct report_calls *calls)
{
	struct series *series = g_tree_lookup(all, labels);

	if (!series) {
		series = g_new0(struct series, 1);
		g_tree_insert(all, labels, series);
	} else {
		g_free(labels);
	}
	report_hist_merge(&series->ns, &calls->ns);
	series->unfinished += calls->unfinished;
}

static gboolean write_histogram(void *labels, void *series, void *name)
{
	metric_histogram(name, labels, &((struct series *)series)->ns);
	return FALSE;
}

static gboolean write_unfinished(void *labels, void *series, void *name)
{
	metric_count(name, labels, ((struct series *)series)->unfinished);
	return FALSE;
}

static int by_text(const void *a, const void *b, void *data)
{
	(void)data;
	return strcmp(a, b);
}

static GTree *series_new(void)
{
	return g_tree_new_full(by_text, NULL, g_free, series_free);
}

static char *callback_labels(const struct metrics *m, const char *thread,
			     const struct report_callback *callback)
{
	struct report_frame frame = { .entry = (void *)callback, .kind = callback->kind };
	GString *labels = g_string_new(thread);

	metric_add_label(labels, "context", report_context_name(m->report, callback->ctx));
	metric_add_label(labels, "kind", report_kind_name(callback->kind));
	metric_add_words(labels, "callback", report_frame_name(m->report, &frame));
	return g_string_free(labels, FALSE);
}

static void write_callbacks(const struct metrics *m)
{
	static char calls[] = "loopscope_callback_seconds";
	static char unfinished[] = "loopscope_callbacks_unfinished";
	const struct report_thread *thread;
	GTree *all = series_new();

	each_thread(m, i, thread)
	{
		const struct report_callback *callback;

		report_each (&thread->callbacks, callback)
			add_series(all, callback_labels(m, m->labels->pdata[i], callback),
				   &callback->calls);
	}
	metric_head(m->prometheus, calls, "histogram",
		    "Calls of a callback, with all that was called in it.");
	g_tree_foreach(all, write_histogram, calls);
	metric_head(m->prometheus, unfinished, "counter",
		    "Calls whose end is not in the recording.");
	g_tree_foreach(all, write_unfinished, unfinished);
	g_tree_destroy(all);
}

static void write_bql(const struct metrics *m)
{
	static char waits_name[] = "loopscope_bql_wait_seconds";
	static char holds_name[] = "loopscope_bql_hold_seconds";
	GTree *waits = series_new(), *holds = series_new();
	const struct report_bql *bql;

	report_each (&m->report->bql, bql) {
		char *place = report_bql_place(m->report, bql);

		add_series(waits, metric_with_label(NULL, "site", place), &bql->wait);
		add_series(holds, metric_with_label(NULL, "site", place), &bql->hold);
		g_free(place);
	}
	metric_head(m->prometheus, waits_name, "histogram",
		    "Waits for the big lock, by where it was taken.");
	g_tree_foreach(waits, write_histogram, waits_name);
	metric_head(m->prometheus, holds_name, "histogram",
		    "How long the big lock was held, by where it was taken.");
	g_tree_foreach(holds, write_histogram, holds_name);
	g_tree_destroy(holds);
	g_tree_destroy(waits);
}

/* --- the recording ---------------------------------------------------------------------------- */

static void write_recording(const struct metrics *m)
{
	GString *labels = g_string_new(NULL);

	metric_add_words(labels, "program", export_program(m->report));
	metric_add_words(labels, "version", report_env(m->report, "target_version"));
	metric_add_words(labels, "build_id", report_env(m->report, "target_build_id"));
	metric_add_words(labels, "pid", report_env(m->report, "target_pid"));
	if (m->prometheus)
		metric_head(m->prometheus, "loopscope_recording_info", "gauge",
			    "What was recorded.");
	else
		metric_head(m->prometheus, "loopscope_recording", "info", "What was recorded.");
	printf("loopscope_recording_info{%s} 1\n", labels->str);
	metric_head(m->prometheus, "loopscope_recording_seconds", "gauge",
		    "The time from its first event to its last.");
	printf("loopscope_recording_seconds ");
	metric_put_seconds(m->report->end_ns - m->report->begin_ns);
	putchar('\n');
	g_string_free(labels, TRUE);
}

static void write_events(const struct metrics *m)
{
	metric_head(m->prometheus, "loopscope_events", "counter", "Events by kind.");
	for (unsigned int id = 0; id < LOOP_EV_END; id++)
		if (m->report->counts[id])
			metric_count_with("loopscope_events", "", "event",
					  loop_event_desc(id)->name, m->report->counts[id]);
}

void export_openmetrics(const struct report *report, bool prometheus)
{
	struct metrics m = { .report = report, .prometheus = prometheus };

	m.threads = report_threads(report);
	m.labels = g_ptr_array_new_with_free_func(g_free);
	for (uint32_t i = 0; i < m.threads->len; i++)
		g_ptr_array_add(m.labels, thread_labels(report, m.threads->pdata[i]));
	write_recording(&m);
	write_events(&m);
	write_lost(&m);
	write_polls(&m);
	write_wakeups(&m);
	write_times(&m);
	write_loops(&m);
	write_callbacks(&m);
	write_bql(&m);
	if (!prometheus)
		puts("# EOF");
	g_ptr_array_free(m.labels, TRUE);
	g_ptr_array_free(m.threads, TRUE);
}
