// SPDX-License-Identifier: MIT
/*
 * Of one loop in a report: who chose the timeouts of its waits, and what ended the waits.
 */
#include <stdio.h>

#include "tracer/report-show.h"
#include "tracer/report-words.h"

#define ROWS_MAX 10 /* unless all are asked for */
#define FOLD_AT	 4  /* so many equal causes become one */

static void print_more(uint32_t rows, uint32_t shown)
{
	if (rows > shown)
		printf("  %u more rows with --all.\n", rows - shown);
}

static void timeout_row(struct table *table, const struct report *report,
			const struct report_chooser *chooser)
{
	struct report_cells cells = { 0 };

	report_cell(&cells, report_chooser_words(report, chooser));
	report_cell_right(&cells, report_number(chooser->count), 7);
	for (int range = 0; range < REPORT_RANGES; range++) {
		uint64_t count = chooser->ranges[range];

		report_cell_right(&cells, count ? report_number(count) : g_strdup("."),
				  range == REPORT_FOR_EVER ? 8 : 6);
	}
	report_cells_row(table, &cells);
}

void report_print_timeouts(const struct report *report, const struct report_thread *thread,
			   bool all)
{
	const char *heads[] = { "WHO CHOSE THE TIMEOUT",
				"  WAITS",
				"     0",
				" <1 ms",
				"<10 ms",
				"<100 ms",
				"  <1 s",
				" >=1 s",
				"FOR EVER",
				thread->ranges[REPORT_RANGE_UNKNOWN] ? "UNKNOWN" : NULL,
				NULL };
	GPtrArray *rows;
	struct table *table;
	uint32_t n;

	if (!thread->choosers.n)
		return;
	rows = report_sorted(&thread->choosers, report_by_waits);
	n = all ? rows->len : MIN(rows->len, ROWS_MAX);
	table = table_new(heads);
	for (uint32_t i = 0; i < n; i++)
		timeout_row(table, report, rows->pdata[i]);
	table_print(table, "  ");
	print_more(rows->len, n);
	g_ptr_array_free(rows, TRUE);
}

/* Causes that differ only in their fd: one function serves 71 queues. */
struct wakeups {
	const struct report_wakeup *first;
	uint64_t cb, count;
	unsigned int fds;
};

static int compare(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

/* In which callback somebody was: its kind and function count, not its fd. */
static int by_callback(const struct report_callback *x, const struct report_callback *y)
{
	if (!x || !y)
		return compare(!!x, !!y);
	return x->cb != y->cb ? compare(x->cb, y->cb) : compare(x->kind, y->kind);
}

/* 0: the same but for the fd. */
static int by_cause(const void *a, const void *b)
{
	const struct wakeups *x = a, *y = b;
	int order = compare(x->first->cause, y->first->cause);

	order = order ? order : compare(x->cb, y->cb);
	order = order ? order : compare(x->first->site, y->first->site);
	order = order ? order : compare(x->first->by_tid, y->first->by_tid);
	order = order ? order : compare(x->first->ctx, y->first->ctx);
	return order ? order : by_callback(x->first->in, y->first->in);
}

static int by_count(const void *a, const void *b)
{
	const struct wakeups *x = a, *y = b;
	int order = compare(y->count, x->count);

	return order ? order : report_by_address(&x->first, &y->first);
}

/* Fold @n rows of one cause into the last of @folded; few stay by themselves, with their fds. */
static void fold_cause(GArray *folded, const struct wakeups *rows, unsigned int n, bool all)
{
	struct wakeups sum = rows[0];

	if (all || n < FOLD_AT || !rows[0].cb) {
		g_array_append_vals(folded, rows, n);
		return;
	}
	for (unsigned int i = 1; i < n; i++)
		sum.count += rows[i].count;
	sum.fds = n;
	g_array_append_val(folded, sum);
}

static GArray *fold_wakeups(const struct report *report, const struct report_map *map, bool all)
{
	GArray *rows = g_array_new(FALSE, FALSE, sizeof(struct wakeups));
	GArray *folded = g_array_new(FALSE, FALSE, sizeof(struct wakeups));
	const struct report_wakeup *wakeup;
	const struct wakeups *row;
	unsigned int n;

	report_each (map, wakeup) {
		struct wakeups one = { wakeup, report_wakeup_callback(report, wakeup),
				       wakeup->count, 1 };

		g_array_append_val(rows, one);
	}
	g_array_sort(rows, by_cause);
	for (uint32_t i = 0; i < rows->len; i += n) {
		row = &g_array_index(rows, struct wakeups, i);
		for (n = 1; i + n < rows->len && !by_cause(&row[0], &row[n]);)
			n++;
		fold_cause(folded, row, n, all);
	}
	g_array_free(rows, TRUE);
	g_array_sort(folded, by_count);
	return folded;
}

void report_print_wakeups(const struct report *report, const struct report_thread *thread, bool all)
{
	static const char *const heads[] = { "  TIMES", "WHAT ENDED THE WAIT", NULL };
	struct table *table;
	GArray *folded;
	uint32_t n;

	if (!thread->wakeups.n)
		return;
	folded = fold_wakeups(report, &thread->wakeups, all);
	n = all ? folded->len : MIN(folded->len, ROWS_MAX);
	table = table_new(heads);
	for (uint32_t i = 0; i < n; i++) {
		const struct wakeups *row = &g_array_index(folded, struct wakeups, i);
		struct report_cells cells = { 0 };

		report_cell_count(&cells, row->count, 0);
		report_cell(&cells, report_wakeup_words(report, row->first, row->fds));
		report_cells_row(table, &cells);
	}
	table_print(table, "  ");
	print_more(folded->len, n);
	g_array_free(folded, TRUE);
}
