// SPDX-License-Identifier: MIT
/* Export event by event, as text or NDJSON, with the names that the recording has. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tracer/export.h"
#include "tracer/out.h"
#include "tracer/report-words.h"
#include "tracer/text.h"

struct events {
	const struct report *report;
	char **only;
	uint64_t shown;
};

bool export_is_chosen(char **only, const struct loop_event_desc *desc)
{
	return !only || g_strv_contains((const char *const *)only, desc->name);
}

/* What the recording calls an address; NULL: nothing. */
static char *name_of(const struct report *report, uint64_t addr)
{
	const struct report_context *context =
		report_map_find(&report->contexts, (struct report_key){ .a = addr });

	return context && context->name ? g_strdup(context->name) : report_symbol(report, addr);
}

char *export_field(const struct report *report, const struct loop_event *event,
		   const struct loop_field *field)
{
	uint64_t value = field->type == LOOP_STR ? 0 : loop_field_u64(event, field);
	char *text = NULL;

	if (field->type == LOOP_STR) {
		text = g_strdup(loop_field_text(event, field));
		text_make_safe(text);
		return text;
	}
	if (field->names && !field->is_flags)
		text = g_strdup(loop_field_name(field, (uint32_t)value));
	else if (field->type == LOOP_PTR &&
		 (loop_event_desc(event->id)->is_probe || event->id == LOOP_EV_STACK_FRAME))
		text = name_of(report, value);
	if (text)
		return text;
	if (g_str_has_suffix(field->name, "_ns"))
		return (int64_t)value == LOOP_NS_UNKNOWN
			       ? g_strdup("unknown")
			       : g_strdup_printf("%" PRId64, (int64_t)value);
	if (field->type == LOOP_PTR || field->is_flags)
		return g_strdup_printf("0x%" PRIx64, value);
	return g_strdup_printf("%" PRId64, (int64_t)value);
}

static void show_text(void *data, const struct loop_event *event)
{
	const struct loop_event_desc *desc = loop_event_desc(event->id);
	struct events *x = data;

	if (!export_is_chosen(x->only, desc))
		return;
	printf("%+14.6f ms %7u  %s", (double)(event->time_ns - x->report->begin_ns) / 1e6,
	       event->tid, desc->name);
	for (int i = 0; i < desc->n_fields; i++) {
		char *text = export_field(x->report, event, &desc->fields[i]);

		printf(" %s=%s", desc->fields[i].name, text);
		g_free(text);
	}
	putchar('\n');
}

static void show_json(void *data, const struct loop_event *event)
{
	const struct loop_event_desc *desc = loop_event_desc(event->id);
	struct events *x = data;
	json_t *row;

	if (!export_is_chosen(x->only, desc))
		return;
	row = json_pack("{s:s, s:s, s:I, s:I}", "type", "event", "event", desc->name, "time_ns",
			(json_int_t)event->time_ns, "tid", (json_int_t)event->tid);
	for (int i = 0; i < desc->n_fields; i++) {
		const struct loop_field *field = &desc->fields[i];
		char *text = export_field(x->report, event, field);
		bool number = field->type != LOOP_STR && field->type != LOOP_PTR && !field->names;

		json_object_set_new(row, field->name,
				    number && strcmp(text, "unknown")
					    ? json_integer((json_int_t)loop_field_u64(event, field))
					    : json_string(text));
		g_free(text);
	}
	out_json(row);
	x->shown++;
}

static int each_event(const char *path, struct events *x,
		      void (*show)(void *, const struct loop_event *), struct failure *why)
{
	struct report_watcher watcher = { .data = x, .event = show };
	struct report *again = NULL;
	int err = report_read_watched(path, &watcher, &again, why);

	report_free(again);
	return err;
}

int export_text(const char *path, const struct report *report, char **only, struct failure *why)
{
	struct events x = { report, only, 0 };
	uint64_t lost = ctf_reader_stats(report->reader)->discarded;
	int err = each_event(path, &x, show_text, why);

	if (err)
		return err;
	if (lost)
		printf("INCOMPLETE: %" PRIu64 " events were lost.\n", lost);
	for (uint32_t i = 0; i < report->damaged->len; i++)
		printf("DAMAGED %s\n", (const char *)report->damaged->pdata[i]);
	return 0;
}

int export_ndjson(const char *path, const struct report *report, char **only, struct failure *why)
{
	struct events x = { report, only, 0 };
	uint64_t lost = ctf_reader_stats(report->reader)->discarded;
	int err = each_event(path, &x, show_json, why);

	if (!err)
		out_json(json_pack("{s:s, s:I, s:I, s:I}", "type", "total", "events",
				   (json_int_t)x.shown, "lost", (json_int_t)lost, "damaged",
				   (json_int_t)report->damaged->len));
	return err;
}
