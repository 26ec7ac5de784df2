/* SPDX-License-Identifier: MIT */
/*
 * GLib's first basic example: a watch.  "Call me when there is something to read."
 *
 *   a GIOChannel wraps the descriptor
 *   g_io_add_watch() makes a GSource of it and attaches it to the default context
 *   each iteration polls the descriptor; if it is ready, the callback is called
 *   the callback reads, and says whether it wants to be called again
 *
 * The descriptor is a pipe's.  The form "regular-file" follows a file instead, as "tail -f" does,
 * and hopes that the loop wakes when the file grows.  It never sleeps: poll() says of a regular
 * file that it is readable, always, at its end too.  (To follow a file, use a GFileMonitor.)
 */
#include <stdio.h>
#include <unistd.h>

#include "example.h"

enum { HEALTHY, REGULAR_FILE };

static const ExampleForm forms[] = {
	{ "healthy", "a watch on a pipe, removed when the other end is closed", NULL },
	{ "regular-file", "a watch on a regular file: always readable, spins at its end", "SPIN" },
	{ NULL, NULL, NULL },
};

static const char text[] = "a line\n";

static int form;
static gint64 iterations, callbacks, bytes, ends;

static gboolean something_to_read(GIOChannel *channel, GIOCondition condition G_GNUC_UNUSED,
				  gpointer data G_GNUC_UNUSED)
{
	char buffer[256];
	gsize n = 0;
	GIOStatus status = g_io_channel_read_chars(channel, buffer, sizeof(buffer), &n, NULL);

	callbacks++;
	bytes += n;
	if (status == G_IO_STATUS_NORMAL || status == G_IO_STATUS_AGAIN)
		return G_SOURCE_CONTINUE;

	/* The end, or an error.  A watch that is kept now is ready for ever. */
	ends++;
	return form == REGULAR_FILE ? G_SOURCE_CONTINUE : G_SOURCE_REMOVE;
}

static void watch(int fd)
{
	GIOChannel *channel = g_io_channel_unix_new(fd);

	/* Bytes as they are, and nothing read ahead: what the channel had in a buffer of its own,
	 * poll() would not know of. */
	g_io_channel_set_encoding(channel, NULL, NULL);
	g_io_channel_set_buffered(channel, FALSE);
	g_io_channel_set_close_on_unref(channel, TRUE);

	g_io_add_watch(channel, G_IO_IN | G_IO_HUP | G_IO_ERR, something_to_read, NULL);
	g_io_channel_unref(channel); /* the watch has a reference of its own */
}

/* The other end: a line each time, and in the last scripted iteration it hangs up. */
static gboolean write_a_line(gpointer opaque)
{
	static gint64 calls;
	int *writer = opaque;

	if (++calls == iterations)
		close(*writer);
	else if (write(*writer, text, sizeof(text) - 1) < 0)
		perror("write");
	return G_SOURCE_CONTINUE;
}

/* Three lines, and nobody adds another one. */
static int a_regular_file(void)
{
	char *name = NULL;
	int fd = g_file_open_tmp("glib-io-watch-XXXXXX", &name, NULL);

	for (int i = 0; i < 3; i++) {
		if (write(fd, text, sizeof(text) - 1) < 0)
			perror("write");
	}
	lseek(fd, 0, SEEK_SET);
	unlink(name);
	g_free(name);
	return fd;
}

static gboolean write_nothing(gpointer opaque G_GNUC_UNUSED)
{
	return G_SOURCE_CONTINUE;
}

int main(int argc, char **argv)
{
	int ends_of_pipe[2];

	form = example_options(argc, argv, forms, &iterations);
	if (form == REGULAR_FILE) {
		watch(a_regular_file());
		example_run(iterations, write_nothing, NULL);
	} else if (pipe(ends_of_pipe) == 0) {
		watch(ends_of_pipe[0]);
		example_run(iterations, write_a_line, &ends_of_pipe[1]);
	} else {
		perror("pipe");
		return 1;
	}
	printf("callbacks=%" G_GINT64_FORMAT "\nbytes=%" G_GINT64_FORMAT "\nends=%" G_GINT64_FORMAT
	       "\n",
	       callbacks, bytes, ends);
	return 0;
}
