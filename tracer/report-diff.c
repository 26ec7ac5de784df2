// SPDX-License-Identifier: MIT
/*
 * Two recordings side by side: what each loop did, how often and how long callbacks ran, who chose
 * the timeouts, what ended the waits, who took the big lock, and what only one of them has.
 *
 * Addresses differ from run to run: what has equal names is the same. Loops, and calls of one
 * function for several fds or contexts, are summed under their name. As recordings differ in
 * length, what is counted is compared per second.
 */
#include <math.h>
#include <string.h>

#include "tracer/report-diff.h"
#include "tracer/report-show.h"
#include "tracer/report-words.h"

static void row_free(void *data)
{
	struct diff_row *row = data;

	report_hist_release(&row->ns[0]);
	report_hist_release(&row->ns[1]);
	report_hist_release(&row->hold[0]);
	report_hist_release(&row->hold[1]);
	g_free(row->loop);
	g_free(row->kind);
	g_free(row->name);
	g_free(row);
}

/* --- both into one ---------------------------------------------------------------------------- */

/* Takes the name. */
static struct diff_row *row_of(GHashTable *rows, const char *loop, const char *kind, char *name)
{
	char *key = g_strdup_printf("%s\t%s\t%s", loop, kind, name); /* safe text has no tab */
	struct diff_row *row = g_hash_table_lookup(rows, key);

	if (row) {
		g_free(name);
		g_free(key);
		return row;
	}
	row = g_new0(struct diff_row, 1);
	row->loop = g_strdup(loop);
	row->kind = g_strdup(kind);
	row->name = name;
	g_hash_table_insert(rows, key, row);
	return row;
}

static void add_loop(struct diff *diff, int side, const struct report_thread *thread,
		     const char *loop)
{
	struct diff_row *row = row_of(diff->loops, loop, "", g_strdup(""));

	row->count[side] += thread->iterations;
	row->asleep_ns[side] += thread->time_ns[REPORT_POLL];
	row->span_ns[side] += thread->end_ns - thread->first_ns;
	report_hist_merge(&row->ns[side], &thread->between.ns);
}

static void add_thread(struct diff *diff, int side, const struct report_thread *thread)
{
	const struct report *report = diff->sides[side];
	bool is_loop = report_is_loop(thread);
	char *loop = is_loop ? report_loop_name(report, thread)
			     : g_strdup(thread->name ? thread->name : "");
	const struct report_callback *callback;
	const struct report_chooser *chooser;
	const struct report_wakeup *wakeup;

	if (is_loop)
		add_loop(diff, side, thread, loop);
	report_each (&thread->callbacks, callback) {
		struct report_frame frame = { .kind = callback->kind, .entry = (void *)callback };
		struct diff_row *row =
			row_of(diff->callbacks, loop, report_kind_name(callback->kind),
			       report_frame_name(report, &frame));

		row->count[side] += callback->calls.ns.count + callback->calls.unfinished;
		row->unfinished[side] += callback->calls.unfinished;
		report_hist_merge(&row->ns[side], &callback->calls.ns);
	}
	report_each (&thread->choosers, chooser) {
		struct diff_row *row =
			row_of(diff->choosers, loop, "", report_chooser_words(report, chooser));

		row->count[side] += chooser->count;
	}
	report_each (&thread->wakeups, wakeup) {
		struct diff_row *row = row_of(diff->causes, loop, report_cause_name(wakeup->cause),
					      report_wakeup_words(report, wakeup, 0));

		row->count[side] += wakeup->count;
	}
	g_free(loop);
}

/* By function: instructions lie elsewhere in another build. */
static void add_bql(struct diff *diff, int side, const struct report_bql *bql)
{
	struct diff_row *row =
		row_of(diff->bql, "", "", report_bql_function(diff->sides[side], bql));

	row->count[side] += bql->hold.ns.count + bql->hold.unfinished;
	report_hist_merge(&row->ns[side], &bql->wait.ns);
	report_hist_merge(&row->hold[side], &bql->hold.ns);
}

static double seconds(const struct diff *diff, int side)
{
	return (double)diff->length_ns[side] / 1e9;
}

double diff_per_second(const struct diff *diff, int side, uint64_t count)
{
	double length = seconds(diff, side);

	return length > 0 ? (double)count / length : 0;
}

/* --- what has changed most comes first -------------------------------------------------------- */

/* Time a second, or what is counted a second. */
static double change_of(const struct diff *diff, const struct diff_row *row, bool time)
{
	return fabs(diff_per_second(diff, 1, time ? row->ns[1].total : row->count[1]) -
		    diff_per_second(diff, 0, time ? row->ns[0].total : row->count[0]));
}

static int by_name(const struct diff_row *x, const struct diff_row *y)
{
	int order = strcmp(x->loop, y->loop);

	if (!order)
		order = strcmp(x->kind, y->kind);
	return order ? order : strcmp(x->name, y->name);
}

static int by_change(const void *a, const void *b, const struct diff *diff, bool time)
{
	const struct diff_row *x = *(void *const *)a, *y = *(void *const *)b;
	double change_x = change_of(diff, x, time), change_y = change_of(diff, y, time);

	if (change_x < change_y || change_x > change_y)
		return change_x > change_y ? -1 : 1;
	return by_name(x, y);
}

int diff_by_time(const void *a, const void *b, void *diff)
{
	return by_change(a, b, diff, true);
}

int diff_by_count(const void *a, const void *b, void *diff)
{
	return by_change(a, b, diff, false);
}

GPtrArray *diff_sorted(const struct diff *diff, GHashTable *rows, GCompareDataFunc compare)
{
	GPtrArray *array = g_ptr_array_new();
	GHashTableIter iter;
	void *row;

	g_hash_table_iter_init(&iter, rows);
	while (g_hash_table_iter_next(&iter, NULL, &row))
		g_ptr_array_add(array, row);
	g_ptr_array_sort_with_data(array, compare, (void *)diff);
	return array;
}

const char *diff_only_in(const struct diff_row *row)
{
	return !row->count[0] ? "new" : !row->count[1] ? "gone" : NULL;
}

void report_print_diff(const struct report *a, const struct report *b, bool json, bool all)
{
	struct diff diff = { .sides = { a, b } };
	GHashTable **tables[] = { &diff.loops, &diff.callbacks, &diff.choosers, &diff.causes,
				  &diff.bql };

	for (size_t i = 0; i < G_N_ELEMENTS(tables); i++)
		*tables[i] = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, row_free);
	for (int side = 0; side < 2; side++) {
		const struct report_thread *thread;
		const struct report_bql *bql;
		uint64_t first_ns, end_ns;

		report_span(diff.sides[side], &first_ns, &end_ns);
		diff.length_ns[side] = end_ns - first_ns;
		report_each (&diff.sides[side]->threads, thread)
			add_thread(&diff, side, thread);
		report_each (&diff.sides[side]->bql, bql)
			add_bql(&diff, side, bql);
	}
	if (json) {
		diff_print_json(&diff);
	} else {
		diff_print_text(&diff, all);
	}
	for (size_t i = 0; i < G_N_ELEMENTS(tables); i++)
		g_hash_table_destroy(*tables[i]);
}
