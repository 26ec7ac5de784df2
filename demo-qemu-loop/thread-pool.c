/* SPDX-License-Identifier: MIT */
/*
 * The thread pool; the header says how it is used.  QEMU: util/thread-pool.c.
 *
 * Workers are created by a bottom half, and then each by the one before it: whoever submits does
 * not pay for clone(2), and they inherit the home thread's priority and affinity, not those of the
 * vCPU that submits.
 *
 * A worker that is done stores the result, then the state, and schedules completion_bh.  That one's
 * callbacks may poll for other requests of this pool, so the nested poll must find it scheduled,
 * although it was unscheduled to run: see thread_pool_completion_bh().
 */
#include "osdep.h"
#include "loop-trace.h"
#include "mutants.h"
#include "thread-pool-int.h"

enum ThreadState {
	THREAD_QUEUED,
	THREAD_ACTIVE,
	THREAD_DONE,
};

struct ThreadPoolElementAio {
	BlockAIOCB common;
	ThreadPoolAio *pool;
	ThreadPoolFunc *func;
	void *arg;

	/* QUEUED and ACTIVE under the lock; DONE is stored last, ret before it. */
	enum ThreadState state;
	int ret;

	QTAILQ_ENTRY(ThreadPoolElementAio) reqs;
	QLIST_ENTRY(ThreadPoolElementAio) all;
};

/* --- workers ------------------------------------------------------------------------------ */

static void do_spawn_thread(ThreadPoolAio *pool);

/* Under the lock.  The next request, or NULL when this worker is to leave. */
static ThreadPoolElementAio *next_request(ThreadPoolAio *pool)
{
	bool in_time = true;

	while (pool->cur_threads <= pool->max_threads) {
		ThreadPoolElementAio *req = QTAILQ_FIRST(&pool->request_list);

		if (req) {
			QTAILQ_REMOVE(&pool->request_list, req, reqs);
			return req;
		}
		if (!in_time && pool->cur_threads > pool->min_threads)
			return NULL;
		pool->idle_threads++;
		in_time = qemu_cond_timedwait(&pool->request_cond, &pool->lock, pool->idle_ms);
		pool->idle_threads--;
	}
	return NULL;
}

static void *worker_thread(void *opaque)
{
	ThreadPoolAio *pool = opaque;
	ThreadPoolElementAio *req;

	qemu_mutex_lock(&pool->lock);
	pool->pending_threads--;
	do_spawn_thread(pool);

	while ((req = next_request(pool))) {
		qatomic_set(&req->state, THREAD_ACTIVE);
		qemu_mutex_unlock(&pool->lock);

		req->ret = req->func(req->arg);
		/* The result comes before the state that allows to read it. */
		qatomic_store_release(&req->state, THREAD_DONE);
		qemu_bh_schedule(pool->completion_bh);

		qemu_mutex_lock(&pool->lock);
	}

	pool->cur_threads--;
	qemu_cond_signal(&pool->worker_stopped);
	qemu_mutex_unlock(&pool->lock);
	return NULL;
}

/* Under the lock: one of new_threads, which will do the next. */
static void do_spawn_thread(ThreadPoolAio *pool)
{
	QemuThread thread;

	if (!pool->new_threads)
		return;
	pool->new_threads--;
	pool->pending_threads++;
	qemu_thread_create(&thread, "worker", worker_thread, pool, QEMU_THREAD_DETACHED);
}

static void spawn_thread_bh(void *opaque)
{
	ThreadPoolAio *pool = opaque;

	qemu_mutex_lock(&pool->lock);
	do_spawn_thread(pool);
	qemu_mutex_unlock(&pool->lock);
}

/* Under the lock.  If one is on its way already, it is that one's to create this one. */
static void spawn_thread(ThreadPoolAio *pool)
{
	pool->cur_threads++;
	pool->new_threads++;
	if (!pool->pending_threads)
		qemu_bh_schedule(pool->new_thread_bh);
}

/* --- home thread -------------------------------------------------------------------------- */

static ThreadPoolElementAio *find_done(ThreadPoolAio *pool)
{
	ThreadPoolElementAio *req;

	QLIST_FOREACH (req, &pool->head, all) {
		if (qatomic_load_acquire(&req->state) == THREAD_DONE)
			return req;
	}
	return NULL;
}

static void thread_pool_completion_bh(void *opaque)
{
	ThreadPoolAio *pool = opaque;
	ThreadPoolElementAio *req;

	/* From the start each time: a callback may have completed any of the others. */
	while ((req = find_done(pool))) {
		QLIST_REMOVE(req, all);
		probe_thread_pool_complete(pool, req, req->common.opaque, req->ret);

		/*
		 * Scheduled while the callback runs, for a nested poll; and not longer.  A worker
		 * that has scheduled it meanwhile loses nothing: its request is found now.
		 */
		qemu_bh_schedule(pool->completion_bh);
		req->common.cb(req->common.opaque, req->ret);
		qemu_bh_cancel(pool->completion_bh);
		qemu_aio_unref(req);
	}
	mutant_schedule_and_forget(pool->completion_bh);
}

static void thread_pool_cancel(BlockAIOCB *acb)
{
	ThreadPoolElementAio *req = (ThreadPoolElementAio *)acb;
	ThreadPoolAio *pool = req->pool;

	probe_thread_pool_cancel(req, acb->opaque);
	qemu_mutex_lock(&pool->lock);
	if (qatomic_read(&req->state) == THREAD_QUEUED) {
		QTAILQ_REMOVE(&pool->request_list, req, reqs);
		req->ret = -ECANCELED;
		qatomic_store_release(&req->state, THREAD_DONE);
		qemu_bh_schedule(pool->completion_bh);
	}
	qemu_mutex_unlock(&pool->lock);
}

static const AIOCBInfo thread_pool_aiocb_info = {
	.cancel_async = thread_pool_cancel,
	.aiocb_size = sizeof(ThreadPoolElementAio),
};

BlockAIOCB *thread_pool_submit_aio(ThreadPoolFunc *func, void *arg, BlockCompletionFunc *cb,
				   void *opaque)
{
	AioContext *ctx = qemu_get_current_aio_context();
	ThreadPoolAio *pool = aio_get_thread_pool(ctx);
	ThreadPoolElementAio *req = qemu_aio_get(&thread_pool_aiocb_info, NULL, cb, opaque);

	req->pool = pool;
	req->func = func;
	req->arg = arg;
	req->ret = -EINPROGRESS;
	req->state = THREAD_QUEUED;
	QLIST_INSERT_HEAD(&pool->head, req, all);
	probe_thread_pool_submit(pool, req, arg);

	qemu_mutex_lock(&pool->lock);
	if (pool->idle_threads == 0 && pool->cur_threads < pool->max_threads)
		spawn_thread(pool);
	QTAILQ_INSERT_TAIL(&pool->request_list, req, reqs);
	qemu_mutex_unlock(&pool->lock);
	qemu_cond_signal(&pool->request_cond);
	return &req->common;
}

typedef struct Sleeper {
	Coroutine *co;
	int ret;
} Sleeper;

static void thread_pool_co_cb(void *opaque, int ret)
{
	Sleeper *sleeper = opaque;

	sleeper->ret = ret;
	aio_co_wake(sleeper->co);
}

int coroutine_fn thread_pool_submit_co(ThreadPoolFunc *func, void *arg)
{
	Sleeper sleeper = { .co = qemu_coroutine_self(), .ret = -EINPROGRESS };

	assert(qemu_in_coroutine());
	thread_pool_submit_aio(func, arg, thread_pool_co_cb, &sleeper);
	qemu_coroutine_yield();
	return sleeper.ret;
}

/* --- the pool ----------------------------------------------------------------------------- */

void thread_pool_update_params(ThreadPoolAio *pool, AioContext *ctx)
{
	qemu_mutex_lock(&pool->lock);
	pool->min_threads = ctx->thread_pool_min;
	pool->max_threads = ctx->thread_pool_max;
	for (int i = pool->cur_threads; i < pool->min_threads; i++)
		spawn_thread(pool);
	/* Those beyond the limit leave when they look at it. */
	for (int i = pool->cur_threads; i > pool->max_threads; i--)
		qemu_cond_signal(&pool->request_cond);
	qemu_mutex_unlock(&pool->lock);
}

ThreadPoolAio *thread_pool_new_aio(AioContext *ctx)
{
	ThreadPoolAio *pool = g_new0(ThreadPoolAio, 1);

	pool->ctx = ctx;
	pool->idle_ms = THREAD_POOL_IDLE_MS;
	pool->completion_bh = aio_bh_new(ctx, thread_pool_completion_bh, pool);
	pool->new_thread_bh = aio_bh_new(ctx, spawn_thread_bh, pool);
	qemu_mutex_init(&pool->lock);
	qemu_cond_init(&pool->worker_stopped);
	qemu_cond_init(&pool->request_cond);
	QLIST_INIT(&pool->head);
	QTAILQ_INIT(&pool->request_list);
	thread_pool_update_params(pool, ctx);
	return pool;
}

void thread_pool_free_aio(ThreadPoolAio *pool)
{
	if (!pool)
		return;
	assert(QLIST_EMPTY(&pool->head));

	qemu_mutex_lock(&pool->lock);
	qemu_bh_delete(pool->new_thread_bh);
	pool->cur_threads -= pool->new_threads;
	pool->new_threads = 0;
	pool->max_threads = 0;
	qemu_cond_broadcast(&pool->request_cond);
	while (pool->cur_threads > 0)
		qemu_cond_wait(&pool->worker_stopped, &pool->lock);
	qemu_mutex_unlock(&pool->lock);

	qemu_bh_delete(pool->completion_bh);
	qemu_cond_destroy(&pool->request_cond);
	qemu_cond_destroy(&pool->worker_stopped);
	qemu_mutex_destroy(&pool->lock);
	g_free(pool);
}

ThreadPoolAio *aio_get_thread_pool(AioContext *ctx)
{
	if (!ctx->thread_pool)
		ctx->thread_pool = thread_pool_new_aio(ctx);
	return ctx->thread_pool;
}

void aio_context_set_thread_pool_params(AioContext *ctx, int64_t min, int64_t max, Error **errp)
{
	if (min < 0 || max <= 0 || min > max || max > INT_MAX) {
		error_setg(errp,
			   "bad limits of the thread pool: at least %" PRId64
			   " and at most %" PRId64 " threads",
			   min, max);
		return;
	}
	ctx->thread_pool_min = min;
	ctx->thread_pool_max = max;
	if (ctx->thread_pool)
		thread_pool_update_params(ctx->thread_pool, ctx);
}
