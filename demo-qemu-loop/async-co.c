/* SPDX-License-Identifier: MIT */
/*
 * Bringing a coroutine to the thread of its context (QEMU: util/async.c).
 *
 * Another thread cannot enter it there, so it pushes it on the context's scheduled_coroutines and
 * schedules the one bottom half that enters all of them, first come first served.
 */
#include "osdep.h"
#include "aio.h"
#include "async-co.h"
#include "coroutine_int.h"
#include "loop-trace.h"

static void co_schedule_bh_cb(void *opaque)
{
	QSLIST_HEAD(, Coroutine) pushed, in_order = QSLIST_HEAD_INITIALIZER(in_order);
	AioContext *ctx = opaque;
	Coroutine *co;

	QSLIST_MOVE_ATOMIC(&pushed, &ctx->scheduled_coroutines);
	while ((co = QSLIST_FIRST(&pushed))) {
		QSLIST_REMOVE_HEAD(&pushed, co_scheduled_next);
		QSLIST_INSERT_HEAD(&in_order, co, co_scheduled_next);
	}
	while ((co = QSLIST_FIRST(&in_order))) {
		QSLIST_REMOVE_HEAD(&in_order, co_scheduled_next);
		probe_aio_co_schedule_bh_cb(ctx, co);

		/* From here on it may be scheduled again, by itself above all. */
		qatomic_set_mb(&co->scheduled, NULL);
		qemu_aio_coroutine_enter(ctx, co);
	}
}

void aio_co_init(AioContext *ctx)
{
	QSLIST_INIT(&ctx->scheduled_coroutines);
	ctx->co_schedule_bh = aio_bh_new(ctx, co_schedule_bh_cb, ctx);
}

void aio_co_cleanup(AioContext *ctx)
{
	assert(QSLIST_EMPTY(&ctx->scheduled_coroutines));
	qemu_bh_delete(ctx->co_schedule_bh);
}

void aio_co_schedule(AioContext *ctx, Coroutine *co)
{
	const char *scheduled;

	probe_aio_co_schedule(ctx, co);
	scheduled = qatomic_cmpxchg(&co->scheduled, NULL, __func__);
	if (scheduled) {
		fprintf(stderr, "%s: Co-routine was already scheduled in '%s'\n", __func__,
			scheduled);
		abort();
	}

	/* As soon as it is pushed it may run to its end, which may be the context's. */
	aio_context_ref(ctx);
	QSLIST_INSERT_HEAD_ATOMIC(&ctx->scheduled_coroutines, co, co_scheduled_next);
	qemu_bh_schedule(ctx->co_schedule_bh);
	aio_context_unref(ctx);
}

void aio_co_enter(AioContext *ctx, Coroutine *co)
{
	if (!in_aio_context_home_thread(ctx)) {
		aio_co_schedule(ctx, co);
	} else if (qemu_in_coroutine()) {
		Coroutine *self = qemu_coroutine_self();

		/* Not inside us: it would stop where we do.  After our yield, or end. */
		assert(self != co);
		QSIMPLEQ_INSERT_TAIL(&self->co_queue_wakeup, co, co_queue_next);
	} else {
		qemu_aio_coroutine_enter(ctx, co);
	}
}

void aio_co_wake(Coroutine *co)
{
	aio_co_enter(qatomic_load_acquire(&co->ctx), co);
}

typedef struct Move {
	Coroutine *co;
	AioContext *new_ctx;
} Move;

static void aio_co_reschedule_self_bh(void *opaque)
{
	Move *move = opaque;

	aio_co_schedule(move->new_ctx, move->co);
}

/* Scheduling itself at once would not do: the other thread might enter us before we have left. */
void coroutine_fn aio_co_reschedule_self(AioContext *new_ctx)
{
	AioContext *old_ctx = qemu_get_current_aio_context();
	Move move = { .co = qemu_coroutine_self(), .new_ctx = new_ctx };

	if (old_ctx == new_ctx)
		return;
	aio_bh_schedule_oneshot(old_ctx, aio_co_reschedule_self_bh, &move);
	qemu_coroutine_yield();
}
