/* SPDX-License-Identifier: MIT */
/*
 * Work that blocks, in the thread pool of qemu_aio_context.  Each request is one iteration: the
 * worker schedules thread_pool_completion_bh, and that ends the poll.  But for the first one: its
 * worker must be created first, by a bottom half, and that is an iteration of its own.
 *
 * bh-not-cancelled has one request only.  When it has completed the bottom half goes on running.
 */
#include "osdep.h"
#include "demo.h"
#include "mutants.h"
#include "thread-pool-int.h"

static struct {
	unsigned submitted, completed, in_main, coroutines;
	uint64_t sum; /* of the results */
} jobs;

/*
 * In a worker.  Sleeps in system calls, as a file's fdatasync() would; here until the loop sleeps
 * too, so that the completion ends this poll and leaves nothing to end the next.
 */
static int blocking_job(void *opaque)
{
	demo_wait_asleep(qemu_get_aio_context(), getpid());
	return gettid() == getpid() ? -EINVAL : GPOINTER_TO_INT(opaque);
}

static void job_done(void *opaque G_GNUC_UNUSED, int ret)
{
	jobs.completed++;
	jobs.in_main += ret < 0;
	jobs.sum += ret;
}

static void coroutine_fn job_co(void *opaque)
{
	jobs.coroutines++;
	job_done(NULL, thread_pool_submit_co(blocking_job, opaque));
}

/* Or another worker would be created for what this one is about to do. */
static void wait_for_idle_worker(ThreadPoolAio *pool)
{
	bool idle;

	do {
		qemu_mutex_lock(&pool->lock);
		idle = pool->cur_threads == pool->idle_threads;
		qemu_mutex_unlock(&pool->lock);
		if (!idle)
			g_usleep(50);
	} while (!idle && !demo_stopping());
}

/* By turns with a callback, and from a coroutine that waits. */
static void submit_job(void)
{
	void *number = GUINT_TO_POINTER(++jobs.submitted);

	if (jobs.submitted % 2)
		thread_pool_submit_aio(blocking_job, number, job_done, NULL);
	else
		qemu_coroutine_enter(qemu_coroutine_create(job_co, number));
}

static void pool_stimulate(Demo *demo G_GNUC_UNUSED)
{
	if (jobs.completed < jobs.submitted)
		return;
	wait_for_idle_worker(aio_get_thread_pool(qemu_get_aio_context()));
	submit_job();
}

static void pool_print(Demo *demo G_GNUC_UNUSED)
{
	printf("submitted=%u\n", jobs.submitted);
	printf("completed=%u\n", jobs.completed);
	printf("coroutines=%u\n", jobs.coroutines);
	printf("in_main_thread=%u\n", jobs.in_main);
	printf("sum=%" PRIu64 "\n", jobs.sum);
}

static void pool_teardown(Demo *demo G_GNUC_UNUSED)
{
	mutant_bh_not_cancelled = false;
	while (jobs.completed < jobs.submitted)
		aio_poll(qemu_get_aio_context(), true);
}

/* With a script or without: it goes on by itself. */
static int not_cancelled_setup(Demo *demo, Error **errp G_GNUC_UNUSED)
{
	mutant_bh_not_cancelled = true;
	if (demo->options->iterations != 0)
		submit_job();
	return 0;
}

const DemoScenario demo_scenarios_pool[] = {
	{
		.name = "thread-pool",
		.summary = "blocking work in a thread pool, by callback and coroutine",
		.stimulate = pool_stimulate,
		.print = pool_print,
		.teardown = pool_teardown,
	},
	{
		.name = "bh-not-cancelled",
		.summary = "a pool's completion BH stays scheduled (QEMU a3aeb9f09d)",
		.verdict = "SPIN",
		.setup = not_cancelled_setup,
		.print = pool_print,
		.teardown = pool_teardown,
	},
	{},
};
