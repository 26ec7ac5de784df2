// SPDX-License-Identifier: MIT
/*
 * Two recordings side by side: what each loop did, how often and how long callbacks ran, who chose
 * the timeouts, and what only one of them has.
 *
 * Addresses differ from run to run: what has equal names is the same. Loops, and calls of one
 * function for several fds or contexts, are summed under their name. As recordings differ in
 * length, what is counted is compared per second.
 */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tracer/out.h"
#include "tracer/report-show.h"
#include "tracer/report-words.h"

#define ROWS_MAX   20 /* of a table; more with --all */
#define RATE_WIDTH 7

/* A loop, a callback or a chooser of timeouts, in either recording. */
struct diff_row {
	char *loop, *kind, *name;
	struct report_hist ns[2]; /* of a loop: from a wait's end to the next one's begin */
	uint64_t count[2];
	uint64_t asleep_ns[2], span_ns[2]; /* of a loop */
	uint64_t unfinished[2];		   /* of a callback */
};

struct diff {
	const struct report *sides[2];
	uint64_t length_ns[2];
	GHashTable *loops, *callbacks, *choosers; /* key -> struct diff_row */
};

static void row_free(void *data)
{
	struct diff_row *row = data;

	report_hist_release(&row->ns[0]);
	report_hist_release(&row->ns[1]);
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

	if (is_loop)
		add_loop(diff, side, thread, loop);
	report_each(&thread->callbacks, callback)
	{
		struct report_frame frame = { .kind = callback->kind, .entry = (void *)callback };
		struct diff_row *row =
			row_of(diff->callbacks, loop, report_kind_name(callback->kind),
			       report_frame_name(report, &frame));

		row->count[side] += callback->calls.ns.count + callback->calls.unfinished;
		row->unfinished[side] += callback->calls.unfinished;
		report_hist_merge(&row->ns[side], &callback->calls.ns);
	}
	report_each(&thread->choosers, chooser)
	{
		struct diff_row *row =
			row_of(diff->choosers, loop, "", report_chooser_words(report, chooser));

		row->count[side] += chooser->count;
	}
	g_free(loop);
}

static double seconds(const struct diff *diff, int side)
{
	return (double)diff->length_ns[side] / 1e9;
}

/* 0 of a recording that has no length. */
static double per_second(const struct diff *diff, int side, uint64_t count)
{
	double length = seconds(diff, side);

	return length > 0 ? (double)count / length : 0;
}

/* --- what has changed most comes first -------------------------------------------------------- */

/* Time a second, or what is counted a second. */
static double change_of(const struct diff *diff, const struct diff_row *row, bool time)
{
	return fabs(per_second(diff, 1, time ? row->ns[1].total : row->count[1]) -
		    per_second(diff, 0, time ? row->ns[0].total : row->count[0]));
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

static int by_time(const void *a, const void *b, void *diff)
{
	return by_change(a, b, diff, true);
}

static int by_count(const void *a, const void *b, void *diff)
{
	return by_change(a, b, diff, false);
}

static GPtrArray *sorted(const struct diff *diff, GHashTable *rows, GCompareDataFunc compare)
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

/* "new", "gone" or NULL. */
static const char *only_in(const struct diff_row *row)
{
	return !row->count[0] ? "new" : !row->count[1] ? "gone" : NULL;
}

/* --- text ------------------------------------------------------------------------------------- */

static void rate_cell(struct report_cells *cells, const struct diff *diff, int side, uint64_t count)
{
	double rate = per_second(diff, side, count);

	report_cell_right(cells,
			  !count	  ? g_strdup("-")
			  : rate < 99.5	  ? g_strdup_printf("%.1f", rate)
			  : rate < 999999 ? report_number((uint64_t)(rate + 0.5))
					  : g_strdup_printf("%.2f M", rate / 1e6),
			  RATE_WIDTH);
}

/* "+12 %", "x 3.4", "new": of what is counted per second. */
static void change_cell(struct report_cells *cells, const struct diff *diff,
			const struct diff_row *row)
{
	const char *only = only_in(row);
	double before = per_second(diff, 0, row->count[0]);
	double after = per_second(diff, 1, row->count[1]);
	char *text;

	if (only)
		text = g_strdup(only);
	else if (before <= 0 || after <= 0)
		text = g_strdup("");
	else if (after >= 2 * before)
		text = g_strdup_printf("x %.*f", after < 10 * before ? 1 : 0, after / before);
	else
		text = g_strdup_printf("%+.0f %%", (after / before - 1) * 100);
	report_cell_right(cells, text, 7);
}

static void ns_cells(struct report_cells *cells, const struct diff_row *row, unsigned int per_mille)
{
	for (int side = 0; side < 2; side++) {
		if (row->ns[side].count)
			report_cell_ns(cells, report_hist_quantile(&row->ns[side], per_mille));
		else
			report_cell_right(cells, g_strdup("-"), REPORT_NS_WIDTH);
	}
}

static void share_cells(struct report_cells *cells, const struct diff_row *row)
{
	for (int side = 0; side < 2; side++)
		report_cell_right(
			cells,
			row->span_ns[side]
				? g_strdup_printf("%.1f %%", 100 * (double)row->asleep_ns[side] /
								     (double)row->span_ns[side])
				: g_strdup("-"),
			7);
}

static void loop_row(struct table *table, const struct diff *diff, const struct diff_row *row)
{
	struct report_cells cells = { 0 };

	report_cell(&cells, g_strdup(row->loop));
	rate_cell(&cells, diff, 0, row->count[0]);
	rate_cell(&cells, diff, 1, row->count[1]);
	change_cell(&cells, diff, row);
	share_cells(&cells, row);
	ns_cells(&cells, row, 990);
	report_cells_row(table, &cells);
}

static void callback_row(struct table *table, const struct diff *diff, const struct diff_row *row)
{
	struct report_cells cells = { 0 };

	report_cell(&cells, g_strdup_printf("%s %s", row->kind, row->name));
	rate_cell(&cells, diff, 0, row->count[0]);
	rate_cell(&cells, diff, 1, row->count[1]);
	change_cell(&cells, diff, row);
	ns_cells(&cells, row, 500);
	ns_cells(&cells, row, 990);
	report_cells_row(table, &cells);
}

static void chooser_row(struct table *table, const struct diff *diff, const struct diff_row *row)
{
	struct report_cells cells = { 0 };

	report_cell(&cells, g_strdup(row->name));
	rate_cell(&cells, diff, 0, row->count[0]);
	rate_cell(&cells, diff, 1, row->count[1]);
	change_cell(&cells, diff, row);
	report_cell(&cells, g_strdup(row->loop));
	report_cells_row(table, &cells);
}

/* Print the rows of a loop, or with NULL all. */
static void print_table(const struct diff *diff, const char *const *heads, const GPtrArray *rows,
			const char *loop, bool all,
			void (*print)(struct table *, const struct diff *, const struct diff_row *))
{
	struct table *table = table_new(heads);
	uint32_t n = 0;

	for (uint32_t i = 0; i < rows->len; i++) {
		const struct diff_row *row = rows->pdata[i];

		if (loop && strcmp(row->loop, loop))
			continue;
		if (all || n < ROWS_MAX)
			print(table, diff, row);
		n++;
	}
	if (n)
		table_print(table, "");
	else
		table_free(table);
	if (!all && n > ROWS_MAX)
		printf("%u more rows with --all.\n", n - ROWS_MAX);
}

/* A table for each loop, those first in which most has changed. */
static void print_callbacks(const struct diff *diff, bool all)
{
	static const char *const heads[] = { "CALLBACK", "    A/S", "    B/S", " CHANGE", "  P50 A",
					     "  P50 B",	 "  P99 A", "  P99 B", NULL };
	GHashTable *done = g_hash_table_new(g_str_hash, g_str_equal);
	GPtrArray *rows = sorted(diff, diff->callbacks, by_time);

	for (uint32_t i = 0; i < rows->len; i++) {
		char *loop = ((const struct diff_row *)rows->pdata[i])->loop;

		if (!g_hash_table_add(done, loop))
			continue;
		printf("\n%s\n", loop[0] ? loop : "a thread without a name");
		print_table(diff, heads, rows, loop, all, callback_row);
	}
	g_ptr_array_free(rows, TRUE);
	g_hash_table_destroy(done);
}

static void print_side(const struct diff *diff, int side)
{
	const struct report *report = diff->sides[side];
	const struct ctf_reader_stats *stats = ctf_reader_stats(report->reader);
	char *length = report_duration(diff->length_ns[side]);
	char *events = report_number(stats->events), *lost = report_number(stats->discarded);
	char *version = report_env(report, "target_version");
	char *when = report_begin_text(report, false), *exe = report_env(report, "target_exe");
	char *base = exe ? g_path_get_basename(exe) : g_strdup("an unknown program");
	char *line = g_strdup_printf(
		"%c: %s: %s%s%s, %s for %s, %s events, %s lost%s", "AB"[side], report -> path, base,
		version ? " " : "", version ? version : "", when, length, events,
		stats->discarded ? lost : "none", report->damaged->len ? ", DAMAGED" : "");

	report_print_wrapped("", 3, line);
	g_free(line);
	g_free(base);
	g_free(exe);
	g_free(when);
	g_free(version);
	g_free(lost);
	g_free(events);
	g_free(length);
}

static void print_text(const struct diff *diff, bool all)
{
	static const char *const loops[] = { "LOOP",	 "ITER/S A", "ITER/S B",
					     " CHANGE",	 "ASLEEP A", "ASLEEP B",
					     "BUSY99 A", "BUSY99 B", NULL };
	static const char *const choosers[] = {
		"WHO CHOSE THE TIMEOUT", "    A/S", "    B/S", " CHANGE", "LOOP", NULL
	};
	GPtrArray *rows = sorted(diff, diff->loops, by_count);

	print_side(diff, 0);
	print_side(diff, 1);
	putchar('\n');
	print_table(diff, loops, rows, NULL, all, loop_row);
	puts("An iteration is one wait; A/S and B/S are times a second. BUSY99: p99 of the time from\n"
	     "a wait's end to the next one's begin.");
	g_ptr_array_free(rows, TRUE);
	print_callbacks(diff, all);
	rows = sorted(diff, diff->choosers, by_count);
	putchar('\n');
	print_table(diff, choosers, rows, NULL, all, chooser_row);
	g_ptr_array_free(rows, TRUE);
}

/* --- NDJSON ----------------------------------------------------------------------------------- */

static void put(json_t *row, const char *key, uint64_t value)
{
	json_object_set_new(row, key, json_integer((json_int_t)MIN(value, (uint64_t)INT64_MAX)));
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
			    json_real(per_second(diff, side, row->count[side])));
	if (!strcmp(type, "diff_timeout"))
		return object;
	put(object, "total_ns", row->ns[side].total);
	put(object, "p50_ns", report_hist_quantile(&row->ns[side], 500));
	put(object, "p99_ns", report_hist_quantile(&row->ns[side], 990));
	put(object, "max_ns", row->ns[side].max);
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
	GPtrArray *rows = sorted(diff, all, compare);

	for (uint32_t i = 0; i < rows->len; i++) {
		const struct diff_row *row = rows->pdata[i];
		json_t *object = json_object();

		json_object_set_new(object, "type", json_string(type));
		json_object_set_new(object, "loop", out_text(row->loop));
		if (row->kind[0])
			json_object_set_new(object, "kind", json_string(row->kind));
		if (name_key)
			json_object_set_new(object, name_key, json_string(row->name));
		json_object_set_new(object, "only", out_text(only_in(row)));
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

void report_print_diff(const struct report *a, const struct report *b, bool json, bool all)
{
	struct diff diff = { .sides = { a, b } };
	GHashTable **tables[] = { &diff.loops, &diff.callbacks, &diff.choosers };

	for (size_t i = 0; i < G_N_ELEMENTS(tables); i++)
		*tables[i] = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, row_free);
	for (int side = 0; side < 2; side++) {
		const struct report_thread *thread;
		uint64_t first_ns, end_ns;

		report_span(diff.sides[side], &first_ns, &end_ns);
		diff.length_ns[side] = end_ns - first_ns;
		report_each(&diff.sides[side]->threads, thread) add_thread(&diff, side, thread);
	}
	if (json) {
		print_recording(&diff, 0);
		print_recording(&diff, 1);
		print_rows(&diff, "diff_loop", diff.loops, by_count, NULL);
		print_rows(&diff, "diff_callback", diff.callbacks, by_time, "callback");
		print_rows(&diff, "diff_timeout", diff.choosers, by_count, "chooser");
		print_total(&diff);
	} else {
		print_text(&diff, all);
	}
	for (size_t i = 0; i < G_N_ELEMENTS(tables); i++)
		g_hash_table_destroy(*tables[i]);
}
