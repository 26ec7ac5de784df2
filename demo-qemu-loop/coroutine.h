/* SPDX-License-Identifier: MIT */
/*
 * Coroutines: functions with a stack of their own that can stop in the middle and go on later
 * (QEMU: qemu/coroutine.h).  Entering one is a call, yielding is the return from it; the thread
 * that enters it runs it, so a coroutine can go on in another thread than it stopped in.
 *
 *   static void coroutine_fn reads(void *opaque)         co = qemu_coroutine_create(reads, x);
 *   {                                                    qemu_coroutine_enter(co);
 *           ...                                          ... here when it yields; later, from a
 *           qemu_coroutine_yield();                      callback of the loop:
 *           ...                                          aio_co_wake(co);
 *   }
 *
 * Who wakes one uses aio_co_wake() or aio_co_schedule() (aio.h): they bring it to its context's
 * thread.  qemu_coroutine_enter() runs it right here.
 */
#ifndef DEMO_COROUTINE_H
#define DEMO_COROUTINE_H

#include "queue.h"
#include "thread.h"
#include "timer.h"

/* Marks a function that must run in a coroutine, as it may yield. */
#define coroutine_fn

typedef struct AioContext AioContext;
typedef struct Coroutine Coroutine;
typedef void coroutine_fn CoroutineEntry(void *opaque);

/* It does not run yet.  It is freed when it returns. */
Coroutine *qemu_coroutine_create(CoroutineEntry *entry, void *opaque);

/* Until it yields or ends.  It must not be active or scheduled. */
void qemu_coroutine_enter(Coroutine *co);
void qemu_coroutine_enter_if_inactive(Coroutine *co);
void qemu_aio_coroutine_enter(AioContext *ctx, Coroutine *co);

/* Back to who entered us. */
void coroutine_fn qemu_coroutine_yield(void);

/* Outside of all coroutines: the thread itself, which has one to be switched from. */
Coroutine *qemu_coroutine_self(void);
bool qemu_in_coroutine(void);

/* Entered and not yielded since. */
bool qemu_coroutine_entered(Coroutine *co);

/* The context it was entered in last. */
AioContext *qemu_coroutine_get_aio_context(Coroutine *co);

/* --- queues of waiting coroutines ------------------------------------------------------------- */

typedef struct CoQueue {
	QSIMPLEQ_HEAD(, Coroutine) entries;
} CoQueue;

void qemu_co_queue_init(CoQueue *queue);

/* @lock, a QemuMutex or NULL, is let go of while it waits.  (QEMU takes other locks too.) */
void coroutine_fn qemu_co_queue_wait(CoQueue *queue, QemuMutex *lock);

/* Wakes the one that has waited longest; false if there was none.  Or all. */
bool qemu_co_queue_next(CoQueue *queue);
void qemu_co_queue_restart_all(CoQueue *queue);
bool qemu_co_queue_empty(CoQueue *queue);

/* --- sleeping --------------------------------------------------------------------------------- */

typedef struct QemuCoSleep {
	Coroutine *to_wake; /* NULL: nobody sleeps */
} QemuCoSleep;

/* In the thread's current context.  qemu_co_sleep_wake() ends it early. */
void coroutine_fn qemu_co_sleep_ns_wakeable(QemuCoSleep *w, QEMUClockType type, int64_t ns);
void coroutine_fn qemu_co_sleep(QemuCoSleep *w); /* until woken */
void qemu_co_sleep_wake(QemuCoSleep *w);

static inline void coroutine_fn qemu_co_sleep_ns(QEMUClockType type, int64_t ns)
{
	QemuCoSleep w = { 0 };

	qemu_co_sleep_ns_wakeable(&w, type, ns);
}

#endif
