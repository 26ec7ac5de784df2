// SPDX-License-Identifier: MIT
/* Stalls of a recording that are equal are one row, with a count; in the words of stall-rows.c. */
#include <inttypes.h>
#include <string.h>

#include "tracer/report-words.h"
#include "tracer/stall-recording-inside.h"

#define MAX_ROWS 1000 /* stalls of more kinds are counted only */
#define NR_FUTEX 202

/* Stalls of one thread in one callback, that were kept there by the same. */
struct row {
	const struct report_thread *thread;
	struct report_frame frame;
	enum stall_kind kind; /* STALL_UNKNOWN: their time is not split */
	int64_t nr;	      /* of STALL_SYSCALL */
	uint64_t count, total_ns;
	struct recorded_stall longest; /* has the stack of the longest that has one */
	uint64_t stack_ns;
};

struct recorded_rows {
	GPtrArray *rows; /* struct row * */
	uint64_t bql;
};

void recorded_stack_free(struct recorded_stack *stack)
{
	if (!stack)
		return;
	recorded_stack_free(stack->of_holder);
	g_array_free(stack->frames, TRUE);
	g_free(stack);
}

static void row_free(void *data)
{
	struct row *row = data;

	recorded_stack_free(row->longest.stack);
	stall_split_clear(&row->longest.split);
	g_free(row);
}

struct recorded_rows *recorded_rows_new(void)
{
	struct recorded_rows *rows = g_new0(struct recorded_rows, 1);

	rows->rows = g_ptr_array_new_with_free_func(row_free);
	return rows;
}

void recorded_rows_free(struct recorded_rows *rows)
{
	g_ptr_array_free(rows->rows, TRUE);
	g_free(rows);
}

void recorded_rows_bql(struct recorded_rows *rows, uint64_t lock)
{
	rows->bql = lock;
}

/* What kept it for most of its time: its sleeps say that, and its stack for whom. */
static enum stall_kind kind_of(const struct recorded_stall *stall)
{
	const struct stalls_call *longest = &stall->split.longest;
	enum stall_kind kind;

	if (!stall->has_split)
		return STALL_UNKNOWN;
	kind = stall_kind_of(stall->split.ns);
	if (kind != STALL_SYSCALL)
		return kind;
	if (longest->nr == NR_FUTEX && stall->stack && stall->stack->lock)
		return STALL_LOCK;
	if (stall->nested && is_wait_call(longest->nr))
		return STALL_NESTED;
	return longest->nr < 0 ? STALL_FAULT : STALL_SYSCALL;
}

static struct row *row_of(struct recorded_rows *rows, const struct recorded_stall *stall)
{
	enum stall_kind kind = kind_of(stall);
	int64_t nr = kind == STALL_SYSCALL ? stall->split.longest.nr : 0;
	struct row *row;

	for (size_t i = 0; i < rows->rows->len; i++) {
		row = rows->rows->pdata[i];
		if (row->thread == stall->thread && row->frame.kind == stall->frame.kind &&
		    row->frame.entry == stall->frame.entry && row->kind == kind && row->nr == nr)
			return row;
	}
	if (rows->rows->len == MAX_ROWS)
		return NULL;
	row = g_new0(struct row, 1);
	row->thread = stall->thread;
	row->frame = stall->frame;
	row->kind = kind;
	row->nr = nr;
	g_ptr_array_add(rows->rows, row);
	return row;
}

void recorded_rows_add(struct recorded_rows *rows, struct recorded_stall *stall)
{
	struct row *row = row_of(rows, stall);
	struct recorded_stack *stack;

	if (row) {
		row->count++;
		row->total_ns += stall->ns;
	}
	if (row && stall->stack && stall->ns > row->stack_ns) {
		recorded_stack_free(row->longest.stack);
		row->longest.stack = g_steal_pointer(&stall->stack);
		row->stack_ns = stall->ns;
	}
	recorded_stack_free(stall->stack);
	stall->stack = NULL;
	if (!row || stall->ns <= row->longest.ns) {
		stall_split_clear(&stall->split);
		return;
	}
	stack = row->longest.stack;
	stall_split_clear(&row->longest.split);
	row->longest = *stall;
	row->longest.stack = stack;
}

/* --- in words ------------------------------------------------------------------------------- */

static char *chain(const struct report *report, const struct recorded_stack *stack, guint max)
{
	GString *text = g_string_new(NULL);

	for (guint i = 0; i < stack->frames->len && i < max; i++) {
		char *name = report_function(report, g_array_index(stack->frames, uint64_t, i));

		g_string_append_printf(text, "%s%s", i ? " < " : "", name);
		g_free(name);
	}
	return g_string_free(text, FALSE);
}

static char *call_words(const struct recorded_stack *stack)
{
	bool fd;
	const char *name = stack->call >= 0 ? doctor_call_name(stack->call, &fd) : NULL;

	return name ? g_strdup(name) : g_strdup_printf("system call %d", stack->call);
}

static void note_lock(const struct recorded_rows *rows, const struct report *report,
		      const struct recorded_stack *stack, struct stall_lock *lock)
{
	const struct report_thread *holder;
	char *does, *call;

	lock->addr = stack->lock;
	lock->bql = stack->lock && stack->lock == rows->bql;
	lock->holder = (pid_t)stack->holder;
	holder = report_map_find(&report->threads, (struct report_key){ .a = stack->holder });
	lock->holder_name = g_strdup(holder && holder->name ? holder->name : "");
	if (!stack->of_holder)
		return;
	does = chain(report, stack->of_holder, 6);
	call = stack->of_holder->call >= 0 ? call_words(stack->of_holder) : NULL;
	lock->holder_does = call ? g_strdup_printf("is asleep in %s: %s", call, does)
				 : g_strdup_printf("runs: %s", does);
	g_free(call);
	g_free(does);
}

static char *nested_words(const struct report *report, const struct report_nested *nested)
{
	char *caller = report_function(report, nested->site);
	char *text =
		g_strdup_printf("aio_poll() called by %s, depth %u", caller, nested->max_depth);

	g_free(caller);
	return text;
}

static struct stall_view *view_of(const struct recorded_rows *rows, const struct report *report,
				  const struct recorded_stall *stall, bool nested)
{
	const struct recorded_stack *stack = stall->stack;
	struct stall_view *v;

	if (!stack && !nested)
		return NULL;
	v = stall_view_empty();
	if (nested)
		v->nested = nested_words(report, stall->nested);
	for (guint i = 0; stack && i < stack->frames->len; i++)
		g_ptr_array_add(v->stack,
				report_function(report, g_array_index(stack->frames, uint64_t, i)));
	if (stack)
		note_lock(rows, report, stack, &v->lock);
	return v;
}

static char *lock_words(const struct recorded_rows *rows, uint64_t lock)
{
	return lock == rows->bql ? g_strdup("the big lock")
				 : g_strdup_printf("the mutex at 0x%" PRIx64, lock);
}

/* A stack alone tells what it did when that was taken. */
static void describe_stack(const struct recorded_rows *rows, const struct recorded_stack *stack,
			   struct stall_row *row)
{
	switch (stack->state) {
	case LOOP_RUN_STATE_LOCK:
		row->kind = STALL_LOCK;
		row->what = lock_words(rows, stack->lock);
		break;
	case LOOP_RUN_STATE_SYSCALL:
		row->kind = STALL_SYSCALL;
		row->what = call_words(stack);
		break;
	case LOOP_RUN_STATE_RUNNING:
		row->kind = STALL_RUNNING;
		break;
	default:
		break;
	}
}

static char *longest_words(const struct stall_split *split)
{
	const struct stall_slept *longest = NULL;

	for (guint i = 0; i < split->calls->len; i++) {
		const struct stall_slept *one = &g_array_index(split->calls, struct stall_slept, i);

		if (!longest || one->ns > longest->ns)
			longest = one;
	}
	return longest ? g_strdup(longest->what) : NULL;
}

static void describe_split(const struct recorded_rows *rows, const struct report *report,
			   const struct row *row, struct stall_row *ret)
{
	const struct recorded_stall *stall = &row->longest;

	ret->kind = row->kind;
	if (row->kind == STALL_LOCK)
		ret->what = lock_words(rows, stall->stack->lock);
	else if (row->kind == STALL_NESTED)
		ret->what = nested_words(report, stall->nested);
	else if (row->kind == STALL_SYSCALL || row->kind == STALL_FAULT)
		ret->what = longest_words(&stall->split);
	ret->split_known = true;
	memcpy(ret->split, stall->split.ns, sizeof(ret->split));
	g_array_unref(ret->calls);
	ret->calls = g_array_ref(stall->split.calls);
}

static char *culprit_of(const struct report *report, const struct row *row)
{
	char *name, *text;

	if (row->kind == STALL_STOPPED)
		return g_strdup("nobody of the program: it was stopped");
	if (row->frame.kind > REPORT_NOTIFIER)
		return g_strdup(row->kind == STALL_CPU
					? "nobody of the program: others had the CPUs"
					: "no callback for half of it");
	name = report_frame_name(report, &row->frame);
	text = g_strdup_printf("%s %s", report_kind_name(row->frame.kind), name);
	g_free(name);
	return text;
}

static struct stall_row *finish_row(const struct recorded_rows *rows, const struct report *report,
				    const struct row *row)
{
	struct stall_row *ret = stall_row_new();
	const struct recorded_stall *stall = &row->longest;

	ret->tid = (pid_t)row->thread->tid;
	ret->role = report_loop_name(report, row->thread);
	ret->culprit = culprit_of(report, row);
	ret->count = row->count;
	ret->longest_ns = (int64_t)stall->ns;
	ret->total_ns = (int64_t)row->total_ns;
	ret->goes_on = stall->goes_on;
	if (stall->has_split)
		describe_split(rows, report, row, ret);
	else if (stall->stack)
		describe_stack(rows, stall->stack, ret);
	ret->view = view_of(rows, report, stall, row->kind == STALL_NESTED);
	return ret;
}

static int by_length(const void *a, const void *b)
{
	const struct row *x = *(struct row *const *)a, *y = *(struct row *const *)b;

	return (x->longest.ns < y->longest.ns) - (x->longest.ns > y->longest.ns);
}

GPtrArray *recorded_rows_finish(struct recorded_rows *rows, const struct report *report)
{
	GPtrArray *ret = stall_row_array();

	g_ptr_array_sort(rows->rows, by_length);
	for (size_t i = 0; i < rows->rows->len; i++)
		g_ptr_array_add(ret, finish_row(rows, report, rows->rows->pdata[i]));
	return ret;
}
