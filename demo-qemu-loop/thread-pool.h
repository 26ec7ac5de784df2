/* SPDX-License-Identifier: MIT */
/*
 * A context's threads for work that blocks (QEMU: block/thread-pool.h): the file systems' calls
 * that know no O_NONBLOCK.  The work is done in a worker, its callback is called in the context.
 *
 *   thread_pool_submit_aio(do_fsync, x, fsync_done, x);         fsync_done(x, ret) later
 *   ret = thread_pool_submit_co(do_fsync, x);                   the same from a coroutine
 *
 * Submit from the context's home thread.  The pool is that of its current context.
 */
#ifndef DEMO_THREAD_POOL_H
#define DEMO_THREAD_POOL_H

#include "aio.h"
#include "coroutine.h"

#define THREAD_POOL_MAX_THREADS_DEFAULT 64

typedef int ThreadPoolFunc(void *opaque);
typedef struct ThreadPool ThreadPool;

/* Until QEMU 9.2 the type was ThreadPool and these had no "_aio". */
ThreadPoolAio *thread_pool_new_aio(AioContext *ctx);
void thread_pool_free_aio(ThreadPoolAio *pool); /* nothing is in flight */

BlockAIOCB *thread_pool_submit_aio(ThreadPoolFunc *func, void *arg, BlockCompletionFunc *cb,
				   void *opaque);
int coroutine_fn thread_pool_submit_co(ThreadPoolFunc *func, void *arg);

/* The context's limits have changed. */
void thread_pool_update_params(ThreadPoolAio *pool, AioContext *ctx);

/*
 * The pool for work that nobody's loop waits for (thread-pool-generic.c).  It has no thread until
 * one is allowed; -1 is no limit.  Any thread may call these.
 */
ThreadPool *thread_pool_new(void);
void thread_pool_free(ThreadPool *pool); /* after all that was submitted */

/* @opaque_destroy, or NULL, is called with @opaque after @func, whose result nobody asks for. */
void thread_pool_submit(ThreadPool *pool, ThreadPoolFunc *func, void *opaque,
			GDestroyNotify opaque_destroy);
/* The same, and allows as many threads as there are jobs. */
void thread_pool_submit_immediate(ThreadPool *pool, ThreadPoolFunc *func, void *opaque,
				  GDestroyNotify opaque_destroy);

/* Until nothing that was submitted is left. */
void thread_pool_wait(ThreadPool *pool);

/* How many threads there may be; always true here, QEMU's may fail. */
bool thread_pool_set_max_threads(ThreadPool *pool, int max_threads);
bool thread_pool_adjust_max_threads_to_work(ThreadPool *pool);

#endif
