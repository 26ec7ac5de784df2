// SPDX-License-Identifier: MIT
/*
 * A GLib program that does what it is told, a byte on stdin at a time, and answers with a line: so
 *a test knows how often each of its sources was dispatched. Its loop is never woken by anything
 *else.
 *
 *	n	nothing
 *	i	g_idle_add(): the answer comes from the idle callback
 *	t	a timeout of 1 ms: the answer comes from it
 *	c	a source with functions of its own, ready at once
 *	r	an iteration inside of this callback, which does not block
 *	x	remove the command source: the loop ends
 */
#include <glib-unix.h>
#include <stdio.h>
#include <unistd.h>

gboolean on_command(gint fd, GIOCondition condition, gpointer data);
gboolean on_idle(gpointer data);
gboolean on_timeout(gpointer data);
gboolean on_custom(gpointer data);

static void answer(const char *what)
{
	puts(what);
	fflush(stdout);
}

gboolean on_idle(gpointer data)
{
	answer(data);
	return G_SOURCE_REMOVE;
}

gboolean on_timeout(gpointer data)
{
	answer(data);
	return G_SOURCE_REMOVE;
}

gboolean on_custom(gpointer data)
{
	answer(data);
	return G_SOURCE_REMOVE;
}

static gboolean custom_prepare(GSource *source G_GNUC_UNUSED, int *timeout_ms)
{
	*timeout_ms = 0;
	return TRUE;
}

static gboolean custom_dispatch(GSource *source G_GNUC_UNUSED, GSourceFunc callback, gpointer data)
{
	return callback(data);
}

static GSourceFuncs custom_funcs = { .prepare = custom_prepare, .dispatch = custom_dispatch };

static void add_custom(void)
{
	GSource *source = g_source_new(&custom_funcs, sizeof(GSource));

	g_source_set_name(source, "custom");
	g_source_set_callback(source, on_custom, (gpointer) "custom", NULL);
	g_source_attach(source, NULL);
	g_source_unref(source);
}

gboolean on_command(gint fd, GIOCondition condition G_GNUC_UNUSED, gpointer data)
{
	char command = 'x';

	if (read(fd, &command, 1) != 1)
		command = 'x';
	switch (command) {
	case 'i':
		g_idle_add(on_idle, (gpointer) "idle");
		break;
	case 't':
		g_timeout_add(1, on_timeout, (gpointer) "timeout");
		break;
	case 'c':
		add_custom();
		break;
	case 'r':
		g_main_context_iteration(NULL, FALSE);
		answer("nested");
		break;
	case 'x':
		g_main_loop_quit(data);
		return G_SOURCE_REMOVE;
	default:
		answer("nothing");
	}
	return G_SOURCE_CONTINUE;
}

int main(void)
{
	GMainLoop *loop = g_main_loop_new(NULL, FALSE);
	guint id = g_unix_fd_add(STDIN_FILENO, G_IO_IN, on_command, loop);

	g_source_set_name_by_id(id, "commands");
	answer("ready");
	g_main_loop_run(loop);
	return 0;
}
