/* SPDX-License-Identifier: MIT */
/*
 * Fd monitors: which one a context has, when that changes, what GLib sees of it, and what only
 * io_uring has.  That all of them call the same handlers is test-handlers.c.
 */
#include "loop-test.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include "aio-posix.h"
#include "iothread.h"
#include "mutants.h"

#define N_MAX 80

static EventNotifier fds[N_MAX];
static unsigned n_fds, calls;

static void use(const char *era, enum loop_fdmon fdmon)
{
	loop_settings.era = loop_era_by_name(era);
	loop_settings.fdmon = fdmon;
	test_ctx = aio_context_new(&error_abort);
	qemu_set_current_aio_context(test_ctx);
}

static void fd_read(EventNotifier *e)
{
	event_notifier_test_and_clear(e);
	calls++;
}

/* It has @n handlers then: its notifier's, and eventfds. */
static void watch(unsigned n)
{
	while (n_fds + 1 < n) {
		g_assert_cmpint(event_notifier_init(&fds[n_fds], false), ==, 0);
		aio_set_event_notifier(test_ctx, &fds[n_fds++], fd_read, NULL, NULL);
	}
}

static void unwatch_all(void)
{
	while (n_fds > 0) {
		aio_set_event_notifier(test_ctx, &fds[--n_fds], NULL, NULL, NULL);
		event_notifier_cleanup(&fds[n_fds]);
	}
}

/* One of them is ready, is called, and nothing else. */
static void expect_works(void)
{
	for (unsigned i = 0; i < n_fds; i += 7) {
		calls = 0;
		event_notifier_set(&fds[i]);
		while (!aio_poll(test_ctx, true))
			;
		g_assert_cmpuint(calls, ==, 1);
	}
}

static void done(void)
{
	unwatch_all();
	aio_context_unref(test_ctx);
}

/* Each test in a thread of its own, which is home to the context. */
static void *test_thread(void *opaque)
{
	GTestFunc func;

	memcpy(&func, &opaque, sizeof(func));
	func();
	return NULL;
}

static void run_test(gconstpointer data)
{
	QemuThread thread;

	n_fds = 0;
	qemu_thread_create(&thread, "test", test_thread, (void *)data, QEMU_THREAD_JOINABLE);
	qemu_thread_join(&thread);
}

static void add_test(const char *path, GTestFunc func)
{
	gconstpointer data;

	memcpy(&data, &func, sizeof(data));
	g_test_add_data_func(path, data, run_test);
}

/* --- epoll -------------------------------------------------------------------------------- */

static void test_threshold(void)
{
	use("8.2", LOOP_FDMON_UNKNOWN);
	watch(63);
	expect_works();
	g_assert_true(test_ctx->fdmon_ops == &fdmon_poll_ops);
	watch(64);
	expect_works();
	g_assert_true(test_ctx->fdmon_ops == &fdmon_epoll_ops);
	unwatch_all();
	watch(2);
	expect_works();
	g_assert_true(test_ctx->fdmon_ops == &fdmon_epoll_ops); /* it stays */
	done();
}

static bool upgraded_inside;

static void polls_again(void *opaque G_GNUC_UNUSED)
{
	expect_works();
	upgraded_inside = test_ctx->fdmon_ops == &fdmon_epoll_ops;
}

static void test_not_while_walked(void)
{
	use("8.2", LOOP_FDMON_UNKNOWN);
	watch(70);
	aio_bh_schedule_oneshot(test_ctx, polls_again, NULL);
	qemu_lockcnt_inc(&test_ctx->list_lock);
	g_assert_true(aio_poll(test_ctx, true));
	qemu_lockcnt_dec(&test_ctx->list_lock);
	g_assert_false(upgraded_inside);
	g_assert_true(test_ctx->fdmon_ops == &fdmon_poll_ops);
	expect_works();
	g_assert_true(test_ctx->fdmon_ops == &fdmon_epoll_ops);
	done();
}

/*
 * Another thread adds a handler amid the upgrade, when the handlers have been copied and epoll is
 * not yet in force.  Our epoll_ctl() is the library's, too: at the call for the last handler it
 * lets the other thread run, until that has added its own or waits for a lock.
 */
static EventNotifier added_amid;
static unsigned epoll_adds_left;
static int adder_id;

static void *add_amid(void *unused G_GNUC_UNUSED)
{
	qatomic_set(&adder_id, qemu_get_thread_id());
	aio_set_event_notifier(test_ctx, &added_amid, fd_read, NULL, NULL);
	qatomic_set(&adder_id, -1);
	return NULL;
}

static bool waits_for_a_lock(int thread_id)
{
	char *path = g_strdup_printf("/proc/self/task/%d/syscall", thread_id), *text = NULL;
	bool waits = g_file_get_contents(path, &text, NULL, NULL) && atoi(text) == SYS_futex;

	g_free(text);
	g_free(path);
	return waits;
}

static QemuThread adder;

static void let_another_add(AioContext *ctx G_GNUC_UNUSED)
{
	int id;

	qemu_thread_create(&adder, "adder", add_amid, NULL, QEMU_THREAD_JOINABLE);
	do {
		sched_yield();
		id = qatomic_read(&adder_id);
	} while (id == 0 || (id > 0 && !waits_for_a_lock(id)));
}

int epoll_ctl(int epollfd, int op, int fd, struct epoll_event *event)
{
	if (epoll_adds_left && --epoll_adds_left == 0)
		let_another_add(NULL);
	return syscall(SYS_epoll_ctl, epollfd, op, fd, event);
}

/* Calls of the handler that was added, which was ready when it was. */
static unsigned upgrade_with_another_added(void)
{
	use("8.2", LOOP_FDMON_UNKNOWN);
	watch(64);
	g_assert_cmpint(event_notifier_init(&added_amid, true), ==, 0);
	adder_id = 0;
	calls = 0;
	while (test_ctx->fdmon_ops == &fdmon_poll_ops) {
		aio_notify(test_ctx);
		aio_poll(test_ctx, true);
	}
	qemu_thread_join(&adder);
	while (aio_poll(test_ctx, false))
		;
	return calls;
}

static void end_with_another_added(void)
{
	aio_set_event_notifier(test_ctx, &added_amid, NULL, NULL, NULL);
	event_notifier_cleanup(&added_amid);
	done();
}

static void test_added_amid_upgrade(void)
{
	epoll_adds_left = 64;
	g_assert_cmpuint(upgrade_with_another_added(), ==, 1);
	g_assert_cmpuint(epoll_adds_left, ==, 0);
	end_with_another_added();
}

/* So that test can fail: the same without the lock. */
static void test_added_amid_unlocked_upgrade(void)
{
	mutant_unlocked_upgrade = let_another_add;
	g_assert_cmpuint(upgrade_with_another_added(), ==, 0);
	mutant_unlocked_upgrade = NULL;
	g_assert_true(fd_readable(event_notifier_get_fd(&added_amid)));
	end_with_another_added();
}

static void test_old_gsource_is_not_upgraded(void)
{
	GMainContext *gcontext = g_main_context_new();

	use("8.2", LOOP_FDMON_UNKNOWN);
	g_source_attach(&test_ctx->source, gcontext);
	watch(70);
	for (int i = 0; i < 3; i++) {
		event_notifier_set(&fds[i]);
		g_main_context_iteration(gcontext, TRUE);
	}
	g_assert_true(test_ctx->fdmon_ops == &fdmon_poll_ops);
	g_source_destroy(&test_ctx->source);
	g_main_context_unref(gcontext);
	done();
}

static unsigned file_calls;

static void file_read(void *opaque G_GNUC_UNUSED)
{
	qatomic_inc(&file_calls);
}

static void expect_file_ready(int file)
{
	/* Poll says of a regular file that it is always ready. */
	qatomic_set(&file_calls, 0);
	aio_poll(test_ctx, true);
	aio_poll(test_ctx, true);
	g_assert_cmpuint(file_calls, >=, 1);
	aio_set_fd_handler(test_ctx, file, NULL, NULL, NULL, NULL, NULL);
}

/* epoll_ctl() says EPERM to a regular file. */
static void test_file_at_upgrade(void)
{
	int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	use("8.2", LOOP_FDMON_UNKNOWN);
	aio_set_fd_handler(test_ctx, file, file_read, NULL, NULL, NULL, NULL);
	watch(70);
	expect_file_ready(file);
	g_assert_true(test_ctx->fdmon_ops == &fdmon_poll_ops);
	expect_works();
	g_assert_true(test_ctx->fdmon_ops == &fdmon_poll_ops); /* for ever */
	g_assert_cmpint(test_ctx->epollfd, ==, -1);
	g_assert_cmpint(test_ctx->epollfd_retired, ==, -1);
	done();
	close(file);
}

static void test_file_after_upgrade(void)
{
	int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), epollfd;

	use("8.2", LOOP_FDMON_UNKNOWN);
	watch(70);
	expect_works();
	epollfd = test_ctx->epollfd;
	g_assert_true(test_ctx->fdmon_ops == &fdmon_epoll_ops);
	aio_set_fd_handler(test_ctx, file, file_read, NULL, NULL, NULL, NULL);
	g_assert_true(test_ctx->fdmon_ops == &fdmon_poll_ops);
	expect_file_ready(file);
	expect_works();
	g_assert_true(test_ctx->fdmon_ops == &fdmon_poll_ops);
	g_assert_cmpint(fcntl(epollfd, F_GETFD), ==, -1); /* closed */
	done();
	close(file);
}

/* From a thread that is not home, which sleeps on the epoll instance. */
static void test_file_while_asleep(void)
{
	IOThread *io;
	int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	loop_settings.era = loop_era_by_name("8.2");
	loop_settings.fdmon = LOOP_FDMON_EPOLL;
	for (int i = 0; i < 50; i++) {
		io = iothread_create("t0", &error_abort);
		while (qatomic_read(&io->ctx->fdmon_ops) != &fdmon_epoll_ops)
			aio_notify(io->ctx);
		qatomic_set(&file_calls, 0);
		aio_set_fd_handler(io->ctx, file, file_read, NULL, NULL, NULL, NULL);
		while (!qatomic_read(&file_calls))
			sched_yield();
		aio_set_fd_handler(io->ctx, file, NULL, NULL, NULL, NULL, NULL);
		iothread_destroy(io);
	}
	close(file);
}

/* --- what GLib polls ---------------------------------------------------------------------- */

static int gsource_fds(GMainContext *gcontext)
{
	GPollFD pollfds[N_MAX];
	gint priority, timeout;
	int n;

	g_assert_true(g_main_context_acquire(gcontext));
	g_main_context_prepare(gcontext, &priority);
	g_main_context_prepare(gcontext, &priority);
	n = g_main_context_query(gcontext, priority, &timeout, pollfds, N_MAX);
	g_poll(pollfds, n, 0);
	if (g_main_context_check(gcontext, priority, pollfds, n))
		g_main_context_dispatch(gcontext);
	g_main_context_release(gcontext);
	return n;
}

/* GLib's own wake-up is one of them. */
static void expect_gsource_fds(const char *era, enum loop_fdmon fdmon, int n)
{
	GMainContext *gcontext = g_main_context_new();

	use(era, fdmon);
	g_source_attach(&test_ctx->source, gcontext);
	watch(20);
	g_assert_cmpint(gsource_fds(gcontext), ==, n);
	calls = 0;
	event_notifier_set(&fds[3]);
	g_main_context_iteration(gcontext, TRUE);
	g_assert_cmpuint(calls, ==, 1);
	g_source_destroy(&test_ctx->source);
	g_main_context_unref(gcontext);
	done();
}

static void test_gsource_poll(void)
{
	expect_gsource_fds("10.2", LOOP_FDMON_POLL, 21);
}

static void test_gsource_old(void)
{
	expect_gsource_fds("8.2", LOOP_FDMON_EPOLL, 21);
}

static void test_gsource_epoll(void)
{
	expect_gsource_fds("10.2", LOOP_FDMON_EPOLL, 2);
}

static void test_gsource_io_uring(void)
{
	expect_gsource_fds("10.2", LOOP_FDMON_UNKNOWN, 2);
}

static void test_gsource_epoll_file(void)
{
	int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	GMainContext *gcontext = g_main_context_new();

	use("10.2", LOOP_FDMON_EPOLL);
	g_source_attach(&test_ctx->source, gcontext);
	watch(20);
	g_assert_cmpint(gsource_fds(gcontext), ==, 2);
	qatomic_set(&file_calls, 0);
	aio_set_fd_handler(test_ctx, file, file_read, NULL, NULL, NULL, NULL);
	g_assert_cmpint(gsource_fds(gcontext), ==, 22);
	g_assert_cmpuint(file_calls, ==, 1);
	aio_set_fd_handler(test_ctx, file, NULL, NULL, NULL, NULL, NULL);
	g_assert_cmpint(gsource_fds(gcontext), ==, 21);
	calls = 0;
	event_notifier_set(&fds[3]);
	g_main_context_iteration(gcontext, TRUE);
	g_assert_cmpuint(calls, ==, 1);
	g_source_destroy(&test_ctx->source);
	g_main_context_unref(gcontext);
	done();
	close(file);
}

/* --- io_uring ----------------------------------------------------------------------------- */

static unsigned length_of_list(void)
{
	unsigned n = 0;
	AioHandler *node;

	QLIST_FOREACH (node, &test_ctx->aio_handlers, node)
		n++;
	return n;
}

/* In an older QEMU it is the monitor of who never asks for the GSource. */
static void test_old_ring_ends_with_gsource(void)
{
	use("8.2", LOOP_FDMON_IO_URING);
	watch(20);
	expect_works();
	g_assert_true(test_ctx->fdmon_ops == &fdmon_io_uring_ops);

	aio_set_event_notifier(test_ctx, &fds[--n_fds], NULL, NULL, NULL); /* armed, not told */
	event_notifier_cleanup(&fds[n_fds]);
	g_source_unref(aio_get_g_source(test_ctx));
	g_assert_true(test_ctx->fdmon_ops == &fdmon_poll_ops);
	g_assert_cmpuint(length_of_list(), ==, 19);
	expect_works();
	done();
}

static CqeHandler cqes[3];

static void cqe_note(CqeHandler *handler)
{
	g_assert_cmpint(handler->cqe.res, ==, 0);
	note(handler == &cqes[0] ? "0" : handler == &cqes[1] ? "1" : "2");
}

static void prepare_nop(struct io_uring_sqe *sqe, void *opaque)
{
	g_assert_true(opaque == &calls);
	io_uring_prep_nop(sqe);
}

static void add_nops(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(cqes); i++) {
		cqes[i].cb = cqe_note;
		aio_add_sqe(prepare_nop, &calls, &cqes[i]);
	}
}

static void test_requests(void)
{
	GMainContext *gcontext = g_main_context_new();

	use("10.2", LOOP_FDMON_UNKNOWN);
	g_assert_true(aio_has_io_uring());
	add_nops();
	aio_bh_schedule_oneshot(test_ctx, note_cb, (void *)"b");
	g_assert_true(aio_poll(test_ctx, true));
	assert_order("012b");
	add_nops();
	g_assert_true(aio_poll(test_ctx, false)); /* they are progress by themselves */
	assert_order("012");

	g_source_attach(&test_ctx->source, gcontext);
	add_nops();
	g_main_context_iteration(gcontext, TRUE);
	assert_order("012");
	g_source_destroy(&test_ctx->source);
	g_main_context_unref(gcontext);
	done();
}

static void test_no_requests_without_ring(void)
{
	use("10.2", LOOP_FDMON_POLL);
	g_assert_false(aio_has_io_uring());
	done();
}

static void *poll_once(void *opaque G_GNUC_UNUSED)
{
	qemu_set_current_aio_context(test_ctx);
	watch(20);
	aio_poll(test_ctx, false);
	return NULL;
}

/* The kernel takes back the requests of a thread that ends: here all the handlers'. */
static void test_submitter_ends(void)
{
	QemuThread thread;

	use("10.2", LOOP_FDMON_UNKNOWN);
	qemu_thread_create(&thread, "poller", poll_once, NULL, QEMU_THREAD_JOINABLE);
	qemu_thread_join(&thread);
	g_assert_cmpuint(n_fds, ==, 19);
	expect_works();
	done();
}

/* --- what the host forbids ---------------------------------------------------------------- */

static void forbid(int syscall)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)syscall, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = ARRAY_SIZE(filter), .filter = filter };

	g_assert_cmpint(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), ==, 0);
	g_assert_cmpint(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), ==, 0);
}

/* Of the thread that is this test. */
static void test_no_io_uring(void)
{
	GMainContext *gcontext = g_main_context_new();

	forbid(SYS_io_uring_setup);
	use("10.2", LOOP_FDMON_UNKNOWN);
	g_source_attach(&test_ctx->source, gcontext);
	watch(63);
	g_assert_cmpint(gsource_fds(gcontext), ==, 64);
	g_assert_true(test_ctx->fdmon_ops == &fdmon_poll_ops);
	watch(64); /* today also by GLib */
	g_assert_cmpint(gsource_fds(gcontext), ==, 2);
	g_assert_true(test_ctx->fdmon_ops == &fdmon_epoll_ops);
	expect_works();
	g_source_destroy(&test_ctx->source);
	g_main_context_unref(gcontext);
	done();
}

static void test_no_epoll_either(void)
{
	forbid(SYS_io_uring_setup);
	forbid(SYS_epoll_create1);
	use("10.2", LOOP_FDMON_UNKNOWN);
	watch(70);
	expect_works();
	g_assert_true(test_ctx->fdmon_ops == &fdmon_poll_ops);
	g_assert_cmpint(test_ctx->epollfd, ==, -1);
	done();
}

/* --- from all sides ----------------------------------------------------------------------- */

#define ROUNDS 2000

static IOThread *io;
static unsigned io_calls;

static void io_read(EventNotifier *e)
{
	if (event_notifier_test_and_clear(e))
		qatomic_inc(&io_calls);
}

/* Each is watched, set, served, and removed while others are served. */
static void *watch_and_set(void *unused G_GNUC_UNUSED)
{
	for (int i = 0; i < ROUNDS; i++) {
		EventNotifier e;
		unsigned before = qatomic_read(&io_calls);

		g_assert_cmpint(event_notifier_init(&e, i % 2), ==, 0);
		aio_set_event_notifier(io->ctx, &e, io_read, NULL, NULL);
		if (i % 3 == 0) /* another node for it */
			aio_set_event_notifier(io->ctx, &e, io_read, NULL, NULL);
		event_notifier_set(&e);
		if (i % 5) {
			while (qatomic_read(&io_calls) == before)
				sched_yield();
		}
		aio_set_event_notifier(io->ctx, &e, NULL, NULL, NULL);

		/* Its callback may be running: the home thread is asked to be done with it. */
		aio_bh_schedule_oneshot(io->ctx, (QEMUBHFunc *)qemu_sem_post, &io->init_done_sem);
		qemu_sem_wait(&io->init_done_sem);
		event_notifier_cleanup(&e);
	}
	return NULL;
}

static void test_from_all_sides(void)
{
	QemuThread thread;

	io_calls = 0;
	io = iothread_create("t0", &error_abort);
	qemu_thread_create(&thread, "setter", watch_and_set, NULL, QEMU_THREAD_JOINABLE);
	qemu_thread_join(&thread);
	g_assert_cmpuint(io_calls, >=, ROUNDS / 5 * 4);
	iothread_destroy(io);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	init_clocks(NULL);
	add_test("/fdmon/epoll/from-64-handlers-on", test_threshold);
	add_test("/fdmon/epoll/not-while-somebody-walks", test_not_while_walked);
	add_test("/fdmon/epoll/added-by-another-amid-the-upgrade-is-not-lost",
		 test_added_amid_upgrade);
	add_test("/fdmon/epoll/without-the-lock-it-would-be-lost",
		 test_added_amid_unlocked_upgrade);
	add_test("/fdmon/epoll/not-by-glib-in-older-eras", test_old_gsource_is_not_upgraded);
	add_test("/fdmon/epoll/a-file-prevents-it", test_file_at_upgrade);
	add_test("/fdmon/epoll/a-file-ends-it-for-ever", test_file_after_upgrade);
	add_test("/fdmon/epoll/ended-by-others-while-asleep", test_file_while_asleep);
	add_test("/fdmon/gsource/poll-has-an-fd-a-handler", test_gsource_poll);
	add_test("/fdmon/gsource/older-eras-have-an-fd-a-handler", test_gsource_old);
	add_test("/fdmon/gsource/epoll-has-one-fd", test_gsource_epoll);
	add_test("/fdmon/gsource/io_uring-has-one-fd", test_gsource_io_uring);
	add_test("/fdmon/gsource/a-file-brings-the-handlers-back", test_gsource_epoll_file);
	add_test("/fdmon/io_uring/older-eras-give-it-up-for-glib", test_old_ring_ends_with_gsource);
	add_test("/fdmon/io_uring/requests-complete-in-order-before-bhs", test_requests);
	add_test("/fdmon/io_uring/none-without-a-ring", test_no_requests_without_ring);
	add_test("/fdmon/io_uring/outlives-the-thread-that-submitted", test_submitter_ends);
	add_test("/fdmon/without-io_uring-it-is-poll-then-epoll", test_no_io_uring);
	add_test("/fdmon/without-both-it-is-poll", test_no_epoll_either);
	add_monitor_tests("fdmon", "added-set-and-removed-while-it-runs", test_from_all_sides);
	return g_test_run();
}
