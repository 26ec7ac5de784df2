/* SPDX-License-Identifier: MIT */
/*
 * The thread pool that knows nothing of contexts: a queue, as many workers as are allowed, a wait
 * for all that was submitted.  QEMU has GLib's pool in its place: util/thread-pool.c, since 10.0.
 */
#include "osdep.h"
#include "lockable.h"
#include "thread-pool.h"

typedef struct Job Job;

struct Job {
	ThreadPoolFunc *func;
	void *opaque;
	GDestroyNotify opaque_destroy;
	QSIMPLEQ_ENTRY(Job) next;
};

/* All under lock. */
struct ThreadPool {
	QemuMutex lock;
	QemuCond more;	  /* for workers: a job, or an end */
	QemuCond changed; /* for who waits: a worker is done with something */
	QSIMPLEQ_HEAD(, Job) jobs;
	int queued;	 /* on jobs */
	int submitted;	 /* queued, or with a worker */
	int threads;	 /* workers */
	int idle;	 /* workers that wait for more */
	int max_threads; /* -1: no limit */
	bool stopping;
};

static bool too_many_threads(ThreadPool *pool)
{
	return pool->max_threads >= 0 && pool->threads > pool->max_threads;
}

static Job *take_job(ThreadPool *pool)
{
	Job *job = QSIMPLEQ_FIRST(&pool->jobs);

	if (job) {
		QSIMPLEQ_REMOVE_HEAD(&pool->jobs, next);
		pool->queued--;
	}
	return job;
}

static void run_job(Job *job)
{
	job->func(job->opaque);
	if (job->opaque_destroy)
		job->opaque_destroy(job->opaque);
	g_free(job);
}

static void *worker(void *opaque)
{
	ThreadPool *pool = opaque;
	Job *job;

	qemu_mutex_lock(&pool->lock);
	while (!too_many_threads(pool)) {
		job = take_job(pool);
		if (job) {
			qemu_mutex_unlock(&pool->lock);
			run_job(job);
			qemu_mutex_lock(&pool->lock);
			pool->submitted--;
			qemu_cond_broadcast(&pool->changed);
		} else if (pool->stopping) {
			break;
		} else {
			pool->idle++;
			qemu_cond_wait(&pool->more, &pool->lock);
			pool->idle--;
		}
	}
	pool->threads--;
	qemu_cond_broadcast(&pool->changed);
	qemu_mutex_unlock(&pool->lock);
	return NULL;
}

/* Under lock. */
static void start_workers(ThreadPool *pool)
{
	for (int wanted = pool->queued - pool->idle; wanted > 0; wanted--) {
		QemuThread thread;

		if (pool->max_threads >= 0 && pool->threads >= pool->max_threads)
			return;
		pool->threads++;
		qemu_thread_create(&thread, "pool-worker", worker, pool, QEMU_THREAD_DETACHED);
	}
}

ThreadPool *thread_pool_new(void)
{
	ThreadPool *pool = g_new0(ThreadPool, 1);

	qemu_mutex_init(&pool->lock);
	qemu_cond_init(&pool->more);
	qemu_cond_init(&pool->changed);
	QSIMPLEQ_INIT(&pool->jobs);
	return pool;
}

void thread_pool_free(ThreadPool *pool)
{
	if (!pool)
		return;
	WITH_QEMU_LOCK_GUARD (&pool->lock) {
		pool->stopping = true;
		/* Or what was submitted would never be done. */
		if (pool->max_threads == 0)
			pool->max_threads = 1;
		start_workers(pool);
		qemu_cond_broadcast(&pool->more);
		while (pool->threads > 0)
			qemu_cond_wait(&pool->changed, &pool->lock);
	}
	qemu_cond_destroy(&pool->changed);
	qemu_cond_destroy(&pool->more);
	qemu_mutex_destroy(&pool->lock);
	g_free(pool);
}

void thread_pool_submit(ThreadPool *pool, ThreadPoolFunc *func, void *opaque,
			GDestroyNotify opaque_destroy)
{
	Job *job = g_new0(Job, 1);

	job->func = func;
	job->opaque = opaque;
	job->opaque_destroy = opaque_destroy;

	QEMU_LOCK_GUARD(&pool->lock);
	QSIMPLEQ_INSERT_TAIL(&pool->jobs, job, next);
	pool->queued++;
	pool->submitted++;
	start_workers(pool);
	qemu_cond_signal(&pool->more);
}

void thread_pool_submit_immediate(ThreadPool *pool, ThreadPoolFunc *func, void *opaque,
				  GDestroyNotify opaque_destroy)
{
	thread_pool_submit(pool, func, opaque, opaque_destroy);
	thread_pool_adjust_max_threads_to_work(pool);
}

void thread_pool_wait(ThreadPool *pool)
{
	QEMU_LOCK_GUARD(&pool->lock);

	while (pool->submitted > 0)
		qemu_cond_wait(&pool->changed, &pool->lock);
}

bool thread_pool_set_max_threads(ThreadPool *pool, int max_threads)
{
	QEMU_LOCK_GUARD(&pool->lock);

	pool->max_threads = max_threads;
	start_workers(pool);
	qemu_cond_broadcast(&pool->more);
	return true;
}

bool thread_pool_adjust_max_threads_to_work(ThreadPool *pool)
{
	QEMU_LOCK_GUARD(&pool->lock);

	pool->max_threads = pool->submitted;
	start_workers(pool);
	qemu_cond_broadcast(&pool->more);
	return true;
}
