/* SPDX-License-Identifier: MIT */
/*
 * GLib's own rules for its sources, which the loop and the tools that look at it stand on: who is
 * asked in prepare and check, in which order, what the poll set has, who is dispatched.  The
 * sources note "p" for prepare, "c" for check, then their names; their dispatch the name alone.
 */
#include "loop-test.h"
#include <sys/socket.h>

/* Of GSource.flags, as GHook has them and gmain.c, which does not tell. */
#define ACTIVE	    (1u << 0)
#define READY	    (1u << G_HOOK_FLAG_USER_SHIFT)
#define CAN_RECURSE (1u << (G_HOOK_FLAG_USER_SHIFT + 1))
#define BLOCKED	    (1u << (G_HOOK_FLAG_USER_SHIFT + 2))

typedef struct TestSource {
	GSource source;
	const char *name;
	bool ready_in_prepare, ready_in_check, ends;
	int timeout; /* ms */
	void (*then)(struct TestSource *s);
} TestSource;

static GMainContext *gcontext;

static void note_step(const char *step, const TestSource *s)
{
	note(step);
	note(s->name);
}

static gboolean test_prepare(GSource *source, gint *timeout)
{
	TestSource *s = (TestSource *)source;

	note_step("p", s);
	*timeout = s->timeout;
	return s->ready_in_prepare;
}

static gboolean test_check(GSource *source)
{
	TestSource *s = (TestSource *)source;

	note_step("c", s);
	return s->ready_in_check;
}

static gboolean test_dispatch(GSource *source, GSourceFunc callback G_GNUC_UNUSED,
			      gpointer opaque G_GNUC_UNUSED)
{
	TestSource *s = (TestSource *)source;

	note(s->name);
	if (s->then)
		s->then(s);
	return !s->ends;
}

static GSourceFuncs test_funcs = {
	.prepare = test_prepare,
	.check = test_check,
	.dispatch = test_dispatch,
};

static TestSource *add(const char *name, int priority)
{
	TestSource *s = (TestSource *)g_source_new(&test_funcs, sizeof(*s));

	s->name = name;
	s->timeout = -1;
	g_source_set_priority(&s->source, priority);
	g_source_attach(&s->source, gcontext);
	return s;
}

static void drop(TestSource *s)
{
	g_source_destroy(&s->source);
	g_source_unref(&s->source);
}

static void begin(void)
{
	gcontext = g_main_context_new();
	g_assert_true(g_main_context_acquire(gcontext));
}

static void end(void)
{
	g_main_context_release(gcontext);
	g_main_context_unref(gcontext);
}

/* The steps of an iteration, as QEMU's main loop takes them. */
static struct {
	int priority, timeout, n;
	GPollFD fds[16];
} loop;

static bool prepare(void)
{
	return g_main_context_prepare(gcontext, &loop.priority);
}

static void query(void)
{
	loop.n = g_main_context_query(gcontext, loop.priority, &loop.timeout, loop.fds,
				      ARRAY_SIZE(loop.fds));
	g_assert_cmpint(loop.n, <=, ARRAY_SIZE(loop.fds));
}

static bool poll_and_check(void)
{
	g_poll(loop.fds, loop.n, 0);
	return g_main_context_check(gcontext, loop.priority, loop.fds, loop.n);
}

static bool iterate(void)
{
	bool ready;

	prepare();
	query();
	ready = poll_and_check();
	g_main_context_dispatch(gcontext);
	return ready;
}

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

/* --- dispatch ----------------------------------------------------------------------------- */

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

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	init_clocks(NULL);

#define ADD(name, test) g_test_add_func("/gsource/" name, test)
	ADD("asked-by-priority-until-one-is-ready", test_priorities);
	ADD("ready-one-is-not-asked-again", test_ready_is_not_asked);
	ADD("timeout-is-the-shortest", test_timeouts);
	ADD("ready-time-is-rounded-up-to-milliseconds", test_ready_time);
	ADD("prepare-inside-prepare-or-check-is-refused", test_no_prepare_inside);
	ADD("poll-set-is-sorted-merged-and-masked", test_query);
	ADD("each-source-gets-the-events-it-asked-for", test_each_its_events);
	ADD("poll-set-that-changed-meanwhile-is-not-looked-at", test_changed_set);
	ADD("only-the-best-priority-is-dispatched", test_best_priority_only);
	ADD("always-ready-one-starves-lower-priorities", test_starvation);
	ADD("dispatch-that-returns-false-ends-it", test_false_destroys);
	ADD("destroyed-while-pending-is-not-dispatched", test_destroyed_while_pending);
	ADD("dispatched-one-leaves-the-poll-set", test_blocked);
	ADD("one-that-may-recurse-is-dispatched-inside-itself", test_can_recurse);
	ADD("nested-iteration-takes-over-what-was-pending", test_nested_takes_over);
	ADD("one-thread-owns-a-context", test_owner);
	ADD("only-another-owner-is-woken", test_wake_up);
	ADD("aio-context-may-be-dispatched-inside-itself", test_context_recurses);
	ADD("aio-context-is-ready-for-what-it-will-call", test_context_ready);
	return g_test_run();
}
