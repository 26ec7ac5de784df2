/* SPDX-License-Identifier: MIT */
/* The thread pool: how many workers, who calls back, what a nested poll finds, cancelling. */
#include "loop-test.h"
#include "thread-pool-int.h"

static ThreadPoolAio *pool;

/* Work that is held up until the test lets it go on. */
static QemuSemaphore go;
static unsigned begun; /* atomic */

static int work(void *opaque)
{
	g_assert_null(qemu_get_current_aio_context());
	qatomic_inc(&begun);
	return GPOINTER_TO_INT(opaque);
}

static int held_work(void *opaque)
{
	qatomic_inc(&begun);
	qemu_sem_wait(&go);
	return GPOINTER_TO_INT(opaque);
}

typedef struct Result {
	int ret;
	unsigned calls;
} Result;

static void result_cb(void *opaque, int ret)
{
	Result *result = opaque;

	g_assert_true(qemu_get_current_aio_context() == test_ctx);
	result->ret = ret;
	result->calls++;
}

static BlockAIOCB *submit(ThreadPoolFunc *func, int ret, Result *result)
{
	*result = (Result){};
	return thread_pool_submit_aio(func, GINT_TO_POINTER(ret), result_cb, result);
}

static void wait_for(const Result *result)
{
	while (!result->calls)
		aio_poll(test_ctx, true);
}

/* Polls until the pool has @n threads, of them @idle idle. */
static void wait_for_threads(int n, int idle)
{
	bool reached = false;

	while (!reached) {
		aio_poll(test_ctx, false);
		g_usleep(100);
		qemu_mutex_lock(&pool->lock);
		reached = pool->cur_threads == n && pool->idle_threads == idle &&
			  pool->new_threads == 0 && pool->pending_threads == 0;
		qemu_mutex_unlock(&pool->lock);
	}
}

static void wait_until_begun(unsigned n)
{
	while (qatomic_read(&begun) < n) {
		aio_poll(test_ctx, false);
		g_usleep(100);
	}
}

static void set_limits(int min, int max)
{
	aio_context_set_thread_pool_params(test_ctx, min, max, &error_abort);
}

/* Also for those who wait already. */
static void set_idle_ms(int ms)
{
	qemu_mutex_lock(&pool->lock);
	pool->idle_ms = ms;
	qemu_cond_broadcast(&pool->request_cond);
	qemu_mutex_unlock(&pool->lock);
}

/* Nobody is left of the test before. */
static void begin(void)
{
	pool = aio_get_thread_pool(test_ctx);
	set_limits(0, THREAD_POOL_MAX_THREADS_DEFAULT);
	set_idle_ms(1);
	wait_for_threads(0, 0);
	set_idle_ms(THREAD_POOL_IDLE_MS);
	begun = 0;
}

/* The thread is made by a bottom half, and the result comes by another. */
static void test_submit(void)
{
	Result result;

	begin();
	submit(work, 42, &result);
	g_assert_cmpint(pool->cur_threads, ==, 1);
	g_assert_cmpint(pool->new_threads, ==, 1);
	g_assert_true(aio_poll(test_ctx, false));
	g_assert_cmpint(qatomic_read(&pool->new_threads), ==, 0);
	wait_for(&result);
	g_assert_cmpint(result.ret, ==, 42);

	/* Completed once, and nothing is left scheduled. */
	g_assert_cmpint(aio_compute_timeout(test_ctx), ==, -1);
	g_assert_false(aio_poll(test_ctx, false));
	g_assert_cmpuint(result.calls, ==, 1);

	/* The idle worker takes the next. */
	wait_for_threads(1, 1);
	submit(work, -EIO, &result);
	g_assert_cmpint(pool->cur_threads, ==, 1);
	wait_for(&result);
	g_assert_cmpint(result.ret, ==, -EIO);
}

static void fills_pool(int max, int requests)
{
	Result *results = g_new(Result, requests);

	begin();
	set_limits(0, max);
	for (int i = 0; i < requests; i++)
		submit(held_work, i, &results[i]);
	wait_for_threads(max, 0);
	wait_until_begun(max);
	g_assert_cmpuint(qatomic_read(&begun), ==, max);

	for (int i = 0; i < requests; i++)
		qemu_sem_post(&go);
	for (int i = 0; i < requests; i++) {
		wait_for(&results[i]);
		g_assert_cmpint(results[i].ret, ==, i);
		g_assert_cmpuint(results[i].calls, ==, 1);
	}
	g_assert_cmpuint(begun, ==, requests);
	g_assert_cmpint(pool->cur_threads, ==, max);
	g_free(results);
}

static void test_limit(void)
{
	fills_pool(1, 3);
	fills_pool(3, 8);
	fills_pool(THREAD_POOL_MAX_THREADS_DEFAULT, THREAD_POOL_MAX_THREADS_DEFAULT + 5);
}

/* With one worker the order is that of submission. */
static int order_work(void *opaque)
{
	note(opaque);
	return 0;
}

static void test_order(void)
{
	Result results[3];

	begin();
	set_limits(0, 1);
	for (int i = 0; i < 3; i++) {
		results[i] = (Result){};
		thread_pool_submit_aio(order_work,
				       (void *)(i == 0	 ? "A"
						: i == 1 ? "B"
							 : "C"),
				       result_cb, &results[i]);
	}
	for (int i = 0; i < 3; i++)
		wait_for(&results[i]);
	assert_order("ABC");
}

static void test_min(void)
{
	begin();
	set_limits(3, 5);
	wait_for_threads(3, 3); /* without any request */

	/* Two more when needed; those leave when they are idle, and three stay. */
	fills_pool(5, 5);
	set_limits(3, 5);
	set_idle_ms(1);
	wait_for_threads(3, 3);
	for (int i = 0; i < 20; i++) {
		g_usleep(1000);
		wait_for_threads(3, 3);
	}
	set_idle_ms(THREAD_POOL_IDLE_MS);
}

/* No time has to go by: they leave because there are too many. */
static void test_lower_max(void)
{
	fills_pool(5, 5);
	wait_for_threads(5, 5);
	set_limits(0, 2);
	wait_for_threads(2, 2);
}

static void expect_bad_limits(int64_t min, int64_t max)
{
	Error *err = NULL;

	aio_context_set_thread_pool_params(test_ctx, min, max, &err);
	g_assert_nonnull(err);
	error_free(err);
}

static void test_bad_limits(void)
{
	begin();
	set_limits(1, 2);
	expect_bad_limits(-1, 1);
	expect_bad_limits(0, 0);
	expect_bad_limits(3, 2);
	expect_bad_limits(0, (int64_t)INT_MAX + 1);
	g_assert_cmpint(test_ctx->thread_pool_min, ==, 1);
	g_assert_cmpint(test_ctx->thread_pool_max, ==, 2);
}

/* --- nested polls ------------------------------------------------------------------------- */

static Result other;

static void waits_for_other_cb(void *opaque, int ret)
{
	wait_for(&other);
	result_cb(opaque, ret);
}

/* Both are done when the first callback is called.  It waits for the other, in a nested poll. */
static void test_nested(void)
{
	Result first = {};

	begin();
	set_limits(0, 1);
	submit(work, 1, &other);
	thread_pool_submit_aio(work, GINT_TO_POINTER(2), waits_for_other_cb, &first);
	aio_poll(test_ctx, false); /* creates the worker */
	while (qatomic_read(&begun) < 2)
		g_usleep(100);
	wait_for_threads(1, 1);
	wait_for(&first);
	g_assert_cmpint(first.ret, ==, 2);
	g_assert_cmpint(other.ret, ==, 1);
	g_assert_cmpuint(other.calls, ==, 1);
	g_assert_cmpint(aio_compute_timeout(test_ctx), ==, -1);
}

/* --- coroutines --------------------------------------------------------------------------- */

static int co_results[3];

static void submits(void *opaque G_GNUC_UNUSED)
{
	co_results[0] = thread_pool_submit_co(work, GINT_TO_POINTER(7));
	co_results[1] = thread_pool_submit_co(work, GINT_TO_POINTER(8));
	co_results[2] = 1;
}

static void test_co(void)
{
	begin();
	qemu_coroutine_enter(qemu_coroutine_create(submits, NULL));
	g_assert_cmpint(co_results[2], ==, 0);
	while (!co_results[2])
		aio_poll(test_ctx, true);
	g_assert_cmpint(co_results[0], ==, 7);
	g_assert_cmpint(co_results[1], ==, 8);
}

/* --- cancelling --------------------------------------------------------------------------- */

static void test_cancel(void)
{
	Result active, queued, last;
	BlockAIOCB *active_acb, *queued_acb;

	begin();
	set_limits(0, 1);
	active_acb = submit(held_work, 1, &active);
	queued_acb = submit(held_work, 2, &queued);
	submit(held_work, 3, &last);
	wait_until_begun(1);

	/* It has not begun, so it never will. */
	bdrv_aio_cancel_async(queued_acb);
	g_assert_cmpuint(queued.calls, ==, 0); /* not from within */
	g_assert_true(aio_poll(test_ctx, false));
	g_assert_cmpuint(queued.calls, ==, 1);
	g_assert_cmpint(queued.ret, ==, -ECANCELED);

	/* It has: it goes on to its end. */
	bdrv_aio_cancel_async(active_acb);
	g_assert_false(aio_poll(test_ctx, false));
	g_assert_cmpuint(active.calls, ==, 0);
	qemu_sem_post(&go);
	qemu_sem_post(&go);
	wait_for(&active);
	wait_for(&last);
	g_assert_cmpint(active.ret, ==, 1);
	g_assert_cmpint(last.ret, ==, 3);
	g_assert_cmpuint(begun, ==, 2);
}

static void test_cancel_and_wait(void)
{
	Result active, queued;
	BlockAIOCB *acb;

	begin();
	set_limits(0, 1);
	submit(held_work, 1, &active);
	acb = submit(held_work, 2, &queued);
	wait_until_begun(1);
	bdrv_aio_cancel(acb);
	g_assert_cmpuint(queued.calls, ==, 1);
	g_assert_cmpint(queued.ret, ==, -ECANCELED);
	qemu_sem_post(&go);
	wait_for(&active);
}

int main(int argc, char **argv)
{
	int ret;

	g_test_init(&argc, &argv, NULL);
	test_ctx_init();
	qemu_sem_init(&go, 0);
	g_test_add_func("/thread-pool/works-elsewhere-calls-back-at-home", test_submit);
	g_test_add_func("/thread-pool/no-more-workers-than-the-limit", test_limit);
	g_test_add_func("/thread-pool/one-worker-keeps-the-order", test_order);
	g_test_add_func("/thread-pool/idle-workers-leave-down-to-the-minimum", test_min);
	g_test_add_func("/thread-pool/a-lower-limit-holds-at-once", test_lower_max);
	g_test_add_func("/thread-pool/bad-limits-change-nothing", test_bad_limits);
	g_test_add_func("/thread-pool/callback-may-wait-for-another-request", test_nested);
	g_test_add_func("/thread-pool/coroutine-gets-the-result", test_co);
	g_test_add_func("/thread-pool/cancel-stops-what-has-not-begun", test_cancel);
	g_test_add_func("/thread-pool/cancel-can-wait-for-the-callback", test_cancel_and_wait);
	ret = g_test_run();
	begin();
	test_ctx_exit();
	return ret;
}
