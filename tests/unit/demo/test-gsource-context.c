/* SPDX-License-Identifier: MIT */
/* A GMainContext has one owner, who is woken; and an AioContext is one of its sources. */
#include "gsource-test.h"

/* --- owner and wake-up -------------------------------------------------------------------- */

static void run_thread(void *(*function)(void *))
{
	QemuThread thread;

	qemu_thread_create(&thread, "other", function, NULL, QEMU_THREAD_JOINABLE);
	qemu_thread_join(&thread);
}

static bool other_may;

static void *try_to_acquire(void *unused G_GNUC_UNUSED)
{
	other_may = g_main_context_acquire(gcontext);
	if (other_may)
		g_main_context_release(gcontext);
	return NULL;
}

static void test_owner(void)
{
	begin();
	g_assert_true(g_main_context_acquire(gcontext)); /* again */
	run_thread(try_to_acquire);
	g_assert_false(other_may);
	g_main_context_release(gcontext);
	run_thread(try_to_acquire);
	g_assert_false(other_may);
	g_main_context_release(gcontext);
	g_assert_false(g_main_context_is_owner(gcontext));
	run_thread(try_to_acquire);
	g_assert_true(other_may);
	g_assert_true(g_main_context_acquire(gcontext));
	end();
}

static TestSource *attached;

static void *attach_one(void *unused G_GNUC_UNUSED)
{
	attached = add("A", 0);
	return NULL;
}

static void test_wake_up(void)
{
	int fd;

	begin();
	prepare();
	query();
	g_assert_cmpint(loop.n, ==, 1);
	fd = loop.fds[0].fd;

	attach_one(NULL); /* the owner is awake */
	g_assert_false(fd_readable(fd));
	drop(attached);
	run_thread(attach_one);
	g_assert_true(fd_readable(fd));
	prepare();
	query();
	poll_and_check();
	g_assert_false(fd_readable(fd)); /* acknowledged by check */
	drop(attached);

	/* Without an owner nobody sleeps. */
	g_main_context_release(gcontext);
	run_thread(attach_one);
	g_assert_false(fd_readable(fd));
	g_main_context_wakeup(gcontext);
	g_assert_true(fd_readable(fd));
	g_assert_true(g_main_context_acquire(gcontext));
	drop(attached);
	g_string_assign(test_noted, "");
	end();
}

/* --- a context as a source ---------------------------------------------------------------- */

static void attach_context(void)
{
	begin();
	test_ctx = aio_context_new(&error_abort);
	g_source_attach(&test_ctx->source, gcontext);
	while (iterate())
		;
}

static void detach_context(void)
{
	g_source_destroy(&test_ctx->source);
	aio_context_unref(test_ctx);
	end();
}

static void iterate_in_bh(void *opaque)
{
	note("1");
	aio_bh_schedule_oneshot(test_ctx, note_cb, (void *)"2");
	g_assert_true(iterate());
	note(opaque);
}

static void test_context_recurses(void)
{
	attach_context();
	g_assert_true(test_ctx->source.flags & CAN_RECURSE);
	aio_bh_schedule_oneshot(test_ctx, iterate_in_bh, (void *)"3");
	g_assert_true(iterate());
	assert_order("123");
	detach_context();
}

static void drain(EventNotifier *e)
{
	g_assert_true(event_notifier_test_and_clear(e));
	note("e");
}

/* It is ready for what it will call, and for nothing else. */
static void test_context_ready(void)
{
	QEMUTimer *timer;
	EventNotifier e;
	QEMUBH *bh;

	attach_context();
	timer = aio_timer_new(test_ctx, QEMU_CLOCK_REALTIME, SCALE_NS, note_cb, (void *)"t");
	bh = aio_bh_new(test_ctx, note_cb, (void *)"b");
	g_assert_cmpint(event_notifier_init(&e, false), ==, 0);
	aio_set_event_notifier(test_ctx, &e, drain, NULL, NULL);
	while (iterate())
		;
	g_assert_false(prepare());
	query();
	g_assert_cmpint(loop.timeout, ==, -1);
	g_assert_false(poll_and_check());

	/* Before the wait ... */
	qemu_bh_schedule(bh);
	g_assert_true(prepare());
	query();
	g_assert_true(poll_and_check());
	g_main_context_dispatch(gcontext);
	assert_order("b");
	while (iterate())
		;

	/* ... and after it. */
	prepare();
	query();
	timer_mod(timer, 0);
	g_assert_true(poll_and_check());
	g_main_context_dispatch(gcontext);
	assert_order("t");
	while (iterate())
		;
	prepare();
	query();
	event_notifier_set(&e);
	g_assert_true(poll_and_check());
	g_main_context_dispatch(gcontext);
	assert_order("e");

	/* What was deleted since it was scheduled will not be called. */
	qemu_bh_schedule(bh);
	qemu_bh_delete(bh);
	while (iterate())
		;
	assert_order("");

	timer_free(timer);
	aio_set_event_notifier(test_ctx, &e, NULL, NULL, NULL);
	event_notifier_cleanup(&e);
	while (iterate())
		;
	assert_order("");
	detach_context();
}

static const struct gsource_case cases[] = {
	{ "one-thread-owns-a-context", test_owner },
	{ "only-another-owner-is-woken", test_wake_up },
	{ "aio-context-may-be-dispatched-inside-itself", test_context_recurses },
	{ "aio-context-is-ready-for-what-it-will-call", test_context_ready },
};

int main(int argc, char **argv)
{
	return run_cases(argc, argv, cases, ARRAY_SIZE(cases));
}
