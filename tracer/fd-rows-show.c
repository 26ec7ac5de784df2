// SPDX-License-Identifier: MIT
/* The rows of a poll set as a table, and as JSON. See fd-rows.h. */
#include <stdio.h>
#include <string.h>

#include "tracer/describe.h"
#include "tracer/fd-rows.h"
#include "tracer/out.h"

static const char *callback_text(const struct fd_row *row)
{
	switch (row->kind) {
	case OWNER_NOTIFIER:
		return "its own notifier";
	case OWNER_FDMON:
		return "its fd monitor, for all its handlers";
	case OWNER_WAKEUP:
		return "wake-up of this thread's GMainContext";
	case OWNER_UNKNOWN:
		return "no handler and no GSource holds it";
	default:
		return row->callback ? row->callback : "-";
	}
}

static json_t *chain_json(const GPtrArray *chain)
{
	json_t *list = json_array();

	for (size_t i = 0; chain && i < chain->len; i++)
		json_array_append_new(list, json_string(chain->pdata[i]));
	return list;
}

/* Nothing is known of who made it and who registered it, for one reason: "older than attach". */
static bool origin_is_unknown(const struct fd_row *row)
{
	return row->made && !row->made_chain->len && !row->registered_chain->len &&
	       !strcmp(row->made, row->registered);
}

/* All of them that have the reason of @first, in one line. */
static void show_unknown_origins(const GArray *rows, const struct fd_row *first)
{
	GArray *fds = g_array_new(FALSE, FALSE, sizeof(int));
	char *ranges;

	for (size_t i = 0; i < rows->len; i++) {
		const struct fd_row *row = &g_array_index(rows, struct fd_row, i);

		if (origin_is_unknown(row) && !strcmp(row->made, first->made)) {
			if (row < first) {
				g_array_free(fds, TRUE); /* was shown with that one */
				return;
			}
			g_array_append_val(fds, row->fd);
		}
	}
	ranges = out_ranges(fds);
	printf("\n  fd%s %s: made and registered: %s\n", fds->len > 1 ? "s" : "", ranges,
	       first->made);
	g_free(ranges);
	g_array_free(fds, TRUE);
}

/* One descriptor's origins, below the table. */
static void show_origin(const struct fd_row *row)
{
	char *made = g_strdup_printf("made by %s", row->made);
	char *registered = g_strdup_printf("registered by %s", row->registered);

	printf("\n  fd %d\n", row->fd);
	out_folded("  ", row->made_chain->len ? made : row->made);
	if (row->made_chain->len)
		out_chain(row->made_chain);
	out_folded("  ", row->registered_chain->len || row->kind == OWNER_WAKEUP ? registered
										 : row->registered);
	if (row->registered_chain->len)
		out_chain(row->registered_chain);
	g_free(made);
	g_free(registered);
}

static void print_json(const struct loops *loops, const struct poll_set *set,
		       const struct fd_row *row)
{
	static const char *const kinds[] = { "unknown", "notifier", "handler",
					     "GSource", "GLib",	    "fd monitor" };
	char *role = describe_role(loops, set->tid);
	json_t *object;

	object = json_pack(
		"{s:s, s:i, s:s, s:i, s:s, s:o, s:s, s:s, s:s, s:o, s:o, s:o, s:s, s:o, s:s}",
		"type", "fd", "thread", set->tid, "role", role, "fd", row->fd, "fd_kind",
		row->info->kind, "fd_detail", out_text(row->info->detail), "events",
		out_events(row->events), "owner", row->owner, "owner_kind", kinds[row->kind], "ctx",
		out_text(row->context), "callback", out_text(row->callback), "calls",
		out_text(row->calls ? row->calls + strlen("calls ") : NULL), "registered_by",
		row->registered ? row->registered : "older than attach", "ready",
		row->ready < 0 ? json_null() : json_boolean(row->ready), "via",
		read_way_name(loops->way));
	if (row->made) {
		json_object_set_new(object, "made_by", json_string(row->made));
		json_object_set_new(object, "made_stack", chain_json(row->made_chain));
		json_object_set_new(object, "registered_stack", chain_json(row->registered_chain));
	}
	out_json(object);
	g_free(role);
}

static const char *ready_text(int ready)
{
	return ready < 0 ? "?" : ready ? "ready" : "-";
}

static void add_row(struct table *table, const struct fd_row *row, const char *fd,
		    const char *under)
{
	table_row(table, fd, row->info->kind, out_events(row->events), row->owner,
		  callback_text(row), ready_text(row->ready), NULL);
	table_under(table, 3, under);
	if (row->kind != OWNER_NOTIFIER)
		table_under(table, 3, row->calls);
}

static void add_rows(struct table *table, GArray *rows, bool all)
{
	struct fold *fold = fold_new(all);

	for (size_t i = 0; i < rows->len; i++) {
		const struct fd_row *row = &g_array_index(rows, struct fd_row, i);

		fold_add(fold, row->key, row->fd);
	}
	for (size_t i = 0; i < rows->len; i++) {
		const struct fd_row *row = &g_array_index(rows, struct fd_row, i);
		char cell[24], *ranges, *under;
		bool few;
		GArray *numbers = fold_take(fold, row->key, &few);

		if (few) {
			snprintf(cell, sizeof(cell), "%3d", row->fd);
			add_row(table, row, cell, row->info->detail);
		} else if (numbers) {
			snprintf(cell, sizeof(cell), "x%u", numbers->len);
			ranges = out_ranges(numbers);
			under = g_strdup_printf("fds %s", ranges);
			add_row(table, row, cell, under);
			g_free(ranges);
			g_free(under);
		}
	}
	fold_free(fold);
}

void fd_rows_show(const struct loops *loops, const struct poll_set *set, GArray *rows,
		  const struct options *options)
{
	static const char *const heads[] = { " FD",	 "KIND", "EVENTS", "OWNER",
					     "CALLBACK", "NOW",	 NULL };
	struct table *table;
	char *thread;

	for (size_t i = 0; options->json && i < rows->len; i++)
		print_json(loops, set, &g_array_index(rows, struct fd_row, i));
	if (options->json)
		return;
	thread = describe_thread(loops, set->tid);
	printf("\n%s\n", thread);
	g_free(thread);
	table = table_new(heads);
	add_rows(table, rows, options->all);
	table_print(table, " ");
	for (size_t i = 0; i < rows->len; i++) {
		const struct fd_row *row = &g_array_index(rows, struct fd_row, i);

		if (origin_is_unknown(row))
			show_unknown_origins(rows, row);
		else if (row->made)
			show_origin(row);
	}
}
