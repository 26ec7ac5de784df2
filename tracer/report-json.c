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
#include "tracer/report-json-row.h"
#include "tracer/report-show.h"
#include "tracer/report-words.h"

static void add_recording(json_t *rows, const struct report *report)
{
	const struct ctf_reader_stats *stats = ctf_reader_stats(report->reader);
	GPtrArray *threads = report_threads(report);
	json_t *row = row_new("recording");

	row_put_text(row, "path", report->path);
	row_put_env(row, "exe", report, "target_exe");
	row_put_env(row, "build_id", report, "target_build_id");
	row_put_env(row, "version", report, "target_version");
	row_put_env(row, "pid", report, "target_pid");
	row_put_env(row, "host_kernel", report, "host_kernel");
	row_put_env(row, "tracer_version", report, "tracer_version");
	row_put_words(row, "begin", report_begin_text(report, true));
	row_put(row, "begin_ns", report->begin_ns);
	row_put(row, "duration_ns", report->end_ns - report->begin_ns);
	row_put(row, "threads", threads->len);
	row_put(row, "events", stats->events);
	row_put(row, "lost", stats->discarded);
	row_put(row, "unknown", stats->unknown);
	row_put(row, "streams", stats->streams);
	row_put(row, "packets", stats->packets);
	row_put(row, "cut_bytes", stats->cut_bytes);
	json_object_set_new(row, "damaged", row_texts(report->damaged));
	json_object_set_new(row, "notes", row_texts(report->notes));
	json_array_append_new(rows, row);
	g_ptr_array_free(threads, TRUE);
}

static json_t *ranges(const uint64_t counts[REPORT_RANGES])
{
	json_t *object = json_object();

	for (int range = 0; range < REPORT_RANGES; range++)
		row_put(object, report_range_name(range), counts[range]);
	return object;
}

static void add_loop(json_t *rows, const struct report *report, const struct report_thread *thread)
{
	json_t *row = row_new_of_thread("loop", thread);

	row_put_words(row, "loop", report_loop_name(report, thread));
	row_put_ctx(row, report, thread->poll_ctx);
	row_put(row, "iterations", thread->iterations);
	/* In a wait, which is not counted, when the recording began. */
	json_object_set_new(row, "waited", json_boolean(thread->waited));
	row_put(row, "nested_polls", thread->nested_polls);
	row_put(row, "iteration_begins", thread->iteration_begins);
	row_put(row, "iteration_ends", thread->iteration_ends);
	row_put(row, "without_callback", thread->without_callback);
	row_put(row, "polls_ready", thread->polls_ready);
	row_put(row, "polls_timed_out", thread->polls_timed_out);
	row_put(row, "polls_no_wait", thread->polls_no_wait);
	row_put(row, "polls_failed", thread->polls_failed);
	row_put(row, "polls_with_bql", thread->polls_with_bql);
	row_put(row, "span_ns", thread->end_ns - thread->first_ns);
	row_put(row, "asleep_ns", thread->time_ns[REPORT_POLL]);
	row_put(row, "nested_asleep_ns", thread->time_ns[REPORT_NESTED_POLL]);
	row_put(row, "busy_poll_ns", thread->time_ns[REPORT_BUSY_POLL]);
	row_put(row, "bql_wait_ns", thread->time_ns[REPORT_BQL_WAIT]);
	row_put(row, "callbacks_ns", report_callbacks_ns(thread));
	row_put(row, "dispatch_ns", thread->time_ns[REPORT_DISPATCH]);
	row_put(row, "unknown_ns", thread->unknown_ns);
	row_put(row, "other_ns", report_other_ns(thread));
	json_object_set_new(row, "between_polls", row_calls(report, &thread->between));
	json_object_set_new(row, "timeouts", ranges(thread->ranges));
	row_put(row, "events", thread->events);
	row_put(row, "lost", thread->lost);
	row_put(row, "unfinished", thread->unfinished);
	row_put(row, "unbegun", thread->unbegun);
	row_put_words(row, "at_end", report_open_words(report, thread));
	row_put(row, "at_end_for_ns",
		thread->n_open ? report->end_ns - thread->open[thread->n_open - 1].begin_ns : 0);
	json_array_append_new(rows, row);
}

static void add_callback(json_t *rows, const struct report *report,
			 const struct report_thread *thread, const struct report_callback *callback)
{
	json_t *row = row_new_of_thread("callback", thread);
	const char *op = NULL;

	if (callback->kind == REPORT_HANDLER)
		op = report_enum_name(LOOP_EV_HANDLER_BEGIN, "op", callback->op);
	else if (callback->kind == REPORT_NOTIFIER)
		op = report_enum_name(LOOP_EV_POLL_NOTIFIER_BEGIN, "phase", callback->op);
	row_put_text(row, "kind", report_kind_name(callback->kind));
	row_put_words(row, "callback", report_callback_name(report, callback));
	row_put_address(row, "callback_addr", callback->cb);
	row_put_ctx(row, report, callback->ctx);
	json_object_set_new(row, "fd", callback->fd < 0 ? json_null() : json_integer(callback->fd));
	row_put_text(row, "op", op);
	row_put_calls(row, report, &callback->calls);
	row_put(row, "own_ns", callback->calls.own_ns);
	json_object_set_new(row, "histogram", row_histogram(&callback->calls.ns));
	if (callback->late) {
		json_t *late = json_object();

		row_put_hist(late, callback->late);
		if (callback->kind == REPORT_TIMER) {
			row_put(late, "early", callback->early);
			row_put(late, "unknown", callback->late_unknown);
		}
		json_object_set_new(row, callback->kind == REPORT_TIMER ? "late" : "after_wait",
				    late);
	}
	json_array_append_new(rows, row);
}

static void add_timeout(json_t *rows, const struct report *report,
			const struct report_thread *thread, const struct report_chooser *chooser)
{
	json_t *row = row_new_of_thread("timeout", thread);

	row_put_text(row, "by", report_enum_name(LOOP_EV_TIMEOUT_CHOSEN, "by", chooser->by));
	row_put_words(row, "callback", report_symbol(report, chooser->cb));
	row_put_address(row, "callback_addr", chooser->cb);
	row_put_words(row, "words", report_chooser_words(report, chooser));
	row_put(row, "count", chooser->count);
	json_object_set_new(row, "timeouts", ranges(chooser->ranges));
	json_array_append_new(rows, row);
}

static void add_wakeup(json_t *rows, const struct report *report,
		       const struct report_thread *thread, const struct report_wakeup *wakeup)
{
	json_t *row = row_new_of_thread("wakeup", thread);
	uint64_t cb = report_wakeup_callback(report, wakeup);

	row_put_text(row, "cause", report_cause_name(wakeup->cause));
	json_object_set_new(row, "fd", wakeup->fd < 0 ? json_null() : json_integer(wakeup->fd));
	row_put_words(row, "callback", report_symbol(report, cb));
	row_put_address(row, "callback_addr", cb);
	if (wakeup->cause == REPORT_BY_NOTIFY) {
		row_put(row, "by_thread", wakeup->by_tid);
		row_put_words(row, "by", wakeup->in ? report_author(report, wakeup->in) : NULL);
		row_put_words(row, "site", report_place(report, wakeup->site));
		row_put_address(row, "site_addr", wakeup->site);
		row_put_ctx(row, report, wakeup->ctx);
	}
	if (wakeup->chooser)
		row_put_words(row, "chooser", report_chooser_words(report, wakeup->chooser));
	if (wakeup->err)
		row_put(row, "errno", wakeup->err);
	row_put_words(row, "words", report_wakeup_words(report, wakeup, 1));
	row_put(row, "count", wakeup->count);
	json_array_append_new(rows, row);
}

static void add_nested(json_t *rows, const struct report *report,
		       const struct report_thread *thread, const struct report_nested *nested)
{
	json_t *row = row_new_of_thread("nested", thread);

	row_put_text(row, "kind", report_kind_name(nested->kind));
	row_put_words(row, "site", report_place(report, nested->site));
	row_put_address(row, "site_addr", nested->site);
	row_put_ctx(row, report, nested->ctx);
	row_put_calls(row, report, &nested->calls);
	row_put(row, "own_ns", nested->calls.own_ns);
	row_put(row, "asleep_ns", nested->slept_ns);
	row_put(row, "max_depth", nested->max_depth);
	row_put(row, "with_bql", nested->with_bql);
	json_array_append_new(rows, row);
}

static void add_node(json_t *rows, const struct report *report, const struct report_thread *thread,
		     const struct report_node *node)
{
	struct report_frame frame = { .kind = node->kind, .entry = node->entry };
	json_t *row = row_new_of_thread("nested_call", thread);

	row_put(row, "number", node->number);
	row_put(row, "inside", node->parent);
	row_put_text(row, "kind", report_kind_name(node->kind));
	row_put_words(row, "what", report_frame_name(report, &frame));
	row_put(row, "count", node->count);
	row_put(row, "total_ns", node->total_ns);
	row_put(row, "asleep_ns", node->asleep_ns);
	row_put(row, "max_ns", node->max_ns);
	row_put(row, "unfinished", node->unfinished);
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

	row_put_words(row, "site", report_bql_place(report, bql));
	row_put_address(row, "site_addr", bql->site);
	json_object_set_new(row, "wait", row_calls(report, &bql->wait));
	json_object_set_new(row, "hold", row_calls(report, &bql->hold));
	json_array_append_new(rows, row);
}

static void add_event_count(json_t *rows, const struct report *report, unsigned int id)
{
	json_t *row = row_new("event_count");

	row_put_text(row, "event", loop_event_desc(id)->name);
	row_put(row, "count", report->counts[id]);
	row_put_text(row, "from",
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
	row_put(row, "loops", loops);
	row_put(row, "iterations", iterations);
	row_put(row, "callbacks", callbacks);
	row_put(row, "unfinished", unfinished);
	row_put(row, "unbegun", unbegun);
	row_put(row, "events", stats->events);
	row_put(row, "lost", stats->discarded);
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
