/* SPDX-License-Identifier: MIT */
/*
 * Everything that other threads may do to a context, all at once.  A lost wake-up hangs the test,
 * a lost or doubled call shows in the counts, and a missing order is for ThreadSanitizer to find.
 */
#include "loop-test.h"
#include "atomic.h"
#include "iothread.h"

#define THREADS 3
#define ROUNDS	5000

static unsigned calls; /* in the loop's thread only */
static unsigned expected;

static void count_cb(void *opaque G_GNUC_UNUSED)
{
	calls++;
}

/* --- oneshot bottom halves ---------------------------------------------------------------- */

static void *schedule_many(void *opaque G_GNUC_UNUSED)
{
	for (int i = 0; i < ROUNDS; i++)
		aio_bh_schedule_oneshot(test_ctx, count_cb, NULL);
	return NULL;
}

static void run_threads(void *(*fn)(void *))
{
	QemuThread threads[THREADS];

	calls = 0;
	for (intptr_t i = 0; i < THREADS; i++)
		qemu_thread_create(&threads[i], "stress", fn, (void *)i, QEMU_THREAD_JOINABLE);
	while (calls < expected)
		aio_poll(test_ctx, true);
	for (int i = 0; i < THREADS; i++)
		qemu_thread_join(&threads[i]);
	while (aio_poll(test_ctx, false))
		;
	g_assert_cmpuint(calls, ==, expected);
}

static void test_oneshots(void)
{
	expected = THREADS * ROUNDS;
	run_threads(schedule_many);
}

/* --- one bottom half back and forth ------------------------------------------------------- */

static QEMUBH *ping_bh[THREADS];
static QemuSemaphore pong[THREADS];

static void ping_cb(void *opaque)
{
	calls++;
	qemu_sem_post(opaque);
}

/* The loop goes to sleep each time, so each time the wake-up races with it. */
static void *ping_many(void *opaque)
{
	intptr_t i = (intptr_t)opaque;

	for (int round = 0; round < ROUNDS; round++) {
		qemu_bh_schedule(ping_bh[i]);
		qemu_sem_wait(&pong[i]);
	}
	return NULL;
}

static void test_round_trips(void)
{
	for (int i = 0; i < THREADS; i++) {
		qemu_sem_init(&pong[i], 0);
		ping_bh[i] = aio_bh_new(test_ctx, ping_cb, &pong[i]);
	}
	expected = THREADS * ROUNDS;
	run_threads(ping_many);
	for (int i = 0; i < THREADS; i++) {
		qemu_bh_delete(ping_bh[i]);
		qemu_sem_destroy(&pong[i]);
	}
	aio_poll(test_ctx, false);
}

/* --- one bottom half, scheduled by all ---------------------------------------------------- */

static QEMUBH *shared_bh;
static unsigned published;

/* However many schedulings one call stands for: what was published before any is seen by it. */
static void shared_cb(void *opaque G_GNUC_UNUSED)
{
	calls = qatomic_read(&published);
}

static void *publish_many(void *opaque G_GNUC_UNUSED)
{
	for (int round = 0; round < ROUNDS; round++) {
		qatomic_inc(&published);
		qemu_bh_schedule(shared_bh);
	}
	return NULL;
}

static void test_shared(void)
{
	shared_bh = aio_bh_new(test_ctx, shared_cb, NULL);
	expected = THREADS * ROUNDS;
	run_threads(publish_many);
	qemu_bh_delete(shared_bh);
	aio_poll(test_ctx, false);
}

/* --- handlers that come and go ------------------------------------------------------------ */

typedef struct {
	EventNotifier e; /* first: its handler gets the notifier */
	QemuSemaphore called;
} Watched;

static void watched_read(EventNotifier *e)
{
	Watched *w = container_of(e, Watched, e);

	event_notifier_test_and_clear(e);
	calls++;
	/* Removed here by the loop, below by its thread: whoever comes second finds nothing. */
	if (calls % 2)
		aio_set_event_notifier(test_ctx, e, NULL, NULL, NULL);
	qemu_sem_post(&w->called);
}

static void *watch_many(void *opaque G_GNUC_UNUSED)
{
	Watched w;

	event_notifier_init(&w.e, false);
	qemu_sem_init(&w.called, 0);
	for (int round = 0; round < ROUNDS / 5; round++) {
		aio_set_event_notifier(test_ctx, &w.e, watched_read, NULL, NULL);
		event_notifier_set(&w.e);
		qemu_sem_wait(&w.called);
		aio_set_event_notifier(test_ctx, &w.e, NULL, NULL, NULL);
	}
	event_notifier_cleanup(&w.e);
	qemu_sem_destroy(&w.called);
	return NULL;
}

static void test_handlers(void)
{
	expected = THREADS * (ROUNDS / 5);
	run_threads(watch_many);
	g_assert_true(QLIST_EMPTY(&test_ctx->deleted_aio_handlers));
	g_assert_cmpint(test_ctx->poll_disable_cnt, ==, 0);
}

/* --- timers ------------------------------------------------------------------------------- */

static void timer_cb(void *opaque)
{
	calls++;
	qemu_sem_post(opaque);
}

static void *arm_many(void *opaque)
{
	QemuSemaphore *sem = &pong[(intptr_t)opaque];
	QEMUTimer *timer;

	qemu_sem_init(sem, 0);
	timer = aio_timer_new(test_ctx, QEMU_CLOCK_REALTIME, SCALE_NS, timer_cb, sem);
	for (int round = 0; round < ROUNDS / 5; round++) {
		timer_mod(timer, qemu_clock_get_ns(QEMU_CLOCK_REALTIME) + round % 3);
		qemu_sem_wait(sem);
	}
	timer_free(timer);
	qemu_sem_destroy(sem);
	return NULL;
}

static void test_timers(void)
{
	expected = THREADS * (ROUNDS / 5);
	run_threads(arm_many);
}

/* --- IOThreads ---------------------------------------------------------------------------- */

static void from_iothread(void *opaque G_GNUC_UNUSED)
{
	aio_bh_schedule_oneshot(test_ctx, count_cb, NULL);
}

/* Each is asked to do one thing, some to change over to GLib, and stopped in the middle of it. */
static void test_iothreads(void)
{
	calls = 0;
	for (int round = 0; round < 100; round++) {
		IOThread *a = iothread_create("a", &error_abort);
		IOThread *b = iothread_create("b", &error_abort);

		if (round % 3 == 0)
			iothread_get_g_main_context(a);
		aio_bh_schedule_oneshot(iothread_get_aio_context(a), from_iothread, NULL);
		aio_bh_schedule_oneshot(iothread_get_aio_context(b), from_iothread, NULL);
		if (round % 3 == 1)
			iothread_get_g_main_context(b);
		iothread_destroy(a);
		iothread_destroy(b);
	}
	while (aio_poll(test_ctx, false))
		;
	g_assert_cmpuint(calls, ==, 200);
}

int main(int argc, char **argv)
{
	int ret;

	g_test_init(&argc, &argv, NULL);
	test_ctx_init();
	g_test_add_func("/stress/oneshots-from-many-threads", test_oneshots);
	g_test_add_func("/stress/bh-round-trips", test_round_trips);
	g_test_add_func("/stress/bh-scheduled-by-many-misses-nothing", test_shared);
	g_test_add_func("/stress/handlers-added-and-removed-while-polled", test_handlers);
	g_test_add_func("/stress/timers-armed-from-many-threads", test_timers);
	g_test_add_func("/stress/iothreads-started-and-stopped", test_iothreads);
	ret = g_test_run();
	test_ctx_exit();
	return ret;
}
