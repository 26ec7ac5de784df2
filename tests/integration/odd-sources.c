/* SPDX-License-Identifier: MIT */
/*
 * Two GSources as programs really have them, and as a reader of them may stumble over: one that
 * polls no descriptor at present (a GPollFD of -1; QEMU's file backend for character devices keeps
 * such a one), and one with a child that has no callback, so that its first word is zero.
 */
#include <glib.h>
#include <stdio.h>
#include <unistd.h>

static gboolean dispatch(GSource *source, GSourceFunc callback, gpointer data)
{
	(void)source;
	return callback ? callback(data) : G_SOURCE_CONTINUE;
}

static GSourceFuncs funcs = { .dispatch = dispatch };

static gboolean never(gpointer data)
{
	(void)data;
	return G_SOURCE_REMOVE;
}

static GSource *new_source(const char *name)
{
	GSource *source = g_source_new(&funcs, sizeof(GSource));

	g_source_set_name(source, name);
	return source;
}

int main(void)
{
	GMainLoop *loop = g_main_loop_new(NULL, FALSE);
	GSource *without = new_source("no descriptor"), *parent = new_source("parent"),
		*child = new_source("child");
	GPollFD none = { .fd = -1, .events = G_IO_IN | G_IO_HUP };
	int pair[2];

	if (pipe(pair))
		return 1;
	g_source_add_poll(without, &none);
	g_source_set_callback(without, never, NULL, NULL);
	g_source_attach(without, NULL);
	g_source_add_unix_fd(parent, pair[0], G_IO_IN);
	g_source_set_callback(parent, never, NULL, NULL);
	g_source_add_child_source(parent, child);
	g_source_attach(parent, NULL);
	printf("%d\n", pair[0]);
	fflush(stdout);
	g_main_loop_run(loop);
	return 0;
}
