/* SPDX-License-Identifier: MIT */
/* Coroutines: what runs when, in whose context, in which thread. */
#include "loop-test.h"
#include "aio-wait.h"
#include "coroutine.h"
#include "iothread.h"
#include "main-loop.h"

static AioContext *main_ctx, *io_ctx;
static IOThread *io0;

static Coroutine *create(CoroutineEntry *entry, const void *opaque)
{
	return qemu_coroutine_create(entry, (void *)opaque);
}

static void poll_all(void)
{
	while (aio_poll(main_ctx, false))
		;
}

/* --- enter and yield ---------------------------------------------------------------------- */

static void yields_twice(void *opaque)
{
	note(opaque);
	qemu_coroutine_yield();
	note("2");
	qemu_coroutine_yield();
	note("3");
}

static void test_enter_yield(void)
{
	Coroutine *co = create(yields_twice, "1");

	assert_order("");
	for (int i = 0; i < 3; i++) {
		qemu_coroutine_enter(co);
		note("m");
	}
	assert_order("1m2m3m");
}

static void looks_at_itself(void *opaque)
{
	Coroutine **co = opaque;

	g_assert_true(qemu_in_coroutine());
	g_assert_true(qemu_coroutine_self() == *co);
	g_assert_true(qemu_coroutine_entered(*co));
	g_assert_true(qemu_coroutine_get_aio_context(*co) == main_ctx);
	qemu_coroutine_enter_if_inactive(*co); /* is active: nothing */
	qemu_coroutine_yield();
}

static void test_self(void)
{
	Coroutine *co, *leader = qemu_coroutine_self();

	g_assert_false(qemu_in_coroutine());
	co = create(looks_at_itself, &co);
	g_assert_false(qemu_coroutine_entered(co));
	qemu_coroutine_enter(co);
	g_assert_false(qemu_coroutine_entered(co));
	g_assert_false(qemu_in_coroutine());
	g_assert_true(qemu_coroutine_self() == leader);
	qemu_coroutine_enter_if_inactive(co);
}

static void enters_another(void *opaque)
{
	note("(");
	qemu_coroutine_enter(opaque);
	note(")");
}

static void test_nested_enter(void)
{
	Coroutine *inner = create(yields_twice, "1");

	qemu_coroutine_enter(create(enters_another, inner));
	assert_order("(1)");
	qemu_coroutine_enter(inner);
	qemu_coroutine_enter(inner);
	assert_order("23");
}

/* Recursion of 500 KiB, and what lies on the stack is there after each yield. */
static unsigned sum_deep(unsigned depth)
{
	volatile unsigned pad[128];

	if (depth == 0)
		return 0;
	for (int i = 0; i < 128; i++)
		pad[i] = depth;
	if (depth % 100 == 0)
		qemu_coroutine_yield();
	return sum_deep(depth - 1) + pad[depth % 128];
}

static unsigned deep_sum;

static void runs_deep(void *opaque G_GNUC_UNUSED)
{
	deep_sum = sum_deep(1000);
}

static void test_stack(void)
{
	Coroutine *co[3];

	for (int i = 0; i < 3; i++)
		co[i] = create(runs_deep, NULL);
	for (int round = 0; round <= 10; round++) {
		for (int i = 0; i < 3; i++) {
			deep_sum = 0;
			qemu_coroutine_enter(co[i]);
			g_assert_cmpuint(deep_sum, ==, round == 10 ? 500500 : 0);
		}
	}
}

/* --- by the loop -------------------------------------------------------------------------- */

/* They are pushed one before the other, and entered in the order in which they came. */
static void test_schedule_fifo(void)
{
	aio_co_schedule(main_ctx, create(note_cb, "A"));
	aio_co_schedule(main_ctx, create(note_cb, "B"));
	aio_co_schedule(main_ctx, create(note_cb, "C"));
	assert_order("");
	g_assert_true(aio_poll(main_ctx, true));
	assert_order("ABC");
}

static void schedules_itself(void *opaque)
{
	for (int i = 0; i < 3; i++) {
		note(opaque);
		aio_co_schedule(main_ctx, qemu_coroutine_self());
		qemu_coroutine_yield();
	}
}

static void test_schedule_self(void)
{
	aio_co_schedule(main_ctx, create(schedules_itself, "x"));
	for (int round = 0; round < 3; round++) {
		g_assert_true(aio_poll(main_ctx, true));
		assert_order("x"); /* a round each */
	}
	g_assert_true(aio_poll(main_ctx, true));
	g_assert_false(aio_poll(main_ctx, false));
}

static void wakes_two(void *opaque)
{
	Coroutine **others = opaque;

	note("(");
	aio_co_wake(others[0]);
	aio_co_wake(others[1]);
	note("y");
	qemu_coroutine_yield();
	note(")");
}

/* Not inside the one that wakes them, but as soon as it has yielded. */
static void test_wake_in_coroutine(void)
{
	Coroutine *others[2] = { create(yields_twice, "A"), create(yields_twice, "B") };
	Coroutine *waker = create(wakes_two, others);

	qemu_coroutine_enter(others[0]);
	qemu_coroutine_enter(others[1]);
	assert_order("AB");
	qemu_coroutine_enter(waker);
	assert_order("(y22");
	qemu_coroutine_enter(waker);
	assert_order(")");
	aio_co_wake(others[0]); /* outside of coroutines: at once */
	aio_co_wake(others[1]);
	assert_order("33");
}

typedef struct Family {
	const char *name;
	struct Family *children[2];
} Family;

static void enters_children(void *opaque)
{
	Family *family = opaque;

	note(family->name);
	for (int i = 0; i < 2 && family->children[i]; i++)
		aio_co_enter(main_ctx, create(enters_children, family->children[i]));
}

static void test_wake_depth_first(void)
{
	Family e = { "E", {} }, d = { "D", {} }, c = { "C", {} };
	Family b = { "B", { &c, &d } }, a = { "A", { &b, &e } };

	qemu_coroutine_enter(create(enters_children, &a));
	assert_order("ABCDE");
}

/* --- sleeping and queues ------------------------------------------------------------------ */

static QemuCoSleep sleeping;

static void sleeps(void *opaque)
{
	note(opaque);
	qemu_co_sleep_ns(QEMU_CLOCK_REALTIME, SCALE_MS);
	note("w");
	qemu_co_sleep_ns_wakeable(&sleeping, QEMU_CLOCK_REALTIME, 3600 * NANOSECONDS_PER_SECOND);
	note("e");
}

static void test_sleep(void)
{
	qemu_coroutine_enter(create(sleeps, "s"));
	assert_order("s");
	while (!sleeping.to_wake)
		aio_poll(main_ctx, true);
	assert_order("w");
	qemu_co_sleep_wake(&sleeping);
	assert_order("e");
	qemu_co_sleep_wake(&sleeping); /* nobody sleeps */
	g_assert_cmpint(aio_compute_timeout(main_ctx), ==, -1);
}

static CoQueue queue;
static QemuMutex queue_lock;

static void waits_in_queue(void *opaque)
{
	qemu_mutex_lock(&queue_lock);
	qemu_co_queue_wait(&queue, &queue_lock);
	note(opaque);
	qemu_mutex_unlock(&queue_lock);
}

static void test_queue(void)
{
	qemu_co_queue_init(&queue);
	qemu_mutex_init(&queue_lock);
	g_assert_false(qemu_co_queue_next(&queue));
	qemu_coroutine_enter(create(waits_in_queue, "A"));
	qemu_coroutine_enter(create(waits_in_queue, "B"));
	qemu_coroutine_enter(create(waits_in_queue, "C"));
	assert_order("");
	g_assert_true(qemu_co_queue_next(&queue));
	assert_order("A");
	g_assert_false(qemu_co_queue_empty(&queue));
	qemu_co_queue_restart_all(&queue);
	assert_order("BC");
	g_assert_true(qemu_co_queue_empty(&queue));
	qemu_mutex_destroy(&queue_lock);
}

/* --- from thread to thread ---------------------------------------------------------------- */

static unsigned hops;
static bool finished; /* atomic */

static void moves(void *opaque G_GNUC_UNUSED)
{
	Coroutine *self = qemu_coroutine_self();

	for (int i = 0; i < 1000; i++) {
		aio_co_reschedule_self(io_ctx);
		g_assert_cmpint(qemu_get_thread_id(), ==, io0->thread_id);
		g_assert_true(qemu_get_current_aio_context() == io_ctx);
		g_assert_true(qemu_coroutine_self() == self);
		g_assert_true(qemu_coroutine_get_aio_context(self) == io_ctx);
		aio_co_reschedule_self(io_ctx); /* is there */
		hops++;
		aio_co_reschedule_self(main_ctx);
		g_assert_cmpint(qemu_get_thread_id(), ==, getpid());
		g_assert_true(qemu_coroutine_get_aio_context(self) == main_ctx);
		hops++;
	}
	qatomic_set(&finished, true);
}

static void test_move(void)
{
	hops = 0;
	finished = false;
	qemu_coroutine_enter(create(moves, NULL));
	while (!finished)
		aio_poll(main_ctx, true);
	g_assert_cmpuint(hops, ==, 2000);
}

static void wake_bh(void *opaque)
{
	aio_co_wake(opaque);
}

static void is_woken_from_io0(void *opaque G_GNUC_UNUSED)
{
	for (int i = 0; i < 1000; i++) {
		aio_bh_schedule_oneshot(io_ctx, wake_bh, qemu_coroutine_self());
		qemu_coroutine_yield();
		g_assert_cmpint(qemu_get_thread_id(), ==, getpid());
	}
	finished = true;
}

/* It yields under the loop, so that io0 may wake it while it is still on its way out. */
static void test_wake_from_another_thread(void)
{
	finished = false;
	aio_co_schedule(main_ctx, create(is_woken_from_io0, NULL));
	while (!finished)
		aio_poll(main_ctx, true);
}

/* --- the main thread's two contexts ------------------------------------------------------- */

static bool moved_as_qemu_does, moved_by_schedule;

static void changes_context(void *opaque G_GNUC_UNUSED)
{
	Coroutine *self = qemu_coroutine_self();

	g_assert_true(qemu_coroutine_get_aio_context(self) == iohandler_get_aio_context());
	aio_co_reschedule_self(main_ctx);
	moved_as_qemu_does = qemu_coroutine_get_aio_context(self) == main_ctx;

	aio_co_schedule(main_ctx, self);
	qemu_coroutine_yield();
	moved_by_schedule = qemu_coroutine_get_aio_context(self) == main_ctx;
	finished = true;
}

static void test_iohandler_trap(void)
{
	finished = false;
	aio_co_schedule(iohandler_get_aio_context(), create(changes_context, NULL));
	while (!finished)
		main_loop_wait(false);
	g_assert_false(moved_as_qemu_does);
	g_assert_true(moved_by_schedule);
}

/* --- misuse ------------------------------------------------------------------------------- */

static void expect_abort(const char *message)
{
	g_test_trap_subprocess(NULL, 0, 0);
	g_test_trap_assert_failed();
	g_test_trap_assert_stderr(message);
}

static void test_schedule_twice(void)
{
	if (g_test_subprocess()) {
		Coroutine *co = create(note_cb, "x");

		aio_co_schedule(main_ctx, co);
		aio_co_schedule(main_ctx, co);
		return;
	}
	expect_abort("*aio_co_schedule: Co-routine was already scheduled in 'aio_co_schedule'\n*");
}

static void test_enter_scheduled(void)
{
	if (g_test_subprocess()) {
		Coroutine *co = create(note_cb, "x");

		aio_co_schedule(main_ctx, co);
		qemu_coroutine_enter(co);
		return;
	}
	expect_abort("*Co-routine was already scheduled in 'aio_co_schedule'\n*");
}

static void test_enter_sleeping(void)
{
	if (g_test_subprocess()) {
		Coroutine *co = create(sleeps, "x");

		qemu_coroutine_enter(co);
		qemu_coroutine_enter(co);
		return;
	}
	expect_abort("*Co-routine was already scheduled in 'qemu_co_sleep_ns'\n*");
}

static void enters_itself(void *opaque G_GNUC_UNUSED)
{
	qemu_coroutine_enter(qemu_coroutine_self());
}

static void test_enter_active(void)
{
	if (g_test_subprocess()) {
		qemu_coroutine_enter(create(enters_itself, NULL));
		return;
	}
	expect_abort("*Co-routine re-entered recursively\n*");
}

static void test_yield_outside(void)
{
	if (g_test_subprocess()) {
		qemu_coroutine_yield();
		return;
	}
	expect_abort("*Co-routine is yielding to no one\n*");
}

int main(int argc, char **argv)
{
	int ret;

	g_test_init(&argc, &argv, NULL);
	bql_lock();
	qemu_init_main_loop(&error_abort);
	main_ctx = qemu_get_aio_context();
	io0 = iothread_create("io0", &error_abort);
	io_ctx = iothread_get_aio_context(io0);
	poll_all();

	g_test_add_func("/coroutine/runs-from-enter-to-yield", test_enter_yield);
	g_test_add_func("/coroutine/knows-itself-and-its-context", test_self);
	g_test_add_func("/coroutine/entered-by-another-returns-to-it", test_nested_enter);
	g_test_add_func("/coroutine/each-has-a-stack-of-its-own", test_stack);
	g_test_add_func("/coroutine/scheduled-first-is-entered-first", test_schedule_fifo);
	g_test_add_func("/coroutine/scheduled-by-itself-waits-a-round", test_schedule_self);
	g_test_add_func("/coroutine/woken-runs-when-the-waker-yields", test_wake_in_coroutine);
	g_test_add_func("/coroutine/woken-run-depth-first", test_wake_depth_first);
	g_test_add_func("/coroutine/sleep-ends-by-time-or-early", test_sleep);
	g_test_add_func("/coroutine/queue-is-first-come-first-served", test_queue);
	g_test_add_func("/coroutine/moves-between-threads", test_move);
	g_test_add_func("/coroutine/woken-elsewhere-runs-at-home", test_wake_from_another_thread);
	g_test_add_func("/coroutine/does-not-reschedule-out-of-iohandler", test_iohandler_trap);
	g_test_add_func("/coroutine/scheduled-twice-aborts", test_schedule_twice);
	g_test_add_func("/coroutine/entered-while-scheduled-aborts", test_enter_scheduled);
	g_test_add_func("/coroutine/entered-while-asleep-aborts", test_enter_sleeping);
	g_test_add_func("/coroutine/entered-while-active-aborts", test_enter_active);
	g_test_add_func("/coroutine/yield-outside-aborts", test_yield_outside);
	ret = g_test_run();

	iothread_destroy(io0);
	bql_unlock();
	return ret;
}
