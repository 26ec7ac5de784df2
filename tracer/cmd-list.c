// SPDX-License-Identifier: MIT
/*
 * loopscope list: which events can this target give, from where, and at what cost?
 */
#include <stdio.h>
#include <string.h>

#include "tracer/out.h"
#include "tracer/record-glib.h"
#include "tracer/usdt.h"

#define TABLES 3 /* of functions: QEMU's, those of sources, GLib's loop's */

struct event_row {
	const char *event;
	const char *from; /* "USDT", "function", "-" */
	char *where;
	const char *cost;
};

static void show(struct table *table, const struct event_row *row)
{
	if (table)
		table_row(table, row->event, row->from, row->where ? row->where : "-", row->cost,
			  NULL);
	else
		out_json(json_pack("{s:s, s:s, s:s, s:o, s:s}", "type", "event", "event",
				   row->event, "from", row->from, "where", out_text(row->where),
				   "cost", row->cost));
}

static const char *cost(bool emulated, bool with_return)
{
	if (!emulated)
		return "single-stepped";
	return with_return ? "2 traps" : "1 trap";
}

/* Every probe of the table, with the USDT note it has in the program. */
static int list_usdt(const struct image *program, struct table *table)
{
	int refused, n = 0;
	GArray *probes = usdt_probes(program, "qemu", &refused);

	for (int id = 0; probes->len && id < LOOP_EV_END; id++) {
		const struct loop_event_desc *desc = loop_event_desc(id);
		struct event_row row = { .from = "-", .cost = "-" };

		if (!desc || !desc->is_probe)
			continue;
		row.event = desc->name;
		for (size_t i = 0; i < probes->len; i++) {
			const struct usdt_probe *p = &g_array_index(probes, struct usdt_probe, i);

			if (strcmp(p->name, desc->name))
				continue;
			row.from = "USDT";
			row.where = (char *)"a nop and a semaphore in the program";
			row.cost = "1 trap";
			n++;
		}
		show(table, &row);
	}
	g_array_free(probes, TRUE);
	return n;
}

/* Does it serve in this target? */
static bool serves(const struct function_probe *fn, const void *session)
{
	const struct session *s = session;

	return layout_is_qemu(s->l) || glib_probe_serves(s->images, fn);
}

/* The functions whose calls stand for @event, as far as this target has them. */
static int add_givers(const GArray *functions, const char *event, GString *where,
		      struct event_row *row)
{
	int n = 0;

	for (size_t i = 0; i < functions->len; i++) {
		const struct function_sites *f =
			&g_array_index(functions, struct function_sites, i);
		char **events = g_strsplit(f->fn->gives, " ", -1);
		bool found =
			g_strv_contains((const char *const *)events, event) && function_n_sites(f);

		g_strfreev(events);
		if (!found)
			continue;
		g_string_append_printf(where, "%s%s()", where->len ? ", " : "", f->symbol->name);
		row->from = "function";
		row->cost = cost(function_site_nth(f, 0)->emulated, f->fn->leave != NULL);
		n++;
	}
	return n;
}

static void list_function_event(GArray *const *functions, const char *event, struct table *table,
				int *n)
{
	struct event_row row = { .event = event, .from = "-", .cost = "-" };
	GString *where = g_string_new(NULL);

	for (int i = 0; i < TABLES; i++)
		*n += add_givers(functions[i], event, where, &row);
	row.where = where->len ? where->str : NULL;
	show(table, &row);
	g_string_free(where, TRUE);
}

static int list_functions(struct session *s, struct table *table)
{
	GArray *functions[TABLES] = {
		function_find_sites(function_probes, n_function_probes, s->images, serves, s),
		function_find_sites(source_probes, n_source_probes, s->images, serves, s),
		function_find_sites(glib_probes, layout_is_qemu(s->l) ? 0 : n_glib_probes,
				    s->images, serves, s),
	};
	int n = 0;

	for (int id = 0; id < LOOP_EV_END; id++) {
		const struct loop_event_desc *desc = loop_event_desc(id);
		struct event_row row = { .from = "tables", .cost = "2 traps" };

		if (!desc || !desc->is_probe)
			continue;
		row.event = desc->name;
		row.where = (char *)record_from_tables(s, desc->name);
		if (!row.where) {
			list_function_event(functions, desc->name, table, &n);
			continue;
		}
		show(table, &row);
		n++;
	}
	for (int i = 0; i < TABLES; i++)
		g_array_free(functions[i], TRUE);
	return n;
}

int cmd_list(const struct options *options, struct failure *why)
{
	static const char *const heads[] = { "EVENT", "FROM", "WHERE", "COST", NULL };
	struct table *table = options->json ? NULL : table_new(heads);
	struct session s;
	int n, err = session_open(&s, options, why);

	if (err)
		goto cleanup;
	n = list_usdt(images_program(s.images), table);
	if (!n) {
		err = session_layout(&s, why);
		if (err)
			goto cleanup;
		n = list_functions(&s, table);
	}
	if (!table) {
		out_json(json_pack("{s:s, s:i, s:i}", "type", "total", "given", n, "lost", 0));
		goto cleanup;
	}
	printf("%s (pid %d): what it can tell\n\n", images_program(s.images)->name, s.t->pid);
	table_print(table, "");
	table = NULL;
	printf("\nA trap takes some 0.5 us, a single-stepped one some 12 us. What says \"-\" cannot be told.\n");

cleanup:
	if (table)
		table_free(table);
	session_close(&s);
	return err;
}
