/* SPDX-License-Identifier: MIT */
/*
 * GLib's own rules for its sources where they are dispatched: who ends, who is left out, and what a
 * dispatch may do that iterates itself.
 */
#include "gsource-test.h"

static void test_false_destroys(void)
{
	TestSource *a;

	begin();
	a = add("A", 0);
	g_assert_true(a->source.flags & ACTIVE);
	a->ready_in_prepare = true;
	a->ends = true;
	iterate();
	assert_order("pAA");
	g_assert_true(g_source_is_destroyed(&a->source));
	g_assert_false(a->source.flags & ACTIVE);
	iterate();
	assert_order("");
	g_source_unref(&a->source);
	end();
}

static TestSource *victim;

static void destroy_victim(TestSource *s G_GNUC_UNUSED)
{
	g_source_destroy(&victim->source);
}

static void test_destroyed_while_pending(void)
{
	TestSource *a;

	begin();
	a = add("A", 0);
	victim = add("V", 0);
	a->ready_in_prepare = true;
	a->then = destroy_victim;
	victim->ready_in_prepare = true;
	iterate();
	assert_order("pApVA");
	drop(a);
	g_source_unref(&victim->source);
	end();
}

static unsigned flags_inside;
static int depth_inside, fds_inside;

/* Once. */
static void iterate_inside(TestSource *s)
{
	s->then = NULL;
	flags_inside = s->source.flags;
	depth_inside = g_main_depth();
	note("(");
	prepare();
	query();
	fds_inside = loop.n;
	poll_and_check();
	g_main_context_dispatch(gcontext);
	note(")");
}

static void test_blocked(void)
{
	EventNotifier e;
	TestSource *a;

	begin();
	g_assert_cmpint(event_notifier_init(&e, true), ==, 0);
	a = add("A", 0);
	g_source_add_unix_fd(&a->source, event_notifier_get_fd(&e), G_IO_IN);
	a->ready_in_check = true;
	a->then = iterate_inside;
	g_assert_cmpint(g_main_depth(), ==, 0);
	iterate();
	assert_order("pAcAA()");
	g_assert_cmpint(depth_inside, ==, 1);
	g_assert_cmpint(fds_inside, ==, 1); /* GLib's own */
	g_assert_true(flags_inside & BLOCKED);
	g_assert_false(flags_inside & READY);
	g_assert_false(a->source.flags & BLOCKED);
	prepare();
	query();
	g_assert_cmpint(loop.n, ==, 2);
	drop(a);
	event_notifier_cleanup(&e);
	g_string_assign(test_noted, "");
	end();
}

static void test_can_recurse(void)
{
	TestSource *a;

	begin();
	a = add("A", 0);
	g_source_set_can_recurse(&a->source, TRUE);
	g_assert_true(a->source.flags & CAN_RECURSE);
	a->ready_in_check = true;
	a->then = iterate_inside;
	iterate();
	assert_order("pAcAA(pAcAA)");
	g_assert_false(flags_inside & BLOCKED);
	drop(a);
	end();
}

/* The nested iteration takes over what the outer one has not come to: it is still ready. */
static void test_nested_takes_over(void)
{
	TestSource *a, *b;

	begin();
	a = add("A", 0);
	b = add("B", 0);
	a->ready_in_check = true;
	b->ready_in_check = true;
	a->then = iterate_inside;
	iterate();
	assert_order("pApBcAcBA(B)");
	drop(a);
	drop(b);
	end();
}

static const struct gsource_case cases[] = {
	{ "dispatch-that-returns-false-ends-it", test_false_destroys },
	{ "destroyed-while-pending-is-not-dispatched", test_destroyed_while_pending },
	{ "dispatched-one-leaves-the-poll-set", test_blocked },
	{ "one-that-may-recurse-is-dispatched-inside-itself", test_can_recurse },
	{ "nested-iteration-takes-over-what-was-pending", test_nested_takes_over },
};

int main(int argc, char **argv)
{
	return run_cases(argc, argv, cases, ARRAY_SIZE(cases));
}
