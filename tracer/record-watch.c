// SPDX-License-Identifier: MIT
/*
 * Stalls, as the events of a recording show them: how long a thread is away from its loop's own
 * wait. One that goes on is told as soon as it is too long, and its stack is taken then.
 *
 * Its own wait is a poll_enter of depth 1, or of a loop of GLib's 0; one that polls busily comes
 * round with its iteration.
 */
#include <inttypes.h>
#include <string.h>

#include "bpf/record.skel.h"
#include "tracer/clock.h"
#include "tracer/record.h"
#include "tracer/stall-look.h"

struct away {
	uint64_t since_ns; /* 0: it waits, or nothing is known */
	uint32_t depth;	   /* of its last poll */
	bool waits;	   /* in its loop's own poll */
	bool is_loop;	   /* also its polls of depth 0 are a loop's */
	bool told;	   /* that it is too long */
	bool over;	   /* and that it has ended is not told yet */
	int64_t ns;	   /* then */
	uint64_t began_ns;
};

struct record_watch {
	int64_t min_ns;
	GHashTable *threads; /* tid -> struct away */
	struct stall_look *look;
	bool opened;
	int taken, missed;
};

struct record_watch *record_watch_new(int64_t min_ns)
{
	struct record_watch *w = g_new0(struct record_watch, 1);

	w->min_ns = min_ns;
	w->threads = g_hash_table_new_full(NULL, NULL, NULL, g_free);
	return w;
}

void record_watch_free(struct record_watch *w)
{
	if (!w)
		return;
	stall_look_close(w->look);
	g_hash_table_destroy(w->threads);
	g_free(w);
}

/* The tables name it as the home of a context. */
static bool is_home(const struct loops *loops, pid_t tid)
{
	return loops && (loops_context_of(loops, tid) || loops_gcontext_of(loops, tid));
}

static struct away *away_of(const struct recorder *r, uint32_t tid)
{
	const struct record_watch *w = r->watch;
	struct away *a = g_hash_table_lookup(w->threads, GUINT_TO_POINTER(tid));

	if (!a) {
		a = g_new0(struct away, 1);
		a->is_loop = is_home(r->loops, (pid_t)tid);
		g_hash_table_insert(w->threads, GUINT_TO_POINTER(tid), a);
	}
	return a;
}

/* It is back at @now: from then on another time counts, if it is away again. */
static void come_back(const struct record_watch *w, struct away *a, uint64_t now, uint64_t again)
{
	if (a->since_ns && now > a->since_ns && (int64_t)(now - a->since_ns) >= w->min_ns) {
		a->over = true;
		a->ns = (int64_t)(now - a->since_ns);
		a->began_ns = a->since_ns;
	}
	a->since_ns = again;
	a->told = false;
}

static bool is_own(const struct away *a)
{
	return a->depth == 1 || (!a->depth && a->is_loop);
}

void record_watch_event(struct recorder *r, const struct loop_event *event)
{
	uint64_t now = event->time_ns;
	struct away *a;

	switch (event->id) {
	case LOOP_EV_POLL_ENTER:
		a = away_of(r, event->tid);
		a->depth = ((const struct loop_poll_enter *)event)->depth;
		a->waits = is_own(a);
		if (a->waits)
			come_back(r->watch, a, now, 0);
		break;
	case LOOP_EV_POLL_EXIT:
		a = away_of(r, event->tid);
		a->waits = false;
		if (is_own(a))
			come_back(r->watch, a, now, now);
		break;
	case LOOP_EV_ITERATION_BEGIN:
		come_back(r->watch, away_of(r, event->tid), now, now);
		break;
	case LOOP_EV_ITERATION_END:
		come_back(r->watch, away_of(r, event->tid), now, 0);
		break;
	case LOOP_EV_BH_BEGIN:
	case LOOP_EV_HANDLER_BEGIN:
	case LOOP_EV_TIMER_BEGIN:
	case LOOP_EV_SOURCE_DISPATCH_BEGIN:
		/* The wait before was older than the recording. */
		a = away_of(r, event->tid);
		if (!a->since_ns && !a->waits)
			a->since_ns = now;
		break;
	default:
		break;
	}
}

void record_watch_forget(struct record_watch *w)
{
	g_hash_table_remove_all(w->threads);
}

bool record_watch_next(struct record_watch *w, struct record_stall *ret)
{
	uint64_t now = now_ns();
	GHashTableIter iter;
	gpointer tid, value;

	g_hash_table_iter_init(&iter, w->threads);
	while (g_hash_table_iter_next(&iter, &tid, &value)) {
		struct away *a = value;

		if (a->over) {
			a->over = false;
			*ret = (struct record_stall){ GPOINTER_TO_UINT(tid), a->began_ns, a->ns,
						      false };
			return true;
		}
		if (!a->since_ns || a->told || now < a->since_ns + (uint64_t)w->min_ns)
			continue;
		a->told = true;
		*ret = (struct record_stall){ GPOINTER_TO_UINT(tid), a->since_ns,
					      (int64_t)(now - a->since_ns), true };
		return true;
	}
	return false;
}

uint64_t record_lost(const struct recorder *r)
{
	const struct stall_look *look = r->watch ? r->watch->look : NULL;

	return r->skel->bss->lost + (look ? stall_look_lost(look) : 0);
}

bool record_watch_goes_on(const struct record_watch *w)
{
	GHashTableIter iter;
	gpointer value;

	g_hash_table_iter_init(&iter, w->threads);
	while (g_hash_table_iter_next(&iter, NULL, &value))
		if (((struct away *)value)->told)
			return true;
	return false;
}

void record_watch_stacks(const struct record_watch *w, int *ret_taken, int *ret_missed)
{
	*ret_taken = w->taken;
	*ret_missed = w->missed;
}

/* --- stacks --------------------------------------------------------------------------------- */

static uint32_t run_state(const struct stack *stack, uint64_t lock)
{
	if (lock)
		return LOOP_RUN_STATE_LOCK;
	return stack->thread.state == 'R' ? LOOP_RUN_STATE_RUNNING : LOOP_RUN_STATE_SYSCALL;
}

static void write_stack(struct recorder *r, const struct stack *stack, uint64_t now, uint64_t lock,
			pid_t holder, int64_t for_ns)
{
	const struct thread_now *t = &stack->thread;

	emit(r, now, 0, LOOP_EV_THREAD_STATE,
	     VALUES(t->tid, run_state(stack, lock), t->state == 'R' ? -1 : t->nr, holder, lock,
		    for_ns));
	for (int i = 0; i < stack->n; i++)
		emit(r, now, 0, LOOP_EV_STACK_FRAME,
		     VALUES(t->tid, i, stack->frames[i].pc, i ? 0 : t->sp));
}

/* Of a command that was started the tables are known later than the first events. */
static struct stall_look *look(struct recorder *r)
{
	struct record_watch *w = r->watch;

	if (!w->opened && r->loops) {
		w->opened = true;
		w->look = stall_look_open(r->s);
		if (w->look)
			record_split_begin(r, w->look, w->min_ns);
	}
	return w->look;
}

static bool take(struct recorder *r, uint32_t tid, struct stall_looked *ret)
{
	struct stall_look *at = look(r);

	return at && stall_look_take(at, (pid_t)tid, ret);
}

void record_watch_step(struct recorder *r)
{
	struct stall_look *at = look(r);

	if (at)
		stall_look_step(at);
}

void record_watch_end(struct recorder *r)
{
	if (r->watch->look)
		stall_look_end(r->watch->look);
}

void record_watch_begin(struct recorder *r)
{
	const GArray *threads = r->s->t->threads;
	uint64_t now = now_ns();

	for (size_t i = 0; i < threads->len; i++) {
		uint32_t tid = (uint32_t)g_array_index(threads, struct thread, i).tid;
		struct stall_looked looked;
		struct away *a;

		if (!take(r, tid, &looked) || !looked.is_loop)
			continue;
		a = away_of(r, tid);
		if (!a->waits && !a->since_ns)
			a->since_ns = now;
	}
}

void record_watch_take_stack(struct recorder *r, const struct record_stall *stall)
{
	struct record_watch *w = r->watch;
	struct stall_looked looked;
	uint64_t now;

	if (!take(r, stall->tid, &looked)) {
		w->missed++;
		return;
	}
	w->taken++;
	now = now_ns();
	if (looked.holder)
		record_thread(r, (uint32_t)looked.holder); /* its name */
	write_stack(r, &looked.stack, now, looked.lock, looked.holder,
		    (int64_t)(now - stall->since_ns));
	if (looked.has_held)
		write_stack(r, &looked.held, now, 0, 0, LOOP_NS_UNKNOWN);
}
