// SPDX-License-Identifier: MIT
/*
 * A report as a page for a browser: one file that loads nothing else. It has the rows of the
 * report's JSON, and what the recording did over time, packed (page-lanes.h, page-wakes.h); the
 * scripts of tracer/html/ draw it. Its memory has a bound, however long the recording is.
 *
 * Text of the target is data in it: rows are JSON without any character of markup, and the scripts
 * make text of strings, never markup.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tracer/doctor-trace.h"
#include "tracer/export.h"
#include "tracer/page-files.h"
#include "tracer/page-lanes.h"
#include "tracer/page-wakes.h"
#include "tracer/report-show.h"
#include "tracer/report-words.h"

#define LOSSES_MAX 10000

struct page {
	const struct report *report;
	struct export_names *names;
	struct page_lanes *lanes;
	struct page_wakes *wakes;
	GHashTable *polls; /* struct report_chooser -> number of the name + 1 */
	json_t *rows;
	uint32_t losses;
	uint64_t begin_ns, now_ns;
};

/* Polls are told apart by who chose their timeouts. */
static uint32_t name_poll(struct page *page, const struct report_thread *thread)
{
	const struct report_chooser *chooser = thread->chooser;
	uint32_t number = GPOINTER_TO_UINT(g_hash_table_lookup(page->polls, chooser));
	const char *new_name;
	char *words;

	if (number)
		return number - 1;
	words = report_chooser_words(page->report, chooser);
	number = export_names_text(page->names, g_strdup_printf("poll, timeout by %s", words),
				   &new_name);
	g_hash_table_insert(page->polls, (void *)chooser, GUINT_TO_POINTER(number + 1));
	g_free(words);
	return number;
}

static void end(void *data, const struct report_thread *thread, const struct report_frame *frame,
		uint64_t now_ns, enum report_ending ending)
{
	bool polls = frame->kind == REPORT_POLL || frame->kind == REPORT_NESTED_POLL;
	uint64_t ns = now_ns - frame->begin_ns;
	struct page *page = data;
	const char *new_name;
	struct page_slice slice = { frame->begin_ns, now_ns, ns, ns, 1, 0, frame->kind, ending };

	slice.name = polls && thread->chooser
			     ? name_poll(page, thread)
			     : export_names_frame(page->names, thread, frame, &new_name);
	page_lanes_add(page->lanes, thread->tid, thread->depth, &slice);
}

static void event(void *data, const struct loop_event *event)
{
	((struct page *)data)->now_ns = event->time_ns;
}

static void wakes(void *data, const struct report_thread *thread, const struct report_wake *wake)
{
	struct page *page = data;
	const char *new_name,
		*ctx = wake->ctx ? report_context_name(page->report, wake->ctx) : NULL;
	char *in = wake->in ? report_author(page->report, wake->in) : NULL;
	char *place = report_place(page->report, wake->site);
	char *words =
		g_strdup_printf("%s%s%s%s at %s", wake->ctx ? "notify " : "write to an eventfd",
				ctx ? ctx : "", in ? " in " : "", in ? in : "", place);

	(void)thread;
	page_wakes_write(page->wakes, wake, page->now_ns,
			 export_names_text(page->names, words, &new_name));
	g_free(place);
	g_free(in);
}

static void woken(void *data, const struct report_thread *thread, const struct report_wake *wake)
{
	struct page *page = data;

	page_wakes_read(page->wakes, wake, thread->tid, page->now_ns);
}

static void lost(void *data, const struct report_thread *thread, uint64_t n)
{
	struct page *page = data;

	if (page->losses++ < LOSSES_MAX)
		json_array_append_new(page->rows,
				      json_pack("{s:s, s:I, s:I, s:I}", "type", "loss", "thread",
						(json_int_t)thread->tid, "at_ns",
						(json_int_t)(page->now_ns - page->begin_ns),
						"count", (json_int_t)n));
}

static json_t *names_row(const struct page *page)
{
	json_t *texts = json_array(), *kinds = json_array();

	for (int kind = 0; kind < REPORT_KINDS; kind++)
		json_array_append_new(kinds, json_string(report_kind_name(kind)));
	for (uint32_t i = 0; i < export_names_count(page->names); i++)
		json_array_append_new(texts, json_string(export_names_get(page->names, i)));
	return json_pack("{s:s, s:o, s:o}", "type", "names", "texts", texts, "kinds", kinds);
}

/* Threads in the order of lanes, with the names that people know. */
static void add_threads(struct page *page)
{
	GPtrArray *threads = report_threads(page->report);

	for (uint32_t i = 0; i < threads->len; i++) {
		uint32_t tid = ((const struct report_thread *)threads->pdata[i])->tid;
		char *name = export_thread_name(page->report, tid);

		json_array_append_new(page->rows,
				      json_pack("{s:s, s:I, s:s}", "type", "thread", "thread",
						(json_int_t)tid, "name", name));
		g_free(name);
	}
	g_ptr_array_free(threads, TRUE);
}

static void add_span(struct page *page)
{
	uint64_t first_ns, end_ns;

	report_span(page->report, &first_ns, &end_ns);
	json_array_append_new(page->rows,
			      json_pack("{s:s, s:I, s:I}", "type", "span", "from_ns",
					(json_int_t)(first_ns - page->begin_ns), "to_ns",
					(json_int_t)(end_ns - page->begin_ns)));
}

static void add_verdict(json_t *rows, const struct finding *finding)
{
	json_t *evidence = json_array();

	for (uint32_t i = 0; i < finding->evidence->len; i++)
		json_array_append_new(evidence, json_string(finding->evidence->pdata[i]));
	json_array_append_new(rows, json_pack("{s:s, s:s, s:i, s:s, s:s, s:s, s:o, s:s}", "type",
					      "verdict", "verdict", finding->verdict, "thread",
					      (int)finding->tid, "role", finding->role, "span",
					      finding->span, "culprit", finding->culprit,
					      "evidence", evidence, "advice", finding->advice));
}

/* What loopscope doctor says of the recording. */
static int add_verdicts(json_t *rows, const char *path, struct failure *why)
{
	struct trace_doctor doctor = { .min_ns = DOCTOR_MIN_MS * 1000000LL };
	int err = trace_doctor_read(&doctor, path, why);

	if (!err) {
		for (uint32_t i = 0; i < doctor.findings->len; i++)
			add_verdict(rows, doctor.findings->pdata[i]);
		json_array_append_new(rows, json_pack("{s:s, s:i}", "type", "doctor", "findings",
						      (int)doctor.findings->len));
	}
	trace_doctor_clear(&doctor);
	return err;
}

/* --- writing ---------------------------------------------------------------------------------- */

/* A row in a script element: without any character that could end it. */
static void write_row(const json_t *row)
{
	char *text = json_dumps(row, JSON_COMPACT);

	for (const char *p = text; p && *p; p++) {
		if (*p == '<' || *p == '>' || *p == '&')
			printf("\\u%04x", *p);
		else
			putchar(*p);
	}
	putchar('\n');
	free(text);
}

static void write_text(const char *text)
{
	char *safe = g_markup_escape_text(text, -1);

	fputs(safe, stdout);
	g_free(safe);
}

static void write_base64(const GByteArray *bytes)
{
	char text[8192];
	gint state = 0, save = 0;

	for (gsize at = 0; at < bytes->len; at += 4096) {
		gsize n = MIN(4096, bytes->len - at);

		n = g_base64_encode_step(bytes->data + at, n, FALSE, text, &state, &save);
		fwrite(text, 1, n, stdout);
	}
	fwrite(text, 1, g_base64_encode_close(FALSE, text, &state, &save), stdout);
}

static void write_page(const struct page *page, const GByteArray *bytes)
{
	const char *const scripts[] = { page_unpack, page_timeline, page_tables, page_main };
	char *program = export_program(page->report);
	json_t *row;
	size_t i;

	puts("<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n"
	     /* Nothing is loaded, whatever the recording says. */
	     "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
	     "script-src 'unsafe-inline'; style-src 'unsafe-inline'\">\n"
	     "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
	     "<meta name=\"color-scheme\" content=\"light dark\">");
	fputs("<title>", stdout);
	write_text(program);
	printf(": loopscope report</title>\n<style>\n%s</style>\n%s"
	       "<script type=\"application/x-ndjson\" id=\"rows\">\n",
	       page_style, page_body);
	json_array_foreach (page->rows, i, row) {
		write_row(row);
	}
	fputs("</script>\n<script type=\"text/plain\" id=\"packed\">", stdout);
	write_base64(bytes);
	puts("</script>");
	for (i = 0; i < G_N_ELEMENTS(scripts); i++)
		printf("<script>\n%s</script>\n", scripts[i]);
	puts("</html>");
	g_free(program);
}

int report_print_html(const char *path, const struct report *report, struct failure *why)
{
	struct page page = { .report = report, .begin_ns = report->begin_ns };
	struct report_watcher watcher = { .data = &page,
					  .event = event,
					  .end = end,
					  .wakes = wakes,
					  .woken = woken,
					  .lost = lost };
	GByteArray *bytes = g_byte_array_new();
	struct report *again = NULL;
	int err;

	page.names = export_names_new(report);
	page.lanes = page_lanes_new(report->begin_ns, PAGE_SLICES_MAX);
	page.wakes = page_wakes_new(report->begin_ns);
	page.polls = g_hash_table_new(NULL, NULL);
	page.rows = report_json(report);
	err = report_read_watched(path, &watcher, &again, why);
	if (!err)
		err = add_verdicts(page.rows, path, why);
	if (!err) {
		add_threads(&page);
		add_span(&page);
		json_array_append_new(page.rows, names_row(&page));
		page_lanes_pack(page.lanes, page.rows, bytes);
		page_wakes_pack(page.wakes, page.rows, bytes);
		write_page(&page, bytes);
	}
	report_free(again);
	json_decref(page.rows);
	g_hash_table_destroy(page.polls);
	page_wakes_free(page.wakes);
	page_lanes_free(page.lanes);
	export_names_free(page.names);
	g_byte_array_free(bytes, TRUE);
	return err;
}
