// SPDX-License-Identifier: MIT
/*
 * loopscope handlers: every context with its thread, handlers, bottom halves and timers; every
 * GMainContext with its sources.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tracer/describe.h"
#include "tracer/handlers-show.h"
#include "tracer/out.h"
#include "tracer/sources.h"

struct totals {
	int contexts, handlers, bhs, timers, gcontexts, sources, damaged;
};

static void show_context(const struct loops *loops, const struct context *c,
			 const struct options *options, struct totals *totals)
{
	char *thread = describe_thread(loops, c->tid);

	totals->contexts++;
	totals->handlers += c->handlers->len;
	totals->bhs += c->bhs->len;
	totals->timers += c->timers->len;
	totals->damaged += c->damaged_at != 0;
	if (options->json)
		out_json(json_pack(
			"{s:s, s:s, s:o, s:o, s:s, s:o, s:o, s:o, s:i, s:o, s:s}", "type",
			"context", "ctx", c->name, "ctx_addr", out_address(c->addr), "thread",
			c->tid ? json_integer(c->tid) : json_null(), "doing", thread, "notifier_fd",
			c->notifier_fd < 0 ? json_null() : json_integer(c->notifier_fd), "notified",
			c->notified < 0 ? json_null() : json_boolean(c->notified), "notify_me",
			c->notify_me < 0 ? json_null() : json_integer(c->notify_me), "handlers",
			(int)c->handlers->len, "fdmon", out_text(c->fdmon), "source",
			layout_source_name(loops->l->source)));
	else
		printf("\n%s: %s\n  %s%s%s\n", c->name, describe_purpose(c->kind), thread,
		       c->fdmon[0] ? "; fd monitor " : "", c->fdmon);
	g_free(thread);
	handlers_show(loops, c, options);
	if (c->damaged_at && !options->json)
		printf("  DAMAGED: the list breaks at 0x%" PRIx64 ", which does not point back\n",
		       c->damaged_at);
	handlers_show_bhs(loops, c, options->json);
	handlers_show_timers(loops, c->name, c->timers, options->json);
}

/* By name, or by address as "0x..." */
static bool is_wanted(const char *name, uint64_t addr, const char *wanted)
{
	char *end;
	uint64_t at;

	if (!wanted || (name && !strcmp(name, wanted)))
		return true;
	at = strtoull(wanted, &end, 0);
	return !*end && at == addr;
}

static void show_contexts(const struct loops *loops, const struct options *options,
			  struct totals *totals)
{
	for (size_t i = 0; i < loops->contexts->len; i++) {
		const struct context *c = loops->contexts->pdata[i];

		if (is_wanted(c->name, c->addr, options->context))
			show_context(loops, c, options, totals);
	}
	if (options->context || !loops->contexts->len)
		return;
	totals->timers += loops->main_timers->len;
	if (!options->json)
		printf("\nmain_loop_tlg: timers of devices, run by the main loop after dispatch\n");
	handlers_show_timers(loops, "main_loop_tlg", loops->main_timers, options->json);
}

static void show_gcontexts(const struct loops *loops, const struct options *options,
			   struct totals *totals)
{
	for (size_t i = 0; i < loops->gcontexts->len; i++) {
		const struct loop_gcontext *g = loops->gcontexts->pdata[i];

		if (!is_wanted(g->is_default ? "default" : NULL, g->addr, options->context))
			continue;
		totals->gcontexts++;
		totals->sources += g->sources->len;
		totals->damaged += g->damaged_at != 0;
		sources_show(loops, g, options->json, options->all);
	}
}

/* None is called so: say what there is. */
static int no_such_context(const struct loops *loops, const char *wanted, struct failure *why)
{
	GString *names = g_string_new(NULL);
	int err;

	for (size_t i = 0; i < loops->contexts->len; i++)
		g_string_append_printf(names, "%s%s", names->len ? ", " : "",
				       ((struct context *)loops->contexts->pdata[i])->name);
	for (size_t i = 0; i < loops->gcontexts->len; i++)
		g_string_append_printf(names, "%s0x%" PRIx64, names->len ? ", " : "",
				       ((struct loop_gcontext *)loops->gcontexts->pdata[i])->addr);
	err = fail(why, -ENOENT, "no context is called \"%s\"; there are %s", wanted, names->str);
	g_string_free(names, TRUE);
	return err;
}

static const char *plural(int n)
{
	return n == 1 ? "" : "s";
}

static void show_totals(const struct loops *loops, const struct options *options,
			const struct totals *t)
{
	if (options->json) {
		out_json(json_pack("{s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:I}", "type", "total",
				   "contexts", t->contexts, "handlers", t->handlers, "bhs", t->bhs,
				   "timers", t->timers, "gcontexts", t->gcontexts, "sources",
				   t->sources, "damaged", t->damaged, "lost",
				   (json_int_t)loops->tables->lost));
		return;
	}
	putchar('\n');
	if (loops->contexts->len)
		printf("%d context%s, %d handler%s, %d BH%s, %d timer%s; layout %s.\n", t->contexts,
		       plural(t->contexts), t->handlers, plural(t->handlers), t->bhs,
		       plural(t->bhs), t->timers, plural(t->timers),
		       loops->l->source == LAYOUT_DWARF ? "from debug information"
							: "inferred (see: loopscope layout)");
	if (t->gcontexts)
		printf("%d source%s in %d GMainContext%s.\n", t->sources, plural(t->sources),
		       t->gcontexts, plural(t->gcontexts));
	if (loops->tables->lost)
		printf("INCOMPLETE: %lu records were lost.\n", (unsigned long)loops->tables->lost);
}

int cmd_handlers(const struct options *options, struct failure *why)
{
	struct totals totals = { 0 };
	struct loops *loops = NULL;
	struct session s;
	int err = session_begin(&s, options, why);

	if (!err)
		err = session_read_loops(&s, &loops, why);
	if (err)
		goto cleanup;
	/* Ask of all descriptors now: rows that are shown are of a process that was there. */
	for (size_t i = 0; i < loops->contexts->len; i++) {
		const struct context *c = loops->contexts->pdata[i];

		for (size_t k = 0; k < c->handlers->len; k++)
			fds_get(s.fds, g_array_index(c->handlers, struct handler, k).fd);
	}
	err = session_check_alive(&s, why);
	if (err)
		goto cleanup;
	if (!options->json) {
		char *target = describe_target(loops);

		printf("%s: its %s\n", target,
		       loops->contexts->len ? "AioContexts" : "GMainContexts");
		g_free(target);
	}
	show_contexts(loops, options, &totals);
	show_gcontexts(loops, options, &totals);
	if (totals.contexts + totals.gcontexts)
		show_totals(loops, options, &totals);
	else
		err = no_such_context(loops, options->context, why);

cleanup:
	loops_free(loops);
	session_close(&s);
	return err;
}
