/* SPDX-License-Identifier: MIT */
/* Faults of glib-faults whose thread does not come back to its loop, or sleeps there in vain. */
#include <errno.h>
#include <glib-unix.h>
#include <unistd.h>

#include "example.h"
#include "faults.h"

#define COMPUTE_US (3 * G_USEC_PER_SEC)

/* --- away in a callback ------------------------------------------------------------------- */

static gboolean compute(gpointer data G_GNUC_UNUSED)
{
	callbacks++;
	compute_for(COMPUTE_US);
	return G_SOURCE_CONTINUE;
}

void set_up_compute(void)
{
	attach(g_timeout_source_new(SCRIPT_MS), G_PRIORITY_DEFAULT, "statistics", compute);
}

static gboolean read_a_config(gpointer data G_GNUC_UNUSED)
{
	char byte;
	int ends[2];

	callbacks++;
	return pipe(ends) == 0 && read(ends[0], &byte, 1) == 1;
}

void set_up_sleep(void)
{
	attach(g_idle_source_new(), G_PRIORITY_DEFAULT, "configuration", read_a_config);
}

static GMutex mutex;

static gpointer keep_it(gpointer data)
{
	g_mutex_lock(&mutex);
	g_main_context_wakeup(data);
	g_usleep(G_MAXULONG);
	return NULL;
}

static gboolean want_it(gpointer data G_GNUC_UNUSED)
{
	callbacks++;
	g_mutex_lock(&mutex);
	g_mutex_unlock(&mutex);
	return G_SOURCE_REMOVE;
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

static gboolean done; /* nobody sets it */

static gboolean wait_for_reply(gpointer data G_GNUC_UNUSED)
{
	callbacks++;
	while (!done)
		g_main_context_iteration(NULL, TRUE);
	return G_SOURCE_REMOVE;
}

void set_up_nested_iteration(void)
{
	attach(g_idle_source_new(), G_PRIORITY_DEFAULT, "request", wait_for_reply);
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
