// SPDX-License-Identifier: MIT
/*
 * The callbacks of a report: a table, and histograms of the slowest.
 *
 * Callbacks that differ only in their fd (one function serves 71 queues) are one row, with the sum
 * of their histograms, unless all are asked for. So are a timer's of several lists (clocks).
 */
#include <stdio.h>
#include <string.h>

#include "tracer/out.h"
#include "tracer/report-show.h"
#include "tracer/report-words.h"

#define ROWS_MAX       20
#define HISTOGRAMS_MAX 5
#define BAR_WIDTH      50
#define FDS_MAX	       3  /* more are not listed, but with --all */
#define OWN_SHARE      20 /* own time is worth a line if a 20th is not its own */

struct row {
	const struct report_thread *thread;
	const struct report_callback *first; /* of those folded */
	struct report_hist ns, late;
	uint64_t own_ns, max_at_ns, unfinished, late_unknown;
	GArray *fds; /* int, may repeat: an fd is read and written */
};

static void row_add(struct row *row, const struct report_callback *callback)
{
	if (!row->ns.count || callback->calls.ns.max > row->ns.max)
		row->max_at_ns = callback->calls.max_at_ns;
	report_hist_merge(&row->ns, &callback->calls.ns);
	if (callback->late)
		report_hist_merge(&row->late, callback->late);
	row->late_unknown += callback->late_unknown;
	row->own_ns += callback->calls.own_ns;
	row->unfinished += callback->calls.unfinished;
	if (callback->fd >= 0)
		g_array_append_val(row->fds, callback->fd);
}

static void row_free(void *entry)
{
	struct row *row = entry;

	report_hist_release(&row->ns);
	report_hist_release(&row->late);
	g_array_free(row->fds, TRUE);
	g_free(row);
}

static bool same_row(const struct row *row, const struct report_thread *thread,
		     const struct report_callback *callback)
{
	const struct report_callback *first = row->first;

	return row->thread == thread && first->cb == callback->cb &&
	       first->kind == callback->kind &&
	       (first->ctx == callback->ctx || callback->kind == REPORT_TIMER) &&
	       first->op == callback->op && first->source == callback->source;
}

static int by_cb(const void *a, const void *b)
{
	const struct report_callback *x = *(void *const *)a, *y = *(void *const *)b;

	if (x->cb != y->cb)
		return x->cb < y->cb ? -1 : 1;
	if (x->kind != y->kind)
		return x->kind < y->kind ? -1 : 1;
	if (x->ctx != y->ctx)
		return x->ctx < y->ctx ? -1 : 1;
	if (x->op != y->op)
		return x->op < y->op ? -1 : 1;
	if (x->source != y->source)
		return x->source < y->source ? -1 : 1;
	return (x->fd > y->fd) - (x->fd < y->fd);
}

static int by_total(const void *a, const void *b)
{
	const struct row *x = *(void *const *)a, *y = *(void *const *)b;

	if (x->ns.total != y->ns.total)
		return x->ns.total > y->ns.total ? -1 : 1;
	return by_cb(&x->first, &y->first);
}

static int by_max(const void *a, const void *b)
{
	const struct row *x = *(void *const *)a, *y = *(void *const *)b;

	return x->ns.max != y->ns.max ? (x->ns.max > y->ns.max ? -1 : 1) : by_total(a, b);
}

static GPtrArray *fold_callbacks(const struct report *report, bool all)
{
	GPtrArray *rows = g_ptr_array_new_with_free_func(row_free);
	GPtrArray *threads = report_threads(report);

	for (uint32_t t = 0; t < threads->len; t++) {
		const struct report_thread *thread = threads->pdata[t];
		GPtrArray *callbacks = report_sorted(&thread->callbacks, by_cb);
		struct row *row = NULL;

		for (uint32_t i = 0; i < callbacks->len; i++) {
			const struct report_callback *callback = callbacks->pdata[i];

			if (!row || all || !same_row(row, thread, callback)) {
				row = g_new0(struct row, 1);
				row->thread = thread;
				row->first = callback;
				row->fds = g_array_new(FALSE, FALSE, sizeof(int));
				g_ptr_array_add(rows, row);
			}
			row_add(row, callback);
		}
		g_ptr_array_free(callbacks, TRUE);
	}
	g_ptr_array_free(threads, TRUE);
	g_ptr_array_sort(rows, by_total);
	return rows;
}

/* In a table "program+0x12" is "+0x12": the program stands above, and the number is what counts. */
static char *row_name(const struct report *report, const struct row *row)
{
	char *name = report_callback_name(report, row->first);
	char *exe = report_env(report, "target_exe");
	char *base = exe ? g_path_get_basename(exe) : NULL;

	if (name && base && g_str_has_prefix(name, base) && name[strlen(base)] == '+')
		memmove(name, name + strlen(base), strlen(name + strlen(base)) + 1);
	g_free(base);
	g_free(exe);
	return name ? name : g_strdup_printf("0x%lx", (unsigned long)row->first->cb);
}

static char *row_what(const struct report *report, const struct row *row)
{
	char *ranges, *what;

	if (row->fds->len < 2)
		return report_callback_what(report, row->first);
	if (row->fds->len > FDS_MAX)
		return g_strdup_printf("%u fds", row->fds->len);
	ranges = out_ranges(row->fds);
	what = g_strdup_printf("%u fds: %s", row->fds->len, ranges);
	g_free(ranges);
	return what;
}

/* Under a row: what is not in every row. */
static void rest_of_row(struct table *table, const struct row *row)
{
	char *own = report_duration(row->own_ns);
	char *p50 = report_duration(report_hist_quantile(&row->late, 500));
	char *p99 = report_duration(report_hist_quantile(&row->late, 990));
	char *max = report_duration(row->late.max);
	char *words = NULL;

	if (row->late.count)
		words = g_strdup_printf("%s: p50 %s, p99 %s, at most %s",
					row->first->kind == REPORT_SOURCE
						? "dispatched after the wait's end"
						: "came late",
					p50, p99, max);
	else if (row->own_ns < row->ns.total - row->ns.total / OWN_SHARE)
		words = g_strdup_printf("own %s, the rest in what it called", own);
	table_under(table, 1, words);
	g_free(words);
	g_free(max);
	g_free(p99);
	g_free(p50);
	g_free(own);
}

static void callback_row(struct table *table, const struct report *report, const struct row *row)
{
	struct report_cells cells = { 0 };

	report_cell(&cells, g_strdup_printf("%u", row->thread->tid));
	report_cell(&cells, row_name(report, row));
	report_cell(&cells, row_what(report, row));
	report_cell_count(&cells, row->ns.count, row->unfinished);
	report_cell_ns(&cells, row->ns.total);
	report_cell_ns(&cells, report_hist_quantile(&row->ns, 500));
	report_cell_ns(&cells, report_hist_quantile(&row->ns, 990));
	report_cell_ns(&cells, row->ns.max);
	report_cells_row(table, &cells);
	rest_of_row(table, row);
}

static void print_histogram(const struct report *report, const struct row *row)
{
	char *name = row_name(report, row), *what = row_what(report, row);
	char *at = report_duration(row->max_at_ns - report->begin_ns);
	unsigned int first = 0, last = REPORT_HIST_OCTAVES - 1;
	uint64_t most = 0;
	char *line;

	while (!report_hist_octave(&row->ns, first))
		first++;
	while (!report_hist_octave(&row->ns, last))
		last--;
	for (unsigned int o = first; o <= last; o++)
		most = MAX(most, report_hist_octave(&row->ns, o));
	line = g_strdup_printf("%s (%s), thread %u: how long it took; the longest began at +%s",
			       name, what, row->thread->tid, at);
	putchar('\n');
	report_print_wrapped("", 2, line);
	for (unsigned int o = first; o <= last; o++) {
		uint64_t count = report_hist_octave(&row->ns, o);
		char *from = report_duration(report_hist_from(o));
		char *number = report_number(count);
		int bar = (int)((double)count / (double)most * BAR_WIDTH + 0.5);

		printf("  from %7s %12s%s%.*s\n", from, number, count ? "  " : "",
		       MAX(bar, count > 0), "##################################################");
		g_free(number);
		g_free(from);
	}
	g_free(line);
	g_free(at);
	g_free(what);
	g_free(name);
}

void report_print_callbacks(const struct report *report, const struct report_options *options)
{
	static const char *const heads[] = { "THREAD",	"CALLBACK", "WHAT",    "  COUNT", "  TOTAL",
					     "    P50", "    P99",  "LONGEST", NULL };
	GPtrArray *rows = fold_callbacks(report, options->all);
	uint32_t n = options->all ? rows->len : MIN(rows->len, ROWS_MAX);
	uint32_t drawn = options->histograms ? HISTOGRAMS_MAX : 1;
	struct table *table;

	if (!rows->len) {
		g_ptr_array_free(rows, TRUE);
		return;
	}
	table = table_new(heads);
	for (uint32_t i = 0; i < n; i++)
		callback_row(table, report, rows->pdata[i]);
	putchar('\n');
	table_print(table, "");
	if (rows->len > n)
		printf("%u more rows with --all.\n", rows->len - n);
	g_ptr_array_sort(rows, by_max);
	for (uint32_t i = 0; i < MIN(rows->len, drawn); i++)
		if (((const struct row *)rows->pdata[i])->ns.count)
			print_histogram(report, rows->pdata[i]);
	g_ptr_array_free(rows, TRUE);
}
