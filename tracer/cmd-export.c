// SPDX-License-Identifier: MIT
/*
 * loopscope export DIR: a recording event by event, with the names it holds in place of addresses.
 *
 *	loopscope export DIR [--to text|ndjson] [--only EVENT,EVENT...]
 *
 * Names are records of their own, and may come after the first event that mentions them: the
 * recording is read twice.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <linux/types.h>
#include "trace/ctf-reader.h"
#include "trace/loop-table.h"
#include "tracer/out.h"
#include "tracer/session.h"
#include "tracer/text.h"

struct exporter {
	const struct options *options;
	GHashTable *names; /* address -> text */
	uint64_t start_ns; /* time of the first event */
	char **only;	   /* names of events, NULL: all */
	uint64_t shown;
};

static void learn(struct exporter *x, uint64_t addr, char *name)
{
	text_make_safe(name);
	g_hash_table_insert(x->names, (void *)addr, name);
}

static void take_name(struct exporter *x, const struct loop_event *event)
{
	const struct loop_event_desc *desc = loop_event_desc(event->id);
	const char *text;
	uint64_t addr, offset;

	if (!x->start_ns || event->time_ns < x->start_ns)
		x->start_ns = event->time_ns;
	if (event->id != LOOP_EV_SYMBOL && event->id != LOOP_EV_CONTEXT)
		return;
	addr = loop_field_u64(event, &desc->fields[0]);
	text = loop_field_text(event, &desc->fields[desc->n_fields - 1]);
	offset = event->id == LOOP_EV_SYMBOL ? loop_field_u64(event, &desc->fields[1]) : 0;
	learn(x, addr, offset ? g_strdup_printf("%s+0x%" PRIx64, text, offset) : g_strdup(text));
}

/* A field's value in words; to be freed. */
static char *field_text(const struct exporter *x, const struct loop_event *event,
			const struct loop_field *field)
{
	uint64_t value = field->type == LOOP_STR ? 0 : loop_field_u64(event, field);
	const char *name;
	char *text;

	if (field->type == LOOP_STR) {
		text = g_strdup(loop_field_text(event, field));
		text_make_safe(text);
		return text;
	}
	name = field->names && !field->is_flags ? loop_field_name(field, (uint32_t)value) : NULL;
	if (!name && field->type == LOOP_PTR && loop_event_desc(event->id)->is_probe)
		name = g_hash_table_lookup(x->names, (void *)value);
	if (name)
		return g_strdup(name);
	if (g_str_has_suffix(field->name, "_ns"))
		return (int64_t)value == LOOP_NS_UNKNOWN
			       ? g_strdup("unknown")
			       : g_strdup_printf("%" PRId64, (int64_t)value);
	if (field->type == LOOP_PTR || field->is_flags)
		return g_strdup_printf("0x%" PRIx64, value);
	return g_strdup_printf("%" PRId64, (int64_t)value);
}

static void show_text(const struct exporter *x, const struct loop_event *event,
		      const struct loop_event_desc *desc)
{
	printf("%+14.6f ms %7u  %s", (double)(event->time_ns - x->start_ns) / 1e6, event->tid,
	       desc->name);
	for (int i = 0; i < desc->n_fields; i++) {
		char *text = field_text(x, event, &desc->fields[i]);

		printf(" %s=%s", desc->fields[i].name, text);
		g_free(text);
	}
	putchar('\n');
}

static void show_json(const struct exporter *x, const struct loop_event *event,
		      const struct loop_event_desc *desc)
{
	json_t *row = json_pack("{s:s, s:s, s:I, s:i}", "type", "event", "event", desc->name,
				"time_ns", (json_int_t)event->time_ns, "tid", (int)event->tid);

	for (int i = 0; i < desc->n_fields; i++) {
		const struct loop_field *field = &desc->fields[i];
		char *text = field_text(x, event, field);
		bool number = field->type != LOOP_STR && field->type != LOOP_PTR && !field->names;

		json_object_set_new(row, field->name,
				    number && strcmp(text, "unknown")
					    ? json_integer((json_int_t)loop_field_u64(event, field))
					    : json_string(text));
		g_free(text);
	}
	out_json(row);
}

static void show(struct exporter *x, const struct loop_event *event)
{
	const struct loop_event_desc *desc = loop_event_desc(event->id);

	if (x->only && !g_strv_contains((const char *const *)x->only, desc->name))
		return;
	x->shown++;
	if (x->options->json)
		show_json(x, event, desc);
	else
		show_text(x, event, desc);
}

/* Hand every event to @take; a damaged stream ends, the others go on. */
static int read_all(struct exporter *x, void (*take)(struct exporter *, const struct loop_event *),
		    uint64_t *ret_lost, struct failure *why)
{
	struct ctf_reader *reader = ctf_reader_new();
	const struct loop_event *event;
	int err = reader ? ctf_reader_open(reader, x->options->path) : -ENOMEM;

	if (err)
		err = fail(why, err == -ENOMEM ? err : -EPROTO, "%s",
			   reader ? ctf_reader_error(reader) : "no memory");
	while (!err) {
		int got = ctf_reader_next(reader, &event);

		if (!got || (got < 0 && got != -EBADMSG))
			break;
		if (got > 0)
			take(x, event);
	}
	if (!err && ret_lost)
		*ret_lost = ctf_reader_stats(reader)->discarded;
	ctf_reader_free(reader);
	return err;
}

static int check_only(char **only, struct failure *why)
{
	for (int i = 0; only && only[i]; i++)
		if (loop_event_id(only[i]) < 0)
			return fail(why, -EINVAL, "\"%s\" is no event (loopscope list names them)",
				    only[i]);
	return 0;
}

int cmd_export(const struct options *options, struct failure *why)
{
	struct exporter x = { .options = options };
	uint64_t lost = 0;
	int err;

	x.only = options->only ? g_strsplit(options->only, ",", -1) : NULL;
	x.names = g_hash_table_new_full(NULL, NULL, NULL, g_free);
	err = check_only(x.only, why);
	if (!err)
		err = read_all(&x, take_name, NULL, why);
	if (!err)
		err = read_all(&x, show, &lost, why);
	if (!err && options->json)
		out_json(json_pack("{s:s, s:I, s:I}", "type", "total", "events",
				   (json_int_t)x.shown, "lost", (json_int_t)lost));
	else if (!err && lost)
		printf("INCOMPLETE: %" PRIu64 " events were lost.\n", lost);
	g_hash_table_destroy(x.names);
	g_strfreev(x.only);
	return err;
}
