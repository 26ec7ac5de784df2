// SPDX-License-Identifier: MIT
/*
 * A report as rows of JSON, each with a type: the lines of NDJSON, and the tables of a page; see
 * report-show.h.
 *
 * Times are integers in nanoseconds; *_at_ns are counted from the recording's begin. An address is
 * a string, a name that is not known null. Counts are exact.
 */
#include <jansson.h>

#include "tracer/out.h"
#include "tracer/report-show.h"
#include "tracer/report-words.h"

static void put(json_t *row, const char *key, uint64_t value)
{
	json_object_set_new(row, key, json_integer((json_int_t)MIN(value, (uint64_t)INT64_MAX)));
}

static void put_text(json_t *row, const char *key, const char *text)
{
	json_object_set_new(row, key, out_text(text));
}

/* Takes the text. */
static void put_words(json_t *row, const char *key, char *words)
{
	json_object_set_new(row, key, out_text(words));
	g_free(words);
}

static void put_address(json_t *row, const char *key, uint64_t addr)
{
	json_object_set_new(row, key, out_address(addr));
}

/* The environment is the recorder's text: make it safe. */
static void put_env(json_t *row, const char *key, const struct report *report, const char *name)
{
	put_words(row, key, report_env(report, name));
}

static json_t *row_new(const char *type)
{
	json_t *row = json_object();

	json_object_set_new(row, "type", json_string(type));
	return row;
}

static json_t *thread_row(const char *type, const struct report_thread *thread)
{
	json_t *row = row_new(type);

	put(row, "thread", thread->tid);
	put_text(row, "thread_name", thread->name);
	return row;
}

static void put_ctx(json_t *row, const struct report *report, uint64_t ctx)
{
	put_text(row, "ctx", report_context_name(report, ctx));
	put_address(row, "ctx_addr", report_context_of(report, ctx));
}

static json_t *histogram(const struct report_hist *hist)
{
	json_t *buckets = json_array();

	for (unsigned int octave = 0; octave < REPORT_HIST_OCTAVES; octave++) {
		json_t *bucket;

		if (!report_hist_octave(hist, octave))
			continue;
		bucket = json_object();
		put(bucket, "from_ns", report_hist_from(octave));
		put(bucket, "count", report_hist_octave(hist, octave));
		json_array_append_new(buckets, bucket);
	}
	return buckets;
}

static void put_hist(json_t *row, const struct report_hist *hist)
{
	put(row, "count", hist->count);
	put(row, "total_ns", hist->total);
	put(row, "min_ns", hist->min);
	put(row, "p50_ns", report_hist_quantile(hist, 500));
	put(row, "p99_ns", report_hist_quantile(hist, 990));
	put(row, "max_ns", hist->max);
}

static void put_calls(json_t *row, const struct report *report, const struct report_calls *calls)
{
	put_hist(row, &calls->ns);
	put(row, "max_at_ns", calls->ns.count ? calls->max_at_ns - report->begin_ns : 0);
	put(row, "unfinished", calls->unfinished);
}

static json_t *calls_object(const struct report *report, const struct report_calls *calls)
{
	json_t *object = json_object();

	put_calls(object, report, calls);
	return object;
}

/* --- rows ------------------------------------------------------------------------------------- */

static json_t *texts(const GPtrArray *array)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < array->len; i++)
		json_array_append_new(list, json_string(array->pdata[i]));
	return list;
}

static void add_recording(json_t *rows, const struct report *report)
{
	const struct ctf_reader_stats *stats = ctf_reader_stats(report->reader);
	GPtrArray *threads = report_threads(report);
	json_t *row = row_new("recording");

	put_text(row, "path", report->path);
	put_env(row, "exe", report, "target_exe");
	put_env(row, "build_id", report, "target_build_id");
	put_env(row, "version", report, "target_version");
	put_env(row, "pid", report, "target_pid");
	put_env(row, "host_kernel", report, "host_kernel");
	put_env(row, "tracer_version", report, "tracer_version");
	put_words(row, "begin", report_begin_text(report, true));
	put(row, "begin_ns", report->begin_ns);
	put(row, "duration_ns", report->end_ns - report->begin_ns);
	put(row, "threads", threads->len);
	put(row, "events", stats->events);
	put(row, "lost", stats->discarded);
	put(row, "unknown", stats->unknown);
	put(row, "streams", stats->streams);
	put(row, "packets", stats->packets);
	put(row, "cut_bytes", stats->cut_bytes);
	json_object_set_new(row, "damaged", texts(report->damaged));
	json_object_set_new(row, "notes", texts(report->notes));
	json_array_append_new(rows, row);
	g_ptr_array_free(threads, TRUE);
}

static json_t *ranges(const uint64_t counts[REPORT_RANGES])
{
	json_t *object = json_object();

	for (int range = 0; range < REPORT_RANGES; range++)
		put(object, report_range_name(range), counts[range]);
	return object;
}

static void add_loop(json_t *rows, const struct report *report, const struct report_thread *thread)
{
	json_t *row = thread_row("loop", thread);

	put_words(row, "loop", report_loop_name(report, thread));
	put_ctx(row, report, thread->poll_ctx);
	put(row, "iterations", thread->iterations);
	/* In a wait, which is not counted, when the recording began. */
	json_object_set_new(row, "waited", json_boolean(thread->waited));
	put(row, "nested_polls", thread->nested_polls);
	put(row, "iteration_begins", thread->iteration_begins);
	put(row, "iteration_ends", thread->iteration_ends);
	put(row, "without_callback", thread->without_callback);
	put(row, "polls_ready", thread->polls_ready);
	put(row, "polls_timed_out", thread->polls_timed_out);
	put(row, "polls_no_wait", thread->polls_no_wait);
	put(row, "polls_failed", thread->polls_failed);
	put(row, "polls_with_bql", thread->polls_with_bql);
	put(row, "span_ns", thread->end_ns - thread->first_ns);
	put(row, "asleep_ns", thread->time_ns[REPORT_POLL]);
	put(row, "nested_asleep_ns", thread->time_ns[REPORT_NESTED_POLL]);
	put(row, "busy_poll_ns", thread->time_ns[REPORT_BUSY_POLL]);
	put(row, "bql_wait_ns", thread->time_ns[REPORT_BQL_WAIT]);
	put(row, "callbacks_ns", report_callbacks_ns(thread));
	put(row, "dispatch_ns", thread->time_ns[REPORT_DISPATCH]);
	put(row, "unknown_ns", thread->unknown_ns);
	put(row, "other_ns", report_other_ns(thread));
	json_object_set_new(row, "between_polls", calls_object(report, &thread->between));
	json_object_set_new(row, "timeouts", ranges(thread->ranges));
	put(row, "events", thread->events);
	put(row, "lost", thread->lost);
	put(row, "unfinished", thread->unfinished);
	put(row, "unbegun", thread->unbegun);
	put_words(row, "at_end", report_open_words(report, thread));
	put(row, "at_end_for_ns",
	    thread->n_open ? report->end_ns - thread->open[thread->n_open - 1].begin_ns : 0);
	json_array_append_new(rows, row);
}

static void add_callback(json_t *rows, const struct report *report,
			 const struct report_thread *thread, const struct report_callback *callback)
{
	json_t *row = thread_row("callback", thread);
	const char *op = NULL;

	if (callback->kind == REPORT_HANDLER)
		op = report_enum_name(LOOP_EV_HANDLER_BEGIN, "op", callback->op);
	else if (callback->kind == REPORT_NOTIFIER)
		op = report_enum_name(LOOP_EV_POLL_NOTIFIER_BEGIN, "phase", callback->op);
	put_text(row, "kind", report_kind_name(callback->kind));
	put_words(row, "callback", report_callback_name(report, callback));
	put_address(row, "callback_addr", callback->cb);
	put_ctx(row, report, callback->ctx);
	json_object_set_new(row, "fd", callback->fd < 0 ? json_null() : json_integer(callback->fd));
	put_text(row, "op", op);
	put_calls(row, report, &callback->calls);
	put(row, "own_ns", callback->calls.own_ns);
	json_object_set_new(row, "histogram", histogram(&callback->calls.ns));
	if (callback->late) {
		json_t *late = json_object();

		put_hist(late, callback->late);
		if (callback->kind == REPORT_TIMER) {
			put(late, "early", callback->early);
			put(late, "unknown", callback->late_unknown);
		}
		json_object_set_new(row, callback->kind == REPORT_TIMER ? "late" : "after_wait",
				    late);
	}
	json_array_append_new(rows, row);
}

static void add_timeout(json_t *rows, const struct report *report,
			const struct report_thread *thread, const struct report_chooser *chooser)
{
	json_t *row = thread_row("timeout", thread);

	put_text(row, "by", report_enum_name(LOOP_EV_TIMEOUT_CHOSEN, "by", chooser->by));
	put_words(row, "callback", report_symbol(report, chooser->cb));
	put_address(row, "callback_addr", chooser->cb);
	put_words(row, "words", report_chooser_words(report, chooser));
	put(row, "count", chooser->count);
	json_object_set_new(row, "timeouts", ranges(chooser->ranges));
	json_array_append_new(rows, row);
}

static void add_wakeup(json_t *rows, const struct report *report,
		       const struct report_thread *thread, const struct report_wakeup *wakeup)
{
	json_t *row = thread_row("wakeup", thread);
	uint64_t cb = report_wakeup_callback(report, wakeup);

	put_text(row, "cause", report_cause_name(wakeup->cause));
	json_object_set_new(row, "fd", wakeup->fd < 0 ? json_null() : json_integer(wakeup->fd));
	put_words(row, "callback", report_symbol(report, cb));
	put_address(row, "callback_addr", cb);
	if (wakeup->cause == REPORT_BY_NOTIFY) {
		put(row, "by_thread", wakeup->by_tid);
		put_words(row, "by", wakeup->in ? report_author(report, wakeup->in) : NULL);
		put_words(row, "site", report_place(report, wakeup->site));
		put_address(row, "site_addr", wakeup->site);
		put_ctx(row, report, wakeup->ctx);
	}
	if (wakeup->chooser)
		put_words(row, "chooser", report_chooser_words(report, wakeup->chooser));
	if (wakeup->err)
		put(row, "errno", wakeup->err);
	put_words(row, "words", report_wakeup_words(report, wakeup, 1));
	put(row, "count", wakeup->count);
	json_array_append_new(rows, row);
}

static void add_nested(json_t *rows, const struct report *report,
		       const struct report_thread *thread, const struct report_nested *nested)
{
	json_t *row = thread_row("nested", thread);

	put_text(row, "kind", report_kind_name(nested->kind));
	put_words(row, "site", report_place(report, nested->site));
	put_address(row, "site_addr", nested->site);
	put_ctx(row, report, nested->ctx);
	put_calls(row, report, &nested->calls);
	put(row, "own_ns", nested->calls.own_ns);
	put(row, "asleep_ns", nested->slept_ns);
	put(row, "max_depth", nested->max_depth);
	put(row, "with_bql", nested->with_bql);
	json_array_append_new(rows, row);
}

static void add_node(json_t *rows, const struct report *report, const struct report_thread *thread,
		     const struct report_node *node)
{
	struct report_frame frame = { .kind = node->kind, .entry = node->entry };
	json_t *row = thread_row("nested_call", thread);

	put(row, "number", node->number);
	put(row, "inside", node->parent);
	put_text(row, "kind", report_kind_name(node->kind));
	put_words(row, "what", report_frame_name(report, &frame));
	put(row, "count", node->count);
	put(row, "total_ns", node->total_ns);
	put(row, "asleep_ns", node->asleep_ns);
	put(row, "max_ns", node->max_ns);
	put(row, "unfinished", node->unfinished);
	json_array_append_new(rows, row);
}

static void add_tree(json_t *rows, const struct report *report, const struct report_thread *thread)
{
	GPtrArray *nodes = report_tree_nodes(thread);

	for (uint32_t i = 0; i < nodes->len; i++)
		add_node(rows, report, thread, nodes->pdata[i]);
	g_ptr_array_free(nodes, TRUE);
}

static void add_bql(json_t *rows, const struct report *report, const struct report_bql *bql)
{
	json_t *row = row_new("bql");

	put_words(row, "site", report_bql_place(report, bql));
	put_address(row, "site_addr", bql->site);
	json_object_set_new(row, "wait", calls_object(report, &bql->wait));
	json_object_set_new(row, "hold", calls_object(report, &bql->hold));
	json_array_append_new(rows, row);
}

static void add_event_count(json_t *rows, const struct report *report, unsigned int id)
{
	json_t *row = row_new("event_count");

	put_text(row, "event", loop_event_desc(id)->name);
	put(row, "count", report->counts[id]);
	put_text(row, "from",
		 report_enum_name(LOOP_EV_EVENT_SOURCE, "from", report->provenance[id]));
	json_array_append_new(rows, row);
}

static void add_total(json_t *rows, const struct report *report, GPtrArray *threads)
{
	const struct ctf_reader_stats *stats = ctf_reader_stats(report->reader);
	uint64_t iterations = 0, loops = 0, callbacks = 0, unfinished = 0, unbegun = 0;
	json_t *row = row_new("total");

	for (uint32_t i = 0; i < threads->len; i++) {
		const struct report_thread *thread = threads->pdata[i];

		iterations += thread->iterations;
		loops += report_is_loop(thread);
		callbacks += thread->callbacks.n;
		unfinished += thread->unfinished;
		unbegun += thread->unbegun;
	}
	put(row, "loops", loops);
	put(row, "iterations", iterations);
	put(row, "callbacks", callbacks);
	put(row, "unfinished", unfinished);
	put(row, "unbegun", unbegun);
	put(row, "events", stats->events);
	put(row, "lost", stats->discarded);
	json_array_append_new(rows, row);
}

#define EACH_ROW(map, compare, print)                                                              \
	do {                                                                                       \
		GPtrArray *sorted = report_sorted(map, compare);                                   \
                                                                                                   \
		for (uint32_t i_ = 0; i_ < sorted->len; i_++)                                      \
			print(rows, report, thread, sorted->pdata[i_]);                            \
		g_ptr_array_free(sorted, TRUE);                                                    \
	} while (0)

json_t *report_json(const struct report *report)
{
	json_t *rows = json_array();
	GPtrArray *threads = report_threads(report);
	GPtrArray *sites = report_sorted(&report->bql, report_by_wait);

	add_recording(rows, report);
	for (uint32_t i = 0; i < threads->len; i++)
		if (report_is_loop(threads->pdata[i]))
			add_loop(rows, report, threads->pdata[i]);
	for (uint32_t i = 0; i < threads->len; i++) {
		const struct report_thread *thread = threads->pdata[i];

		EACH_ROW(&thread->callbacks, report_by_total, add_callback);
		EACH_ROW(&thread->choosers, report_by_waits, add_timeout);
		EACH_ROW(&thread->wakeups, report_by_wakeups, add_wakeup);
		EACH_ROW(&thread->nested_map, report_by_nested, add_nested);
		add_tree(rows, report, thread);
	}
	for (uint32_t i = 0; i < sites->len; i++)
		add_bql(rows, report, sites->pdata[i]);
	for (unsigned int id = 0; id < LOOP_EV_END; id++)
		if (loop_event_desc(id))
			add_event_count(rows, report, id);
	add_total(rows, report, threads);
	g_ptr_array_free(sites, TRUE);
	g_ptr_array_free(threads, TRUE);
	return rows;
}

void report_print_json(const struct report *report)
{
	json_t *row, *rows = report_json(report);
	size_t i;

	json_array_foreach (rows, i, row) {
		out_json(json_incref(row));
	}
	json_decref(rows);
}
