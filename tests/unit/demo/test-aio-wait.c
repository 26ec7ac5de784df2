/* SPDX-License-Identifier: MIT */
/* AIO_WAIT_WHILE: who polls what, who is counted, who must be kicked. */
#include "loop-test.h"
#include "aio-wait.h"
#include "iothread.h"
#include "main-loop.h"

static AioContext *main_ctx;
static IOThread *io0;

/* A condition that notes how many wait when it is looked at, and holds @left times. */
static bool look(unsigned *left)
{
	note(qatomic_read(&global_aio_wait.num_waiters) == 1 ? "1" : "?");
	return *left && (*left)--;
}

static void test_false_at_once(void)
{
	QEMUBH *bh = aio_bh_new(main_ctx, note_cb, (void *)"B");
	unsigned left = 0;

	qemu_bh_schedule(bh);
	g_assert_false(AIO_WAIT_WHILE(main_ctx, look(&left)));
	assert_order("1"); /* no poll, so no bottom half */
	g_assert_cmpuint(global_aio_wait.num_waiters, ==, 0);

	g_assert_true(aio_poll(main_ctx, false));
	assert_order("B");
	qemu_bh_delete(bh);
}

/* Each round: condition, then one poll.  The first look is made as a waiter. */
static void test_order(void)
{
	QEMUBH *a = aio_bh_new(main_ctx, note_cb, (void *)"A");
	QEMUBH *b = aio_bh_new(main_ctx, note_cb, (void *)"B");
	unsigned left = 1;

	qemu_bh_schedule(a);
	qemu_bh_schedule(b);
	g_assert_true(AIO_WAIT_WHILE(main_ctx, look(&left)));
	assert_order("1BA1");

	left = 1;
	qemu_bh_schedule(a);
	g_assert_true(AIO_WAIT_WHILE_UNLOCKED(NULL, look(&left))); /* no context: the main one */
	assert_order("1A1");
	g_assert_cmpuint(global_aio_wait.num_waiters, ==, 0);
	qemu_bh_delete(a);
	qemu_bh_delete(b);
}

static bool waits_done;

static void done_cb(void *opaque)
{
	note(opaque);
	waits_done = true;
}

static void wait_cb(void *opaque G_GNUC_UNUSED)
{
	note("(");
	AIO_WAIT_WHILE(main_ctx, !waits_done);
	note(")");
}

/* A waits; B and C, behind it in the same slice, are not kept from running. */
static void test_drains_callers_slice(void)
{
	waits_done = false;
	aio_bh_schedule_oneshot(main_ctx, done_cb, (void *)"C");
	aio_bh_schedule_oneshot(main_ctx, note_cb, (void *)"B");
	aio_bh_schedule_oneshot(main_ctx, wait_cb, NULL);
	g_assert_true(aio_poll(main_ctx, true));
	assert_order("(BC)");
}

static EventNotifier outside;

static void outside_read(void *opaque)
{
	event_notifier_test_and_clear(&outside);
	note(opaque);
}

static void test_no_iohandlers_meanwhile(void)
{
	QEMUTimer *timer =
		aio_timer_new(main_ctx, QEMU_CLOCK_REALTIME, SCALE_NS, done_cb, (void *)"T");

	event_notifier_init(&outside, true);
	qemu_set_fd_handler(event_notifier_get_fd(&outside), outside_read, NULL, (void *)"o");
	aio_bh_schedule_oneshot(main_ctx, wait_cb, NULL);

	/* Readable for all of the 5 ms that the nested poll sleeps. */
	waits_done = false;
	timer_mod(timer, qemu_clock_get_ns(QEMU_CLOCK_REALTIME) + 5 * SCALE_MS);
	main_loop_wait(false);
	assert_order("(T)o"); /* the io-handler source comes after aio-context */

	qemu_set_fd_handler(event_notifier_get_fd(&outside), NULL, NULL, NULL);
	event_notifier_cleanup(&outside);
	timer_free(timer);
}

/* --- kicks -------------------------------------------------------------------------------- */

/* A kick may come when its waiter has seen the condition already. */
static void run_late_kicks(void)
{
	while (aio_poll(main_ctx, false))
		;
}

static void test_kick_nobody(void)
{
	run_late_kicks();
	aio_wait_kick();
	g_assert_cmpint(aio_compute_timeout(main_ctx), ==, -1);
	g_assert_false(aio_poll(main_ctx, false));
}

static bool kick_and_look(unsigned *left)
{
	if (!*left)
		return false;
	(*left)--;
	g_assert_cmpint(aio_compute_timeout(main_ctx), ==, -1);
	aio_wait_kick();
	g_assert_cmpint(aio_compute_timeout(main_ctx), ==, 0);
	return true;
}

/* Without the bottom half that a kick schedules these polls would not return. */
static void test_kick_ends_sleep(void)
{
	unsigned left = 3;

	run_late_kicks();
	g_assert_true(AIO_WAIT_WHILE(main_ctx, kick_and_look(&left)));
	g_assert_cmpuint(left, ==, 0);
	g_assert_cmpint(aio_compute_timeout(main_ctx), ==, -1);
}

static unsigned in_flight; /* atomic */

static void complete_in_io0(void *opaque G_GNUC_UNUSED)
{
	g_assert_cmpint(qemu_get_thread_id(), ==, io0->thread_id);
	qatomic_fetch_dec(&in_flight);
	aio_wait_kick();
}

/* Nobody waits for anybody but through the protocol: each way a race can go is gone many times. */
static void test_for_iothread(void)
{
	AioContext *ctx = iothread_get_aio_context(io0);

	for (int i = 0; i < 20000; i++) {
		qatomic_inc(&in_flight);
		aio_bh_schedule_oneshot(ctx, complete_in_io0, NULL);
		if (i % 3 == 0)
			g_thread_yield();
		AIO_WAIT_WHILE(ctx, qatomic_read(&in_flight) > 0);
	}
	g_assert_cmpuint(global_aio_wait.num_waiters, ==, 0);
}

static int called_in; /* atomic */

static void where_cb(void *opaque)
{
	note(opaque);
	qatomic_set(&called_in, qemu_get_thread_id());
}

static void test_bh_oneshot(void)
{
	for (int i = 0; i < 100; i++) {
		qatomic_set(&called_in, 0);
		aio_wait_bh_oneshot(iothread_get_aio_context(io0), where_cb, (void *)"x");
		assert_order("x");
		g_assert_cmpint(qatomic_read(&called_in), ==, io0->thread_id);
	}
	aio_wait_bh_oneshot(main_ctx, where_cb, (void *)"m");
	assert_order("m");
	g_assert_cmpint(qatomic_read(&called_in), ==, getpid());
}

/* --- who may wait ------------------------------------------------------------------------- */

static bool io0_done;

static void io0_done_bh(void *opaque G_GNUC_UNUSED)
{
	io0_done = true;
}

static void wait_at_home_bh(void *opaque G_GNUC_UNUSED)
{
	AioContext *ctx = iothread_get_aio_context(io0);

	aio_bh_schedule_oneshot(ctx, io0_done_bh, NULL);
	g_assert_true(AIO_WAIT_WHILE(ctx, !io0_done));
}

static void test_iothread_at_home(void)
{
	aio_wait_bh_oneshot(iothread_get_aio_context(io0), wait_at_home_bh, NULL);
	g_assert_true(io0_done);
}

/* Whoever has the BQL stands in for the main thread. */
static void *wait_with_bql(void *opaque)
{
	unsigned *left = opaque;

	bql_lock();
	g_assert_true(AIO_WAIT_WHILE(main_ctx, kick_and_look(left)));
	bql_unlock();
	return NULL;
}

static void test_other_thread_with_bql(void)
{
	unsigned left = 2;
	QemuThread thread;

	run_late_kicks();
	bql_unlock();
	qemu_thread_create(&thread, "vcpu", wait_with_bql, &left, QEMU_THREAD_JOINABLE);
	qemu_thread_join(&thread);
	bql_lock();
	g_assert_cmpuint(left, ==, 0);
}

static void wait_for_foreign_bh(void *opaque)
{
	AIO_WAIT_WHILE(opaque, qatomic_read(&in_flight) == 0);
}

static void test_iothread_for_another(void)
{
	if (g_test_subprocess()) {
		IOThread *io1 = iothread_create("io1", &error_abort);

		aio_wait_bh_oneshot(iothread_get_aio_context(io1), wait_for_foreign_bh,
				    iothread_get_aio_context(io0));
		return;
	}
	g_test_trap_subprocess(NULL, 0, 0);
	g_test_trap_assert_failed();
	g_test_trap_assert_stderr("*in_aio_context_home_thread*");
}

int main(int argc, char **argv)
{
	int ret;

	g_test_init(&argc, &argv, NULL);
	bql_lock();
	qemu_init_main_loop(&error_abort);
	main_ctx = qemu_get_aio_context();
	io0 = iothread_create("io0", &error_abort);

	g_test_add_func("/aio-wait/false-at-once-polls-nothing", test_false_at_once);
	g_test_add_func("/aio-wait/counted-before-the-first-look", test_order);
	g_test_add_func("/aio-wait/rest-of-the-callers-slice-runs", test_drains_callers_slice);
	g_test_add_func("/aio-wait/iohandlers-wait-until-it-is-over", test_no_iohandlers_meanwhile);
	g_test_add_func("/aio-wait/kick-without-waiter-schedules-nothing", test_kick_nobody);
	g_test_add_func("/aio-wait/kick-ends-the-sleep", test_kick_ends_sleep);
	g_test_add_func("/aio-wait/for-an-iothread-no-kick-is-lost", test_for_iothread);
	g_test_add_func("/aio-wait/bh-oneshot-runs-at-its-home", test_bh_oneshot);
	g_test_add_func("/aio-wait/iothread-may-wait-for-its-own", test_iothread_at_home);
	g_test_add_func("/aio-wait/holder-of-the-bql-may-wait", test_other_thread_with_bql);
	g_test_add_func("/aio-wait/iothread-may-not-wait-for-another", test_iothread_for_another);
	ret = g_test_run();

	iothread_destroy(io0);
	bql_unlock();
	return ret;
}
