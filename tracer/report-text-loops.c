// SPDX-License-Identifier: MIT
/*
 * The loops of a report: a table of all, then for each how it waited, who chose the timeouts and
 * what ended the waits.
 */
#include <stdio.h>
#include <string.h>

#include "tracer/out.h"
#include "tracer/report-show.h"
#include "tracer/report-words.h"

/* --- the table of all ------------------------------------------------------------------------- */

enum { ASLEEP, DISPATCH, BQL, NESTED, BUSY, OTHER, SHARES };

static const char *const share_names[SHARES] = { "ASLEEP", "DISPATCH",	"BQL WAIT",
						 "NESTED", "BUSY POLL", "OTHER" };
#define SHARE_WIDTH 8

static const char legend[] =
	"An iteration is one wait. Asleep: in the loop's own poll; dispatch: in callbacks and between "
	"them; BQL: QEMU's big lock; nested: in polls inside of callbacks; other: the loop's own work.";

static void shares_of(const struct report_thread *thread, uint64_t shares[SHARES])
{
	shares[ASLEEP] = thread->time_ns[REPORT_POLL];
	shares[DISPATCH] = report_callbacks_ns(thread) + thread->time_ns[REPORT_DISPATCH];
	shares[BQL] = thread->time_ns[REPORT_BQL_WAIT];
	shares[NESTED] = thread->time_ns[REPORT_NESTED_POLL];
	shares[BUSY] = thread->time_ns[REPORT_BUSY_POLL];
	shares[OTHER] = report_other_ns(thread) + thread->unknown_ns;
}

/* Asleep and dispatch always stand; another share only where some loop has it. */
static unsigned int choose_shares(const GPtrArray *loops, int shown[SHARES])
{
	unsigned int n = 0;

	for (int share = 0; share < SHARES; share++) {
		bool any = share <= DISPATCH;

		for (uint32_t i = 0; i < loops->len && !any; i++) {
			uint64_t shares[SHARES];

			shares_of(loops->pdata[i], shares);
			any = shares[share] > 0;
		}
		if (any)
			shown[n++] = share;
	}
	return n;
}

static char *per_second(uint64_t count, uint64_t ns)
{
	double rate = ns ? (double)count * 1e9 / (double)ns : 0;

	if (!ns)
		return g_strdup("-");
	return rate < 9.95 ? g_strdup_printf("%.1f", rate) : report_number((uint64_t)(rate + 0.5));
}

static char *share(uint64_t part, uint64_t whole)
{
	return whole ? g_strdup_printf("%.1f %%", 100.0 * (double)part / (double)whole)
		     : g_strdup("-");
}

static void loop_row(struct table *table, const struct report *report,
		     const struct report_thread *thread, const int *shown, unsigned int n)
{
	uint64_t span = thread->end_ns - thread->first_ns, shares[SHARES];
	struct report_cells cells = { 0 };

	shares_of(thread, shares);
	report_cell(&cells, report_loop_name(report, thread));
	report_cell(&cells, g_strdup_printf("%u", thread->tid));
	report_cell_right(&cells, report_number(thread->iterations), 10);
	report_cell_right(&cells, per_second(thread->iterations, span), 10);
	for (unsigned int i = 0; i < n; i++)
		report_cell_right(&cells, share(shares[shown[i]], span), SHARE_WIDTH);
	report_cells_row(table, &cells);
}

static void print_all(const struct report *report, const GPtrArray *loops)
{
	const char *heads[4 + SHARES + 1] = { "LOOP", "THREAD", "ITERATIONS", "PER SECOND" };
	char *share_heads[SHARES];
	int shown[SHARES];
	unsigned int n = choose_shares(loops, shown);
	struct table *table;

	for (unsigned int i = 0; i < n; i++) {
		share_heads[i] = g_strdup_printf("%*s", SHARE_WIDTH, share_names[shown[i]]);
		heads[4 + i] = share_heads[i];
	}
	table = table_new(heads);
	for (uint32_t i = 0; i < loops->len; i++)
		loop_row(table, report, loops->pdata[i], shown, n);
	putchar('\n');
	table_print(table, "");
	for (unsigned int i = 0; i < n; i++)
		g_free(share_heads[i]);
	report_print_wrapped("", 0, legend);
}

/* --- one loop --------------------------------------------------------------------------------- */

static void append(GString *line, uint64_t count, const char *words)
{
	char *number = report_number(count);

	if (count)
		g_string_append_printf(line, "%s%s %s", line->len ? ", " : "", number, words);
	g_free(number);
}

static void append_ns(GString *line, uint64_t ns, const char *words)
{
	char *duration = report_duration(ns);

	if (ns)
		g_string_append_printf(line, "%s%s %s", line->len ? ", " : "", duration, words);
	g_free(duration);
}

static void print_line(GString *line, const char *head)
{
	if (line->len) {
		g_string_prepend(line, head);
		report_print_wrapped("  ", 2, line->str);
	}
	g_string_free(line, TRUE);
}

static void print_waits(const struct report_thread *thread)
{
	GString *line = g_string_new(NULL);

	append(line, thread->polls_ready, "found fds ready");
	append(line, thread->polls_timed_out, "timed out");
	append(line, thread->polls_no_wait, "did not sleep and found nothing");
	append(line, thread->polls_failed, "failed or were interrupted");
	append(line, thread->nested_polls, "were nested");
	append(line, thread->polls_with_bql, "kept the BQL");
	print_line(line, "Waits: ");
}

static void print_times(const struct report_thread *thread)
{
	GString *line = g_string_new(NULL);
	uint64_t shares[SHARES];

	shares_of(thread, shares);
	append_ns(line, shares[ASLEEP], "asleep");
	append_ns(line, report_callbacks_ns(thread), "in callbacks");
	append_ns(line, thread->time_ns[REPORT_DISPATCH], "between them in dispatch");
	append_ns(line, shares[BQL], "waiting for the BQL");
	append_ns(line, shares[NESTED], "in nested polls");
	append_ns(line, shares[BUSY], "busy polling");
	append_ns(line, report_other_ns(thread), "of its own work");
	append_ns(line, thread->unknown_ns, "unknown (ends are missing)");
	print_line(line, "Time: ");
}

static void print_between(const struct report *report, const struct report_thread *thread)
{
	const struct report_hist *hist = &thread->between.ns;
	char *p50 = report_duration(report_hist_quantile(hist, 500));
	char *p99 = report_duration(report_hist_quantile(hist, 990));
	char *max = report_duration(hist->max);
	char *at = report_duration(thread->between.max_at_ns - report->begin_ns);

	if (hist->count)
		printf("  From a wait's end to the next: p50 %s, p99 %s, at most %s, at +%s.\n",
		       p50, p99, max, at);
	g_free(p50);
	g_free(p99);
	g_free(max);
	g_free(at);
}

/* Only where it differs from the count of waits: a busy-polling iteration has none, say. */
static void print_iterations(const struct report_thread *thread)
{
	GString *line = g_string_new(NULL);

	if (thread->iteration_begins != thread->iterations)
		append(line, thread->iteration_begins, "begun");
	if (thread->iteration_ends != thread->iteration_begins)
		append(line, thread->iteration_ends, "ended");
	append(line, thread->without_callback, "ran no callback");
	print_line(line, "Iterations as the loop itself begins and ends them: ");
}

static void print_open(const struct report *report, const struct report_thread *thread)
{
	char *words = report_open_words(report, thread), *line, *duration;

	if (!words)
		return;
	duration = report_duration(report->end_ns - thread->open[thread->n_open - 1].begin_ns);
	line = g_strdup_printf("At the end of the recording it was in: %s, for %s.", words,
			       duration);
	report_print_wrapped("  ", 2, line);
	g_free(line);
	g_free(duration);
	g_free(words);
}

static void print_loop(const struct report *report, const struct report_thread *thread, bool all)
{
	char *name = report_loop_name(report, thread);

	printf("\n%s, thread %u%s%s%s\n", name, thread->tid, thread->name ? " (" : "",
	       thread->name ? thread->name : "", thread->name ? ")" : "");
	print_waits(thread);
	print_iterations(thread);
	print_times(thread);
	print_between(report, thread);
	print_open(report, thread);
	report_print_timeouts(report, thread, all);
	report_print_wakeups(report, thread, all);
	g_free(name);
}

/* Loops that the recorder knew and that did nothing: an IOThread without a request, say. */
static void print_silent(const struct report *report)
{
	GPtrArray *contexts = report_sorted(&report->contexts, report_by_address);
	GString *line = g_string_new(NULL);

	for (uint32_t i = 0; i < contexts->len; i++) {
		const struct report_context *context = contexts->pdata[i];
		const struct report_thread *thread = report_map_find(
			&report->threads, (struct report_key){ .a = context->home_tid });

		if (!context->home_tid || (thread && report_is_told(thread)))
			continue;
		g_string_append_printf(line, "%s%s (thread %u)", line->len ? ", " : "",
				       context->name && context->name[0] ? context->name : "a loop",
				       context->home_tid);
	}
	if (line->len) {
		g_string_prepend(line, "Without a single event: ");
		report_print_wrapped("", 2, line->str);
	}
	g_string_free(line, TRUE);
	g_ptr_array_free(contexts, TRUE);
}

void report_print_loops(const struct report *report, const struct report_options *options)
{
	GPtrArray *loops = report_threads(report);

	for (uint32_t i = loops->len; i-- > 0;)
		if (!report_is_loop(loops->pdata[i]))
			g_ptr_array_remove_index(loops, i);
	if (loops->len)
		print_all(report, loops);
	else
		puts(report->provenance[LOOP_EV_POLL_ENTER] == LOOP_PROVENANCE_ABSENT
			     ? "\nWaits were not recorded (record --events), so nothing is said of loops."
			     : "\nNo thread has waited in a poll: there is no loop in this recording.");
	print_silent(report);
	for (uint32_t i = 0; i < loops->len; i++)
		if (((struct report_thread *)loops->pdata[i])->events)
			print_loop(report, loops->pdata[i], options->all);
	g_ptr_array_free(loops, TRUE);
}
