/* SPDX-License-Identifier: MIT */
/* IOThreads, with each fd monitor: start, stop, where callbacks run, the change to GLib's loop. */
#include "loop-test.h"
#include "atomic.h"
#include "iothread.h"

/* What a callback found, handed over by a semaphore. */
static struct {
	QemuSemaphore sem;
	int thread_id;
	AioContext *ctx;
	char comm[16];
	bool in_glib;
} seen;

static void look_bh(void *opaque G_GNUC_UNUSED)
{
	seen.thread_id = qemu_get_thread_id();
	seen.ctx = qemu_get_current_aio_context();
	pthread_getname_np(pthread_self(), seen.comm, sizeof(seen.comm));
	seen.in_glib = g_main_depth() > 0;
	qemu_sem_post(&seen.sem);
}

static void look(IOThread *iothread)
{
	aio_bh_schedule_oneshot(iothread_get_aio_context(iothread), look_bh, NULL);
	qemu_sem_wait(&seen.sem);
}

static void test_start_stop(void)
{
	IOThread *iothread = iothread_create("t0", &error_abort);

	g_assert_cmpint(iothread->thread_id, !=, qemu_get_thread_id());
	look(iothread);
	g_assert_cmpint(seen.thread_id, ==, iothread->thread_id);
	g_assert_true(seen.ctx == iothread_get_aio_context(iothread));
	g_assert_cmpstr(seen.comm, ==, "IO t0");
	g_assert_false(seen.in_glib);

	iothread_stop(iothread);
	iothread_stop(iothread); /* nothing more to do */
	iothread_destroy(iothread);
}

static void test_by_id(void)
{
	IOThread *t0 = iothread_create("t0", &error_abort);
	IOThread *t1 = iothread_create("t1", &error_abort);
	Error *err = NULL;
	char *id = iothread_get_id(t1);

	g_assert_cmpstr(id, ==, "t1");
	g_free(id);
	g_assert_true(iothread_by_id("t0") == t0);
	g_assert_true(iothread_by_id("t1") == t1);
	g_assert_null(iothread_by_id("t2"));

	g_assert_null(iothread_create("t1", &err));
	g_assert_nonnull(strstr(error_get_pretty(err), "t1"));
	error_free(err);

	iothread_destroy(t0);
	g_assert_null(iothread_by_id("t0"));
	g_assert_true(iothread_by_id("t1") == t1);
	iothread_destroy(t1);
}

/* Nothing but the stop is ever scheduled: it must not be missed, however early it comes. */
static void test_stop_at_once(void)
{
	for (int i = 0; i < 200; i++) {
		IOThread *iothread = iothread_create("t0", &error_abort);

		if (i % 2)
			iothread_get_g_main_context(iothread);
		iothread_destroy(iothread);
	}
}

static gboolean in_worker_context(gpointer opaque G_GNUC_UNUSED)
{
	look_bh(NULL);
	return G_SOURCE_REMOVE;
}

static void test_run_gcontext(void)
{
	IOThread *iothread = iothread_create("t0", &error_abort);
	GMainContext *context = iothread_get_g_main_context(iothread);
	GSource *source = g_idle_source_new();

	g_assert_true(context == iothread->worker_context);

	g_source_set_callback(source, in_worker_context, NULL, NULL);
	g_source_attach(source, context);
	qemu_sem_wait(&seen.sem);
	g_assert_cmpint(seen.thread_id, ==, iothread->thread_id);
	g_assert_true(seen.in_glib);
	g_source_unref(source);

	/* The AioContext is one of GLib's sources now. */
	look(iothread);
	g_assert_cmpint(seen.thread_id, ==, iothread->thread_id);
	g_assert_true(seen.in_glib);

	iothread_destroy(iothread);
}

static EventNotifier fd;

static void fd_read(EventNotifier *e)
{
	event_notifier_test_and_clear(e);
	look_bh(NULL);
}

static void test_fd_handler(void)
{
	IOThread *iothread = iothread_create("t0", &error_abort);
	AioContext *ctx = iothread_get_aio_context(iothread);

	/* It sleeps on another set: being told of the new one is what makes it see the event. */
	event_notifier_init(&fd, false);
	aio_set_event_notifier(ctx, &fd, fd_read, NULL, NULL);
	event_notifier_set(&fd);
	qemu_sem_wait(&seen.sem);
	g_assert_cmpint(seen.thread_id, ==, iothread->thread_id);

	aio_set_event_notifier(ctx, &fd, NULL, NULL, NULL);
	iothread_destroy(iothread);
	event_notifier_cleanup(&fd);
}

static void test_timer(void)
{
	IOThread *iothread = iothread_create("t0", &error_abort);
	QEMUTimer *timer = aio_timer_new(iothread_get_aio_context(iothread), QEMU_CLOCK_REALTIME,
					 SCALE_NS, look_bh, NULL);

	timer_mod(timer, qemu_clock_get_ns(QEMU_CLOCK_REALTIME) + 1);
	qemu_sem_wait(&seen.sem);
	g_assert_cmpint(seen.thread_id, ==, iothread->thread_id);
	timer_free(timer);
	iothread_destroy(iothread);
}

/* At any time, also while it polls busily. */
static void test_poll_parameters(void)
{
	IOThread *iothread = iothread_create("t0", &error_abort);
	AioContext *ctx = iothread_get_aio_context(iothread);
	Error *err = NULL;

	g_assert_cmpint(iothread->poll_max_ns, ==, 32768);
	g_assert_cmpint(ctx->poll_max_ns, ==, 32768);
	for (int i = 0; i < 100; i++) {
		g_assert_true(
			iothread_set_poll_params(iothread, i * 10000, i % 3, i % 5, &error_abort));
		look(iothread);
	}
	g_assert_cmpint(qatomic_read(&ctx->poll_max_ns), ==, 990000);
	g_assert_cmpint(iothread->poll_grow, ==, 0);
	g_assert_cmpint(iothread->poll_shrink, ==, 4);

	g_assert_false(iothread_set_poll_params(iothread, 1, -1, 0, &err));
	g_assert_nonnull(err);
	error_free(err);
	g_assert_cmpint(iothread->poll_max_ns, ==, 990000);
	g_assert_cmpint(qatomic_read(&ctx->poll_max_ns), ==, 990000);
	iothread_destroy(iothread);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	init_clocks(NULL);
	qemu_sem_init(&seen.sem, 0);
	g_test_add_func("/iothread/found-by-id", test_by_id);
#define ADD(name, test) add_monitor_tests("iothread", name, test)
	ADD("runs-its-context-under-its-name", test_start_stop);
	ADD("stop-is-never-missed", test_stop_at_once);
	ADD("asked-for-gcontext-runs-glibs-loop", test_run_gcontext);
	ADD("handler-added-while-it-sleeps-is-polled", test_fd_handler);
	ADD("timer-armed-while-it-sleeps-fires", test_timer);
	ADD("poll-parameters-change-while-it-runs", test_poll_parameters);
	return g_test_run();
}
