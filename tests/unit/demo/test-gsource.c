/* SPDX-License-Identifier: MIT */
/*
 * GLib's own rules for its sources, which the loop and the tools that look at it stand on: who is
 * asked in prepare and check, in which order, and what the poll set has.
 */
#include "gsource-test.h"
#include <sys/socket.h>

/* --- prepare ------------------------------------------------------------------------------ */

static void test_priorities(void)
{
	TestSource *c, *d, *a, *b;

	begin();
	c = add("C", 10);
	d = add("D", 20);
	a = add("A", 0);
	b = add("B", 10);
	prepare();
	assert_order("pApCpBpD");

	/* Those of the same priority are still asked. */
	c->ready_in_prepare = true;
	g_assert_true(prepare());
	assert_order("pApCpB");
	g_assert_cmpint(loop.priority, ==, 10);
	drop(a);
	drop(b);
	drop(c);
	drop(d);
	end();
}

static void test_ready_is_not_asked(void)
{
	TestSource *a, *b;

	begin();
	a = add("A", 0);
	b = add("B", 0);
	a->ready_in_prepare = true;
	prepare();
	assert_order("pApB");
	g_assert_true(a->source.flags & READY);
	prepare(); /* and nobody was dispatched in between */
	assert_order("pB");
	query();
	g_assert_true(poll_and_check());
	assert_order("cB");
	a->ready_in_prepare = false;
	g_main_context_dispatch(gcontext);
	assert_order("A");
	g_assert_false(a->source.flags & READY);
	drop(a);
	drop(b);
	end();
}

static void test_timeouts(void)
{
	TestSource *a, *b, *c;

	begin();
	a = add("A", 0);
	prepare();
	query();
	g_assert_cmpint(loop.timeout, ==, -1);
	b = add("B", 0);
	c = add("C", 0);
	a->timeout = 50;
	b->timeout = 20;
	prepare();
	query();
	g_assert_cmpint(loop.timeout, ==, 20);
	c->ready_in_prepare = true;
	prepare();
	query();
	g_assert_cmpint(loop.timeout, ==, 0);
	drop(a);
	drop(b);
	drop(c);
	test_noted = g_string_assign(test_noted, "");
	end();
}

/* Microseconds become whole milliseconds, never fewer than it takes. */
static void test_ready_time(void)
{
	int64_t time = g_get_monotonic_time() + 2000000500, before, after;
	TestSource *a;

	begin();
	a = add("A", 0);
	g_source_set_ready_time(&a->source, time);
	before = g_get_monotonic_time();
	g_assert_false(prepare());
	query();
	after = g_get_monotonic_time();
	g_assert_cmpint(loop.timeout * 1000LL, >=, time - after);
	g_assert_cmpint((loop.timeout - 1) * 1000LL, <, time - before);
	assert_order("pA");

	g_source_set_ready_time(&a->source, 0);
	g_assert_true(prepare());
	query();
	g_assert_cmpint(loop.timeout, ==, 0);
	poll_and_check();
	g_main_context_dispatch(gcontext);
	assert_order("pAA");
	drop(a);
	end();
}

static void prepare_inside(void)
{
	g_test_expect_message("GLib", G_LOG_LEVEL_WARNING, "*called recursively*");
	g_assert_false(prepare());
	g_test_assert_expected_messages();
}

static gboolean recursive_prepare(GSource *source, gint *timeout)
{
	prepare_inside();
	return test_prepare(source, timeout);
}

static gboolean recursive_check(GSource *source)
{
	prepare_inside();
	return test_check(source);
}

static void test_no_prepare_inside(void)
{
	static GSourceFuncs funcs = {
		.prepare = recursive_prepare,
		.check = recursive_check,
		.dispatch = test_dispatch,
	};
	TestSource *a;

	begin();
	a = (TestSource *)g_source_new(&funcs, sizeof(*a));
	a->name = "A";
	a->ready_in_check = true;
	g_source_attach(&a->source, gcontext);
	g_assert_true(iterate());
	assert_order("pAcAA");
	drop(a);
	end();
}

/* --- query -------------------------------------------------------------------------------- */

static int find_fd(int fd)
{
	for (int i = 0; i < loop.n; i++) {
		if (loop.fds[i].fd == fd)
			return i;
	}
	return -1;
}

static void test_query(void)
{
	int low[2], high[2], i;
	TestSource *a, *b, *later;
	GPollFD one[1];

	begin();
	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, low), ==, 0);
	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, high), ==, 0);
	a = add("A", 0);
	b = add("B", 0);
	later = add("L", 1);
	g_source_add_unix_fd(&a->source, high[0], G_IO_IN);
	g_source_add_unix_fd(&a->source, low[0], G_IO_IN | G_IO_ERR | G_IO_HUP | G_IO_NVAL);
	g_source_add_unix_fd(&b->source, low[0], G_IO_OUT);
	g_source_add_unix_fd(&later->source, low[1], G_IO_IN);

	prepare();
	query();
	g_assert_cmpint(loop.n, ==, 4); /* with GLib's own */
	for (i = 1; i < loop.n; i++)
		g_assert_cmpint(loop.fds[i - 1].fd, <, loop.fds[i].fd);
	i = find_fd(low[0]);
	g_assert_cmpint(i, >=, 0);
	g_assert_cmpint(loop.fds[i].events, ==, G_IO_IN | G_IO_OUT);

	/* What is needed, not what there was room for. */
	g_assert_cmpint(
		g_main_context_query(gcontext, loop.priority, &loop.timeout, one, ARRAY_SIZE(one)),
		==, 4);

	/* Who is not looked at in this round is not polled for. */
	a->ready_in_prepare = true;
	prepare();
	query();
	g_assert_cmpint(loop.n, ==, 3);
	g_assert_cmpint(find_fd(low[1]), ==, -1);

	drop(a);
	drop(b);
	drop(later);
	for (i = 0; i < 2; i++) {
		close(low[i]);
		close(high[i]);
	}
	g_string_assign(test_noted, "");
	end();
}

/* --- check -------------------------------------------------------------------------------- */

static void test_each_its_events(void)
{
	gpointer read_tag, write_tag;
	TestSource *reader, *writer;
	int pair[2];

	begin();
	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), ==, 0);
	g_assert_cmpint(write(pair[1], "x", 1), ==, 1);
	reader = add("R", 0);
	writer = add("W", 0);
	read_tag = g_source_add_unix_fd(&reader->source, pair[0], G_IO_IN);
	write_tag = g_source_add_unix_fd(&writer->source, pair[0], G_IO_OUT);
	prepare();
	query();
	poll_and_check();
	g_assert_cmpint(g_source_query_unix_fd(&reader->source, read_tag), ==, G_IO_IN);
	g_assert_cmpint(g_source_query_unix_fd(&writer->source, write_tag), ==, G_IO_OUT);

	/* A hang-up is for both. */
	close(pair[1]);
	prepare();
	query();
	poll_and_check();
	g_assert_true(g_source_query_unix_fd(&reader->source, read_tag) & G_IO_HUP);
	g_assert_true(g_source_query_unix_fd(&writer->source, write_tag) & G_IO_HUP);
	drop(reader);
	drop(writer);
	close(pair[0]);
	g_string_assign(test_noted, "");
	end();
}

static void test_changed_set(void)
{
	EventNotifier e, late;
	TestSource *a;

	begin();
	g_assert_cmpint(event_notifier_init(&e, true), ==, 0);
	g_assert_cmpint(event_notifier_init(&late, false), ==, 0);
	a = add("A", 0);
	a->ready_in_check = true;
	g_source_add_unix_fd(&a->source, event_notifier_get_fd(&e), G_IO_IN);
	prepare();
	query();
	g_source_add_unix_fd(&a->source, event_notifier_get_fd(&late), G_IO_IN);
	g_assert_false(poll_and_check());
	g_main_context_dispatch(gcontext);
	assert_order("pA"); /* not even asked */
	g_assert_true(iterate());
	assert_order("pAcAA");
	drop(a);
	event_notifier_cleanup(&e);
	event_notifier_cleanup(&late);
	end();
}

static void test_best_priority_only(void)
{
	TestSource *a, *b;

	begin();
	a = add("A", 0);
	b = add("B", 10);
	b->ready_in_check = true;
	a->ready_in_check = true;
	iterate();
	assert_order("pApBcAA"); /* B is not asked once A is ready */
	a->ready_in_check = false;
	iterate();
	assert_order("pApBcAcBB");
	drop(a);
	drop(b);
	end();
}

static void test_starvation(void)
{
	TestSource *a, *b;

	begin();
	a = add("A", 0);
	b = add("B", 1);
	a->ready_in_prepare = true;
	b->ready_in_prepare = true;
	for (int i = 0; i < 3; i++)
		iterate();
	assert_order("pAApAApAA");
	a->ready_in_prepare = false;
	iterate();
	assert_order("pApBcAB");
	drop(a);
	drop(b);
	end();
}

static const struct gsource_case cases[] = {
	{ "asked-by-priority-until-one-is-ready", test_priorities },
	{ "ready-one-is-not-asked-again", test_ready_is_not_asked },
	{ "timeout-is-the-shortest", test_timeouts },
	{ "ready-time-is-rounded-up-to-milliseconds", test_ready_time },
	{ "prepare-inside-prepare-or-check-is-refused", test_no_prepare_inside },
	{ "poll-set-is-sorted-merged-and-masked", test_query },
	{ "each-source-gets-the-events-it-asked-for", test_each_its_events },
	{ "poll-set-that-changed-meanwhile-is-not-looked-at", test_changed_set },
	{ "only-the-best-priority-is-dispatched", test_best_priority_only },
	{ "always-ready-one-starves-lower-priorities", test_starvation },
};

int main(int argc, char **argv)
{
	return run_cases(argc, argv, cases, ARRAY_SIZE(cases));
}
