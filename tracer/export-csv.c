// SPDX-License-Identifier: MIT
/*
 * Export for spreadsheets. Without events named: a row for each call of a callback, in the order in
 * which they ended. With --only: a row for each of these events, a column for each field that any
 * of them has.
 *
 * Times are seconds since the recording began, durations microseconds, both with all digits.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tracer/export.h"
#include "tracer/report-words.h"

struct csv {
	const struct report *report;
	char **only;
	GPtrArray *fields; /* char *: names of events' fields, the columns after the first three */
	GHashTable *names; /* struct report_callback -> its cell */
	GHashTable *threads; /* struct report_thread -> its cell */
};

/*
 * A cell of text, in quotes where it needs them. What a spreadsheet would take for a formula gets a
 * ' in front: the text is a traced program's.
 */
static char *cell_of(const char *text)
{
	GString *cell = g_string_new(NULL);
	bool formula = text[0] && strchr("=+-@", text[0]);

	if (!formula && !strpbrk(text, ",\"\n\r"))
		return g_string_free(g_string_append(cell, text), FALSE);
	g_string_append(cell, formula ? "\"'" : "\"");
	for (; *text; text++)
		g_string_append_printf(cell, *text == '"' ? "\"%c" : "%c", *text);
	return g_string_free(g_string_append_c(cell, '"'), FALSE);
}

static void put_seconds(uint64_t ns)
{
	printf("%" PRIu64 ".%09" PRIu64, ns / 1000000000, ns % 1000000000);
}

static void put_microseconds(uint64_t ns)
{
	printf("%" PRIu64 ".%03" PRIu64, ns / 1000, ns % 1000);
}

/* --- callbacks -------------------------------------------------------------------------------- */

static const char *thread_cell(struct csv *csv, const struct report_thread *thread)
{
	char *cell = g_hash_table_lookup(csv->threads, thread);
	char *name;

	if (cell)
		return cell;
	name = export_thread_name(csv->report, thread->tid);
	cell = cell_of(name);
	g_hash_table_insert(csv->threads, (void *)thread, cell);
	g_free(name);
	return cell;
}

/* What follows from the callback alone: "context,kind,callback,fd". */
static const char *callback_cells(struct csv *csv, const struct report_frame *frame)
{
	const struct report_callback *callback = frame->entry;
	char *cells = g_hash_table_lookup(csv->names, callback);
	char *name, *ctx, *ctx_cell, *name_cell;

	if (cells)
		return cells;
	name = report_frame_name(csv->report, frame);
	ctx = g_strdup(report_context_name(csv->report, callback->ctx));
	if (!ctx)
		ctx = callback->ctx ? g_strdup_printf("0x%" PRIx64, callback->ctx) : g_strdup("");
	ctx_cell = cell_of(ctx);
	name_cell = cell_of(name);
	cells = callback->fd < 0
			? g_strdup_printf("%s,%s,%s,", ctx_cell, report_kind_name(frame->kind),
					  name_cell)
			: g_strdup_printf("%s,%s,%s,%d", ctx_cell, report_kind_name(frame->kind),
					  name_cell, callback->fd);
	g_hash_table_insert(csv->names, (void *)callback, cells);
	g_free(name_cell);
	g_free(ctx_cell);
	g_free(ctx);
	g_free(name);
	return cells;
}

static void end_call(void *data, const struct report_thread *thread,
		     const struct report_frame *frame, uint64_t now_ns, enum report_ending ending)
{
	static const char *const endings[] = {
		[REPORT_ENDED] = "", [REPORT_CUT] = "missing", [REPORT_OPEN] = "went on"
	};
	struct csv *csv = data;
	uint64_t ns = now_ns - frame->begin_ns;

	if (frame->kind > REPORT_NOTIFIER)
		return;
	put_seconds(frame->begin_ns - csv->report->begin_ns);
	putchar(',');
	if (ending == REPORT_ENDED) /* else nobody knows */
		put_microseconds(ns);
	putchar(',');
	if (ending == REPORT_ENDED)
		put_microseconds(ns - frame->child_ns);
	printf(",%u,%s,%s,%s\n", thread->tid, thread_cell(csv, thread), callback_cells(csv, frame),
	       endings[ending]);
}

/* --- events ----------------------------------------------------------------------------------- */

/* The fields of the chosen events, each name once. */
static void choose_fields(struct csv *csv)
{
	for (unsigned int id = 0; id < LOOP_EV_END; id++) {
		const struct loop_event_desc *desc = loop_event_desc(id);

		if (!desc || !export_is_chosen(csv->only, desc))
			continue;
		for (int i = 0; i < desc->n_fields; i++)
			if (!g_ptr_array_find_with_equal_func(csv->fields, desc->fields[i].name,
							      g_str_equal, NULL))
				g_ptr_array_add(csv->fields, (char *)desc->fields[i].name);
	}
}

static void put_field(const struct csv *csv, const struct loop_event *event,
		      const struct loop_field *field)
{
	bool number = field->type != LOOP_STR && field->type != LOOP_PTR && !field->names;
	char *text = export_field(csv->report, event, field);
	char *cell = number ? g_strdup(text) : cell_of(text); /* a number may be negative */

	fputs(cell, stdout);
	g_free(cell);
	g_free(text);
}

static void show_event(void *data, const struct loop_event *event)
{
	const struct loop_event_desc *desc = loop_event_desc(event->id);
	struct csv *csv = data;

	if (!export_is_chosen(csv->only, desc))
		return;
	put_seconds(event->time_ns - csv->report->begin_ns);
	printf(",%u,%s", event->tid, desc->name);
	for (uint32_t column = 0; column < csv->fields->len; column++) {
		putchar(',');
		for (int i = 0; i < desc->n_fields; i++)
			if (!strcmp(desc->fields[i].name, csv->fields->pdata[column]))
				put_field(csv, event, &desc->fields[i]);
	}
	putchar('\n');
}

int export_csv(const char *path, const struct report *report, char **only, struct failure *why)
{
	struct csv csv = { .report = report, .only = only };
	struct report_watcher watcher = { .data = &csv };
	struct report *again = NULL;
	int err;

	csv.fields = g_ptr_array_new();
	csv.names = g_hash_table_new_full(NULL, NULL, NULL, g_free);
	csv.threads = g_hash_table_new_full(NULL, NULL, NULL, g_free);
	if (only) {
		choose_fields(&csv);
		fputs("time_s,thread,event", stdout);
		for (uint32_t i = 0; i < csv.fields->len; i++)
			printf(",%s", (const char *)csv.fields->pdata[i]);
		putchar('\n');
		watcher.event = show_event;
	} else {
		puts("begin_s,duration_us,own_us,thread,thread_name,context,kind,callback,fd,end");
		watcher.end = end_call;
	}
	err = report_read_watched(path, &watcher, &again, why);
	report_free(again);
	g_hash_table_destroy(csv.threads);
	g_hash_table_destroy(csv.names);
	g_ptr_array_free(csv.fields, TRUE);
	return err;
}
