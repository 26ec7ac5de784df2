/* SPDX-License-Identifier: MIT */
/* Bottom halves: which run, in which order, in which round. */
#include "loop-test.h"

static QEMUBH *bh_new(const char *what)
{
	return aio_bh_new(test_ctx, note_cb, (void *)what);
}

/* Has the loop free what was deleted. */
static void reap(void)
{
	aio_poll(test_ctx, false);
	assert_order("");
}

static void test_lifo(void)
{
	QEMUBH *a = bh_new("A"), *b = bh_new("B"), *c = bh_new("C");

	qemu_bh_schedule(a);
	qemu_bh_schedule(b);
	qemu_bh_schedule(c);
	g_assert_true(aio_poll(test_ctx, true));
	assert_order("CBA");

	qemu_bh_delete(a);
	qemu_bh_delete(b);
	qemu_bh_delete(c);
	reap();
}

static void test_once(void)
{
	QEMUBH *a = bh_new("A"), *b = bh_new("B");

	qemu_bh_schedule(a);
	qemu_bh_schedule(b);
	qemu_bh_schedule(a); /* is queued: keeps its place */
	g_assert_true(aio_poll(test_ctx, true));
	assert_order("BA");
	g_assert_false(aio_poll(test_ctx, false));
	assert_order("");

	qemu_bh_delete(a);
	qemu_bh_delete(b);
	reap();
}

static void reschedule_cb(void *opaque)
{
	QEMUBH **self = opaque;

	note("R");
	qemu_bh_schedule(*self);
}

static void test_next_round(void)
{
	QEMUBH *self = aio_bh_new(test_ctx, reschedule_cb, &self);

	qemu_bh_schedule(self);
	for (int round = 0; round < 3; round++) {
		g_assert_true(aio_poll(test_ctx, true));
		assert_order("R");
	}
	qemu_bh_cancel(self);
	g_assert_false(aio_poll(test_ctx, false));
	assert_order("");

	qemu_bh_delete(self);
	reap();
}

static QEMUBH *scheduled_inside;

static void nesting_cb(void *opaque G_GNUC_UNUSED)
{
	note("(");
	if (scheduled_inside)
		qemu_bh_schedule(scheduled_inside);
	g_assert_true(aio_poll(test_ctx, true));
	note(")");
}

/* Were A left to the outer poll, whoever waits for A inside would wait for ever. */
static void test_nested_drains_parent(void)
{
	QEMUBH *a = bh_new("A"), *nesting = aio_bh_new(test_ctx, nesting_cb, NULL);

	qemu_bh_schedule(a);
	qemu_bh_schedule(nesting);
	g_assert_cmpint(aio_compute_timeout(test_ctx), ==, 0);
	g_assert_true(aio_poll(test_ctx, true));
	assert_order("(A)");

	/* What the parents left goes before what is new. */
	scheduled_inside = bh_new("N");
	qemu_bh_schedule(a);
	qemu_bh_schedule(nesting);
	g_assert_true(aio_poll(test_ctx, true));
	assert_order("(AN)");

	qemu_bh_delete(scheduled_inside);
	scheduled_inside = NULL;
	qemu_bh_delete(a);
	qemu_bh_delete(nesting);
	reap();
}

static void test_cancel(void)
{
	QEMUBH *a = bh_new("A"), *b = bh_new("B");

	qemu_bh_schedule(a);
	qemu_bh_schedule(b);
	qemu_bh_cancel(a);
	g_assert_true(aio_poll(test_ctx, true));
	assert_order("B");

	/* A cancelled one is still queued, and keeps its place when it is scheduled again. */
	qemu_bh_schedule(a);
	qemu_bh_cancel(a);
	qemu_bh_schedule(b);
	qemu_bh_schedule(a);
	g_assert_true(aio_poll(test_ctx, true));
	assert_order("BA");

	qemu_bh_delete(a);
	qemu_bh_delete(b);
	reap();
}

static void test_delete(void)
{
	QEMUBH *a = bh_new("A");

	qemu_bh_schedule(a);
	qemu_bh_delete(a);
	g_assert_false(aio_poll(test_ctx, false));
	assert_order("");
}

static void delete_self_cb(void *opaque)
{
	QEMUBH **self = opaque;

	note("D");
	qemu_bh_schedule(*self);
	qemu_bh_delete(*self);
}

static void test_delete_in_callback(void)
{
	QEMUBH *self = aio_bh_new(test_ctx, delete_self_cb, &self);

	qemu_bh_schedule(self);
	g_assert_true(aio_poll(test_ctx, true));
	assert_order("D");
	reap();
}

static void test_oneshot(void)
{
	aio_bh_schedule_oneshot(test_ctx, note_cb, (void *)"A");
	aio_bh_schedule_oneshot(test_ctx, note_cb, (void *)"B");
	g_assert_true(aio_poll(test_ctx, true));
	assert_order("BA");
	g_assert_false(aio_poll(test_ctx, false));
	assert_order("");
}

static void test_idle(void)
{
	QEMUBH *idle = bh_new("I"), *busy = bh_new("B");

	g_assert_cmpint(aio_compute_timeout(test_ctx), ==, -1);
	qemu_bh_schedule_idle(idle);
	g_assert_cmpint(aio_compute_timeout(test_ctx), ==, 10 * SCALE_MS);

	/* It runs, but is no progress. */
	g_assert_false(aio_poll(test_ctx, true));
	assert_order("I");
	g_assert_cmpint(aio_compute_timeout(test_ctx), ==, -1);

	/* Another one does not wait for it. */
	qemu_bh_schedule_idle(idle);
	qemu_bh_schedule(busy);
	g_assert_cmpint(aio_compute_timeout(test_ctx), ==, 0);
	g_assert_true(aio_poll(test_ctx, true));
	assert_order("BI");

	qemu_bh_delete(idle);
	qemu_bh_delete(busy);
	reap();
}

static void idle_again_cb(void *opaque)
{
	QEMUBH **self = opaque;

	note("I");
	qemu_bh_schedule_idle(*self);
}

static void test_idle_each_turn(void)
{
	QEMUBH *self = aio_bh_new(test_ctx, idle_again_cb, &self);

	qemu_bh_schedule_idle(self);
	for (int turn = 0; turn < 3; turn++)
		aio_poll(test_ctx, true);
	assert_order("III");

	qemu_bh_delete(self);
	reap();
}

static MemReentrancyGuard guard;

static void guarded_cb(void *opaque G_GNUC_UNUSED)
{
	note(guard.engaged_in_io ? "engaged" : "free");
}

static void test_guard(void)
{
	QEMUBH *bh = aio_bh_new_guarded(test_ctx, guarded_cb, NULL, &guard);

	qemu_bh_schedule(bh);
	g_assert_true(aio_poll(test_ctx, true));
	assert_order("engaged");
	g_assert_false(guard.engaged_in_io);

	/* Entered already: it stays as it was found. */
	guard.engaged_in_io = true;
	aio_bh_call(bh);
	assert_order("engaged");
	g_assert_true(guard.engaged_in_io);

	qemu_bh_delete(bh);
	reap();
}

static void forgotten_cb(void *opaque G_GNUC_UNUSED)
{
}

/* The name is that of the callback. */
static void test_leak(void)
{
	if (g_test_subprocess()) {
		AioContext *ctx = aio_context_new(&error_abort);

		qemu_bh_schedule(aio_bh_new(ctx, forgotten_cb, NULL));
		aio_context_unref(ctx);
		return;
	}
	g_test_trap_subprocess(NULL, 0, 0);
	g_test_trap_assert_failed();
	g_test_trap_assert_stderr("*bottom half 'forgotten_cb'*still lives*");
}

int main(int argc, char **argv)
{
	int ret;

	g_test_init(&argc, &argv, NULL);
	test_ctx_init();
	g_test_add_func("/bh/last-scheduled-runs-first", test_lifo);
	g_test_add_func("/bh/scheduled-twice-runs-once", test_once);
	g_test_add_func("/bh/scheduled-in-a-bh-runs-next-round", test_next_round);
	g_test_add_func("/bh/nested-poll-drains-the-outer-slice-first", test_nested_drains_parent);
	g_test_add_func("/bh/cancelled-does-not-run-but-stays-queued", test_cancel);
	g_test_add_func("/bh/deleted-does-not-run", test_delete);
	g_test_add_func("/bh/may-delete-itself", test_delete_in_callback);
	g_test_add_func("/bh/oneshot-runs-once", test_oneshot);
	g_test_add_func("/bh/idle-lets-sleep-and-is-no-progress", test_idle);
	g_test_add_func("/bh/idle-runs-each-turn-it-is-scheduled", test_idle_each_turn);
	g_test_add_func("/bh/guard-is-engaged-during-the-call", test_guard);
	g_test_add_func("/bh/leaked-one-is-named-at-the-contexts-end", test_leak);
	ret = g_test_run();
	test_ctx_exit();
	return ret;
}
