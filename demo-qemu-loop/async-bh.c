/* SPDX-License-Identifier: MIT */
/*
 * Bottom halves: "call this soon, from the loop".  QEMU has them in util/async.c.
 *
 * Scheduling pushes the QEMUBH on the context's bh_list, without a lock and from any thread, and
 * notifies.  aio_bh_poll() takes the whole list away at once, as a slice, and calls what is in it;
 * so a bottom half that is scheduled meanwhile waits for the next round and cannot starve the loop.
 *
 * A slice lives on the stack of its aio_bh_poll().  A callback may poll again and get there before
 * the outer slice is done, hence the queue of slices: whoever comes, at whatever depth, first
 * drains the oldest, so nobody waits for a bottom half that an outer frame keeps to itself.
 */
#include "osdep.h"
#include "aio-bh.h"
#include "atomic.h"
#include "mutants.h"

enum {
	BH_PENDING = (1 << 0),	 /* on bh_list or in a slice */
	BH_SCHEDULED = (1 << 1), /* to be called */
	BH_DELETED = (1 << 2),	 /* to be freed, not called */
	BH_ONESHOT = (1 << 3),	 /* to be freed after its call */
	BH_IDLE = (1 << 4), /* to be called, but no reason to stay awake or to count as progress */
};

/* An idle bottom half makes the loop turn a hundred times a second. */
#define BH_IDLE_PERIOD_NS (10 * SCALE_MS)

struct QEMUBH {
	AioContext *ctx;
	const char *name;
	QEMUBHFunc *cb;
	void *opaque;
	QSLIST_ENTRY(QEMUBH) next; /* owned by whoever set BH_PENDING, until home clears it */
	unsigned flags;
	MemReentrancyGuard *reentrancy_guard;
};

struct BHListSlice {
	BHList bh_list;
	QSIMPLEQ_ENTRY(BHListSlice) next;
};

/* --- any thread --------------------------------------------------------------------------- */

/* Returns what they were.  Of a one-shot nobody knows but the loop, and not before it is queued. */
static inline unsigned aio_bh_raise(QEMUBH *bh, unsigned new_flags)
{
	if (!(new_flags & BH_ONESHOT))
		return qatomic_fetch_or(&bh->flags, new_flags);
	bh->flags = new_flags;
	return 0;
}

static unsigned aio_bh_raise_traced(QEMUBH *bh, unsigned new_flags, const void *site)
{
	AioContext *ctx = bh->ctx;
	QEMUBHFunc *cb = bh->cb;
	unsigned old_flags = aio_bh_raise(bh, new_flags);

	probe_bh_schedule(ctx, bh, cb, old_flags | new_flags, !(old_flags & BH_PENDING), site);
	return old_flags;
}

/* Inline, so that the caller of the exported function is at hand. */
static inline __attribute__((always_inline)) void aio_bh_enqueue(QEMUBH *bh, unsigned new_flags)
{
	/* Once the flags are up, the loop may call and free it at any moment. */
	AioContext *ctx = bh->ctx;
	unsigned old_flags;

	mutant_before_publish(ctx);
	new_flags |= BH_PENDING;
	if ((new_flags & BH_SCHEDULED) && probe_enabled(bh_schedule))
		old_flags = aio_bh_raise_traced(bh, new_flags, loop_caller());
	else
		old_flags = aio_bh_raise(bh, new_flags);

	if (!(old_flags & BH_PENDING))
		QSLIST_INSERT_HEAD_ATOMIC(&ctx->bh_list, bh, next);

	/* Even if it was queued before: the loop may have passed it, as idle or cancelled. */
	aio_notify(ctx);
}

void qemu_bh_schedule(QEMUBH *bh)
{
	aio_bh_enqueue(bh, BH_SCHEDULED);
}

void qemu_bh_schedule_idle(QEMUBH *bh)
{
	aio_bh_enqueue(bh, BH_SCHEDULED | BH_IDLE);
}

void qemu_bh_cancel(QEMUBH *bh)
{
	qatomic_and(&bh->flags, ~BH_SCHEDULED);
	probe_bh_cancel(bh->ctx, bh, bh->cb);
}

void qemu_bh_delete(QEMUBH *bh)
{
	probe_bh_delete(bh->ctx, bh, bh->cb);
	aio_bh_enqueue(bh, BH_DELETED);
}

QEMUBH *aio_bh_new_full(AioContext *ctx, QEMUBHFunc *cb, void *opaque, const char *name,
			MemReentrancyGuard *reentrancy_guard)
{
	QEMUBH *bh = g_new(QEMUBH, 1);

	*bh = (QEMUBH){
		.ctx = ctx,
		.name = name,
		.cb = cb,
		.opaque = opaque,
		.reentrancy_guard = reentrancy_guard,
	};
	return bh;
}

void aio_bh_schedule_oneshot_full(AioContext *ctx, QEMUBHFunc *cb, void *opaque, const char *name)
{
	QEMUBH *bh = aio_bh_new_full(ctx, cb, opaque, name, NULL);

	aio_bh_enqueue(bh, BH_SCHEDULED | BH_ONESHOT);
}

/* --- home thread -------------------------------------------------------------------------- */

/*
 * The first one of @head and the flags it had, or NULL.  It is unscheduled and off the list before
 * anybody can see it so, hence its callback may schedule it again.
 */
static inline QEMUBH *aio_bh_dequeue(BHList *head, unsigned *flags)
{
	QEMUBH *bh = QSLIST_FIRST(head);

	if (!bh)
		return NULL;
	QSLIST_REMOVE_HEAD(head, next);
	*flags = qatomic_read(&bh->flags);
	if (*flags & BH_ONESHOT)
		bh->flags = BH_ONESHOT; /* nobody else's any more */
	else
		*flags = qatomic_fetch_and(&bh->flags, ~(BH_PENDING | BH_SCHEDULED | BH_IDLE));
	return bh;
}

/*
 * The guard tells the device's other entry points that they are being re-entered.  Not inlined:
 * whoever probes the function sees all calls.
 */
__attribute__((noinline)) void aio_bh_call(QEMUBH *bh)
{
	MemReentrancyGuard *guard = bh->reentrancy_guard;
	bool was_engaged = false;

	if (guard) {
		was_engaged = guard->engaged_in_io;
		if (was_engaged)
			probe_reentrant_aio(bh->ctx, bh->name);
		guard->engaged_in_io = true;
	}

	bh->cb(bh->opaque);

	/* The callback may have deleted the bottom half, but only the loop frees it: later. */
	if (guard)
		guard->engaged_in_io = was_engaged;
}

/* A callback that deletes its bottom half and polls again sees it freed. */
static void aio_bh_call_traced(QEMUBH *bh, unsigned flags)
{
	AioContext *ctx = bh->ctx;
	QEMUBHFunc *cb = bh->cb;

	probe_bh_begin(ctx, bh, cb, bh->opaque, flags);
	aio_bh_call(bh);
	probe_bh_end(ctx, bh, cb);
}

/* Nested calls empty each other's slices but never outlive the frame: see the top. */
int aio_bh_poll(AioContext *ctx)
{
	BHListSlice slice, *s;
	int progress = 0;

	QSLIST_MOVE_ATOMIC(&slice.bh_list, &ctx->bh_list);
	QSIMPLEQ_INSERT_TAIL(&ctx->bh_slice_list, &slice, next);

	while ((s = QSIMPLEQ_FIRST(&ctx->bh_slice_list))) {
		unsigned flags;
		QEMUBH *bh = aio_bh_dequeue(&s->bh_list, &flags);

		if (!bh) {
			QSIMPLEQ_REMOVE_HEAD(&ctx->bh_slice_list, next);
			continue;
		}

		if ((flags & (BH_SCHEDULED | BH_DELETED)) == BH_SCHEDULED) {
			if (!(flags & BH_IDLE))
				progress = 1;
			if (probe_enabled(bh_begin) || probe_enabled(bh_end))
				aio_bh_call_traced(bh, flags);
			else
				aio_bh_call(bh);
		}
		if (flags & (BH_DELETED | BH_ONESHOT))
			g_free(bh);
	}
	return progress;
}

static int64_t bh_list_timeout_ns(BHList *head, int64_t timeout)
{
	QEMUBH *bh;

	for (bh = QSLIST_FIRST_RCU(head); bh; bh = QSLIST_NEXT_RCU(bh, next)) {
		unsigned flags = qatomic_read(&bh->flags);

		if ((flags & (BH_SCHEDULED | BH_DELETED)) != BH_SCHEDULED)
			continue;
		if (!(flags & BH_IDLE))
			return 0;
		timeout = BH_IDLE_PERIOD_NS;
	}
	return timeout;
}

int64_t aio_bh_timeout_ns(AioContext *ctx)
{
	int64_t timeout = bh_list_timeout_ns(&ctx->bh_list, -1);
	BHListSlice *s;

	QSIMPLEQ_FOREACH (s, &ctx->bh_slice_list, next) {
		if (timeout == 0)
			break;
		timeout = bh_list_timeout_ns(&s->bh_list, timeout);
	}
	return timeout;
}

static void bh_list_choice(BHList *head, bool if_now, LoopChoice *choice)
{
	QEMUBH *bh;

	for (bh = QSLIST_FIRST_RCU(head); bh; bh = QSLIST_NEXT_RCU(bh, next)) {
		unsigned flags = qatomic_read(&bh->flags);

		if ((flags & (BH_SCHEDULED | BH_DELETED)) != BH_SCHEDULED)
			continue;
		if (flags & BH_IDLE)
			loop_choice_lower(choice, BH_IDLE_PERIOD_NS, LOOP_CHOOSER_IDLE_BH, bh,
					  bh->cb);
		else if (if_now)
			loop_choice_lower(choice, 0, LOOP_CHOOSER_BH, bh, bh->cb);
	}
}

void aio_bh_choice(AioContext *ctx, bool if_now, LoopChoice *choice)
{
	BHListSlice *s;

	bh_list_choice(&ctx->bh_list, if_now, choice);
	QSIMPLEQ_FOREACH (s, &ctx->bh_slice_list, next)
		bh_list_choice(&s->bh_list, if_now, choice);
}

/* Idle ones count here: they made the loop wake, now they run. */
static bool bh_list_pending(BHList *head)
{
	return bh_list_timeout_ns(head, -1) != -1;
}

bool aio_bh_pending(AioContext *ctx)
{
	BHListSlice *s;

	if (bh_list_pending(&ctx->bh_list))
		return true;
	QSIMPLEQ_FOREACH (s, &ctx->bh_slice_list, next) {
		if (bh_list_pending(&s->bh_list))
			return true;
	}
	return false;
}

static void bh_list_visit(BHList *head, void (*visit)(const AioBHState *bh, void *opaque),
			  void *opaque)
{
	QEMUBH *bh;

	for (bh = QSLIST_FIRST_RCU(head); bh; bh = QSLIST_NEXT_RCU(bh, next)) {
		unsigned flags = qatomic_read(&bh->flags);
		AioBHState state = {
			.bh = bh,
			.name = bh->name,
			.cb = bh->cb,
			.opaque = bh->opaque,
			.scheduled = flags & BH_SCHEDULED,
			.deleted = flags & BH_DELETED,
			.idle = flags & BH_IDLE,
		};

		visit(&state, opaque);
	}
}

void aio_bh_visit(AioContext *ctx, void (*visit)(const AioBHState *bh, void *opaque), void *opaque)
{
	BHListSlice *s;

	bh_list_visit(&ctx->bh_list, visit, opaque);
	QSIMPLEQ_FOREACH (s, &ctx->bh_slice_list, next)
		bh_list_visit(&s->bh_list, visit, opaque);
}

void aio_bh_free_deleted(AioContext *ctx)
{
	unsigned flags;
	QEMUBH *bh;

	assert(QSIMPLEQ_EMPTY(&ctx->bh_slice_list));
	while ((bh = aio_bh_dequeue(&ctx->bh_list, &flags))) {
		if (!(flags & BH_DELETED)) {
			fprintf(stderr, "%s: bottom half '%s' of %p still lives, aborting\n",
				__func__, bh->name, (void *)ctx);
			abort();
		}
		g_free(bh);
	}
}
