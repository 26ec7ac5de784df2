/* SPDX-License-Identifier: MIT */
/* The rows of the table as a program for plain GLib does them; see bench-loop.h. */
#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>
#include <glib-unix.h>
#include "bench-loop.h"

typedef struct GlibBench {
	GMainContext *context;
	unsigned n;
	unsigned seed;
	unsigned left;
	const int *fds;
	GSource **sources;
	/* The other thread of the cross-thread row. */
	GThread *thread;
	GMainContext *other_context;
	GSource *here, *there;
	bool stop;
} GlibBench;

static void *glib_setup(const BenchParam *param)
{
	GlibBench *b = g_new0(GlibBench, 1);

	b->context = g_main_context_new();
	b->n = param->n;
	b->fds = param->fds;
	return b;
}

static void glib_teardown(void *opaque)
{
	GlibBench *b = opaque;

	for (unsigned i = 0; b->sources && i < b->n; i++) {
		g_source_destroy(b->sources[i]);
		g_source_unref(b->sources[i]);
	}
	g_free(b->sources);
	g_main_context_unref(b->context);
	g_free(b);
}

/* --- idle sources: GLib's bottom halves --------------------------------------------------- */

static gboolean idle_again(gpointer opaque)
{
	GlibBench *b = opaque;

	return --b->left ? G_SOURCE_CONTINUE : G_SOURCE_REMOVE;
}

static void add_idle(GlibBench *b, GSourceFunc cb)
{
	GSource *source = g_idle_source_new();

	g_source_set_priority(source, G_PRIORITY_DEFAULT);
	g_source_set_callback(source, cb, b, NULL);
	g_source_attach(source, b->context);
	g_source_unref(source);
}

static void idle_run(void *opaque, unsigned ops)
{
	GlibBench *b = opaque;

	b->left = ops;
	add_idle(b, idle_again);
	while (b->left)
		g_main_context_iteration(b->context, TRUE);
}

static gboolean idle_once(gpointer opaque)
{
	GlibBench *b = opaque;

	b->left--;
	return G_SOURCE_REMOVE;
}

static void idle_burst_run(void *opaque, unsigned ops)
{
	GlibBench *b = opaque;

	for (; ops; ops -= b->n) {
		b->left = b->n;
		for (unsigned i = 0; i < b->n; i++)
			add_idle(b, idle_once);
		while (b->left)
			g_main_context_iteration(b->context, TRUE);
	}
}

/* --- descriptors: a watch each ------------------------------------------------------------ */

static gboolean fd_read(gint fd, GIOCondition condition G_GNUC_UNUSED, gpointer opaque)
{
	GlibBench *b = opaque;
	uint64_t count;

	b->left -= read(fd, &count, sizeof(count)) == sizeof(count);
	return G_SOURCE_CONTINUE;
}

static void *fds_setup(const BenchParam *param)
{
	GlibBench *b = glib_setup(param);

	b->sources = g_new(GSource *, b->n);
	for (unsigned i = 0; i < b->n; i++) {
		b->sources[i] = g_unix_fd_source_new(b->fds[i], G_IO_IN);
		g_source_set_callback(b->sources[i], G_SOURCE_FUNC(fd_read), b, NULL);
		g_source_attach(b->sources[i], b->context);
	}
	return b;
}

static void fds_run(void *opaque, unsigned ops)
{
	static const uint64_t one = 1;
	GlibBench *b = opaque;

	for (b->left = ops; ops; ops--) {
		int fd = b->fds[bench_next(&b->seed, b->n)];

		if (write(fd, &one, sizeof(one)) != sizeof(one))
			g_error("write to an eventfd: %m");
		while (b->left == ops)
			g_main_context_iteration(b->context, TRUE);
	}
}

/* --- timers: sources that are kept and given a ready time --------------------------------- */

static gboolean timer_dispatch(GSource *source, GSourceFunc callback, gpointer opaque)
{
	g_source_set_ready_time(source, -1);
	return callback(opaque);
}

static gboolean timer_cb(gpointer opaque)
{
	GlibBench *b = opaque;

	b->left--;
	return G_SOURCE_CONTINUE;
}

static void *timers_setup(const BenchParam *param)
{
	static GSourceFuncs funcs = { .dispatch = timer_dispatch };
	GlibBench *b = glib_setup(param);

	b->sources = g_new(GSource *, b->n);
	for (unsigned i = 0; i < b->n; i++) {
		b->sources[i] = g_source_new(&funcs, sizeof(GSource));
		g_source_set_callback(b->sources[i], timer_cb, b, NULL);
		g_source_attach(b->sources[i], b->context);
	}
	return b;
}

static void timers_run(void *opaque, unsigned ops)
{
	GlibBench *b = opaque;

	for (; ops; ops -= b->n) {
		gint64 now = g_get_monotonic_time();

		b->left = b->n;
		for (unsigned i = 0; i < b->n; i++)
			g_source_set_ready_time(b->sources[i], now - bench_next(&b->seed, 1000));
		while (b->left)
			g_main_context_iteration(b->context, TRUE);
	}
}

/* --- two threads: a source each that the other one makes ready ---------------------------- */

static gboolean there_cb(gpointer opaque)
{
	GlibBench *b = opaque;

	g_source_set_ready_time(b->here, 0);
	return G_SOURCE_CONTINUE;
}

static gboolean stop_cb(gpointer opaque)
{
	GlibBench *b = opaque;

	b->stop = true;
	return G_SOURCE_REMOVE;
}

static gpointer other_thread(gpointer opaque)
{
	GlibBench *b = opaque;

	bench_pin_other();
	g_main_context_push_thread_default(b->other_context);
	while (!b->stop)
		g_main_context_iteration(b->other_context, TRUE);
	g_main_context_pop_thread_default(b->other_context);
	return NULL;
}

static void *cross_setup(const BenchParam *param)
{
	static GSourceFuncs funcs = { .dispatch = timer_dispatch };
	GlibBench *b = glib_setup(param);

	b->other_context = g_main_context_new();
	b->here = g_source_new(&funcs, sizeof(GSource));
	g_source_set_callback(b->here, timer_cb, b, NULL);
	g_source_attach(b->here, b->context);
	b->there = g_source_new(&funcs, sizeof(GSource));
	g_source_set_callback(b->there, there_cb, b, NULL);
	g_source_attach(b->there, b->other_context);
	b->thread = g_thread_new("bench-other", other_thread, b);
	return b;
}

static void cross_run(void *opaque, unsigned ops)
{
	GlibBench *b = opaque;

	for (b->left = ops; ops; ops--) {
		g_source_set_ready_time(b->there, 0);
		while (b->left == ops)
			g_main_context_iteration(b->context, TRUE);
	}
}

static void cross_teardown(void *opaque)
{
	GlibBench *b = opaque;

	g_main_context_invoke(b->other_context, stop_cb, b);
	g_thread_join(b->thread);
	g_source_destroy(b->here);
	g_source_unref(b->here);
	g_source_destroy(b->there);
	g_source_unref(b->there);
	g_main_context_unref(b->other_context);
	glib_teardown(b);
}

const BenchContestant bench_glib[BENCH_ROWS] = {
	[BENCH_BH] = { glib_setup, idle_run, glib_teardown },
	[BENCH_ONESHOT] = { glib_setup, idle_burst_run, glib_teardown },
	[BENCH_NOTIFIER] = { fds_setup, fds_run, glib_teardown },
	[BENCH_FDS_POLL] = { fds_setup, fds_run, glib_teardown },
	[BENCH_FDS_SOURCE] = { fds_setup, fds_run, glib_teardown },
	[BENCH_TIMERS] = { timers_setup, timers_run, glib_teardown },
	[BENCH_CROSS] = { cross_setup, cross_run, cross_teardown },
	/* It has no busy polling: this is what it offers in its place. */
	[BENCH_CROSS_BUSY_POLL] = { cross_setup, cross_run, cross_teardown },
};
