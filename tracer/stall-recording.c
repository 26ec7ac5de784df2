// SPDX-License-Identifier: MIT
/*
 * Stalls as a recording shows them: from the end of a loop's own wait to the begin of the next, and
 * the callback that took most of that. A recording with stacks (record --stacks, --on-stall) also
 * says what the thread did there, for whose lock it waited, and what its time went into.
 *
 * That last comes when the stall is over, some ms later: until then a stall waits for it. What was
 * stopped, or had no CPU, before its wait could return, is no stall of the events: they show a
 * wait.
 */
#include <string.h>

#include "tracer/report-words.h"
#include "tracer/stall-recording-inside.h"

#define WAITING 32 /* stalls of a thread for which what their time went into may still come */

#define LONG_WAITS 4

/* A thread while the recording is read. */
struct timed {
	uint64_t wait_ns; /* it waits since then, or did last */
	struct {
		uint64_t begin_ns, end_ns;
	} waits[LONG_WAITS]; /* the last that were as long as a stall */
	unsigned n_waits;

	uint64_t since_ns;	  /* away since; 0: it waits, or nothing is known */
	uint64_t open_ns;	  /* the recording ends, and it still is */
	struct report_frame most; /* the callback with most of that time; entry NULL: none */
	uint64_t most_ns;
	const struct report_nested *nested; /* the aio_poll() inside with most of it */
	uint64_t nested_ns;
	struct recorded_stack *stack; /* in this time; or NULL */
	GArray *waiting;	      /* struct recorded_stall */
	bool has_split;
	struct stall_split split; /* the last: of what goes on when the recording ends */
};

struct reading {
	uint64_t min_ns, stalls;
	GHashTable *threads; /* tid -> struct timed */
	GHashTable *loops;   /* tid -> struct report_thread */
	struct recorded_rows *rows;
	struct stall_splits *splits;
	struct recorded_stack *last;	/* whose frames come now */
	struct recorded_stack *stalled; /* that a holder's stack may follow */
	uint64_t unsplit;
};

/* Each stall for itself, whether its split came or not. */
static void settle(struct reading *r, struct timed *t, guint n)
{
	for (guint i = 0; i < n; i++) {
		struct recorded_stall *stall = &g_array_index(t->waiting, struct recorded_stall, i);

		r->unsplit += !stall->has_split;
		recorded_rows_add(r->rows, stall);
	}
	if (n)
		g_array_remove_range(t->waiting, 0, n);
}

static void timed_free(void *data)
{
	struct timed *t = data;

	for (guint i = 0; i < t->waiting->len; i++) {
		struct recorded_stall *stall = &g_array_index(t->waiting, struct recorded_stall, i);

		recorded_stack_free(stall->stack);
		stall_split_clear(&stall->split);
	}
	g_array_free(t->waiting, TRUE);
	recorded_stack_free(t->stack);
	stall_split_clear(&t->split);
	g_free(t);
}

static struct timed *timed_of(struct reading *r, uint32_t tid)
{
	struct timed *t = g_hash_table_lookup(r->threads, GUINT_TO_POINTER(tid));

	if (!t) {
		t = g_new0(struct timed, 1);
		t->waiting = g_array_new(FALSE, FALSE, sizeof(struct recorded_stall));
		g_hash_table_insert(r->threads, GUINT_TO_POINTER(tid), t);
	}
	return t;
}

/* --- stacks, and what time went into --------------------------------------------------------- */

static void see_state(struct reading *r, const struct loop_thread_state *event)
{
	struct recorded_stack *stack = g_new0(struct recorded_stack, 1);
	struct timed *t = timed_of(r, event->of_tid);

	stack->state = event->state;
	stack->call = event->syscall;
	stack->holder = event->holder;
	stack->lock = event->lock;
	stack->frames = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	r->last = stack;
	if (event->for_ns == LOOP_NS_UNKNOWN && r->stalled && !r->stalled->of_holder &&
	    r->stalled->holder == event->of_tid) {
		r->stalled->of_holder = stack;
		return;
	}
	recorded_stack_free(t->stack);
	t->stack = r->stalled = stack;
}

/* Nine tenths of it passed between the begin and the end of one wait. */
static bool is_in_wait(const struct timed *t, const struct stall_split *split)
{
	uint64_t most = split->end_ns - (split->end_ns - split->begin_ns) / 10;

	if (!t->since_ns && t->wait_ns && t->wait_ns <= split->begin_ns)
		return true;
	for (int i = 0; i < LONG_WAITS; i++)
		if (t->waits[i].begin_ns && t->waits[i].begin_ns <= split->begin_ns &&
		    t->waits[i].end_ns >= most)
			return true;
	return false;
}

static void see_unable(struct reading *r, struct timed *t, const struct stall_split *split)
{
	enum stall_kind kind = stall_kind_of(split->ns);
	struct recorded_stall stall = {
		.thread = g_hash_table_lookup(r->loops, GUINT_TO_POINTER(split->tid)),
		.frame = { .kind = REPORT_ITERATION },
		.begin_ns = split->begin_ns,
		.ns = split->end_ns - split->begin_ns,
		.goes_on = split->goes_on,
		.has_split = true,
	};

	if (!stall.thread || stall.ns < r->min_ns || (kind != STALL_STOPPED && kind != STALL_CPU) ||
	    !is_in_wait(t, split))
		return;
	stall.split = stall_split_copy(split);
	r->stalls++;
	recorded_rows_add(r->rows, &stall);
}

static void see_split(struct reading *r, const struct stall_split *split)
{
	struct timed *t = timed_of(r, split->tid);

	for (guint i = 0; i < t->waiting->len; i++) {
		struct recorded_stall *stall = &g_array_index(t->waiting, struct recorded_stall, i);

		if (stall->has_split ||
		    !stall_split_fits(split, stall->begin_ns, stall->begin_ns + stall->ns))
			continue;
		stall->has_split = true;
		stall->split = stall_split_copy(split);
		settle(r, t, i + 1); /* those before it would have come before */
		return;
	}
	see_unable(r, t, split);
	stall_split_clear(&t->split);
	t->split = stall_split_copy(split);
	t->has_split = true;
}

static void on_event(void *data, const struct loop_event *event)
{
	const struct loop_stack_frame *frame = (const struct loop_stack_frame *)event;
	struct reading *r = data;
	const struct stall_split *split = stall_splits_event(r->splits, event);

	if (split)
		see_split(r, split);
	if (event->id == LOOP_EV_BQL_WAIT)
		recorded_rows_bql(r->rows, ((const struct loop_bql_wait *)event)->lock);
	if (event->id == LOOP_EV_THREAD_STATE)
		see_state(r, (const struct loop_thread_state *)event);
	else if (event->id == LOOP_EV_STACK_FRAME && r->last && r->last->frames->len < 256)
		g_array_append_val(r->last->frames, frame->ip);
	else if (event->id != LOOP_EV_SYMBOL && event->id != LOOP_EV_STACK_FRAME &&
		 event->id != LOOP_EV_THREAD)
		r->last = r->stalled = NULL;
}

/* --- time ----------------------------------------------------------------------------------- */

static void add_stall(struct reading *r, const struct report_thread *thread, struct timed *t,
		      uint64_t ns, bool goes_on)
{
	struct recorded_stall stall = { .thread = thread,
					.frame = t->most,
					.begin_ns = t->since_ns,
					.ns = ns,
					.goes_on = goes_on,
					.stack = g_steal_pointer(&t->stack) };

	r->stalls++;
	/* What took less than half of it is not what it stalled in. */
	if (t->most_ns < ns / 2)
		stall.frame = (struct report_frame){ .kind = REPORT_ITERATION };
	if (t->nested_ns >= ns / 2)
		stall.nested = t->nested;
	if (t->has_split && stall_split_fits(&t->split, t->since_ns, t->since_ns + ns)) {
		stall.has_split = true;
		stall.split = t->split;
		t->split = (struct stall_split){ 0 };
		t->has_split = false;
	}
	if (t->waiting->len == WAITING)
		settle(r, t, 1);
	g_array_append_val(t->waiting, stall);
}

static void come_back(struct reading *r, const struct report_thread *thread, uint64_t now,
		      bool goes_on)
{
	struct timed *t = timed_of(r, thread->tid);
	uint64_t ns = now - t->since_ns;

	if (t->since_ns && now > t->since_ns && ns >= r->min_ns)
		add_stall(r, thread, t, ns, goes_on);
	t->since_ns = 0;
	t->most_ns = t->nested_ns = 0;
	t->most = (struct report_frame){ .kind = REPORT_ITERATION };
	if (t->stack)
		recorded_stack_free(g_steal_pointer(&t->stack));
	r->last = r->stalled = NULL;
}

static void on_begin(void *data, const struct report_thread *thread,
		     const struct report_frame *frame)
{
	struct reading *r = data;
	struct timed *t = timed_of(r, thread->tid);

	if (frame->kind == REPORT_POLL) {
		come_back(r, thread, frame->begin_ns, false);
		t->wait_ns = frame->begin_ns;
	} else if (frame->kind <= REPORT_ITERATION && !t->since_ns) {
		t->since_ns = frame->begin_ns;
	}
	g_hash_table_insert(r->loops, GUINT_TO_POINTER(thread->tid), (void *)thread);
}

static void end_wait(const struct reading *r, struct timed *t, uint64_t begin_ns, uint64_t now_ns)
{
	t->since_ns = now_ns;
	if (now_ns - begin_ns < r->min_ns)
		return;
	t->waits[t->n_waits % LONG_WAITS].begin_ns = begin_ns;
	t->waits[t->n_waits++ % LONG_WAITS].end_ns = now_ns;
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
	if (frame->kind == REPORT_AIO_POLL && ns > t->nested_ns) {
		t->nested = frame->entry;
		t->nested_ns = ns;
	}
	if (ending == REPORT_OPEN && frame->kind != REPORT_POLL)
		t->open_ns = now_ns;
	else if (ending == REPORT_CUT)
		t->since_ns = 0; /* events are missing: how long it was is not known */
	else if (frame->kind == REPORT_POLL && ending == REPORT_ENDED)
		end_wait(r, t, frame->begin_ns, now_ns);
	else if (frame->kind == REPORT_ITERATION && ending == REPORT_ENDED)
		come_back(r, thread, now_ns, false);
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

static void settle_all(struct reading *r)
{
	GHashTableIter iter;
	gpointer value;

	g_hash_table_iter_init(&iter, r->threads);
	while (g_hash_table_iter_next(&iter, NULL, &value))
		settle(r, value, ((struct timed *)value)->waiting->len);
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
	r.rows = recorded_rows_new();
	r.splits = stall_splits_new();
	err = report_read_watched(path, &watcher, &report, why);
	if (err)
		goto cleanup;
	tell_open(&r);
	settle_all(&r);
	*ret = (struct stalls_recorded){
		.rows = recorded_rows_finish(r.rows, report),
		.stalls = r.stalls,
		.unsplit = r.unsplit,
		.has_splits = report->provenance[LOOP_EV_STALL_SPLIT] == LOOP_PROVENANCE_TRACEPOINT,
	};
	report_span(report, &first, &end);
	ret->ns = (int64_t)(MAX(report->end_ns, end) - first);
	ret->lost = ctf_reader_stats(report->reader)->discarded;
	count_loops(report, ret);
	ret->target = target_of(report);

cleanup:
	report_free(report);
	recorded_rows_free(r.rows);
	stall_splits_free(r.splits);
	g_hash_table_destroy(r.loops);
	g_hash_table_destroy(r.threads);
	return err;
}
