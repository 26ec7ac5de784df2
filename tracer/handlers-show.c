// SPDX-License-Identifier: MIT
/* A context's handlers, bottom halves and timers: tables, and JSON. See handlers-show.h. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tracer/describe.h"
#include "tracer/handlers-show.h"
#include "tracer/out.h"

static const char *const clock_names[] = { "REALTIME", "VIRTUAL", "HOST", "VIRTUAL_RT" };

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
void handlers_show(const struct loops *loops, const struct context *c,
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

void handlers_show_bhs(const struct loops *loops, const struct context *c, bool json)
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

void handlers_show_timers(const struct loops *loops, const char *name, GArray *timers, bool json)
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
