/* SPDX-License-Identifier: MIT */
/*
 * Faults of the loop itself, each a bug that QEMU once had.  They are off unless a scenario
 * switches one on, for its own thread; this page is all there is of them, and mutants.c.
 *
 *   mutant_notify_barrier   aio_notify() without its full barrier, so that its load of notify_me is
 *                           done before the store that publishes the work (QEMU 5710a3e09f).  A
 *                           processor does that now and then; here it is done each time, and the
 *                           function is called in between, for another thread to lose the race in.
 *   mutant_kick_barrier     the same of aio_wait_kick(): its load of num_waiters is done before the
 *                           condition changes, at mutant_before_condition().
 *   mutant_bh_not_cancelled the thread pool's completion bottom half, which schedules itself around
 *                           each callback, is scheduled when it is done: it goes on running with
 *                           nothing to complete (QEMU a3aeb9f09d)
 *   mutant_poll_abroad      aio_poll() by a thread that is not the context's home: it accepts, and
 *                           drains, what was to wake home (QEMU b37548fcd1)
 *   mutant_unlocked_upgrade the way from poll to epoll without list_lock; called when the handlers
 *                           have been copied, before epoll is in force: one that another thread
 *                           adds there is in neither set (QEMU e62da98527)
 *   mutant_stays_on_poll_list
 *                           a handler whose io_poll_ready runs is still asked by nested busy polls,
 *                           which find what it has not consumed yet, and call it (QEMU 6d740fb01b)
 *   mutant_stop_by_flag     iothread_stop() sets a flag and notifies, and no bottom half; called
 *                           when it has (QEMU 2362a28ea1)
 *   mutant_notified_unread  aio_poll() raises notify_me and does not look at notified, as up to
 *                           5.1; called before it raises it
 */
#ifndef DEMO_MUTANTS_H
#define DEMO_MUTANTS_H

#include "aio.h"
#include "atomic.h"

extern __thread void (*mutant_notify_barrier)(AioContext *ctx);
extern __thread void (*mutant_kick_barrier)(void);
extern __thread bool mutant_bh_not_cancelled;
extern __thread bool mutant_poll_abroad;
extern __thread void (*mutant_unlocked_upgrade)(AioContext *ctx);
extern __thread bool mutant_stays_on_poll_list;
extern __thread void (*mutant_stop_by_flag)(void);
extern __thread void (*mutant_notified_unread)(AioContext *ctx);

void mutant_load_early(AioContext *ctx);
uint32_t mutant_loaded_early(AioContext *ctx);
void mutant_before_condition(void);
unsigned mutant_waiters_loaded_early(void);

/* Where a bottom half is about to be published. */
static inline void mutant_before_publish(AioContext *ctx)
{
	if (G_UNLIKELY(mutant_notify_barrier))
		mutant_load_early(ctx);
}

/* Where aio_notify() asks who sleeps. */
static inline uint32_t mutant_read_notify_me(AioContext *ctx)
{
	if (G_UNLIKELY(mutant_notify_barrier))
		return mutant_loaded_early(ctx);
	return qatomic_read(&ctx->notify_me);
}

/* Where aio_wait_kick() asks who waits. */
static inline unsigned mutant_read_waiters(const unsigned *num_waiters)
{
	if (G_UNLIKELY(mutant_kick_barrier))
		return mutant_waiters_loaded_early();
	return qatomic_read(num_waiters);
}

/* Where a bottom half takes back that it has scheduled itself. */
static inline void mutant_schedule_and_forget(QEMUBH *bh)
{
	if (G_UNLIKELY(mutant_bh_not_cancelled))
		qemu_bh_schedule(bh);
}

/* Where aio_poll() has decided to sleep. */
static inline void mutant_before_notify_me(AioContext *ctx)
{
	if (G_UNLIKELY(mutant_notified_unread))
		mutant_notified_unread(ctx);
}

/* Where it asks, after that, whether it was notified before. */
static inline bool mutant_read_notified(AioContext *ctx)
{
	return qatomic_read(&ctx->notified) && G_LIKELY(!mutant_notified_unread);
}

#endif
