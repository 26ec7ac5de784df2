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
#include <time.h>

#include "tracer/describe.h"
#include "tracer/loops.h"
#include "tracer/out.h"
#include "tracer/session.h"
#include "tracer/sources.h"

static const char *const clock_names[] = { "REALTIME", "VIRTUAL", "HOST", "VIRTUAL_RT" };

struct totals {
	int contexts, handlers, bhs, timers, gcontexts, sources, damaged;
};

/* 1, 0, -1 unknown; the kernel's answer, not what the loop has seen of it. */
static int handler_ready(const struct loops *loops, const struct handler *h)
{
	int ready = fds_ready(loops->fds, h->fd, (short)h->events);

	return ready < 0 ? -1 : ready > 0;
}

static const char *handler_state(const struct handler *h, int ready)
{
	static const char *const states[] = { "active",		"poll list",
					      "ready",		"ready, poll list",
					      "deleted",	"deleted, poll list",
					      "deleted, ready", "deleted, ready, poll list" };

	return states[4 * h->deleted + 2 * (ready > 0) + h->on_poll_list];
}

/* "read", "write", or both where a handler has both callbacks. */
static char *callbacks_text(const struct loops *loops, const struct handler *h)
{
	char *read = describe_callback(loops, h->io_read);
	char *write = describe_callback(loops, h->io_write);
	char *text;

	if (read && write)
		text = g_strdup_printf("%s / %s", read, write);
	else
		text = g_strdup(read ? read : write ? write : "-");
	g_free(read);
	g_free(write);
	return text;
}

static void handler_json(const struct loops *loops, const struct context *c,
			 const struct handler *h, int ready, GArray *fds)
{
	const struct fd_info *info = fds_get(loops->fds, h->fd);
	char *read = describe_callback(loops, h->io_read);
	char *write = describe_callback(loops, h->io_write);
	char *poll = describe_callback(loops, h->io_poll);
	char *opaque = describe_opaque(loops, h->opaque);
	json_t *list = json_array();

	for (size_t i = 0; fds && i < fds->len; i++)
		json_array_append_new(list, json_integer(g_array_index(fds, int, i)));
	out_json(json_pack(
		"{s:s, s:s, s:o, s:o, s:i, s:o, s:s, s:o, s:s, s:o, s:o, s:o, s:o, s:s, s:o, "
		"s:b, s:o, s:i, s:s, s:s}",
		"type", "handler", "ctx", c->name, "ctx_addr", out_address(c->addr), "thread",
		c->tid ? json_integer(c->tid) : json_null(), "fd", h->fd, "fds", list, "fd_kind",
		info->kind, "fd_detail", out_text(info->detail), "events", out_events(h->events),
		"io_read", out_text(read), "io_write", out_text(write), "io_poll", out_text(poll),
		"opaque", out_text(opaque), "state", h->deleted ? "deleted" : "active", "ready",
		ready < 0 ? json_null() : json_boolean(ready), "on_poll_list", h->on_poll_list,
		"why_here", out_text(describe_why_here(c->kind, read)), "count",
		fds ? (int)fds->len : 1, "source", layout_source_name(loops->l->source), "via",
		read_way_name(loops->way)));
	g_free(read);
	g_free(write);
	g_free(poll);
	g_free(opaque);
}

static void handler_row(const struct loops *loops, const struct context *c, const struct handler *h,
			int ready, GArray *fds, struct table *table)
{
	const struct fd_info *info = fds_get(loops->fds, h->fd);
	bool own = h->fd == c->notifier_fd;
	char *callback = own ? g_strdup("its own notifier") : callbacks_text(loops, h);
	char *opaque = describe_opaque(loops, h->opaque);
	char *calls = own ? NULL : describe_calls(loops, h->io_read ? h->io_read : h->io_write);
	char *ranges = fds ? out_ranges(fds) : NULL;
	char *under = fds ? g_strdup_printf("fds %s", ranges) : g_strdup(info->detail);
	char cell[24];

	snprintf(cell, sizeof(cell), fds ? "x%d" : "%3d", fds ? (int)fds->len : h->fd);
	table_row(table, cell, info->kind, out_events(h->events), callback, opaque ? opaque : "-",
		  handler_state(h, ready), NULL);
	table_under(table, 3, calls);
	table_under(table, 3, describe_why_here(c->kind, callback));
	table_under(table, 3, under);
	g_free(callback);
	g_free(opaque);
	g_free(calls);
	g_free(ranges);
	g_free(under);
}

/* Handlers that differ in nothing but fd and argument are one row with a count. */
static void show_handlers(const struct loops *loops, const struct context *c,
			  const struct options *options)
{
	static const char *const heads[] = { " FD",	 "KIND",  "EVENTS", "CALLBACK",
					     "ARGUMENT", "STATE", NULL };
	struct table *table = options->json ? NULL : table_new(heads);
	struct fold *fold = fold_new(options->all);
	GPtrArray *keys = g_ptr_array_new_with_free_func(g_free);
	int *ready = g_new0(int, c->handlers->len + 1);

	for (size_t i = 0; i < c->handlers->len; i++) {
		const struct handler *h = &g_array_index(c->handlers, struct handler, i);
		char *key = g_strdup_printf("%s/%u/%" PRIx64 "/%" PRIx64 "/%" PRIx64 "/%d/%d/%d",
					    fds_get(loops->fds, h->fd)->kind, h->events & 7,
					    h->io_read, h->io_write, h->io_poll, h->deleted,
					    h->on_poll_list, ready[i] = handler_ready(loops, h));

		fold_add(fold, key, h->fd);
		g_ptr_array_add(keys, key);
	}
	for (size_t i = 0; i < c->handlers->len; i++) {
		const struct handler *h = &g_array_index(c->handlers, struct handler, i);
		bool few;
		GArray *fds = fold_take(fold, keys->pdata[i], &few);

		if (!few && !fds)
			continue;
		if (options->json)
			handler_json(loops, c, h, ready[i], fds);
		else
			handler_row(loops, c, h, ready[i], fds, table);
	}
	if (table)
		table_print(table, "  ");
	g_ptr_array_free(keys, TRUE);
	g_free(ready);
	fold_free(fold);
}

static char *bh_state(uint32_t flags)
{
	GString *text = g_string_new(flags & BH_DELETED	    ? "deleted"
				     : flags & BH_SCHEDULED ? "scheduled"
							    : "cancelled");

	if (flags & BH_IDLE)
		g_string_append(text, ", idle");
	if (flags & BH_ONESHOT)
		g_string_append(text, ", one-shot");
	return g_string_free(text, FALSE);
}

static void show_bhs(const struct loops *loops, const struct context *c, bool json)
{
	if (!json && loops->l->off[BH_CTX] < 0)
		printf("  BHs       unknown: this build's QEMUBH is not proven\n");
	else if (!json && !c->bhs->len)
		printf("  BHs       none scheduled\n");
	for (size_t i = 0; i < c->bhs->len; i++) {
		const struct bottom_half *bh = &g_array_index(c->bhs, struct bottom_half, i);
		char *state = bh_state(bh->flags), *cb = describe_callback(loops, bh->cb);

		if (json)
			out_json(json_pack("{s:s, s:s, s:o, s:o, s:o, s:s, s:b, s:o}", "type", "bh",
					   "ctx", c->name, "addr", out_address(bh->addr), "name",
					   out_text(bh->name), "callback", out_text(cb), "state",
					   state, "taken", bh->taken, "opaque",
					   out_address(bh->opaque)));
		else
			printf("  BH        %s (%s%s)\n",
			       bh->name[0] ? bh->name
			       : cb	   ? cb
					   : "?",
			       state, bh->taken ? ", taken by an aio_bh_poll() that runs" : "");
		g_free(state);
		g_free(cb);
	}
}

/*
 * How long a timer has left. REALTIME is CLOCK_MONOTONIC and HOST is CLOCK_REALTIME; the time of
 * the virtual clocks cannot be known from outside.
 */
static bool time_left(const struct loops *loops, const struct timer *timer, int64_t *ret)
{
	struct timespec ts;

	if (!loops->t->live || (timer->clock != 0 && timer->clock != 2))
		return false;
	clock_gettime(timer->clock == 0 ? CLOCK_MONOTONIC : CLOCK_REALTIME, &ts);
	*ret = timer->expire_ns - (ts.tv_sec * 1000000000LL + ts.tv_nsec);
	return true;
}

static void show_timers(const struct loops *loops, const char *name, GArray *timers, bool json)
{
	if (!json && loops->l->off[TL_ACTIVE] < 0)
		printf("  timers    unknown: no timer was armed to prove their layout on\n");
	else if (!json && !timers->len)
		printf("  timers    none armed\n");
	for (size_t i = 0; i < timers->len; i++) {
		const struct timer *timer = &g_array_index(timers, struct timer, i);
		const char *clock =
			timer->clock >= 0 && timer->clock < 4 ? clock_names[timer->clock] : "?";
		char *cb = describe_callback(loops, timer->cb), *due;
		char *calls = describe_calls(loops, timer->cb);
		int64_t left = 0;
		bool known = time_left(loops, timer, &left);

		due = !known	 ? g_strdup_printf("at %" PRId64 " ns", timer->expire_ns)
		      : left < 0 ? g_strdup("due now")
				 : out_duration(left);
		if (json)
			out_json(json_pack("{s:s, s:s, s:o, s:s, s:o, s:I, s:o, s:o}", "type",
					   "timer", "ctx", name, "addr", out_address(timer->addr),
					   "clock", clock, "callback", out_text(cb), "expire_ns",
					   (json_int_t)timer->expire_ns, "left_ns",
					   known ? json_integer(left) : json_null(), "opaque",
					   out_address(timer->opaque)));
		else
			printf("  timer     %-10s %s%s  %s%s%.30s%s\n", clock,
			       known && left >= 0 ? "in " : "", due, cb ? cb : "?",
			       calls ? " (" : "", calls ? calls : "", calls ? ")" : "");
		g_free(cb);
		g_free(calls);
		g_free(due);
	}
}

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
	show_handlers(loops, c, options);
	if (c->damaged_at && !options->json)
		printf("  DAMAGED: the list breaks at 0x%" PRIx64 ", which does not point back\n",
		       c->damaged_at);
	show_bhs(loops, c, options->json);
	show_timers(loops, c->name, c->timers, options->json);
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
	show_timers(loops, "main_loop_tlg", loops->main_timers, options->json);
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
