// SPDX-License-Identifier: MIT
/* A row of equal stalls, for people and as JSON. See stalls.h. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tracer/out.h"
#include "tracer/stalls.h"

#define SHOWN 6 /* things left waiting, of each kind */

static void add_time(GString *text, int64_t ns, int64_t whole, const char *what)
{
	char *time;

	/* What is less than a hundredth of it explains nothing. */
	if (ns <= 0 || ns < whole / 100)
		return;
	time = out_duration(ns);
	g_string_append_printf(text, "%s%s %s", text->len ? ", " : "", time, what);
	g_free(time);
}

char *stall_split_words(const int64_t split[], const GArray *calls, int64_t whole)
{
	GString *text = g_string_new(NULL);
	int64_t rest = split[STALLS_BLOCKED], before = whole;

	for (size_t i = 0; i < calls->len; i++) {
		const struct stall_slept *s = &g_array_index(calls, struct stall_slept, i);
		char *what = g_strdup_printf("asleep in %s", s->what);

		add_time(text, s->ns, whole, what);
		rest -= s->ns;
		g_free(what);
	}
	add_time(text, rest, whole, "asleep in other calls");
	add_time(text, split[STALLS_RUNNING], whole, "running");
	add_time(text, split[STALLS_RUNNABLE], whole, "waiting for a CPU");
	add_time(text, split[STALLS_STOPPED], whole, "stopped by a signal or a debugger");
	for (int i = 0; i < STALLS_STATES; i++)
		before -= split[i];
	if (before > whole / 10)
		add_time(text, before, whole, "before this was measured");
	return g_string_free(text, FALSE);
}

static void print_line(const char *mark, char *text)
{
	if (text && *text)
		out_folded(mark, text);
	g_free(text);
}

static char *lock_text(const struct stall_lock *lock)
{
	char *name = lock->bql ? g_strdup("the big lock")
			       : g_strdup_printf("the mutex at 0x%" PRIx64, lock->addr);
	char *text =
		lock->holder
			? g_strdup_printf("waits for %s, which thread %d \"%s\" holds%s%s", name,
					  lock->holder, lock->holder_name,
					  lock->holder_does ? "; it " : "", lock->holder_does ?: "")
			: g_strdup_printf("waits for %s; who holds it is not proven", name);

	g_free(name);
	return text;
}

static char *item_text(const struct stall_item *item)
{
	char *late, *text;

	switch (item->kind) {
	case STALL_FD:
		return g_strdup_printf("fd %d (%s) for %s", item->fd, item->what, item->callback);
	case STALL_BH:
		return g_strdup_printf("BH %s of %s", item->callback, item->what);
	default:
		late = out_duration(item->late_ns);
		text = g_strdup_printf("timer %s, late by %s", item->callback, late);
		g_free(late);
		return text;
	}
}

static char *backlog_text(const struct stall_backlog *b)
{
	const int counts[] = { b->fds, b->bhs, b->timers };
	static const char *const words[] = { "ready fds", "bottom halves", "timers" };
	GString *text = g_string_new(NULL);

	for (enum stall_item_kind kind = STALL_FD; kind <= STALL_TIMER; kind++) {
		int shown = 0;

		for (size_t i = 0; i < b->items->len && shown < SHOWN; i++) {
			char *one;

			if (((struct stall_item *)b->items->pdata[i])->kind != kind)
				continue;
			one = item_text(b->items->pdata[i]);
			g_string_append_printf(text, "%s%s", text->len ? "; " : "", one);
			g_free(one);
			shown++;
		}
		if (counts[kind] > shown)
			g_string_append_printf(text, "; %d more %s", counts[kind] - shown,
					       words[kind]);
	}
	g_string_prepend(text, text->len ? "left waiting: " : "left nothing waiting");
	return g_string_free(text, FALSE);
}

static void print_stack(const GPtrArray *stack)
{
	GPtrArray *names = g_ptr_array_new_with_free_func(g_free);

	for (size_t i = stack->len; i-- > 0;)
		g_ptr_array_add(names, g_strdup(stack->pdata[i]));
	out_chain(names);
	g_ptr_array_free(names, TRUE);
}

void stall_row_print(const struct stall_row *row)
{
	char *longest = out_duration(row->longest_ns), *total = out_duration(row->total_ns);
	GString *who = g_string_new(NULL);

	printf("%s%s%s   %s\n", row->since_attach ? "at least " : "", longest,
	       row->goes_on ? " so far" : "", row->culprit);
	g_string_printf(who, "%s, thread %d", row->role, row->tid);
	if (row->count > 1)
		g_string_append_printf(who, "; %" PRIu64 " times, %s in all", row->count, total);
	print_line(" ", g_string_free(who, FALSE));
	if (row->split_known)
		print_line("-", stall_split_words(row->split, row->calls, row->longest_ns));
	else if (row->what && row->kind == STALL_SYSCALL)
		print_line("-",
			   g_strdup_printf("asleep in %s when its stack was taken", row->what));
	else if (row->kind == STALL_RUNNING)
		print_line("-", g_strdup("running when its stack was taken"));
	if (row->view && row->view->nested)
		print_line("-", g_strdup_printf("waits in %s", row->view->nested));
	if (row->view && row->view->lock.addr)
		print_line("-", lock_text(&row->view->lock));
	if (row->view && row->view->backlog.known)
		print_line("-", backlog_text(&row->view->backlog));
	if (row->view && row->view->stack->len)
		print_stack(row->view->stack);
	printf("\n");
	g_free(longest);
	g_free(total);
}

/* --- JSON ----------------------------------------------------------------------------------- */

static json_t *split_json(const struct stall_row *row)
{
	if (!row->split_known)
		return json_null();
	return json_pack("{s:I, s:I, s:I, s:I}", "running_ns",
			 (json_int_t)row->split[STALLS_RUNNING], "runnable_ns",
			 (json_int_t)row->split[STALLS_RUNNABLE], "blocked_ns",
			 (json_int_t)row->split[STALLS_BLOCKED], "stopped_ns",
			 (json_int_t)row->split[STALLS_STOPPED]);
}

static json_t *calls_json(const struct stall_row *row)
{
	json_t *calls = json_array();

	for (size_t i = 0; i < row->calls->len; i++) {
		const struct stall_slept *s = &g_array_index(row->calls, struct stall_slept, i);

		json_array_append_new(calls, json_pack("{s:o, s:I}", "in", out_text(s->what), "ns",
						       (json_int_t)s->ns));
	}
	return calls;
}

static json_t *lock_json(const struct stall_lock *lock)
{
	if (!lock->addr)
		return json_null();
	return json_pack("{s:o, s:b, s:o, s:o, s:o}", "address", out_address(lock->addr), "bql",
			 lock->bql, "holder",
			 lock->holder ? json_integer(lock->holder) : json_null(), "holder_name",
			 out_text(lock->holder_name), "holder_does", out_text(lock->holder_does));
}

static json_t *item_json(const struct stall_item *item)
{
	switch (item->kind) {
	case STALL_FD:
		return json_pack("{s:s, s:i, s:s, s:o}", "kind", "fd", "fd", item->fd, "fd_kind",
				 item->what, "callback", out_text(item->callback));
	case STALL_BH:
		return json_pack("{s:s, s:o, s:o}", "kind", "bh", "ctx", out_text(item->what),
				 "callback", out_text(item->callback));
	default:
		return json_pack("{s:s, s:I, s:o}", "kind", "timer", "late_ns",
				 (json_int_t)item->late_ns, "callback", out_text(item->callback));
	}
}

static json_t *backlog_json(const struct stall_backlog *b)
{
	json_t *items = json_array();

	if (!b->known) {
		json_decref(items);
		return json_null();
	}
	for (size_t i = 0; i < b->items->len; i++)
		json_array_append_new(items, item_json(b->items->pdata[i]));
	return json_pack("{s:i, s:i, s:i, s:o}", "fds", b->fds, "bhs", b->bhs, "timers", b->timers,
			 "items", items);
}

void stall_row_print_json(const struct stall_row *row, uint64_t number)
{
	const struct stall_view *v = row->view;
	json_t *stack = json_array();

	for (size_t i = 0; v && i < v->stack->len; i++)
		json_array_append_new(stack, out_text(v->stack->pdata[i]));
	out_json(json_pack(
		"{s:s, s:I, s:i, s:s, s:s, s:s, s:o, s:I, s:I, s:I, s:b, s:b, s:o, s:o, s:o, s:o, "
		"s:o, s:o}",
		"type", "stall", "number", (json_int_t)number, "thread", row->tid, "role",
		row->role, "culprit", row->culprit, "kind", stall_kind_name(row->kind), "what",
		out_text(row->what), "count", (json_int_t)row->count, "longest_ns",
		(json_int_t)row->longest_ns, "total_ns", (json_int_t)row->total_ns, "since_attach",
		row->since_attach, "goes_on", row->goes_on, "split", split_json(row), "calls",
		calls_json(row), "lock", v ? lock_json(&v->lock) : json_null(), "nested",
		v ? out_text(v->nested) : json_null(), "waiting",
		v ? backlog_json(&v->backlog) : json_null(), "stack", stack));
}
