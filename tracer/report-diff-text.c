// SPDX-License-Identifier: MIT
/* Two recordings side by side, as text of at most 100 columns. */
#include <stdio.h>
#include <string.h>

#include "tracer/out.h"
#include "tracer/report-diff.h"
#include "tracer/report-show.h"
#include "tracer/report-words.h"

#define ROWS_MAX   20 /* of a table; more with --all */
#define RATE_WIDTH 7

static void rate_cell(struct report_cells *cells, const struct diff *diff, int side, uint64_t count)
{
	double rate = diff_per_second(diff, side, count);

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
	const char *only = diff_only_in(row);
	double before = diff_per_second(diff, 0, row->count[0]);
	double after = diff_per_second(diff, 1, row->count[1]);
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

static void ns_cells(struct report_cells *cells, const struct report_hist ns[2],
		     unsigned int per_mille)
{
	for (int side = 0; side < 2; side++) {
		if (ns[side].count)
			report_cell_ns(cells, report_hist_quantile(&ns[side], per_mille));
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
	ns_cells(&cells, row->ns, 990);
	report_cells_row(table, &cells);
}

static void callback_row(struct table *table, const struct diff *diff, const struct diff_row *row)
{
	struct report_cells cells = { 0 };

	report_cell(&cells, g_strdup_printf("%s %s", row->kind, row->name));
	rate_cell(&cells, diff, 0, row->count[0]);
	rate_cell(&cells, diff, 1, row->count[1]);
	change_cell(&cells, diff, row);
	ns_cells(&cells, row->ns, 500);
	ns_cells(&cells, row->ns, 990);
	report_cells_row(table, &cells);
}

/* How long the lock was waited for, and kept. */
static void bql_row(struct table *table, const struct diff *diff, const struct diff_row *row)
{
	struct report_cells cells = { 0 };

	report_cell(&cells, g_strdup(row->name));
	rate_cell(&cells, diff, 0, row->count[0]);
	rate_cell(&cells, diff, 1, row->count[1]);
	change_cell(&cells, diff, row);
	ns_cells(&cells, row->ns, 990);
	ns_cells(&cells, row->hold, 990);
	report_cells_row(table, &cells);
}

static void named_row(struct table *table, const struct diff *diff, const struct diff_row *row)
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
	GPtrArray *rows = diff_sorted(diff, diff->callbacks, diff_by_time);

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

/* What has a name and is counted. */
static void print_named(const struct diff *diff, const char *head, GHashTable *named, bool all)
{
	const char *const heads[] = { head, "    A/S", "    B/S", " CHANGE", "LOOP", NULL };
	GPtrArray *rows = diff_sorted(diff, named, diff_by_count);

	putchar('\n');
	print_table(diff, heads, rows, NULL, all, named_row);
	g_ptr_array_free(rows, TRUE);
}

void diff_print_text(const struct diff *diff, bool all)
{
	static const char *const loops[] = { "LOOP",	 "ITER/S A", "ITER/S B",
					     " CHANGE",	 "ASLEEP A", "ASLEEP B",
					     "BUSY99 A", "BUSY99 B", NULL };
	static const char *const bql[] = { "BQL TAKEN IN", "    A/S",  "    B/S",
					   " CHANGE",	   "WAIT99 A", "WAIT99 B",
					   "HELD99 A",	   "HELD99 B", NULL };
	GPtrArray *rows = diff_sorted(diff, diff->loops, diff_by_count);

	print_side(diff, 0);
	print_side(diff, 1);
	putchar('\n');
	print_table(diff, loops, rows, NULL, all, loop_row);
	puts("An iteration is one wait; A/S and B/S are times a second. BUSY99: p99 of the time from\n"
	     "a wait's end to the next one's begin.");
	g_ptr_array_free(rows, TRUE);
	print_callbacks(diff, all);
	print_named(diff, "WHO CHOSE THE TIMEOUT", diff->choosers, all);
	print_named(diff, "WHAT ENDED THE WAIT", diff->causes, all);
	if (!g_hash_table_size(diff->bql))
		return;
	rows = diff_sorted(diff, diff->bql, diff_by_time);
	putchar('\n');
	print_table(diff, bql, rows, NULL, all, bql_row);
	g_ptr_array_free(rows, TRUE);
}
