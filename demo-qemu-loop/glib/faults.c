/* SPDX-License-Identifier: MIT */
/*
 * What goes wrong in GLib programs, one fault at a time, and healthy loops that look a bit like it:
 * something to try "loopscope doctor" on, or any other way of finding out.
 *
 *   glib-faults --list               the faults, each with its verdict
 *   glib-faults --bug zero-timeout   run with it, until a signal
 *
 * A "working" one is busy, and all right.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "example.h"
#include "faults.h"

#define CHUNK 4096

gint64 callbacks;

int ready_pipe(int *ret_writing)
{
	int ends[2];

	if (pipe(ends) != 0 || write(ends[1], "x", 1) != 1)
		g_error("pipe: %s", g_strerror(errno));
	*ret_writing = ends[1];
	return ends[0];
}

void attach(GSource *source, int priority, const char *name, GSourceFunc callback)
{
	g_source_set_priority(source, priority);
	g_source_set_name(source, name);
	g_source_set_callback(source, callback, NULL, NULL);
	g_source_attach(source, NULL);
	g_source_unref(source); /* the context has a reference of its own */
}

static GSourceFunc fd_func(GUnixFDSourceFunc callback)
{
	return (GSourceFunc)(void (*)(void))callback;
}

void compute_for(gint64 us)
{
	struct timespec now, until;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &until);
	until.tv_sec += us / G_USEC_PER_SEC;
	until.tv_nsec += us % G_USEC_PER_SEC * 1000;
	do
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	while ((now.tv_sec - until.tv_sec) * G_USEC_PER_SEC * 1000 + now.tv_nsec - until.tv_nsec <
	       0);
}

static gboolean count(gpointer data G_GNUC_UNUSED)
{
	callbacks++;
	return G_SOURCE_CONTINUE;
}

static gboolean tick(gpointer data G_GNUC_UNUSED)
{
	return G_SOURCE_CONTINUE;
}

/* --- healthy ------------------------------------------------------------------------------ */

static gboolean drain(gint fd, GIOCondition condition G_GNUC_UNUSED, gpointer data G_GNUC_UNUSED)
{
	char buffer[CHUNK];

	callbacks++;
	return read(fd, buffer, sizeof(buffer)) > 0;
}

static gpointer other_loop(gpointer context)
{
	GMainLoop *loop = g_main_loop_new(context, FALSE);

	g_main_context_push_thread_default(context);
	g_main_loop_run(loop);
	return NULL;
}

/* Two loops; a watch that gets something ten times a second, a clock, an idle source now and then.
 */
static int writer;

static gboolean once(gpointer data G_GNUC_UNUSED)
{
	return G_SOURCE_REMOVE;
}

static gboolean write_a_byte(gpointer data G_GNUC_UNUSED)
{
	g_idle_add(once, NULL);
	return write(writer, "x", 1) == 1;
}

static void drain_a_pipe(const char *name)
{
	GSource *source;
	int ends[2];

	if (pipe(ends) != 0)
		g_error("pipe: %s", g_strerror(errno));
	writer = ends[1];
	source = g_unix_fd_source_new(ends[0], G_IO_IN | G_IO_HUP);
	attach(source, G_PRIORITY_DEFAULT, name, fd_func(drain));
}

static void set_up_healthy(void)
{
	GMainContext *context = g_main_context_new();
	GSource *source = g_timeout_source_new(50);

	drain_a_pipe("reader");
	attach(g_timeout_source_new(SCRIPT_MS), G_PRIORITY_DEFAULT, "writer", write_a_byte);
	g_source_set_callback(source, count, NULL, NULL);
	g_source_attach(source, context);
	g_source_unref(source);
	g_thread_unref(g_thread_new("other", other_loop, context));
}

/* The reader never finds its pipe empty: a loop that never sleeps, and works. */
static gpointer write_for_ever(gpointer data G_GNUC_UNUSED)
{
	static const char bytes[CHUNK];

	while (write(writer, bytes, sizeof(bytes)) > 0)
		;
	return NULL;
}

static void set_up_working_fd(void)
{
	drain_a_pipe("reader");
	g_thread_unref(g_thread_new("writer", write_for_ever, NULL));
}

/* A job in pieces of half a millisecond, in an idle source that is gone when it is done. */

static gboolean a_piece(gpointer left)
{
	compute_for(500);
	return --*(int *)left > 0;
}

static gboolean begin_a_job(gpointer data G_GNUC_UNUSED)
{
	static int left;

	if (left <= 0) {
		left = 100;
		g_idle_add(a_piece, &left);
	}
	return G_SOURCE_CONTINUE;
}

/* A display's clock besides it, 60 times a second. */
static void set_up_working_idle(void)
{
	attach(g_timeout_source_new(16), G_PRIORITY_DEFAULT, "frame clock", count);
	attach(g_timeout_source_new(200), G_PRIORITY_DEFAULT, "jobs", begin_a_job);
}

/* One that takes hours: for all that can be seen from outside it gets on. */
static gboolean a_piece_of_many(gpointer data G_GNUC_UNUSED)
{
	compute_for(500);
	return count(NULL);
}

static void set_up_working_long(void)
{
	attach(g_timeout_source_new(16), G_PRIORITY_DEFAULT, "frame clock", tick);
	attach(g_idle_source_new(), G_PRIORITY_DEFAULT_IDLE, "indexer", a_piece_of_many);
}

/* --- spinning ----------------------------------------------------------------------------- */

static gboolean leave_it(gint fd G_GNUC_UNUSED, GIOCondition condition G_GNUC_UNUSED,
			 gpointer data G_GNUC_UNUSED)
{
	return count(NULL);
}

static void set_up_never_drained(void)
{
	int writing;

	attach(g_unix_fd_source_new(ready_pipe(&writing), G_IO_IN), G_PRIORITY_DEFAULT, "reader",
	       fd_func(leave_it));
}

static void set_up_zero_timeout(void)
{
	attach(g_timeout_source_new(0), G_PRIORITY_DEFAULT, "ticker", count);
}

static void set_up_idle_for_ever(void)
{
	attach(g_idle_source_new(), G_PRIORITY_DEFAULT_IDLE, "redraw", count);
}

static gboolean always_ready(GSource *source G_GNUC_UNUSED, int *timeout_ms)
{
	*timeout_ms = 0;
	return TRUE;
}

static gboolean call(GSource *source G_GNUC_UNUSED, GSourceFunc callback, gpointer data)
{
	return callback(data);
}

static GSourceFuncs ready_funcs = { .prepare = always_ready, .dispatch = call };
static GSourceFuncs plain_funcs = { .dispatch = call };

static void set_up_prepare_ready(void)
{
	attach(g_source_new(&ready_funcs, sizeof(GSource)), G_PRIORITY_DEFAULT, "queue", count);
}

/* Due at a time that has come, and nobody moves it. */
static void set_up_ready_time_past(void)
{
	GSource *source = g_source_new(&plain_funcs, sizeof(GSource));

	g_source_set_ready_time(source, g_get_monotonic_time());
	attach(source, G_PRIORITY_DEFAULT, "deadline", count);
}

/* --- others that have no turn --------------------------------------------------------------- */

/* The reader is ready and has no turn; it would drain its pipe. */
static void set_up_starved(void)
{
	int writing;

	attach(g_idle_source_new(), G_PRIORITY_HIGH, "importer", count);
	attach(g_unix_fd_source_new(ready_pipe(&writing), G_IO_IN), G_PRIORITY_LOW, "reader",
	       fd_func(drain));
}

/* The same of a clock: it is due all the time. */
static void set_up_starved_timeout(void)
{
	attach(g_idle_source_new(), G_PRIORITY_HIGH, "importer", count);
	attach(g_timeout_source_new(100), G_PRIORITY_LOW, "autosave", count);
}

/* Forty clients that each have a request of 2 ms in every iteration: nobody spins, the clock waits.
 */
static gboolean a_request(gint fd, GIOCondition condition G_GNUC_UNUSED, gpointer data)
{
	char byte;

	callbacks++;
	compute_for(2000);
	return read(fd, &byte, 1) == 1 && write(GPOINTER_TO_INT(data), &byte, 1) == 1;
}

static void set_up_late(void)
{
	for (int i = 0; i < 40; i++) {
		int writing, reading = ready_pipe(&writing);
		GSource *source = g_unix_fd_source_new(reading, G_IO_IN);

		g_source_set_name(source, "client");
		g_source_set_callback(source, fd_func(a_request), GINT_TO_POINTER(writing), NULL);
		g_source_attach(source, NULL);
		g_source_unref(source);
	}
	attach(g_timeout_source_new(10), G_PRIORITY_DEFAULT, "clock", tick);
}

/* --- descriptors and sources ---------------------------------------------------------------- */

static gboolean never(gint fd G_GNUC_UNUSED, GIOCondition condition G_GNUC_UNUSED,
		      gpointer data G_GNUC_UNUSED)
{
	return G_SOURCE_CONTINUE;
}

static GSource *silent_pipe(int *ret_fd)
{
	int ends[2];

	if (pipe(ends) != 0)
		g_error("pipe: %s", g_strerror(errno));
	*ret_fd = ends[0];
	return g_unix_fd_source_new(ends[0], G_IO_IN);
}

static void set_up_closed_fd(void)
{
	int fd;

	attach(silent_pipe(&fd), G_PRIORITY_DEFAULT, "reader", fd_func(never));
	close(fd);
	attach(g_timeout_source_new(SCRIPT_MS), G_PRIORITY_DEFAULT, "writer", tick);
}

/* A client comes, twenty times a second, and is never heard of again. */
static gboolean a_client(gpointer data G_GNUC_UNUSED)
{
	int fd;

	attach(silent_pipe(&fd), G_PRIORITY_DEFAULT, "client", fd_func(never));
	return count(NULL);
}

static void set_up_leak(void)
{
	attach(g_timeout_source_new(50), G_PRIORITY_DEFAULT, "listener", a_client);
}

/* --- the program ---------------------------------------------------------------------------- */

static const ExampleForm forms[] = {
	{ "healthy", "two loops that sleep and wake", NULL },
	{ "working-fd", "never sleeps: there is always something to read, and it is read", NULL },
	{ "working-idle", "jobs in small pieces, beside a clock", NULL },
	{ "working-long", "a job that takes hours, in small pieces", NULL },
	{ "compute", "a timeout's callback computes for long", "BLOCKED CALLBACK" },
	{ "sleep", "a callback reads from a pipe whose writer is slow", "BLOCKED CALLBACK" },
	{ "lock", "a callback waits for a mutex that another thread keeps", "BLOCKED CALLBACK" },
	{ "never-drained", "an fd is ready, and its callback does not read", "SPIN" },
	{ "zero-timeout", "a timeout of 0 ms that stays", "SPIN" },
	{ "idle-for-ever", "an idle source that stays", "SPIN" },
	{ "prepare-ready", "a source whose prepare() always says ready", "SPIN" },
	{ "ready-time-past", "a source's ready time has come and nobody moves it", "SPIN" },
	{ "starved", "a source of high priority is always ready; an fd waits", "STARVED SOURCE" },
	{ "starved-timeout", "the same; a timeout waits", "STARVED SOURCE" },
	{ "nested-loop", "g_main_loop_run() in a callback", "NESTED WAIT" },
	{ "nested-iteration", "a callback iterates a context of its own until a reply comes",
	  "NESTED WAIT" },
	{ "closed-fd", "an fd is closed and its source stays", "DEAD FD" },
	{ "leak", "sources come and never go", "HANDLER LEAK" },
	{ "late", "a clock behind forty callbacks of 2 ms", "TIMER LATE" },
	{ "no-thread", "a source in a context that no thread runs", "WRONG CONTEXT" },
	{ "reused-fd", "a polled fd is another file by now, and that is ready", "LOST WAKEUP" },
	{ "poll-for-ever", "a poll function that does not heed the timeout", "LOST WAKEUP" },
	{ NULL, NULL, NULL },
};

static void (*const set_up[])(void) = {
	set_up_healthy,	      set_up_working_fd,
	set_up_working_idle,  set_up_working_long,
	set_up_compute,	      set_up_sleep,
	set_up_lock,	      set_up_never_drained,
	set_up_zero_timeout,  set_up_idle_for_ever,
	set_up_prepare_ready, set_up_ready_time_past,
	set_up_starved,	      set_up_starved_timeout,
	set_up_nested_loop,   set_up_nested_iteration,
	set_up_closed_fd,     set_up_leak,
	set_up_late,	      set_up_no_thread,
	set_up_reused_fd,     set_up_poll_for_ever,
};

int main(int argc, char **argv)
{
	gint64 iterations;
	int form = example_options(argc, argv, forms, &iterations);

	G_STATIC_ASSERT(G_N_ELEMENTS(set_up) + 1 == G_N_ELEMENTS(forms));
	set_up[form]();
	for (gint64 i = 0; iterations < 0 || i < iterations; i++)
		g_main_context_iteration(NULL, TRUE);
	printf("iterations=%" G_GINT64_FORMAT "\ncallbacks=%" G_GINT64_FORMAT "\n", iterations,
	       callbacks);
	return 0;
}
