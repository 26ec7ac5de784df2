// SPDX-License-Identifier: MIT
/* The other waits of a report: nested aio_poll and AIO_WAIT_WHILE, and the big lock. */
#include <stdio.h>

#include "tracer/report-show.h"
#include "tracer/report-words.h"

#define ROWS_MAX 20

static void nested_row(struct table *table, const struct report *report,
		       const struct report_thread *thread, const struct report_nested *nested)
{
	const struct report_calls *calls = &nested->calls;
	char *site = report_place(report, nested->site);
	struct report_cells cells = { 0 };

	report_cell(&cells, g_strdup_printf("%u", thread->tid));
	report_cell(&cells, g_strdup_printf("%s at %s", report_kind_name(nested->kind), site));
	report_cell_count(&cells, calls->ns.count, calls->unfinished);
	report_cell_ns(&cells, calls->ns.total);
	report_cell_ns(&cells, nested->slept_ns);
	report_cell_ns(&cells, report_hist_quantile(&calls->ns, 990));
	report_cell_ns(&cells, calls->ns.max);
	report_cell(&cells,
		    nested->max_depth ? g_strdup_printf("%5u", nested->max_depth) : g_strdup(""));
	report_cells_row(table, &cells);
	g_free(site);
}

void report_print_nested(const struct report *report, const struct report_options *options)
{
	static const char *const heads[] = { "THREAD",	"NESTED WAIT", "  COUNT",
					     "  TOTAL", " ASLEEP",     "    P99",
					     "LONGEST", "DEPTH",       NULL };
	GPtrArray *threads = report_threads(report);
	struct table *table = NULL;
	uint32_t hidden = 0;

	for (uint32_t t = 0; t < threads->len; t++) {
		const struct report_thread *thread = threads->pdata[t];
		GPtrArray *rows = report_sorted(&thread->nested_map, report_by_nested);
		uint32_t n = options->all ? rows->len : MIN(rows->len, ROWS_MAX);

		if (rows->len && !table)
			table = table_new(heads);
		for (uint32_t i = 0; i < n; i++)
			nested_row(table, report, thread, rows->pdata[i]);
		hidden += rows->len - n;
		g_ptr_array_free(rows, TRUE);
	}
	g_ptr_array_free(threads, TRUE);
	if (!table)
		return;
	putchar('\n');
	table_print(table, "");
	if (hidden)
		printf("%u more rows with --all.\n", hidden);
}

static void bql_row(struct table *table, const struct report *report, const struct report_bql *bql)
{
	const struct report_calls *wait = &bql->wait, *hold = &bql->hold;
	struct report_cells cells = { 0 };

	report_cell(&cells, report_bql_place(report, bql));
	report_cell_count(&cells, wait->ns.count, wait->unfinished);
	report_cell_ns(&cells, wait->ns.total);
	report_cell_ns(&cells, wait->ns.max);
	report_cell_count(&cells, hold->ns.count, hold->unfinished);
	report_cell_ns(&cells, hold->ns.total);
	report_cell_ns(&cells, report_hist_quantile(&hold->ns, 990));
	report_cell_ns(&cells, hold->ns.max);
	report_cells_row(table, &cells);
}

void report_print_bql(const struct report *report, const struct report_options *options)
{
	static const char *const heads[] = { "BQL TAKEN AT", "  WAITS", "  TOTAL",
					     "LONGEST",	     "   HELD", "  TOTAL",
					     "    P99",	     "LONGEST", NULL };
	GPtrArray *rows = report_sorted(&report->bql, report_by_wait);
	uint32_t n = options->all ? rows->len : MIN(rows->len, ROWS_MAX);
	struct table *table;

	if (rows->len) {
		table = table_new(heads);
		for (uint32_t i = 0; i < n; i++)
			bql_row(table, report, rows->pdata[i]);
		putchar('\n');
		table_print(table, "");
	}
	if (rows->len > n)
		printf("%u more rows with --all.\n", rows->len - n);
	g_ptr_array_free(rows, TRUE);
}
