// SPDX-License-Identifier: MIT
/* The other waits of a report: nested aio_poll and AIO_WAIT_WHILE as a tree, and the big lock. */
#include <stdio.h>

#include "tracer/report-show.h"
#include "tracer/report-words.h"

#define ROWS_MAX 20

static void node_row(struct table *table, const struct report *report,
		     const struct report_thread *thread, const struct report_node *node)
{
	struct report_frame frame = { .kind = node->kind, .entry = node->entry };
	char *name = report_frame_name(report, &frame);
	bool callback = node->kind <= REPORT_NOTIFIER;
	struct report_cells cells = { 0 };

	report_cell(&cells, g_strdup_printf("%u", thread->tid));
	report_cell(&cells, g_strdup_printf("%*s%s%s%s", 2 * (int)node->level, "",
					    callback ? report_kind_name(node->kind) : "",
					    callback ? " " : "", name));
	report_cell_count(&cells, node->count, node->unfinished);
	report_cell_ns(&cells, node->total_ns);
	report_cell_ns(&cells, node->asleep_ns);
	report_cell_ns(&cells, node->max_ns);
	report_cells_row(table, &cells);
	g_free(name);
}

void report_print_nested(const struct report *report, const struct report_options *options)
{
	static const char *const heads[] = {
		"THREAD",  "NESTED WAITS: WHAT WAITED, AND WHAT RAN MEANWHILE",
		"  COUNT", "  TOTAL",
		" ASLEEP", "LONGEST",
		NULL
	};
	GPtrArray *threads = report_threads(report);
	struct table *table = NULL;
	uint32_t hidden = 0;

	for (uint32_t t = 0; t < threads->len; t++) {
		const struct report_thread *thread = threads->pdata[t];
		GPtrArray *nodes = report_tree_nodes(thread);
		uint32_t n = options->all ? nodes->len : MIN(nodes->len, ROWS_MAX);

		if (nodes->len && !table)
			table = table_new(heads);
		for (uint32_t i = 0; i < n; i++)
			node_row(table, report, thread, nodes->pdata[i]);
		hidden += nodes->len - n;
		g_ptr_array_free(nodes, TRUE);
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
