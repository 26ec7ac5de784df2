// SPDX-License-Identifier: MIT
/*
 * A GLib program that is no QEMU: a main loop with sources of several kinds, and a thread with a
 * loop of its own. Built without debug information. Prints the addresses of its GMainContexts, then
 * "ready"; with an argument it stays in a callback instead of polling.
 */
#include <glib-unix.h>
#include <stdio.h>
#include <unistd.h>

static int pair[2];

gboolean is_readable(gint fd, GIOCondition condition, gpointer data);
gboolean time_is_up(gpointer data);
gboolean stays(gpointer data);

gboolean is_readable(gint fd G_GNUC_UNUSED, GIOCondition condition G_GNUC_UNUSED,
		     gpointer data G_GNUC_UNUSED)
{
	return G_SOURCE_CONTINUE;
}

gboolean time_is_up(gpointer data G_GNUC_UNUSED)
{
	return G_SOURCE_CONTINUE;
}

gboolean stays(gpointer data G_GNUC_UNUSED)
{
	pause();
	return G_SOURCE_CONTINUE;
}

static void *run_loop(void *context)
{
	g_main_loop_run(g_main_loop_new(context, FALSE));
	return NULL;
}

/* In the other loop, before it sleeps; and in the main loop, last of all. */
static gboolean say_ready(gpointer line)
{
	fputs(line, stdout);
	fflush(stdout);
	return G_SOURCE_REMOVE;
}

int main(int argc, char **argv G_GNUC_UNUSED)
{
	GMainContext *other = g_main_context_new();
	GSource *source = g_timeout_source_new_seconds(3600);

	if (pipe(pair))
		return 1;
	printf("%p %p\n", (void *)g_main_context_default(), (void *)other);
	g_source_set_callback(source, time_is_up, NULL, NULL);
	g_source_set_name(source, "hourly");
	g_source_attach(source, other);
	g_thread_new("other loop", run_loop, other);
	g_unix_fd_add_full(-5, pair[0], G_IO_IN, is_readable, NULL, NULL);
	for (int i = 0; i < 10; i++)
		g_timeout_add_seconds(1000 + i, time_is_up, NULL);
	g_unix_signal_add(SIGHUP, time_is_up, NULL);
	if (argc > 1)
		g_idle_add(stays, NULL);
	g_idle_add_full(argc > 1 ? -1 : 300, say_ready, (gpointer) "ready\n", NULL);
	run_loop(NULL);
	return 0;
}
