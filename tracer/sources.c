// SPDX-License-Identifier: MIT
/* See sources.h. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tracer/clock.h"
#include "tracer/describe.h"
#include "tracer/out.h"
#include "tracer/sources.h"

char *source_state(const struct loop_source *s)
{
	GString *text = g_string_new(NULL);

	if (!(s->flags & SOURCE_ACTIVE))
		g_string_append(text, ", destroyed");
	if (s->flags & SOURCE_READY)
		g_string_append(text, ", ready");
	if (s->flags & (SOURCE_BLOCKED | SOURCE_IN_CALL))
		g_string_append(text, ", is being dispatched");
	if (!text->len)
		g_string_append(text, ", waits");
	g_string_erase(text, 0, 2);
	return g_string_free(text, FALSE);
}

/* The function that runs for a source: its callback, or without one its own dispatch. */
static uint64_t called(const struct loop_source *s)
{
	return s->callback ? s->callback : s->dispatch;
}

static json_t *flag_names(uint32_t flags)
{
	static const struct {
		uint32_t bit;
		const char *name;
	} names[] = { { SOURCE_ACTIVE, "active" },
		      { SOURCE_IN_CALL, "in-call" },
		      { SOURCE_READY, "ready" },
		      { SOURCE_CAN_RECURSE, "can-recurse" },
		      { SOURCE_BLOCKED, "blocked" } };
	json_t *list = json_array();

	for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
		if (flags & names[i].bit)
			json_array_append_new(list, json_string(names[i].name));
	return list;
}

static void append_fds(const GArray *fds, json_t *numbers, json_t *events)
{
	for (size_t i = 0; i < fds->len; i++) {
		const GPollFD *fd = &g_array_index(fds, GPollFD, i);

		json_array_append_new(numbers, json_integer(fd->fd));
		json_array_append_new(events, json_string(out_events(fd->events)));
	}
}

static json_t *ready_json(int64_t ready_ns)
{
	return ready_ns == READY_UNKNOWN ? json_null() : json_integer(ready_ns);
}

static const char *context_name(const struct loops *loops, const struct loop_source *s)
{
	const struct context *c = s->is_aio_context ? loops_context(loops, s->addr) : NULL;

	return c ? c->name : NULL;
}

static void source_json(const struct loops *loops, const struct loop_gcontext *g,
			const struct loop_source *s)
{
	char *callback = describe_callback(loops, s->callback);
	char *dispatch = describe_callback(loops, s->dispatch), *state = source_state(s);
	char *prepare = describe_callback(loops, s->prepare);
	char *check = describe_callback(loops, s->check);
	json_t *fds = json_array(), *events = json_array();

	append_fds(s->fds, fds, events);
	append_fds(s->unix_fds, fds, events);
	out_json(json_pack(
		"{s:s, s:o, s:o, s:o, s:I, s:o, s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, "
		"s:s, s:o, s:o, s:I, s:s}",
		"type", "source", "gcontext", out_address(g->addr), "thread",
		g->tid ? json_integer(g->tid) : json_null(), "addr", out_address(s->addr), "id",
		(json_int_t)s->id, "name", out_text(s->name), "priority", s->priority, "kind",
		out_text(loops_source_kind(loops, s)), "ctx", out_text(context_name(loops, s)),
		"fds", fds, "events", events, "callback", out_text(callback), "dispatch",
		out_text(dispatch), "prepare", out_text(prepare), "check", out_text(check),
		"opaque", out_address(s->data), "state", state, "flags", flag_names(s->flags),
		"ready_ns", ready_json(s->ready_ns), "ref_count", (json_int_t)s->ref_count,
		"source", "inferred"));
	g_free(callback);
	g_free(dispatch);
	g_free(prepare);
	g_free(check);
	g_free(state);
}

/* ", due in 97 ms"; nothing for a source without a time of its own. */
static char *due_text(const struct loops *loops, const struct loop_source *s)
{
	int64_t left;
	char *time, *text;

	if (s->ready_ns < 0)
		return g_strdup("");
	if (!loops->t->live)
		return g_strdup_printf(", due at %" PRId64 " ns", s->ready_ns);
	left = s->ready_ns - (int64_t)now_ns();
	if (left < 0)
		return g_strdup(", due now");
	time = out_duration(left);
	text = g_strdup_printf(", due in %s", time);
	g_free(time);
	return text;
}

static char *fds_text(const struct loop_source *s)
{
	const GArray *lists[] = { s->fds, s->unix_fds };
	GString *text = g_string_new(NULL);

	for (size_t k = 0; k < G_N_ELEMENTS(lists); k++)
		for (size_t i = 0; i < lists[k]->len; i++) {
			const GPollFD *fd = &g_array_index(lists[k], GPollFD, i);

			g_string_append_printf(text, "%s%d %s", text->len ? ", " : "", fd->fd,
					       out_events(fd->events));
		}
	return g_string_free(text, FALSE);
}

static char *source_key(const struct loop_source *s)
{
	return g_strdup_printf("%d/%s/%" PRIx64 "/%" PRIx64 "/%x", s->priority, s->name, s->funcs,
			       called(s), s->flags);
}

/* "fds 3-5 7" of the sources of one row; NULL without any. */
static char *fds_of_all(const struct loop_gcontext *g, const GArray *equal)
{
	GArray *numbers = g_array_new(FALSE, FALSE, sizeof(int));
	char *ranges, *text = NULL;

	for (size_t i = 0; i < equal->len; i++) {
		const struct loop_source *s = g->sources->pdata[g_array_index(equal, int, i)];

		for (size_t k = 0; k < s->fds->len; k++)
			g_array_append_val(numbers, g_array_index(s->fds, GPollFD, k).fd);
		for (size_t k = 0; k < s->unix_fds->len; k++)
			g_array_append_val(numbers, g_array_index(s->unix_fds, GPollFD, k).fd);
	}
	if (numbers->len) {
		ranges = out_ranges(numbers);
		text = g_strdup_printf("fds %s", ranges);
		g_free(ranges);
	}
	g_array_free(numbers, TRUE);
	return text;
}

/* @equal: the indices of all sources that this row is of; NULL: of this one only. */
static void source_row(const struct loops *loops, const struct loop_gcontext *g,
		       const struct loop_source *s, const GArray *equal, struct table *table)
{
	const char *what = context_name(loops, s), *kind = loops_source_kind(loops, s);
	char *callback = describe_callback(loops, called(s)), *state = source_state(s);
	char *calls = describe_calls(loops, called(s)), *name, *fds = fds_text(s);
	char *due = equal ? g_strdup("") : due_text(loops, s);
	char *all_fds = equal ? fds_of_all(g, equal) : NULL;
	char *full = g_strdup_printf("%s%s", state, due);
	char priority[16], id[16];

	what = what ? what : kind;
	name = s->name[0]
		       ? g_strdup_printf("\"%s\"%s%s", s->name, what ? " " : "", what ? what : "")
		       : g_strdup(what ? what : "-");
	snprintf(priority, sizeof(priority), "%8d", s->priority);
	snprintf(id, sizeof(id), equal ? "x%u" : "%u", equal ? equal->len : s->id);
	table_row(table, priority, id, name, equal || !fds[0] ? "-" : fds,
		  callback ? callback : "-", full, NULL);
	table_under(table, 4, calls);
	table_under(table, 2, all_fds);
	g_free(callback);
	g_free(state);
	g_free(calls);
	g_free(name);
	g_free(fds);
	g_free(due);
	g_free(full);
	g_free(all_fds);
}

/* Sources that differ in nothing but fds, argument and time are one row with a count. */
static void add_rows(const struct loops *loops, const struct loop_gcontext *g, bool all,
		     struct table *table)
{
	struct fold *fold = fold_new(all);

	for (size_t i = 0; i < g->sources->len; i++) {
		char *key = source_key(g->sources->pdata[i]);

		fold_add(fold, key, (int)i);
		g_free(key);
	}
	for (size_t i = 0; i < g->sources->len; i++) {
		char *key = source_key(g->sources->pdata[i]);
		bool few;
		GArray *equal = fold_take(fold, key, &few);

		if (few || equal)
			source_row(loops, g, g->sources->pdata[i], few ? NULL : equal, table);
		g_free(key);
	}
	fold_free(fold);
}

/* What the thread does that iterates it, as far as that can be known. */
static char *doing_text(const struct loops *loops, const struct loop_gcontext *g)
{
	if (g->tid)
		return describe_thread(loops, g->tid);
	if (g->owned == 1)
		return g_strdup(
			"a thread owns it that does not poll it now: it runs a callback, or waits elsewhere");
	return g_strdup(g->owned == 0 ? "no thread iterates it now" : "no thread polls it now");
}

static void show_heading(const struct loops *loops, const struct loop_gcontext *g)
{
	GString *of = g_string_new(g->is_default ? ", the default one" : "");
	char *doing = doing_text(loops, g);

	for (size_t i = 0; i < loops->contexts->len; i++) {
		const struct context *c = loops->contexts->pdata[i];

		if (c->gctx == g->addr)
			g_string_append_printf(of, ", that of %s", c->name);
	}
	printf("\nGMainContext 0x%" PRIx64 "%s\n  %s\n", g->addr, of->str, doing);
	g_string_free(of, TRUE);
	g_free(doing);
}

static void show_json(const struct loops *loops, const struct loop_gcontext *g)
{
	char *doing = doing_text(loops, g);

	out_json(json_pack("{s:s, s:o, s:b, s:o, s:s, s:o, s:o, s:i, s:o, s:s}", "type", "gcontext",
			   "gcontext", out_address(g->addr), "default", g->is_default, "thread",
			   g->tid ? json_integer(g->tid) : json_null(), "doing", doing, "owned",
			   g->owned < 0 ? json_null() : json_boolean(g->owned), "wakeup_fd",
			   g->wakeup_fd < 0 ? json_null() : json_integer(g->wakeup_fd), "sources",
			   (int)g->sources->len, "damaged_at",
			   g->damaged_at ? out_address(g->damaged_at) : json_null(), "source",
			   "inferred"));
	g_free(doing);
	for (size_t i = 0; i < g->sources->len; i++)
		source_json(loops, g, g->sources->pdata[i]);
}

void sources_show(const struct loops *loops, const struct loop_gcontext *g, bool json, bool all)
{
	static const char *const heads[] = { "PRIORITY", "ID",	  "SOURCE", "FDS",
					     "CALLBACK", "STATE", NULL };
	struct table *table;

	if (json) {
		show_json(loops, g);
		return;
	}
	show_heading(loops, g);
	if (!g->sources->len && loops->l->off[GCTX_SOURCES] < 0)
		printf("  sources   unknown: this GLib's GMainContext is not proven\n");
	else if (!g->sources->len)
		printf("  no sources\n");
	else {
		table = table_new(heads);
		add_rows(loops, g, all, table);
		table_print(table, "  ");
	}
	if (g->damaged_at)
		printf("  DAMAGED: the list of sources breaks at 0x%" PRIx64
		       ", which does not point back\n",
		       g->damaged_at);
}
