// SPDX-License-Identifier: MIT
/*
 * A report as text: what was recorded and what is missing of it, then loops, callbacks, nested
 * waits and the big lock (report-text-*.c). Only what the recording has is shown.
 */
#include <stdio.h>
#include <string.h>

#include "tracer/out.h"
#include "tracer/report-show.h"
#include "tracer/report-words.h"

/* --- helpers of all parts --------------------------------------------------------------------- */

void report_print_wrapped(const char *indent, int hang, const char *words)
{
	int first = (int)strlen(indent), left = first;

	printf("%s", indent);
	while (*words) {
		const char *end = words;
		int fits = OUT_COLUMNS - left, n = 0;
		const char *p = words;

		for (; *p && n <= fits; p = g_utf8_next_char(p), n++)
			if (*p == ' ')
				end = p;
		if (!*p && n <= fits)
			end = p;
		if (end == words) /* a word longer than a line */
			end = strchr(words, ' ') ? strchr(words, ' ') : words + strlen(words);
		fwrite(words, 1, end - words, stdout);
		putchar('\n');
		words = *end ? end + 1 : end;
		left = first + hang;
		if (*words)
			printf("%*s", left, "");
	}
}

void report_cell(struct report_cells *cells, char *text)
{
	cells->text[cells->n++] = text;
}

void report_cell_right(struct report_cells *cells, char *text, int width)
{
	report_cell(cells, g_strdup_printf("%*s", width, text));
	g_free(text);
}

void report_cell_ns(struct report_cells *cells, uint64_t ns)
{
	report_cell_right(cells, report_duration(ns), REPORT_NS_WIDTH);
}

void report_cell_count(struct report_cells *cells, uint64_t count, uint64_t unfinished)
{
	char *number = report_number(count);

	if (unfinished)
		report_cell_right(cells,
				  g_strdup_printf("%s+%lu", number, (unsigned long)unfinished),
				  REPORT_COUNT_WIDTH);
	else
		report_cell_right(cells, g_strdup(number), REPORT_COUNT_WIDTH);
	g_free(number);
}

void report_cells_row(struct table *table, struct report_cells *cells)
{
	char **t = cells->text;

	/* A table looks at as many as it has columns. */
	table_row(table, t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7], t[8], t[9], t[10], t[11],
		  NULL);
	for (int i = 0; i < cells->n; i++)
		g_free(t[i]);
	*cells = (struct report_cells){ 0 };
}

/* --- what was recorded ------------------------------------------------------------------------ */

static void print_target(const struct report *report)
{
	char *exe = report_env(report, "target_exe"), *pid = report_env(report, "target_pid");
	char *build = report_env(report, "target_build_id");
	char *version = report_env(report, "target_version");
	char *kernel = report_env(report, "host_kernel");
	char *length = report_duration(report->end_ns - report->begin_ns);
	char *when = report_begin_text(report, false);
	const char *base = exe && strrchr(exe, '/') ? strrchr(exe, '/') + 1 : exe;
	GString *line = g_string_new(base ? base : "an unknown program");

	if (version)
		g_string_append_printf(line, " %s", version);
	if (pid)
		g_string_append_printf(line, ", pid %s", pid);
	if (build)
		g_string_append_printf(line, ", build %.12s", build);
	g_string_append_printf(line, ": recorded %s for %s", when, length);
	if (kernel)
		g_string_append_printf(line, ", Linux %s", kernel);
	report_print_wrapped("", 2, line->str);
	g_string_free(line, TRUE);
	g_free(when);
	g_free(length);
	g_free(kernel);
	g_free(version);
	g_free(build);
	g_free(pid);
	g_free(exe);
}

static void print_lost(uint64_t lost, const GPtrArray *threads)
{
	char *number = report_number(lost);
	GString *line = g_string_new(NULL);

	g_string_append_printf(line, "LOST %s events", number);
	g_free(number);
	for (uint32_t i = 0; i < threads->len; i++) {
		const struct report_thread *thread = threads->pdata[i];

		if (!thread->lost)
			continue;
		number = report_number(thread->lost);
		g_string_append_printf(line, ", %s of thread %u", number, thread->tid);
		g_free(number);
	}
	g_string_append(line, ": all counts are too low, and a duration near a loss may join two "
			      "calls. A bigger ring or fewer events lose less.");
	report_print_wrapped("", 2, line->str);
	g_string_free(line, TRUE);
}

static void print_what_is_missing(const struct report *report)
{
	const struct ctf_reader_stats *stats = ctf_reader_stats(report->reader);

	for (uint32_t i = 0; i < report->damaged->len; i++) {
		char *line = g_strdup_printf("DAMAGED %s: what this stream has from there on is "
					     "not in the report",
					     (const char *)report->damaged->pdata[i]);

		report_print_wrapped("", 2, line);
		g_free(line);
	}
	if (stats->cut_bytes)
		printf("CUT: %lu bytes after a last whole packet; the recorder did not end well.\n",
		       (unsigned long)stats->cut_bytes);
	if (stats->unknown)
		printf("%lu events are of a newer loopscope and were skipped.\n",
		       (unsigned long)stats->unknown);
	for (uint32_t i = 0; i < report->notes->len; i++) {
		char *line =
			g_strdup_printf("The recorder: %s", (const char *)report->notes->pdata[i]);

		report_print_wrapped("", 2, line);
		g_free(line);
	}
	if (report->more_notes)
		printf("The recorder has made %lu more remarks.\n",
		       (unsigned long)report->more_notes);
}

static void print_header(const struct report *report)
{
	const struct ctf_reader_stats *stats = ctf_reader_stats(report->reader);
	GPtrArray *threads = report_threads(report);
	char *events = report_number(stats->events);

	print_target(report);
	printf("%s event%s of %u thread%s%s\n", events, stats->events == 1 ? "" : "s", threads->len,
	       threads->len == 1 ? "" : "s", stats->discarded ? "" : ", none lost");
	if (stats->discarded)
		print_lost(stats->discarded, threads);
	print_what_is_missing(report);
	g_free(events);
	g_ptr_array_free(threads, TRUE);
}

/* --- the end ---------------------------------------------------------------------------------- */

static void print_pairs(const struct report *report)
{
	uint64_t unfinished = 0, unbegun = 0;
	const struct report_thread *thread;
	GString *line;

	report_each (&report->threads, thread) {
		unfinished += thread->unfinished - thread->n_open;
		unbegun += thread->unbegun;
	}
	if (!unfinished && !unbegun)
		return;
	line = g_string_new("Not in any duration: ");
	if (unfinished)
		g_string_append_printf(line, "%lu begins without an end%s",
				       (unsigned long)unfinished, unbegun ? ", " : "");
	if (unbegun)
		g_string_append_printf(line, "%lu ends without a begin", (unsigned long)unbegun);
	g_string_append(line, " (the recording began in between, or events were lost).");
	putchar('\n');
	report_print_wrapped("", 0, line->str);
	g_string_free(line, TRUE);
}

static void print_events(const struct report *report)
{
	static const char *const heads[] = { "EVENT", "         COUNT", "FROM", "MEANS", NULL };
	struct table *table = table_new(heads);

	putchar('\n');
	for (unsigned int id = 0; id < LOOP_EV_END; id++) {
		const struct loop_event_desc *desc = loop_event_desc(id);
		struct report_cells cells = { 0 };

		if (!desc)
			continue;
		report_cell(&cells, g_strdup(desc->name));
		report_cell_right(&cells, report_number(report->counts[id]), 14);
		report_cell(&cells, g_strdup(report_enum_name(LOOP_EV_EVENT_SOURCE, "from",
							      report->provenance[id])));
		report_cell(&cells, g_strdup(desc->sentence));
		report_cells_row(table, &cells);
	}
	table_print(table, "");
}

void report_print_text(const struct report *report, const struct report_options *options)
{
	print_header(report);
	report_print_loops(report, options);
	report_print_callbacks(report, options);
	report_print_nested(report, options);
	report_print_bql(report, options);
	print_pairs(report);
	if (report->counts[LOOP_EV_STACK_FRAME] || report->counts[LOOP_EV_STALL_SPLIT])
		printf("\nStacks of what kept a loop from its wait%s are in it: loopscope stalls shows them.\n",
		       report->counts[LOOP_EV_STALL_SPLIT] ? ", and what its time went into," : "");
	if (options->events)
		print_events(report);
}
