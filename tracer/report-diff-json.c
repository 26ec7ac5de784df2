// SPDX-License-Identifier: MIT
/* Two recordings side by side, as NDJSON. */
#include <string.h>

#include "tracer/out.h"
#include "tracer/report-diff.h"
#include "tracer/report-words.h"

static void put(json_t *row, const char *key, uint64_t value)
{
	json_object_set_new(row, key, json_integer((json_int_t)MIN(value, (uint64_t)INT64_MAX)));
}

static void put_hist(json_t *object, const struct report_hist *hist)
{
	put(object, "total_ns", hist->total);
	put(object, "p50_ns", report_hist_quantile(hist, 500));
	put(object, "p99_ns", report_hist_quantile(hist, 990));
	put(object, "max_ns", hist->max);
}

static json_t *hist_object(const struct report_hist *hist)
{
	json_t *object = json_object();

	put(object, "count", hist->count);
	put_hist(object, hist);
	return object;
}

/* null where that recording has nothing of it. */
static json_t *side_object(const struct diff *diff, const struct diff_row *row, int side,
			   const char *type)
{
	json_t *object;

	if (!row->count[side])
		return json_null();
	object = json_object();
	put(object, "count", row->count[side]);
	json_object_set_new(object, "per_second",
			    json_real(diff_per_second(diff, side, row->count[side])));
	if (!strcmp(type, "diff_timeout") || !strcmp(type, "diff_wakeup"))
		return object;
	if (!strcmp(type, "diff_bql")) {
		json_object_set_new(object, "wait", hist_object(&row->ns[side]));
		json_object_set_new(object, "hold", hist_object(&row->hold[side]));
		return object;
	}
	put_hist(object, &row->ns[side]);
	if (!strcmp(type, "diff_loop")) {
		put(object, "asleep_ns", row->asleep_ns[side]);
		put(object, "span_ns", row->span_ns[side]);
	} else {
		put(object, "unfinished", row->unfinished[side]);
	}
	return object;
}

static void print_rows(const struct diff *diff, const char *type, GHashTable *all,
		       GCompareDataFunc compare, const char *name_key)
{
	GPtrArray *rows = diff_sorted(diff, all, compare);

	for (uint32_t i = 0; i < rows->len; i++) {
		const struct diff_row *row = rows->pdata[i];
		json_t *object = json_object();

		json_object_set_new(object, "type", json_string(type));
		json_object_set_new(object, "loop", out_text(row->loop));
		if (row->kind[0])
			json_object_set_new(object, "kind", json_string(row->kind));
		if (name_key)
			json_object_set_new(object, name_key, json_string(row->name));
		json_object_set_new(object, "only", out_text(diff_only_in(row)));
		json_object_set_new(object, "a", side_object(diff, row, 0, type));
		json_object_set_new(object, "b", side_object(diff, row, 1, type));
		out_json(object);
	}
	g_ptr_array_free(rows, TRUE);
}

static void print_recording(const struct diff *diff, int side)
{
	const struct report *report = diff->sides[side];
	const struct ctf_reader_stats *stats = ctf_reader_stats(report->reader);
	char *exe = report_env(report, "target_exe");
	json_t *row = json_object();

	json_object_set_new(row, "type", json_string("recording"));
	json_object_set_new(row, "side", json_string(side ? "b" : "a"));
	json_object_set_new(row, "path", json_string(report->path));
	json_object_set_new(row, "exe", out_text(exe));
	put(row, "duration_ns", diff->length_ns[side]);
	put(row, "events", stats->events);
	put(row, "lost", stats->discarded);
	put(row, "damaged", report->damaged->len);
	out_json(row);
	g_free(exe);
}

static void print_total(const struct diff *diff)
{
	uint64_t lost = 0, new_ones = 0, gone = 0;
	const struct diff_row *row;
	json_t *object = json_object();
	GHashTableIter iter;
	void *value;

	for (int side = 0; side < 2; side++)
		lost += ctf_reader_stats(diff->sides[side]->reader)->discarded;
	g_hash_table_iter_init(&iter, diff->callbacks);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		row = value;
		new_ones += !row->count[0];
		gone += row->count[0] && !row->count[1];
	}
	json_object_set_new(object, "type", json_string("total"));
	put(object, "loops", g_hash_table_size(diff->loops));
	put(object, "callbacks", g_hash_table_size(diff->callbacks));
	put(object, "new", new_ones);
	put(object, "gone", gone);
	put(object, "lost", lost);
	out_json(object);
}

void diff_print_json(const struct diff *diff)
{
	print_recording(diff, 0);
	print_recording(diff, 1);
	print_rows(diff, "diff_loop", diff->loops, diff_by_count, NULL);
	print_rows(diff, "diff_callback", diff->callbacks, diff_by_time, "callback");
	print_rows(diff, "diff_timeout", diff->choosers, diff_by_count, "chooser");
	print_rows(diff, "diff_wakeup", diff->causes, diff_by_count, "words");
	print_rows(diff, "diff_bql", diff->bql, diff_by_time, "site");
	print_total(diff);
}
