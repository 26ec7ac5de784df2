/* SPDX-License-Identifier: MIT */
/*
 * For the unit tests of the loop: a record of what was called, in order, and the context they poll.
 * One process per test file, one thread that is home to test_ctx.
 */
#ifndef LOOP_TEST_H
#define LOOP_TEST_H

#include "osdep.h"
#include <poll.h>
#include "aio.h"

static AioContext *test_ctx;
static GString *test_noted;

/* Appends. */
static inline void note(const char *what)
{
	if (!test_noted)
		test_noted = g_string_new(NULL);
	g_string_append(test_noted, what);
}

/* As a callback of any kind: notes its opaque, a string. */
static inline void note_cb(void *opaque)
{
	note(opaque);
}

/* What was noted since the last time must be @expected. */
#define assert_order(expected)                                                                     \
	do {                                                                                       \
		g_assert_cmpstr(test_noted ? test_noted->str : "", ==, expected);                  \
		if (test_noted)                                                                    \
			g_string_truncate(test_noted, 0);                                          \
	} while (0)

/* For a file whose tests need no main loop. */
static inline void test_ctx_init(void)
{
	init_clocks(NULL);
	test_ctx = aio_context_new(&error_abort);
	qemu_set_current_aio_context(test_ctx);
}

static inline void test_ctx_exit(void)
{
	while (aio_poll(test_ctx, false))
		;
	aio_context_unref(test_ctx);
	if (test_noted)
		g_string_free(test_noted, TRUE);
	test_noted = NULL;
}

/* --- every way to wait -------------------------------------------------------------------- */

/* Those who run a context in another way than by default make it after test_monitor_use(). */
typedef struct {
	const char *name, *era;
	enum loop_fdmon fdmon;
} TestMonitor;

static const TestMonitor test_monitors[] = {
	{ "poll", "10.2", LOOP_FDMON_POLL },	     { "poll-8.2", "8.2", LOOP_FDMON_POLL },
	{ "epoll", "10.2", LOOP_FDMON_EPOLL },	     { "epoll-8.2", "8.2", LOOP_FDMON_EPOLL },
	{ "io_uring", "10.2", LOOP_FDMON_IO_URING },
};

static const TestMonitor *test_monitor;

static inline void test_monitor_use(const TestMonitor *monitor)
{
	test_monitor = monitor;
	loop_settings.era = loop_era_by_name(monitor->era);
	loop_settings.fdmon = monitor->fdmon;
}

/* A whole file's tests are run with one of them if $LOOP_TEST_MONITOR names it. */
static void __attribute__((constructor)) test_monitor_of_environment(void)
{
	const char *name = getenv("LOOP_TEST_MONITOR");

	for (unsigned i = 0; name && i < ARRAY_SIZE(test_monitors); i++) {
		if (g_str_equal(name, test_monitors[i].name)) {
			test_monitor_use(&test_monitors[i]);
			return;
		}
	}
	if (name)
		g_error("no monitor '%s'", name);
}

/*
 * A test that is to be run with each monitor is added by this, as "/@prefix/MONITOR/@name".
 * test_monitor says which one it is.
 */
typedef struct {
	const TestMonitor *monitor;
	GTestFunc func;
} MonitorTest;

static inline void *monitor_test_thread(void *opaque)
{
	const MonitorTest *test = opaque;

	test->func();
	return NULL;
}

/* In a thread of its own, as a thread is home to one context in all its life. */
static inline void run_monitor_test(gconstpointer opaque)
{
	const MonitorTest *test = opaque;
	QemuThread thread;

	test_monitor_use(test->monitor);
	qemu_thread_create(&thread, "test", monitor_test_thread, (void *)test,
			   QEMU_THREAD_JOINABLE);
	qemu_thread_join(&thread);
}

static inline void add_monitor_test(const TestMonitor *monitor, const char *prefix,
				    const char *name, GTestFunc func)
{
	MonitorTest *test = g_new(MonitorTest, 1);
	char *path = g_strdup_printf("/%s/%s/%s", prefix, monitor->name, name);

	*test = (MonitorTest){ monitor, func };
	g_test_add_data_func_full(path, test, run_monitor_test, g_free);
	g_free(path);
}

static inline void add_monitor_tests(const char *prefix, const char *name, GTestFunc func)
{
	for (unsigned i = 0; i < ARRAY_SIZE(test_monitors); i++)
		add_monitor_test(&test_monitors[i], prefix, name, func);
}

static inline bool fd_readable(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	return poll(&pfd, 1, 0) == 1;
}

#endif
