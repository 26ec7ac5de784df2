/* SPDX-License-Identifier: MIT */
/* A report on standard output: text of at most 100 columns, NDJSON, or a page for a browser. */
#ifndef TRACER_REPORT_SHOW_H
#define TRACER_REPORT_SHOW_H

#include "tracer/out.h"
#include "tracer/report-model.h"

/* Of the columns that report_cell_ns() and report_cell_count() fill. */
#define REPORT_NS_WIDTH	   7
#define REPORT_COUNT_WIDTH 7

struct report_options {
	bool events;	 /* every kind of event with its count */
	bool histograms; /* of the slowest callbacks, not of the slowest one only */
	bool all;	 /* every row, equal ones not folded */
};

void report_print_text(const struct report *report, const struct report_options *options);
void report_print_json(const struct report *report);
/* The rows of that, as an array. */
json_t *report_json(const struct report *report);
/* A page for a browser, which needs nothing else: the rows, and the recording @path over time. */
int report_print_html(const char *path, const struct report *report, struct failure *why);
/* What is different in @b. */
void report_print_diff(const struct report *a, const struct report *b, bool json, bool all);

/* --- parts of the text: report-text-loops.c, -causes.c, -callbacks.c, -waits.c
 * -----------------------------
 */

void report_print_loops(const struct report *report, const struct report_options *options);
void report_print_timeouts(const struct report *report, const struct report_thread *thread,
			   bool all);
void report_print_wakeups(const struct report *report, const struct report_thread *thread,
			  bool all);
void report_print_callbacks(const struct report *report, const struct report_options *options);
void report_print_nested(const struct report *report, const struct report_options *options);
void report_print_bql(const struct report *report, const struct report_options *options);

/* A table's row, cell by cell: each takes its text. The width is that of a right-aligned column. */
struct report_cells {
	char *text[12];
	int n;
};
void report_cell(struct report_cells *cells, char *text);
void report_cell_right(struct report_cells *cells, char *text, int width);
void report_cell_ns(struct report_cells *cells, uint64_t ns);
/* "12+1": 12 calls, and one without an end. */
void report_cell_count(struct report_cells *cells, uint64_t count, uint64_t unfinished);
void report_cells_row(struct table *table, struct report_cells *cells);

/* Print words, broken into lines of at most 100 columns; lines after the first get @indent more. */
void report_print_wrapped(const char *indent, int hang, const char *words);

#endif
