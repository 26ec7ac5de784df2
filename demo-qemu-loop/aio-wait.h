/* SPDX-License-Identifier: MIT */
/*
 * Waiting for a condition that callbacks make true, from code that cannot go on without it (QEMU:
 * block/aio-wait.h, qemu/aio-wait.h since 11.0).  The waiter runs the event loop meanwhile:
 *
 *   AIO_WAIT_WHILE(ctx, in_flight > 0);      and whoever lowers in_flight:
 *                                            qatomic_dec(&in_flight);
 *                                            aio_wait_kick();
 *
 * In the home thread of @ctx that loop is @ctx's.  The main thread may also wait for a @ctx of
 * another thread, or for none (NULL); then it polls the main context, where nothing happens by
 * itself when the condition changes: a forgotten kick leaves it asleep for ever.  It keeps the BQL,
 * and with that everybody who asks for it.
 *
 * The protocol is that of aio_notify(), with the number of waiters in the place of notify_me:
 *
 *   waiter                         whoever changes the condition
 *   num_waiters++                  condition = false
 *   full barrier                   full barrier
 *   condition? then sleep          num_waiters? then schedule a bottom half in the main context
 */
#ifndef DEMO_AIO_WAIT_H
#define DEMO_AIO_WAIT_H

#include "aio.h"

typedef struct AioWait {
	unsigned num_waiters; /* in all threads */
} AioWait;

/* One for all: a kick that was meant for another waiter is a wake-up too many. */
extern AioWait global_aio_wait;

/*
 * Evaluates @cond again and again, in this thread; true if it had to wait.  QEMU's until 9.0 let go
 * of the context's lock around each poll, and the other did not; now there is no such lock.
 */
#define AIO_WAIT_WHILE(ctx, cond)                                                                  \
	({                                                                                         \
		AioContext *wait_ctx_ = (ctx);                                                     \
		AioContext *polled_ctx_ = aio_wait_enter(wait_ctx_);                               \
		bool waited_ = false;                                                              \
		while ((cond)) {                                                                   \
			aio_poll(polled_ctx_, true);                                               \
			waited_ = true;                                                            \
		}                                                                                  \
		aio_wait_exit(wait_ctx_);                                                          \
		waited_;                                                                           \
	})
#define AIO_WAIT_WHILE_UNLOCKED(ctx, cond) AIO_WAIT_WHILE(ctx, cond)

/* Ends the sleep of the main thread if it waits so.  Any thread, after the change. */
void aio_wait_kick(void);

/* Has @ctx's home thread call @cb, and returns when it has.  Main thread. */
void aio_wait_bh_oneshot(AioContext *ctx, QEMUBHFunc *cb, void *opaque);

/* The two ends of AIO_WAIT_WHILE(); the first returns the context to poll. */
AioContext *aio_wait_enter(AioContext *ctx);
void aio_wait_exit(AioContext *ctx);

#endif
