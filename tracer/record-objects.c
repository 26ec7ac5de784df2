// SPDX-License-Identifier: MIT
/*
 * What calls of exported functions say of bottom halves, timers, handlers, notifiers, the big lock
 * and contexts: rows of the table in record-functions.c.
 */
#include "tracer/record-functions.h"
#include "tracer/bql.h"
#include "tracer/record-meanings.h"

/* --- bottom halves: reads are ctx, cb, opaque, flags, name --- */

static void name_bh(struct recorder *r, uint64_t bh, uint64_t cb, uint64_t name)
{
	char text[128];

	if (!name || !g_hash_table_add(r->named, (void *)(cb ^ name)))
		return;
	if (!target_read_string(r->s->t, name, text, sizeof(text)))
		emit_text(r, LOOP_EV_BH_NAME, VALUES(bh, cb, 0), text);
}

void bh_call_entry(struct recorder *r, struct thread_state *t, const struct record_entry *hit,
		   struct call *call)
{
	call->a = hit->reads[0];
	call->b = hit->args[0];
	call->c = hit->reads[1];
	t->callbacks++;
	name_bh(r, call->b, call->c, hit->reads[4]);
	emit(r, hit->h.time_ns, t->tid, LOOP_EV_BH_BEGIN,
	     VALUES(call->a, call->b, call->c, hit->reads[2], (uint32_t)hit->reads[3]));
}

void bh_call_return(struct recorder *r, struct thread_state *t, const struct call *call,
		    const struct ending *end)
{
	emit(r, end->time_ns, t->tid, LOOP_EV_BH_END, VALUES(call->a, call->b, call->c));
}

void bh_schedule_entry(struct recorder *r, struct thread_state *t, const struct record_entry *hit,
		       struct call *call)
{
	uint32_t flags = (uint32_t)hit->reads[3];

	(void)call;
	name_bh(r, hit->args[0], hit->reads[1], hit->reads[4]);
	emit(r, hit->h.time_ns, t->tid, LOOP_EV_BH_SCHEDULE,
	     VALUES(hit->reads[0], hit->args[0], hit->reads[1], flags | BH_SCHEDULED,
		    !(flags & BH_PENDING), hit->stack[0]));
}

/* aio_bh_schedule_oneshot_full(ctx, cb, opaque, name): the bottom half is made inside. */
void bh_oneshot_entry(struct recorder *r, struct thread_state *t, const struct record_entry *hit,
		      struct call *call)
{
	(void)call;
	emit(r, hit->h.time_ns, t->tid, LOOP_EV_BH_SCHEDULE,
	     VALUES(hit->args[0], 0, hit->args[1], BH_SCHEDULED | BH_ONESHOT, 1, hit->stack[0]));
}

void bh_cancel_entry(struct recorder *r, struct thread_state *t, const struct record_entry *hit,
		     struct call *call)
{
	(void)call;
	emit(r, hit->h.time_ns, t->tid, LOOP_EV_BH_CANCEL,
	     VALUES(hit->reads[0], hit->args[0], hit->reads[1]));
}

void bh_delete_entry(struct recorder *r, struct thread_state *t, const struct record_entry *hit,
		     struct call *call)
{
	(void)call;
	emit(r, hit->h.time_ns, t->tid, LOOP_EV_BH_DELETE,
	     VALUES(hit->reads[0], hit->args[0], hit->reads[1]));
}

/* --- timers: reads are list, cb, opaque, expire_time --- */

void timer_arm_entry(struct recorder *r, struct thread_state *t, const struct record_entry *hit,
		     struct call *call)
{
	(void)call;
	emit(r, hit->h.time_ns, t->tid, LOOP_EV_TIMER_ARM,
	     VALUES(hit->reads[0], hit->args[0], hit->reads[1], hit->args[1], LOOP_NS_UNKNOWN,
		    hit->stack[0]));
	record_note_timer(r, hit->args[0], hit->reads[0], hit->reads[1], hit->reads[2],
			  (int64_t)hit->args[1]);
}

/* It only ever makes a timer sooner. */
void timer_anticipate_entry(struct recorder *r, struct thread_state *t,
			    const struct record_entry *hit, struct call *call)
{
	int64_t now = (int64_t)hit->reads[3];

	if (now < 0 || (int64_t)hit->args[1] < now)
		timer_arm_entry(r, t, hit, call);
}

void timer_del_entry(struct recorder *r, struct thread_state *t, const struct record_entry *hit,
		     struct call *call)
{
	(void)call;
	emit(r, hit->h.time_ns, t->tid, LOOP_EV_TIMER_DEL,
	     VALUES(hit->reads[0], hit->args[0], hit->reads[1], hit->stack[0]));
}

/* --- wake-ups: reads are notified, notify_me --- */

void notify_entry(struct recorder *r, struct thread_state *t, const struct record_entry *hit,
		  struct call *call)
{
	uint32_t notify_me = (uint32_t)hit->reads[1];

	(void)call;
	emit(r, hit->h.time_ns, t->tid, LOOP_EV_NOTIFY,
	     VALUES(hit->args[0], notify_me, notify_me != 0, hit->stack[0]));
}

void notify_accept_entry(struct recorder *r, struct thread_state *t, const struct record_entry *hit,
			 struct call *call)
{
	(void)call;
	emit(r, hit->h.time_ns, t->tid, LOOP_EV_NOTIFY_ACCEPT,
	     VALUES(hit->args[0], (uint8_t)hit->reads[0], (uint32_t)hit->reads[1]));
}

/* --- handlers: aio_set_fd_handler(ctx, fd, ...), whose other arguments differ by version --- */

void set_handler_entry(struct recorder *r, struct thread_state *t, const struct record_entry *hit,
		       struct call *call)
{
	(void)call;
	emit(r, hit->h.time_ns, t->tid, LOOP_EV_HANDLER_SET,
	     VALUES(hit->args[0], (uint32_t)hit->args[1], 0, 0, hit->stack[0]));
	r->looks = LOOKS;
}

/* --- the big lock: lock(file, line), unlock() --- */

void bql_lock_entry(struct recorder *r, struct thread_state *t, const struct record_entry *hit,
		    struct call *call)
{
	call->a = hit->stack[0];
	call->b = hit->args[0];
	call->c = (uint32_t)hit->args[1];
	emit(r, hit->h.time_ns, t->tid, LOOP_EV_BQL_WAIT, VALUES(0, call->a, call->b, call->c));
}

void bql_lock_return(struct recorder *r, struct thread_state *t, const struct call *call,
		     const struct ending *end)
{
	t->bql = LOOP_HELD_YES;
	emit(r, end->time_ns, t->tid, LOOP_EV_BQL_ACQUIRED, VALUES(0, call->a, call->b, call->c));
}

void bql_unlock_entry(struct recorder *r, struct thread_state *t, const struct record_entry *hit,
		      struct call *call)
{
	(void)call;
	t->bql = LOOP_HELD_NO;
	emit(r, hit->h.time_ns, t->tid, LOOP_EV_BQL_RELEASED, VALUES(0, hit->stack[0]));
}

/*
 * wait(cond, mutex): whoever waits with the big lock, as a vCPU that has nothing to do, is without
 * it meanwhile. How long it waits for the lock in the end is not seen: that counts as none.
 */
void cond_wait_entry(struct recorder *r, struct thread_state *t, const struct record_entry *hit,
		     struct call *call)
{
	if (!r->bql)
		r->bql = bql_find(r->s->images) ?: UINT64_MAX;
	call->a = hit->args[1] == r->bql ? hit->stack[0] : 0;
	if (!call->a)
		return;
	t->bql = LOOP_HELD_NO;
	emit(r, hit->h.time_ns, t->tid, LOOP_EV_BQL_RELEASED, VALUES(0, call->a));
}

void cond_wait_return(struct recorder *r, struct thread_state *t, const struct call *call,
		      const struct ending *end)
{
	if (!call->a)
		return;
	t->bql = LOOP_HELD_YES;
	emit(r, end->time_ns, t->tid, LOOP_EV_BQL_WAIT, VALUES(0, call->a, 0, 0));
	emit(r, end->time_ns, t->tid, LOOP_EV_BQL_ACQUIRED, VALUES(0, call->a, 0, 0));
}

/* --- contexts, coroutines --- */

/* Which it is, the tables will tell. */
void context_new_entry(struct recorder *r, struct thread_state *t, const struct record_entry *hit,
		       struct call *call)
{
	(void)call;
	r->made.n++;
	r->made.tid = t->tid;
	r->made.site = hit->stack[0];
	r->looks = LOOKS;
}

void co_schedule_entry(struct recorder *r, struct thread_state *t, const struct record_entry *hit,
		       struct call *call)
{
	(void)call;
	emit(r, hit->h.time_ns, t->tid, LOOP_EV_AIO_CO_SCHEDULE,
	     VALUES(hit->args[0], hit->args[1]));
}

void wait_kick_entry(struct recorder *r, struct thread_state *t, const struct record_entry *hit,
		     struct call *call)
{
	(void)call;
	emit(r, hit->h.time_ns, t->tid, LOOP_EV_AIO_WAIT_KICK, VALUES(0, hit->stack[0]));
}
