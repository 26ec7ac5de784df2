/* SPDX-License-Identifier: MIT */
/*
 * For the tests of GLib's sources: a source that notes its steps, "p" for prepare, "c" for check,
 * then its name; its dispatch the name alone. And the steps of an iteration.
 */
#ifndef GSOURCE_TEST_H
#define GSOURCE_TEST_H

#include "loop-test.h"

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

static inline void note_step(const char *step, const TestSource *s)
{
	note(step);
	note(s->name);
}

static inline gboolean test_prepare(GSource *source, gint *timeout)
{
	TestSource *s = (TestSource *)source;

	note_step("p", s);
	*timeout = s->timeout;
	return s->ready_in_prepare;
}

static inline gboolean test_check(GSource *source)
{
	TestSource *s = (TestSource *)source;

	note_step("c", s);
	return s->ready_in_check;
}

static inline gboolean test_dispatch(GSource *source, GSourceFunc callback G_GNUC_UNUSED,
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

static inline TestSource *add(const char *name, int priority)
{
	TestSource *s = (TestSource *)g_source_new(&test_funcs, sizeof(*s));

	s->name = name;
	s->timeout = -1;
	g_source_set_priority(&s->source, priority);
	g_source_attach(&s->source, gcontext);
	return s;
}

static inline void drop(TestSource *s)
{
	g_source_destroy(&s->source);
	g_source_unref(&s->source);
}

static inline void begin(void)
{
	gcontext = g_main_context_new();
	g_assert_true(g_main_context_acquire(gcontext));
}

static inline void end(void)
{
	g_main_context_release(gcontext);
	g_main_context_unref(gcontext);
}

/* The steps of an iteration, as QEMU's main loop takes them. */
static struct {
	int priority, timeout, n;
	GPollFD fds[16];
} loop;

static inline bool prepare(void)
{
	return g_main_context_prepare(gcontext, &loop.priority);
}

static inline void query(void)
{
	loop.n = g_main_context_query(gcontext, loop.priority, &loop.timeout, loop.fds,
				      ARRAY_SIZE(loop.fds));
	g_assert_cmpint(loop.n, <=, ARRAY_SIZE(loop.fds));
}

static inline bool poll_and_check(void)
{
	g_poll(loop.fds, loop.n, 0);
	return g_main_context_check(gcontext, loop.priority, loop.fds, loop.n);
}

static inline bool iterate(void)
{
	bool ready;

	prepare();
	query();
	ready = poll_and_check();
	g_main_context_dispatch(gcontext);
	return ready;
}

/* What each of the programs is: its tests, by what they show. */
struct gsource_case {
	const char *name;
	void (*run)(void);
};

static inline int run_cases(int argc, char **argv, const struct gsource_case *cases, size_t n)
{
	char path[100];

	g_test_init(&argc, &argv, NULL);
	init_clocks(NULL);
	for (size_t i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "/gsource/%s", cases[i].name);
		g_test_add_func(path, cases[i].run);
	}
	return g_test_run();
}

#endif
