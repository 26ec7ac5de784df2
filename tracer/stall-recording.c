// SPDX-License-Identifier: MIT
/*
 * Stalls as a recording shows them: from the end of a loop's own wait to the begin of the next, and
 * the callback that took most of that. A recording with stacks (record --stacks, --on-stall) also
 * says what the thread did there, and for whose lock it waited.
 */
#include <inttypes.h>
#include <string.h>

#include "tracer/report-model.h"
#include "tracer/report-words.h"
#include "tracer/stall-recording.h"

#define MAX_KINDS 1000 /* rows; stalls beyond are counted only */

/* A stack in the recording. */
struct seen {
	uint32_t state;
	int32_t call;
	uint32_t holder;
	uint64_t lock;
	GArray *frames;		/* uint64_t */
	struct seen *of_holder; /* taken at the same time */
};

/* A thread while the recording is read. */
struct timed {
	uint64_t since_ns;	  /* away since; 0: it waits, or nothing is known */
	uint64_t open_ns;	  /* the recording ends, and it still is */
	struct report_frame most; /* the callback with most of that time; entry NULL: none */
	uint64_t most_ns;
	struct seen *seen; /* in this time; or NULL */
};

/* Stalls of one thread in one callback. */
struct row {
	const struct report_thread *thread;
	struct report_frame frame;
	uint64_t count, longest_ns, total_ns;
	bool goes_on;
	struct seen *seen; /* of the longest that has one */
	uint64_t seen_ns;
};

struct reading {
	uint64_t min_ns, stalls;
	GHashTable *threads;  /* tid -> struct timed */
	GHashTable *loops;    /* tid -> struct report_thread */
	GPtrArray *rows;      /* struct row */
	struct seen *last;    /* whose frames come now */
	struct seen *stalled; /* that a holder's stack may follow */
	uint64_t lost_rows;
};

static void seen_free(struct seen *seen)
{
	if (!seen)
		return;
	seen_free(seen->of_holder);
	g_array_free(seen->frames, TRUE);
	g_free(seen);
}

static void timed_free(void *data)
{
	struct timed *t = data;

	seen_free(t->seen);
	g_free(t);
}

static void row_free(void *data)
{
	struct row *row = data;

	seen_free(row->seen);
	g_free(row);
}

static struct timed *timed_of(struct reading *r, uint32_t tid)
{
	struct timed *t = g_hash_table_lookup(r->threads, GUINT_TO_POINTER(tid));

	if (!t) {
		t = g_new0(struct timed, 1);
		g_hash_table_insert(r->threads, GUINT_TO_POINTER(tid), t);
	}
	return t;
}

/* --- stacks --------------------------------------------------------------------------------- */

static void see_state(struct reading *r, const struct loop_thread_state *event)
{
	struct seen *seen = g_new0(struct seen, 1);
	struct timed *t = timed_of(r, event->of_tid);

	seen->state = event->state;
	seen->call = event->syscall;
	seen->holder = event->holder;
	seen->lock = event->lock;
	seen->frames = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	r->last = seen;
	if (event->for_ns == LOOP_NS_UNKNOWN && r->stalled && !r->stalled->of_holder &&
	    r->stalled->holder == event->of_tid) {
		r->stalled->of_holder = seen;
		return;
	}
	seen_free(t->seen);
	t->seen = r->stalled = seen;
}

static void on_event(void *data, const struct loop_event *event)
{
	const struct loop_stack_frame *frame = (const struct loop_stack_frame *)event;
	struct reading *r = data;

	if (event->id == LOOP_EV_THREAD_STATE)
		see_state(r, (const struct loop_thread_state *)event);
	else if (event->id == LOOP_EV_STACK_FRAME && r->last && r->last->frames->len < 256)
		g_array_append_val(r->last->frames, frame->ip);
	else if (event->id != LOOP_EV_SYMBOL && event->id != LOOP_EV_STACK_FRAME &&
		 event->id != LOOP_EV_THREAD)
		r->last = r->stalled = NULL;
}

/* --- time ----------------------------------------------------------------------------------- */

static struct row *row_of(struct reading *r, const struct report_thread *thread,
			  const struct report_frame *frame)
{
	struct row *row;

	for (size_t i = 0; i < r->rows->len; i++) {
		row = r->rows->pdata[i];
		if (row->thread == thread && row->frame.kind == frame->kind &&
		    row->frame.entry == frame->entry)
			return row;
	}
	if (r->rows->len == MAX_KINDS)
		return NULL;
	row = g_new0(struct row, 1);
	row->thread = thread;
	row->frame = *frame;
	g_ptr_array_add(r->rows, row);
	return row;
}

static void come_back(struct reading *r, const struct report_thread *thread, uint64_t now,
		      bool goes_on)
{
	struct timed *t = timed_of(r, thread->tid);
	uint64_t ns = now - t->since_ns;
	struct row *row;

	if (t->since_ns && now > t->since_ns && ns >= r->min_ns) {
		r->stalls++;
		/* What took less than half of it is not what it stalled in. */
		if (t->most_ns < ns / 2)
			t->most = (struct report_frame){ .kind = REPORT_ITERATION };
		row = row_of(r, thread, &t->most);
		if (row) {
			row->count++;
			row->total_ns += ns;
			if (ns > row->longest_ns) {
				row->longest_ns = ns;
				row->goes_on = goes_on;
			}
			if (t->seen && ns > row->seen_ns) {
				seen_free(row->seen);
				row->seen = g_steal_pointer(&t->seen);
				row->seen_ns = ns;
			}
		} else {
			r->lost_rows++;
		}
	}
	t->since_ns = 0;
	t->most_ns = 0;
	t->most = (struct report_frame){ .kind = REPORT_ITERATION };
	if (t->seen)
		seen_free(g_steal_pointer(&t->seen));
	r->last = r->stalled = NULL;
}

static void on_begin(void *data, const struct report_thread *thread,
		     const struct report_frame *frame)
{
	struct reading *r = data;
	struct timed *t = timed_of(r, thread->tid);

	if (frame->kind == REPORT_POLL)
		come_back(r, thread, frame->begin_ns, false);
	else if (frame->kind <= REPORT_ITERATION && !t->since_ns)
		t->since_ns = frame->begin_ns;
	g_hash_table_insert(r->loops, GUINT_TO_POINTER(thread->tid), (void *)thread);
}

static void on_end(void *data, const struct report_thread *thread, const struct report_frame *frame,
		   uint64_t now_ns, enum report_ending ending)
{
	struct reading *r = data;
	struct timed *t = timed_of(r, thread->tid);
	uint64_t ns = now_ns - frame->begin_ns;

	/* A callback inside of another has its time only if the other did little else. */
	if (frame->kind <= REPORT_NOTIFIER && ns > 2 * t->most_ns) {
		t->most = *frame;
		t->most_ns = ns;
	}
	if (ending == REPORT_OPEN && frame->kind != REPORT_POLL)
		t->open_ns = now_ns;
	else if (ending == REPORT_CUT)
		t->since_ns = 0; /* events are missing: how long it was is not known */
	else if (frame->kind == REPORT_POLL && ending == REPORT_ENDED)
		t->since_ns = now_ns;
	else if (frame->kind == REPORT_ITERATION && ending == REPORT_ENDED)
		come_back(r, thread, now_ns, false);
}

/* --- rows ----------------------------------------------------------------------------------- */

static char *chain(const struct report *report, const struct seen *seen, guint max)
{
	GString *text = g_string_new(NULL);

	for (guint i = 0; i < seen->frames->len && i < max; i++) {
		char *name = report_function(report, g_array_index(seen->frames, uint64_t, i));

		g_string_append_printf(text, "%s%s", i ? " < " : "", name);
		g_free(name);
	}
	return g_string_free(text, FALSE);
}

static char *call_words(const struct seen *seen)
{
	bool fd;
	const char *name = seen->call >= 0 ? doctor_call_name(seen->call, &fd) : NULL;

	return name ? g_strdup(name) : g_strdup_printf("system call %d", seen->call);
}

static struct stall_view *view_of(const struct report *report, const struct seen *seen)
{
	struct stall_view *v = stall_view_empty();
	const struct report_thread *holder;
	char *stack, *call;

	for (guint i = 0; i < seen->frames->len; i++)
		g_ptr_array_add(v->stack,
				report_function(report, g_array_index(seen->frames, uint64_t, i)));
	v->lock.addr = seen->lock;
	v->lock.holder = (pid_t)seen->holder;
	holder = report_map_find(&report->threads, (struct report_key){ .a = seen->holder });
	v->lock.holder_name = g_strdup(holder && holder->name ? holder->name : "");
	if (seen->of_holder) {
		stack = chain(report, seen->of_holder, 6);
		call = seen->of_holder->call >= 0 ? call_words(seen->of_holder) : NULL;
		v->lock.holder_does = call ? g_strdup_printf("is asleep in %s: %s", call, stack)
					   : g_strdup_printf("runs: %s", stack);
		g_free(call);
		g_free(stack);
	}
	return v;
}

static void describe_seen(const struct seen *seen, struct stall_row *row)
{
	switch (seen->state) {
	case LOOP_RUN_STATE_LOCK:
		row->kind = STALL_LOCK;
		row->what = g_strdup_printf("the mutex at 0x%" PRIx64, seen->lock);
		break;
	case LOOP_RUN_STATE_SYSCALL:
		row->kind = STALL_SYSCALL;
		row->what = call_words(seen);
		break;
	case LOOP_RUN_STATE_RUNNING:
		row->kind = STALL_RUNNING;
		break;
	default:
		break;
	}
}

static struct stall_row *finish_row(const struct report *report, const struct row *row)
{
	struct stall_row *ret = stall_row_new();
	char *name = NULL;

	if (row->frame.kind <= REPORT_NOTIFIER)
		name = report_frame_name(report, &row->frame);
	ret->tid = (pid_t)row->thread->tid;
	ret->role = report_loop_name(report, row->thread);
	ret->culprit = name ? g_strdup_printf("%s %s", report_kind_name(row->frame.kind), name)
			    : g_strdup("no callback for half of it");
	ret->count = row->count;
	ret->longest_ns = (int64_t)row->longest_ns;
	ret->total_ns = (int64_t)row->total_ns;
	ret->goes_on = row->goes_on;
	if (row->seen) {
		describe_seen(row->seen, ret);
		ret->view = view_of(report, row->seen);
	}
	g_free(name);
	return ret;
}

static int by_length(const void *a, const void *b)
{
	const struct row *x = *(struct row *const *)a, *y = *(struct row *const *)b;

	return (x->longest_ns < y->longest_ns) - (x->longest_ns > y->longest_ns);
}

static void tell_open(struct reading *r)
{
	GHashTableIter iter;
	gpointer tid, value;

	g_hash_table_iter_init(&iter, r->threads);
	while (g_hash_table_iter_next(&iter, &tid, &value)) {
		struct timed *t = value;
		const struct report_thread *thread = g_hash_table_lookup(r->loops, tid);

		if (thread && t->since_ns && t->open_ns)
			come_back(r, thread, t->open_ns, true);
	}
}

static char *target_of(const struct report *report)
{
	char *exe = report_env(report, "target_exe"), *pid = report_env(report, "target_pid");
	char *base = exe ? g_path_get_basename(exe) : g_strdup("an unknown program");
	char *text = pid ? g_strdup_printf("%s (pid %s)", base, pid) : g_strdup(base);

	g_free(exe);
	g_free(pid);
	g_free(base);
	return text;
}

static void count_loops(const struct report *report, struct stalls_recorded *ret)
{
	GPtrArray *threads = report_threads(report);

	for (size_t i = 0; i < threads->len; i++) {
		const struct report_thread *t = threads->pdata[i];

		ret->loops += report_is_loop(t);
		ret->iterations += t->iterations;
	}
	g_ptr_array_free(threads, TRUE);
}

int stalls_of_recording(const char *path, int64_t min_ns, struct stalls_recorded *ret,
			struct failure *why)
{
	struct reading r = { .min_ns = (uint64_t)min_ns };
	struct report_watcher watcher = {
		.data = &r, .event = on_event, .begin = on_begin, .end = on_end
	};
	struct report *report = NULL;
	uint64_t first, end;
	int err;

	r.threads = g_hash_table_new_full(NULL, NULL, NULL, timed_free);
	r.loops = g_hash_table_new(NULL, NULL);
	r.rows = g_ptr_array_new_with_free_func(row_free);
	err = report_read_watched(path, &watcher, &report, why);
	if (err)
		goto cleanup;
	tell_open(&r);
	g_ptr_array_sort(r.rows, by_length);
	*ret = (struct stalls_recorded){ .rows = stall_row_array(), .stalls = r.stalls };
	for (size_t i = 0; i < r.rows->len; i++)
		g_ptr_array_add(ret->rows, finish_row(report, r.rows->pdata[i]));
	report_span(report, &first, &end);
	ret->ns = (int64_t)(MAX(report->end_ns, end) - first);
	ret->lost = ctf_reader_stats(report->reader)->discarded;
	count_loops(report, ret);
	ret->target = target_of(report);

cleanup:
	report_free(report);
	g_ptr_array_free(r.rows, TRUE);
	g_hash_table_destroy(r.loops);
	g_hash_table_destroy(r.threads);
	return err;
}
