/* SPDX-License-Identifier: MIT */
/* Waking a context: when the notifier is written, when not, and what accepting clears. */
#include "loop-test.h"
#include "atomic.h"

static bool notifier_set(void)
{
	return fd_readable(event_notifier_get_fd(&test_ctx->notifier));
}

static void test_suppressed(void)
{
	g_assert_cmpuint(test_ctx->notify_me, ==, 0);
	aio_notify(test_ctx);
	g_assert_true(test_ctx->notified);
	g_assert_false(notifier_set());

	aio_notify_accept(test_ctx);
	g_assert_false(test_ctx->notified);
}

/* Were it to sleep, it would sleep for ever. */
static void test_poll_after_notify(void)
{
	aio_notify(test_ctx);
	g_assert_false(aio_poll(test_ctx, true));
	g_assert_false(test_ctx->notified);
	g_assert_cmpuint(test_ctx->notify_me, ==, 0);
}

static void notify_me_is_down_cb(void *opaque G_GNUC_UNUSED)
{
	g_assert_cmpuint(test_ctx->notify_me, ==, 0);
	g_assert_false(test_ctx->notified);
	note("B");
}

static void test_callbacks_run_unraised(void)
{
	aio_bh_schedule_oneshot(test_ctx, notify_me_is_down_cb, NULL);
	g_assert_true(aio_poll(test_ctx, true));
	assert_order("B");
}

/* A BH from outside finds the sleeper, whose wait is counted by twos. */
static void *schedule_when_asleep(void *seen)
{
	while (!qatomic_read(&test_ctx->notify_me))
		sched_yield();
	*(uint32_t *)seen = qatomic_read(&test_ctx->notify_me);
	aio_bh_schedule_oneshot(test_ctx, note_cb, (void *)"W");
	return NULL;
}

static void test_wakes_sleeper(void)
{
	uint32_t seen = 0;
	QemuThread thread;

	qemu_thread_create(&thread, "waker", schedule_when_asleep, &seen, QEMU_THREAD_JOINABLE);
	/* The first return may be for the notifier alone, before the BH is seen. */
	while (!aio_poll(test_ctx, true))
		;
	qemu_thread_join(&thread);
	g_assert_cmpuint(seen, ==, 2);
	assert_order("W");
	aio_poll(test_ctx, false);
}

static void test_gsource_raises_bit_0(void)
{
	GMainContext *gcontext = g_main_context_new();
	AioContext *ctx = aio_context_new(&error_abort);
	GPollFD fds[8];
	uint64_t count;
	gint priority, timeout;
	int n;

	g_source_attach(&ctx->source, gcontext);
	g_assert_true(g_main_context_acquire(gcontext));

	g_assert_false(g_main_context_prepare(gcontext, &priority));
	g_assert_cmpuint(ctx->notify_me, ==, 1);
	n = g_main_context_query(gcontext, priority, &timeout, fds, G_N_ELEMENTS(fds));
	g_assert_cmpint(n, ==, 2); /* the notifier, and GLib's wake-up */
	g_assert_cmpint(timeout, ==, -1);

	/* Not suppressed because it is set already: the reader may be about to clear it. */
	aio_notify(ctx);
	aio_notify(ctx);
	g_assert_true(fd_readable(event_notifier_get_fd(&ctx->notifier)));

	g_poll(fds, n, 0);
	g_assert_true(g_main_context_check(gcontext, priority, fds, n));
	g_assert_cmpuint(ctx->notify_me, ==, 0);
	g_assert_false(ctx->notified);

	g_assert_cmpint(read(event_notifier_get_fd(&ctx->notifier), &count, sizeof(count)), ==,
			sizeof(count));
	g_assert_cmpuint(count, ==, 2);
	g_main_context_dispatch(gcontext);

	/* A prepare without its check leaves the bit up; the cost is a write too many. */
	g_main_context_prepare(gcontext, &priority);
	aio_notify(ctx);
	g_assert_true(fd_readable(event_notifier_get_fd(&ctx->notifier)));

	g_main_context_release(gcontext);
	g_source_destroy(&ctx->source);
	aio_context_unref(ctx);
	g_main_context_unref(gcontext);
}

/* GLib does not check what was ready at prepare: both flags outlive the iteration. */
static void test_ready_at_prepare(void)
{
	GMainContext *gcontext = g_main_context_new();
	AioContext *ctx = aio_context_new(&error_abort);

	g_source_attach(&ctx->source, gcontext);
	aio_bh_schedule_oneshot(ctx, note_cb, (void *)"B");
	g_assert_true(g_main_context_iteration(gcontext, FALSE));
	assert_order("B");
	g_assert_cmpuint(ctx->notify_me, ==, 1);
	g_assert_true(ctx->notified);
	g_assert_false(fd_readable(event_notifier_get_fd(&ctx->notifier)));

	g_assert_false(g_main_context_iteration(gcontext, FALSE));
	g_assert_cmpuint(ctx->notify_me, ==, 0);
	g_assert_false(ctx->notified);

	g_source_destroy(&ctx->source);
	aio_context_unref(ctx);
	g_main_context_unref(gcontext);
}

static void test_full_counter(void)
{
	static const uint64_t full = UINT64_MAX - 1;
	EventNotifier e;

	g_assert_cmpint(event_notifier_init(&e, false), ==, 0);
	g_assert_false(event_notifier_test_and_clear(&e));
	g_assert_cmpint(write(event_notifier_get_wfd(&e), &full, sizeof(full)), ==, sizeof(full));
	g_assert_cmpint(event_notifier_set(&e), ==, 0);
	g_assert_true(event_notifier_test_and_clear(&e));
	g_assert_false(event_notifier_test_and_clear(&e));
	event_notifier_cleanup(&e);
	g_assert_cmpint(event_notifier_set(&e), ==, -EBADF);

	g_assert_cmpint(event_notifier_init(&e, true), ==, 0);
	g_assert_true(event_notifier_test_and_clear(&e));
	event_notifier_cleanup(&e);
}

int main(int argc, char **argv)
{
	int ret;

	g_test_init(&argc, &argv, NULL);
	test_ctx_init();
	g_test_add_func("/notify/not-written-while-nobody-sleeps", test_suppressed);
	g_test_add_func("/notify/poll-does-not-sleep-after-it", test_poll_after_notify);
	g_test_add_func("/notify/callbacks-run-with-notify-me-down", test_callbacks_run_unraised);
	g_test_add_func("/notify/wakes-a-sleeping-poll", test_wakes_sleeper);
	g_test_add_func("/notify/written-between-prepare-and-check", test_gsource_raises_bit_0);
	g_test_add_func("/notify/stays-noted-if-ready-at-prepare", test_ready_at_prepare);
	g_test_add_func("/notify/full-counter-is-set", test_full_counter);
	ret = g_test_run();
	test_ctx_exit();
	return ret;
}
