// SPDX-License-Identifier: MIT
/* See report-json-row.h. */
#include "tracer/out.h"
#include "tracer/report-json-row.h"
#include "tracer/report-words.h"

void row_put(json_t *row, const char *key, uint64_t value)
{
	json_object_set_new(row, key, json_integer((json_int_t)MIN(value, (uint64_t)INT64_MAX)));
}

void row_put_text(json_t *row, const char *key, const char *text)
{
	json_object_set_new(row, key, out_text(text));
}

/* Takes the text. */
void row_put_words(json_t *row, const char *key, char *words)
{
	json_object_set_new(row, key, out_text(words));
	g_free(words);
}

void row_put_address(json_t *row, const char *key, uint64_t addr)
{
	json_object_set_new(row, key, out_address(addr));
}

/* The environment is the recorder's text: make it safe. */
void row_put_env(json_t *row, const char *key, const struct report *report, const char *name)
{
	row_put_words(row, key, report_env(report, name));
}

json_t *row_new(const char *type)
{
	json_t *row = json_object();

	json_object_set_new(row, "type", json_string(type));
	return row;
}

json_t *row_new_of_thread(const char *type, const struct report_thread *thread)
{
	json_t *row = row_new(type);

	row_put(row, "thread", thread->tid);
	row_put_text(row, "thread_name", thread->name);
	return row;
}

void row_put_ctx(json_t *row, const struct report *report, uint64_t ctx)
{
	row_put_text(row, "ctx", report_context_name(report, ctx));
	row_put_address(row, "ctx_addr", report_context_of(report, ctx));
}

json_t *row_histogram(const struct report_hist *hist)
{
	json_t *buckets = json_array();

	for (unsigned int octave = 0; octave < REPORT_HIST_OCTAVES; octave++) {
		json_t *bucket;

		if (!report_hist_octave(hist, octave))
			continue;
		bucket = json_object();
		row_put(bucket, "from_ns", report_hist_from(octave));
		row_put(bucket, "count", report_hist_octave(hist, octave));
		json_array_append_new(buckets, bucket);
	}
	return buckets;
}

void row_put_hist(json_t *row, const struct report_hist *hist)
{
	row_put(row, "count", hist->count);
	row_put(row, "total_ns", hist->total);
	row_put(row, "min_ns", hist->min);
	row_put(row, "p50_ns", report_hist_quantile(hist, 500));
	row_put(row, "p99_ns", report_hist_quantile(hist, 990));
	row_put(row, "max_ns", hist->max);
}

void row_put_calls(json_t *row, const struct report *report, const struct report_calls *calls)
{
	row_put_hist(row, &calls->ns);
	row_put(row, "max_at_ns", calls->ns.count ? calls->max_at_ns - report->begin_ns : 0);
	row_put(row, "unfinished", calls->unfinished);
}

json_t *row_calls(const struct report *report, const struct report_calls *calls)
{
	json_t *object = json_object();

	row_put_calls(object, report, calls);
	return object;
}

json_t *row_texts(const GPtrArray *array)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < array->len; i++)
		json_array_append_new(list, json_string(array->pdata[i]));
	return list;
}
