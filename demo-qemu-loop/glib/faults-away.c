/* SPDX-License-Identifier: MIT */
/* Faults of glib-faults whose thread does not come back to its loop, or sleeps there in vain. */
#include <errno.h>
#include <glib-unix.h>
#include <unistd.h>

#include "example.h"
#include "faults.h"

#define AWAY_MS 400 /* each time: longer than any callback should be */

/* --- away in a callback ------------------------------------------------------------------- */

static gboolean compute(gpointer data G_GNUC_UNUSED)
{
	callbacks++;
	compute_for(AWAY_MS * 1000);
	return G_SOURCE_CONTINUE;
}

void set_up_compute(void)
{
	attach(g_timeout_source_new(SCRIPT_MS), G_PRIORITY_DEFAULT, "statistics", compute);
}

/* A server that takes its time: it answers a byte with a byte. */
static int to_server, from_server;

static gpointer serve(gpointer fds)
{
	int reading = ((int *)fds)[0], writing = ((int *)fds)[1];
	char byte;

	while (read(reading, &byte, 1) == 1) {
		g_usleep(AWAY_MS * 1000);
		if (write(writing, &byte, 1) != 1)
			break;
	}
	return NULL;
}

static gboolean read_a_config(gpointer data G_GNUC_UNUSED)
{
	char byte = 0;

	callbacks++;
	return write(to_server, &byte, 1) == 1 && read(from_server, &byte, 1) == 1;
}

void set_up_sleep(void)
{
	static int server[2];
	int request[2], answer[2];

	if (pipe(request) != 0 || pipe(answer) != 0)
		g_error("pipe: %s", g_strerror(errno));
	server[0] = request[0];
	to_server = request[1];
	from_server = answer[0];
	server[1] = answer[1];
	g_thread_unref(g_thread_new("server", serve, server));
	attach(g_timeout_source_new(SCRIPT_MS), G_PRIORITY_DEFAULT, "configuration", read_a_config);
}

static GMutex mutex;
static gint wanted;

/* It has the mutex whenever somebody wants it, for a while. */
static gpointer keep_it(gpointer data G_GNUC_UNUSED)
{
	for (;;) {
		g_mutex_lock(&mutex);
		g_atomic_int_set(&wanted, 0);
		while (!g_atomic_int_get(&wanted))
			g_usleep(1000);
		g_usleep(AWAY_MS * 1000);
		g_mutex_unlock(&mutex);
		g_usleep(1000);
	}
	return NULL;
}

static gboolean want_it(gpointer data G_GNUC_UNUSED)
{
	callbacks++;
	g_atomic_int_set(&wanted, 1);
	g_mutex_lock(&mutex);
	g_mutex_unlock(&mutex);
	return G_SOURCE_CONTINUE;
}

void set_up_lock(void)
{
	g_thread_unref(g_thread_new("keeper", keep_it, NULL));
	attach(g_timeout_source_new(SCRIPT_MS), G_PRIORITY_DEFAULT, "cache", want_it);
}

/* --- a loop in a callback ----------------------------------------------------------------- */

/* A dialogue that nobody answers. */
static gboolean ask(gpointer data G_GNUC_UNUSED)
{
	GMainLoop *loop = g_main_loop_new(NULL, FALSE);

	callbacks++;
	g_main_loop_run(loop);
	g_main_loop_unref(loop);
	return G_SOURCE_REMOVE;
}

void set_up_nested_loop(void)
{
	attach(g_idle_source_new(), G_PRIORITY_DEFAULT, "dialogue", ask);
}

/* A request that is waited for in a context of its own, as synchronous calls are made. */
static gboolean on_reply(gpointer done)
{
	*(gboolean *)done = TRUE;
	return G_SOURCE_REMOVE;
}

static gboolean wait_for_reply(gpointer data G_GNUC_UNUSED)
{
	GMainContext *context = g_main_context_new();
	GSource *reply = g_timeout_source_new(AWAY_MS);
	gboolean done = FALSE;

	callbacks++;
	g_source_set_name(reply, "reply");
	g_source_set_callback(reply, on_reply, &done, NULL);
	g_source_attach(reply, context);
	g_source_unref(reply);
	while (!done)
		g_main_context_iteration(context, TRUE);
	g_main_context_unref(context);
	return G_SOURCE_CONTINUE;
}

void set_up_nested_iteration(void)
{
	attach(g_timeout_source_new(SCRIPT_MS), G_PRIORITY_DEFAULT, "request", wait_for_reply);
}

/* --- asleep in vain ----------------------------------------------------------------------- */

static gboolean refresh(gpointer data G_GNUC_UNUSED)
{
	callbacks++;
	return G_SOURCE_CONTINUE;
}

/* A source for a context of its own, which it was forgotten to run. */
void set_up_no_thread(void)
{
	GMainContext *context = g_main_context_new();
	GSource *source = g_timeout_source_new(SCRIPT_MS);

	g_source_set_name(source, "refresh");
	g_source_set_callback(source, refresh, NULL, NULL);
	g_source_attach(source, context);
	g_source_unref(source);
}

static gboolean on_readable(gint fd, GIOCondition condition G_GNUC_UNUSED,
			    gpointer data G_GNUC_UNUSED)
{
	char byte;

	callbacks++;
	return read(fd, &byte, 1) == 1;
}

/* A poll function of one's own that forgets the timeout. */
static gint poll_for_ever(GPollFD *fds, guint n_fds, gint timeout_ms G_GNUC_UNUSED)
{
	return g_poll(fds, n_fds, -1);
}

void set_up_poll_for_ever(void)
{
	attach(g_timeout_source_new(SCRIPT_MS), G_PRIORITY_DEFAULT, "refresh", refresh);
	g_main_context_set_poll_func(NULL, poll_for_ever);
}

/* While the loop sleeps, another thread puts another file in the place of what it polls. */
static gpointer put_another(gpointer fd)
{
	int writing;

	g_usleep(2 * SCRIPT_MS * 1000);
	if (dup2(ready_pipe(&writing), GPOINTER_TO_INT(fd)) < 0)
		g_error("dup2: %s", g_strerror(errno));
	return NULL;
}

void set_up_reused_fd(void)
{
	GSource *source;
	int ends[2];

	if (pipe(ends) != 0)
		g_error("pipe: %s", g_strerror(errno));
	source = g_unix_fd_source_new(ends[0], G_IO_IN);
	attach(source, G_PRIORITY_DEFAULT, "reader", (GSourceFunc)(void (*)(void))on_readable);
	g_thread_unref(g_thread_new("other", put_another, GINT_TO_POINTER(ends[0])));
}
