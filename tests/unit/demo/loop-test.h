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
}

static inline bool fd_readable(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	return poll(&pfd, 1, 0) == 1;
}

#endif
