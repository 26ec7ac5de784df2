// SPDX-License-Identifier: MIT
/*
 * The iterations of GLib's own loop: a level for each loop that runs in a thread, the innermost
 * last.
 *
 * Up to 2.76 GLib's loop calls its exported functions: g_main_context_prepare(), query(), check()
 * and dispatch() tell the phases of an iteration. A later loop calls nothing that is exported. Then
 * an iteration is seen as what lies between two waits of a thread whose context is known.
 */
#include "tracer/record-glib-parts.h"

static struct glib_level *innermost(struct thread_state *t)
{
	return t->n_glib ? &t->glib[t->n_glib - 1] : NULL;
}

static void close_level(struct recorder *r, struct thread_state *t, uint64_t time_ns)
{
	struct glib_level *level = &t->glib[--t->n_glib];

	t->polls--;
	if (level->outermost)
		emit(r, time_ns, t->tid, LOOP_EV_ITERATION_END,
		     VALUES(level->ctx, LOOP_LOOP_KIND_GLIB, t->callbacks != level->callbacks));
}

/* Begin an iteration. One that had begun here, or further up the stack, is over. */
static void open_level(struct recorder *r, struct thread_state *t, const struct record_entry *hit,
		       uint64_t ctx)
{
	struct glib_level *level = innermost(t);

	while (level && level->sp <= hit->sp) {
		close_level(r, t, hit->h.time_ns);
		level = innermost(t);
	}
	if (t->n_glib == (int)G_N_ELEMENTS(t->glib))
		return;
	level = &t->glib[t->n_glib++];
	*level = (struct glib_level){
		.sp = hit->sp, .ctx = ctx, .callbacks = t->callbacks, .outermost = !t->polls
	};
	if (t->polls < (int)G_N_ELEMENTS(t->ctx))
		t->ctx[t->polls] = ctx;
	t->polls++;
	if (level->outermost)
		emit(r, hit->h.time_ns, t->tid, LOOP_EV_ITERATION_BEGIN,
		     VALUES(ctx, LOOP_LOOP_KIND_GLIB, !t->glib_may_not_block));
	t->glib_may_not_block = false;
}

/* g_main_context_iteration(context, may_block), which then calls prepare. */
void glib_iteration_entry(struct recorder *r, struct thread_state *t,
			  const struct record_entry *hit, struct call *call)
{
	(void)r;
	(void)call;
	t->glib_may_not_block = !(uint32_t)hit->args[1];
}

void glib_prepare_entry(struct recorder *r, struct thread_state *t, const struct record_entry *hit,
			struct call *call)
{
	call->a = glib_context_of(r, hit->args[0]);
	open_level(r, t, hit, call->a);
}

void glib_prepare_return(struct recorder *r, struct thread_state *t, const struct call *call,
			 const struct ending *end)
{
	struct glib_level *level = innermost(t);

	(void)r;
	if (!level || level->ctx != call->a || !end->seen)
		return;
	level->prepared = true;
	level->ready = (int)end->value != 0;
	level->prepared_ns = end->time_ns;
}

/* g_main_context_query(context, max_priority, ...): with the priority prepare has come to. */
void glib_query_entry(struct recorder *r, struct thread_state *t, const struct record_entry *hit,
		      struct call *call)
{
	struct glib_level *level = innermost(t);

	(void)call;
	if (!level || level->ctx != glib_context_of(r, hit->args[0]))
		return;
	if (level->prepared)
		emit(r, level->prepared_ns, t->tid, LOOP_EV_PREPARE,
		     VALUES(level->ctx, level->ready, (uint32_t)hit->args[1]));
	level->prepared = false;
	level->asked = true;
}

void record_glib_poll(struct recorder *r, struct thread_state *t, const struct record_entry *hit,
		      int64_t timeout_ns)
{
	struct glib_level *level = innermost(t);
	const struct loop_gcontext *polls = NULL;

	if (!r->loops || loops_main(r->loops))
		return;
	if (level && level->asked) {
		emit(r, hit->h.time_ns, t->tid, LOOP_EV_QUERY,
		     VALUES(level->ctx, (uint32_t)hit->args[1], timeout_ns));
		level->asked = false;
		level->by_phases = true;
		return;
	}
	/* A wait of some callback's own, or a loop whose phases cannot be seen. */
	if (t->n_calls || (level && level->by_phases && level->sp > hit->sp))
		return;
	for (size_t i = 0; i < r->loops->gcontexts->len && !polls; i++) {
		const struct loop_gcontext *g = r->loops->gcontexts->pdata[i];

		if (g->tid == (pid_t)t->tid)
			polls = g;
	}
	if (polls)
		open_level(r, t, hit, polls->addr);
	else if (!t->glib_looked) /* a thread that is new: the tables may know it now */
		r->looks = 1;
	t->glib_looked = true;
}

/* g_main_context_check(context, max_priority, fds, n_fds) */
void glib_check_entry(struct recorder *r, struct thread_state *t, const struct record_entry *hit,
		      struct call *call)
{
	struct glib_level *level = innermost(t);

	call->a = glib_context_of(r, hit->args[0]);
	call->b = (uint32_t)hit->args[1];
	/* Nothing to poll and no time to wait: then GLib does not call poll. */
	if (level && level->ctx == call->a && level->asked) {
		emit(r, hit->h.time_ns, t->tid, LOOP_EV_QUERY,
		     VALUES(level->ctx, (uint32_t)hit->args[3], 0));
		level->asked = false;
	}
}

void glib_check_return(struct recorder *r, struct thread_state *t, const struct call *call,
		       const struct ending *end)
{
	if (end->seen)
		emit(r, end->time_ns, t->tid, LOOP_EV_CHECK,
		     VALUES(call->a, (int)end->value != 0, call->b));
}

void record_glib_end(struct recorder *r, struct thread_state *t, uint64_t ctx, uint64_t time_ns)
{
	struct glib_level *level = innermost(t);

	if (level && level->ctx == glib_context_of(r, ctx))
		close_level(r, t, time_ns);
}
