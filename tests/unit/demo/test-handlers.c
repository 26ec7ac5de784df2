/* SPDX-License-Identifier: MIT */
/*
 * File descriptor handlers: who is called, who is not any more, when nodes are freed.  Most tests
 * run both ways a context can be run: "poll" is aio_poll(), "gsource" an iteration of GLib's.
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

static void all_quiet(void)
{
	unwatch_both();
	event_notifier_test_and_clear(&fd_a.e);
	event_notifier_test_and_clear(&fd_b.e);
	run_once();
	assert_order("");
}

static unsigned list_length(AioHandlerList *list, bool deleted_list)
{
	unsigned n = 0;
	AioHandler *node;

	if (deleted_list) {
		QLIST_FOREACH (node, list, node_deleted)
			n++;
	} else {
		QLIST_FOREACH (node, list, node)
			n++;
	}
	return n;
}

#define handlers() list_length(&test_ctx->aio_handlers, false)
#define removed()  list_length(&test_ctx->deleted_aio_handlers, true)

/* --- both ways ---------------------------------------------------------------------------- */

static void test_each_once(void)
{
	both_ready(NULL);
	run_once();
	/* By poll: one list reverses the other.  By GSource: last registered, first walked. */
	assert_order(run_once == run_by_poll ? "AB" : "BA");
	run_once();
	assert_order("");
	all_quiet();
}

static void test_remove_other(void)
{
	both_ready(unwatch_both);
	run_once();
	assert_order(run_once == run_by_poll ? "A" : "B");
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
	Fd *other = run_once == run_by_poll ? &fd_b : &fd_a;

	fd_unwatch(other);
	event_notifier_test_and_clear(&other->e);
	aio_set_fd_handler(test_ctx, event_notifier_get_fd(&other->e), stale_read, NULL, NULL, NULL,
			   NULL);
}

static void test_no_stale_event(void)
{
	both_ready(readd_other);
	run_once();
	assert_order(run_once == run_by_poll ? "A" : "B");
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
	assert_order(run_once == run_by_poll ? "A(B())" : "B(A())");
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
	assert_order(run_once == run_by_poll ? "A" : "B");
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

/* --- registering -------------------------------------------------------------------------- */

static void test_one_node_per_fd(void)
{
	unsigned n = handlers();
	int fd = event_notifier_get_fd(&fd_a.e);

	aio_set_fd_handler(test_ctx, fd, stale_read, NULL, NULL, NULL, NULL);
	g_assert_cmpuint(handlers(), ==, n + 1);
	fd_watch(&fd_a); /* in its place */
	g_assert_cmpuint(handlers(), ==, n + 1);
	g_assert_cmpuint(removed(), ==, 0);

	fd_unwatch(&fd_a);
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
	/* The context's own notifier is none.  (A poll that does not sleep would not see it.) */
	aio_notify_accept(test_ctx);
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

/* --- both ways, each by its name ---------------------------------------------------------- */

static GTestFunc current;

static void by_poll(gconstpointer test)
{
	run_once = run_by_poll;
	memcpy(&current, &test, sizeof(current));
	current();
}

static void by_gsource(gconstpointer test)
{
	run_once = run_by_gsource;
	memcpy(&current, &test, sizeof(current));
	current();
}

static void add_both_ways(const char *name, GTestFunc test)
{
	char *path = g_strdup_printf("/handler/poll/%s", name);
	gconstpointer data;

	memcpy(&data, &test, sizeof(data));
	g_test_add_data_func(path, data, by_poll);
	g_free(path);
	path = g_strdup_printf("/handler/gsource/%s", name);
	g_test_add_data_func(path, data, by_gsource);
	g_free(path);
}

int main(int argc, char **argv)
{
	int ret;

	g_test_init(&argc, &argv, NULL);
	test_ctx_init();
	gcontext = g_main_context_new();
	g_source_attach(&test_ctx->source, gcontext);
	event_notifier_init(&fd_a.e, false);
	event_notifier_init(&fd_b.e, false);

	add_both_ways("ready-ones-are-called-once", test_each_once);
	add_both_ways("removed-ready-one-is-not-called", test_remove_other);
	add_both_ways("may-remove-itself", test_remove_self);
	add_both_ways("readded-fd-gets-no-stale-event", test_no_stale_event);
	add_both_ways("added-in-a-callback-waits-for-the-next-round", test_new_waits);
	add_both_ways("nested-poll-dispatches-an-event-once", test_nested_dispatches_once);
	add_both_ways("removed-while-walked-is-freed-by-the-outermost", test_deferred_deletion);
	add_both_ways("read-goes-before-write", test_read_before_write);
	add_both_ways("hang-up-reaches-the-reader", test_hang_up);
	g_test_add_func("/handler/one-node-per-fd", test_one_node_per_fd);
	g_test_add_func("/handler/those-without-io-poll-are-counted", test_poll_disable_count);
	g_test_add_func("/handler/own-notifier-is-no-progress", test_progress);
	g_test_add_func("/handler/event-notifier-set-twice-is-one-event", test_event_notifier);
	ret = g_test_run();

	event_notifier_cleanup(&fd_a.e);
	event_notifier_cleanup(&fd_b.e);
	g_source_destroy(&test_ctx->source);
	g_main_context_unref(gcontext);
	test_ctx_exit();
	return ret;
}
