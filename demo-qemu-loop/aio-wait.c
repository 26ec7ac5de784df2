/* SPDX-License-Identifier: MIT */
/* Waiting in a nested aio_poll(); the header says how it is used.  QEMU: util/aio-wait.c. */
#include "osdep.h"
#include "aio-wait.h"
#include "atomic.h"
#include "loop-trace.h"
#include "main-loop.h"
#include "mutants.h"

AioWait global_aio_wait;

AioContext *aio_wait_enter(AioContext *ctx)
{
	unsigned waiters = qatomic_fetch_inc(&global_aio_wait.num_waiters) + 1;

	/* Pairs with aio_wait_kick(): the condition is looked at after this. */
	smp_mb__after_rmw();
	probe_aio_wait_enter(ctx, loop_caller(), waiters, loop_bql());

	if (ctx && in_aio_context_home_thread(ctx))
		return ctx;
	/* Two threads that wait for each other's contexts would wait for ever. */
	assert(in_aio_context_home_thread(qemu_get_aio_context()));
	return qemu_get_aio_context();
}

void aio_wait_exit(AioContext *ctx)
{
	unsigned waiters = qatomic_fetch_dec(&global_aio_wait.num_waiters) - 1;

	probe_aio_wait_exit(ctx, loop_caller(), waiters);
}

/* Being scheduled is all it does: aio_poll() returns, and the condition is looked at. */
static void aio_wait_kicked_bh(void *opaque G_GNUC_UNUSED)
{
}

void aio_wait_kick(void)
{
	unsigned waiters;

	/* What the caller changed comes before the look at who waits for it. */
	smp_mb();
	waiters = mutant_read_waiters(&global_aio_wait.num_waiters);
	probe_aio_wait_kick(waiters, loop_caller());
	if (waiters)
		aio_bh_schedule_oneshot(qemu_get_aio_context(), aio_wait_kicked_bh, NULL);
}

typedef struct AioWaitBH {
	QEMUBHFunc *cb;
	void *opaque;
	bool done;
} AioWaitBH;

static void aio_wait_bh(void *opaque)
{
	AioWaitBH *call = opaque;

	call->cb(call->opaque);

	/* It is on the waiter's stack: gone as soon as this is seen. */
	qatomic_store_release(&call->done, true);
	aio_wait_kick();
}

void aio_wait_bh_oneshot(AioContext *ctx, QEMUBHFunc *cb, void *opaque)
{
	AioWaitBH call = { .cb = cb, .opaque = opaque };

	assert(in_aio_context_home_thread(qemu_get_aio_context()));
	aio_bh_schedule_oneshot(ctx, aio_wait_bh, &call);
	AIO_WAIT_WHILE_UNLOCKED(NULL, !qatomic_load_acquire(&call.done));
}
