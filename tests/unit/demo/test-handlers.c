/* SPDX-License-Identifier: MIT */
/*
 * File descriptor handlers: who is called, who is not any more, when nodes are freed.  Every test
 * is run with each fd monitor, and most both ways a context can be run: by aio_poll(), and as a
 * "gsource" by an iteration of GLib's.
 */
#include "loop-test.h"
#include <sys/socket.h>
#include "aio-posix.h"

static GMainContext *gcontext;

static void run_by_poll(void)
{
	aio_poll(test_ctx, false);
}

static void run_by_gsource(void)
{
	g_main_context_iteration(gcontext, FALSE);
}

static void (*run_once)(void);

/*
 * A and B are registered in this order, and then made ready in this order.  poll walks the list,
 * which has the last one registered first, and so does the submission to a ring; epoll tells in the
 * order of events.  A ready list reverses that; the older GSource has none.
 */
static bool a_goes_first(void)
{
	if (run_once == run_by_gsource && g_str_equal(test_monitor->era, "8.2"))
		return false;
	return test_monitor->fdmon != LOOP_FDMON_EPOLL;
}

/* A ready descriptor and what to do when it is called. */
typedef struct {
	EventNotifier e;
	const char *name;
	void (*then)(void);
} Fd;

static Fd fd_a = { .name = "A" }, fd_b = { .name = "B" };

static void fd_read(void *opaque)
{
	Fd *fd = opaque;

	event_notifier_test_and_clear(&fd->e);
	note(fd->name);
	if (fd->then)
		fd->then();
}

static void fd_watch(Fd *fd)
{
	aio_set_fd_handler(test_ctx, event_notifier_get_fd(&fd->e), fd_read, NULL, NULL, NULL, fd);
}

static void fd_unwatch(Fd *fd)
{
	aio_set_fd_handler(test_ctx, event_notifier_get_fd(&fd->e), NULL, NULL, NULL, NULL, NULL);
}

static void unwatch_both(void)
{
	fd_unwatch(&fd_a);
	fd_unwatch(&fd_b);
}

static void both_ready(void (*then)(void))
{
	fd_a.then = then;
	fd_b.then = then;
	fd_watch(&fd_a);
	fd_watch(&fd_b);
	event_notifier_set(&fd_a.e);
	event_notifier_set(&fd_b.e);
}

/* A ring gives a removed node back after it has heard of that, and told us. */
static void settle(void)
{
	if (test_monitor->fdmon == LOOP_FDMON_IO_URING) {
		run_once();
		run_once();
	}
}

static void all_quiet(void)
{
	unwatch_both();
	event_notifier_test_and_clear(&fd_a.e);
	event_notifier_test_and_clear(&fd_b.e);
	run_once();
	assert_order("");
}

static unsigned count_handlers(bool deleted_only)
{
	unsigned n = 0;
	AioHandler *node;

	QLIST_FOREACH (node, &test_ctx->aio_handlers, node)
		n += !deleted_only || aio_handler_deleted(node);
	return n;
}

#define handlers() count_handlers(false)
#define removed()  count_handlers(true)

/* --- both ways ---------------------------------------------------------------------------- */

static void test_each_once(void)
{
	both_ready(NULL);
	run_once();
	assert_order(a_goes_first() ? "AB" : "BA");
	run_once();
	assert_order("");
	all_quiet();
}

static void test_remove_other(void)
{
	both_ready(unwatch_both);
	run_once();
	assert_order(a_goes_first() ? "A" : "B");
	run_once();
	assert_order("");
	all_quiet();
}

static void remove_self(void)
{
	fd_unwatch(&fd_a);
	event_notifier_set(&fd_a.e); /* and it is ready again */
}

static void test_remove_self(void)
{
	fd_a.then = remove_self;
	fd_watch(&fd_a);
	event_notifier_set(&fd_a.e);
	run_once();
	assert_order("A");
	run_once();
	assert_order("");
	all_quiet();
}

static void stale_read(void *opaque G_GNUC_UNUSED)
{
	note("stale");
}

/* Whoever is called first takes the other's event away and gives its fd to another handler. */
static void readd_other(void)
{
	Fd *other = a_goes_first() ? &fd_b : &fd_a;

	fd_unwatch(other);
	event_notifier_test_and_clear(&other->e);
	aio_set_fd_handler(test_ctx, event_notifier_get_fd(&other->e), stale_read, NULL, NULL, NULL,
			   NULL);
}

static void test_no_stale_event(void)
{
	both_ready(readd_other);
	run_once();
	assert_order(a_goes_first() ? "A" : "B");
	run_once();
	assert_order("");
	all_quiet();
}

static void watch_other(void)
{
	fd_b.then = NULL;
	fd_watch(&fd_b);
}

static void test_new_waits(void)
{
	fd_a.then = watch_other;
	fd_watch(&fd_a);
	event_notifier_set(&fd_a.e);
	event_notifier_set(&fd_b.e);
	run_once();
	assert_order("A");
	run_once();
	assert_order("B");
	all_quiet();
}

static void nested_poll(void)
{
	note("(");
	aio_poll(test_ctx, false);
	note(")");
}

/* The other one is ready in the outer round too, and must not be called again there. */
static void test_nested_dispatches_once(void)
{
	both_ready(nested_poll);
	run_once();
	assert_order(a_goes_first() ? "A(B())" : "B(A())");
	run_once();
	assert_order("");
	all_quiet();
}

static unsigned before;

static void remove_both_and_nest(void)
{
	before = handlers();
	unwatch_both();
	g_assert_cmpuint(removed(), ==, 2);
	aio_poll(test_ctx, false);
	/* An outer walk may stand on them. */
	g_assert_cmpuint(removed(), ==, 2);
	g_assert_cmpuint(handlers(), ==, before);
}

static void test_deferred_deletion(void)
{
	both_ready(remove_both_and_nest);
	run_once();
	assert_order(a_goes_first() ? "A" : "B");
	settle();
	g_assert_cmpuint(removed(), ==, 0);
	g_assert_cmpuint(handlers(), ==, before - 2);
	all_quiet();
}

static int pair[2];

static void pair_read(void *opaque)
{
	char c;

	g_assert_cmpint(read(pair[0], &c, 1), >=, 0);
	note("r");
	if (opaque)
		aio_set_fd_handler(test_ctx, pair[0], NULL, NULL, NULL, NULL, NULL);
}

static void pair_write(void *opaque G_GNUC_UNUSED)
{
	note("w");
}

static void test_read_before_write(void)
{
	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), ==, 0);
	g_assert_cmpint(write(pair[1], "xy", 2), ==, 2);

	aio_set_fd_handler(test_ctx, pair[0], pair_read, pair_write, NULL, NULL, NULL);
	run_once();
	assert_order("rw");

	/* Removed by its read callback: no write any more. */
	aio_set_fd_handler(test_ctx, pair[0], pair_read, pair_write, NULL, NULL, &pair);
	run_once();
	assert_order("r");
	run_once();
	assert_order("");
	close(pair[0]);
	close(pair[1]);
}

static void hang_up_read(void *opaque)
{
	note("h");
	aio_set_fd_handler(test_ctx, GPOINTER_TO_INT(opaque), NULL, NULL, NULL, NULL, NULL);
}

static void test_hang_up(void)
{
	int fds[2];

	g_assert_cmpint(pipe(fds), ==, 0);
	aio_set_fd_handler(test_ctx, fds[0], hang_up_read, NULL, NULL, NULL,
			   GINT_TO_POINTER(fds[0]));
	close(fds[1]);
	run_once();
	assert_order("h");
	close(fds[0]);
}

static void read_nothing(void *opaque G_GNUC_UNUSED)
{
	note("!");
}

static void test_undrained(void)
{
	aio_set_fd_handler(test_ctx, fd_a.e.rfd, read_nothing, NULL, NULL, NULL, NULL);
	event_notifier_set(&fd_a.e);
	for (int i = 0; i < 5; i++)
		run_once();
	assert_order("!!!!!");
	all_quiet();
}

/* The fd is always writable and not yet readable. */
static void test_change_of_events(void)
{
	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), ==, 0);
	aio_set_fd_handler(test_ctx, pair[0], NULL, pair_write, NULL, NULL, NULL);
	run_once();
	assert_order("w");
	aio_set_fd_handler(test_ctx, pair[0], pair_read, NULL, NULL, NULL, NULL);
	run_once();
	run_once();
	assert_order("");
	g_assert_cmpint(write(pair[1], "x", 1), ==, 1);
	run_once();
	assert_order("r");
	aio_set_fd_handler(test_ctx, pair[0], NULL, pair_write, NULL, NULL, NULL);
	run_once();
	assert_order("w");
	aio_set_fd_handler(test_ctx, pair[0], NULL, NULL, NULL, NULL, NULL);
	run_once();
	assert_order("");
	close(pair[0]);
	close(pair[1]);
}

static void *watch_from_outside(void *opaque G_GNUC_UNUSED)
{
	fd_watch(&fd_a);
	fd_watch(&fd_b);
	fd_unwatch(&fd_b);
	event_notifier_set(&fd_a.e);
	event_notifier_set(&fd_b.e);
	return NULL;
}

static void *unwatch_from_outside(void *opaque G_GNUC_UNUSED)
{
	unwatch_both();
	event_notifier_set(&fd_a.e);
	return NULL;
}

static void run_thread(void *(*function)(void *))
{
	QemuThread thread;

	qemu_thread_create(&thread, "other", function, NULL, QEMU_THREAD_JOINABLE);
	qemu_thread_join(&thread);
}

static void test_from_other_thread(void)
{
	run_thread(watch_from_outside);
	run_once();
	assert_order("A");
	run_thread(unwatch_from_outside);
	run_once();
	run_once();
	assert_order("");
	all_quiet();
}

#define MANY 1000

static EventNotifier many[MANY];
static unsigned many_calls[MANY];

static void many_read(EventNotifier *e)
{
	event_notifier_test_and_clear(e);
	many_calls[e - many]++;
}

/* More than a ring or a call of epoll_wait() tells at once. */
static void test_many_ready(void)
{
	unsigned n = 0;

	memset(many_calls, 0, sizeof(many_calls));
	for (int i = 0; i < MANY; i++) {
		g_assert_cmpint(event_notifier_init(&many[i], true), ==, 0);
		aio_set_event_notifier(test_ctx, &many[i], many_read, NULL, NULL);
	}
	for (int round = 0; round < MANY && n < MANY; round++) {
		run_once();
		n = 0;
		for (int i = 0; i < MANY; i++)
			n += many_calls[i];
	}
	run_once();
	for (int i = 0; i < MANY; i++) {
		g_assert_cmpuint(many_calls[i], ==, 1);
		aio_set_event_notifier(test_ctx, &many[i], NULL, NULL, NULL);
		event_notifier_cleanup(&many[i]);
	}
	for (int i = 0; i < 20; i++)
		run_once();
	g_assert_cmpuint(handlers(), ==, 1);
}

/* --- registering -------------------------------------------------------------------------- */

static void test_one_node_per_fd(void)
{
	unsigned n = handlers();
	int fd = event_notifier_get_fd(&fd_a.e);

	aio_set_fd_handler(test_ctx, fd, stale_read, NULL, NULL, NULL, NULL);
	g_assert_cmpuint(handlers(), ==, n + 1);
	fd_watch(&fd_a); /* in its place */
	settle();
	g_assert_cmpuint(handlers(), ==, n + 1);
	g_assert_cmpuint(removed(), ==, 0);

	fd_unwatch(&fd_a);
	settle();
	g_assert_cmpuint(handlers(), ==, n);
	fd_unwatch(&fd_a); /* nothing left: nothing happens */
	g_assert_cmpuint(handlers(), ==, n);
}

static bool never(void *opaque G_GNUC_UNUSED)
{
	return false;
}

static void test_poll_disable_count(void)
{
	int fd = event_notifier_get_fd(&fd_a.e);

	g_assert_cmpint(test_ctx->poll_disable_cnt, ==, 0);
	fd_watch(&fd_a);
	g_assert_cmpint(test_ctx->poll_disable_cnt, ==, 1);
	/* An io_poll that nobody would hear is none. */
	aio_set_fd_handler(test_ctx, fd, note_cb, NULL, never, NULL, NULL);
	g_assert_cmpint(test_ctx->poll_disable_cnt, ==, 1);
	aio_set_fd_handler(test_ctx, fd, note_cb, NULL, never, note_cb, NULL);
	g_assert_cmpint(test_ctx->poll_disable_cnt, ==, 0);
	fd_watch(&fd_a);
	g_assert_cmpint(test_ctx->poll_disable_cnt, ==, 1);
	fd_unwatch(&fd_a);
	g_assert_cmpint(test_ctx->poll_disable_cnt, ==, 0);
}

static void test_progress(void)
{
	/* The context's own notifier is none.  (A poll that does not sleep may not see it.) */
	while (qatomic_read(&test_ctx->notified))
		aio_poll(test_ctx, false);
	event_notifier_set(&test_ctx->notifier);
	g_assert_false(aio_poll(test_ctx, true));
	g_assert_false(event_notifier_test_and_clear(&test_ctx->notifier));

	fd_a.then = NULL;
	fd_watch(&fd_a);
	event_notifier_set(&fd_a.e);
	g_assert_true(aio_poll(test_ctx, true));
	assert_order("A");
	fd_unwatch(&fd_a);
}

static void test_event_notifier(void)
{
	aio_set_event_notifier(test_ctx, &fd_a.e, (EventNotifierHandler *)fd_read, NULL, NULL);
	fd_a.then = NULL;
	event_notifier_set(&fd_a.e);
	event_notifier_set(&fd_a.e);
	g_assert_true(aio_poll(test_ctx, true));
	assert_order("A");
	g_assert_false(aio_poll(test_ctx, false));
	aio_set_event_notifier(test_ctx, &fd_a.e, NULL, NULL, NULL);
}

/* --- all monitors, both ways -------------------------------------------------------------- */

/* It has waited once: it is epoll if it is to be. */
static void begin(void (*run)(void))
{
	run_once = run;
	test_ctx = aio_context_new(&error_abort);
	qemu_set_current_aio_context(test_ctx);
	gcontext = g_main_context_new();
	g_source_attach(&test_ctx->source, gcontext);
	event_notifier_init(&fd_a.e, false);
	event_notifier_init(&fd_b.e, false);
	fd_a.then = NULL;
	fd_b.then = NULL;
	aio_poll(test_ctx, false);
	event_notifier_set(&test_ctx->notifier);
	aio_poll(test_ctx, true);
}

static void end(void)
{
	/* Removed and closed without another turn. */
	fd_watch(&fd_a);
	unwatch_both();
	event_notifier_cleanup(&fd_a.e);
	event_notifier_cleanup(&fd_b.e);
	g_source_destroy(&test_ctx->source);
	g_main_context_unref(gcontext);
	aio_context_unref(test_ctx);
}

/* The tests: each is run by the two functions after it. */
#define BOTH_WAYS(test)                                                                            \
	static void test##_by_poll(void)                                                           \
	{                                                                                          \
		begin(run_by_poll);                                                                \
		test();                                                                            \
		end();                                                                             \
	}                                                                                          \
	static void test##_by_gsource(void)                                                        \
	{                                                                                          \
		begin(run_by_gsource);                                                             \
		test();                                                                            \
		end();                                                                             \
	}

BOTH_WAYS(test_each_once)
BOTH_WAYS(test_remove_other)
BOTH_WAYS(test_remove_self)
BOTH_WAYS(test_no_stale_event)
BOTH_WAYS(test_new_waits)
BOTH_WAYS(test_nested_dispatches_once)
BOTH_WAYS(test_deferred_deletion)
BOTH_WAYS(test_read_before_write)
BOTH_WAYS(test_hang_up)
BOTH_WAYS(test_undrained)
BOTH_WAYS(test_change_of_events)
BOTH_WAYS(test_from_other_thread)
BOTH_WAYS(test_many_ready)
BOTH_WAYS(test_one_node_per_fd)
BOTH_WAYS(test_poll_disable_count)
BOTH_WAYS(test_progress)
BOTH_WAYS(test_event_notifier)

#define ADD(name, test)                                                                            \
	do {                                                                                       \
		add_monitor_tests("handler/poll", name, test##_by_poll);                           \
		add_monitor_tests("handler/gsource", name, test##_by_gsource);                     \
	} while (0)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	init_clocks(NULL);

	ADD("ready-ones-are-called-once", test_each_once);
	ADD("removed-ready-one-is-not-called", test_remove_other);
	ADD("may-remove-itself", test_remove_self);
	ADD("readded-fd-gets-no-stale-event", test_no_stale_event);
	ADD("added-in-a-callback-waits-for-the-next-round", test_new_waits);
	ADD("nested-poll-dispatches-an-event-once", test_nested_dispatches_once);
	ADD("removed-while-walked-is-freed-by-the-outermost", test_deferred_deletion);
	ADD("read-goes-before-write", test_read_before_write);
	ADD("hang-up-reaches-the-reader", test_hang_up);
	ADD("undrained-fd-is-called-each-round", test_undrained);
	ADD("modified-one-is-watched-for-the-new-events", test_change_of_events);
	ADD("added-and-removed-by-other-threads", test_from_other_thread);
	ADD("a-thousand-ready-ones-are-called-once-each", test_many_ready);
	ADD("one-node-per-fd", test_one_node_per_fd);
	ADD("those-without-io-poll-are-counted", test_poll_disable_count);
	ADD("own-notifier-is-no-progress", test_progress);
	ADD("event-notifier-set-twice-is-one-event", test_event_notifier);
	return g_test_run();
}
