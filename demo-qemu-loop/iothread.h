/* SPDX-License-Identifier: MIT */
/*
 * IOThread: a thread that runs one AioContext of its own (QEMU: system/iothread.h, where it is an
 * object made with "-object iothread,id=...").  Create and destroy from one thread only.
 */
#ifndef DEMO_IOTHREAD_H
#define DEMO_IOTHREAD_H

#include "aio.h"
#include "thread.h"

typedef struct IOThread IOThread;

struct IOThread {
	QemuThread thread;
	AioContext *ctx;
	bool run_gcontext; /* run worker_context rather than aio_poll(); never back */
	GMainContext *worker_context;
	GMainLoop *main_loop;
	QemuSemaphore init_done_sem; /* thread_id is set */
	bool stopping;		     /* the owner has asked; owner's thread */
	bool running;		     /* the thread goes on; its own */
	int thread_id;

	int64_t poll_max_ns;
	int64_t poll_grow;
	int64_t poll_shrink;

	char *id;
	QLIST_ENTRY(IOThread) node; /* on iothreads */
};

IOThread *iothread_create(const char *id, Error **errp);
void iothread_stop(IOThread *iothread);
void iothread_destroy(IOThread *iothread); /* stops it first */

void iothread_for_each(void (*fn)(IOThread *iothread, void *opaque), void *opaque);
IOThread *iothread_by_id(const char *id);
char *iothread_get_id(IOThread *iothread); /* g_free() it */
AioContext *iothread_get_aio_context(IOThread *iothread);

/*
 * How long it may poll busily before it sleeps, 0 not at all, and the factors by which that time
 * grows and shrinks, 0 the defaults.  At any time; the time it has found worth while starts anew.
 * QEMU has these as properties of the object.
 */
bool iothread_set_poll_params(IOThread *iothread, int64_t max_ns, int64_t grow, int64_t shrink,
			      Error **errp);

/*
 * The thread's GMainContext, for sources of the caller's own.  The context is then run from that
 * one too, for good: no busy polling and no faster fd monitor any more.
 */
GMainContext *iothread_get_g_main_context(IOThread *iothread);

#endif
