/* SPDX-License-Identifier: MIT */
/*
 * GLib's second basic example: a GSource of one's own.  It reads lines from a descriptor and calls
 * its callback with one line at a time.  GLib calls its four functions:
 *
 *   prepare    before the poll: ready already?  Yes, if a whole line is left from the last read.
 *   check      after the poll: ready now?  Yes, if the poll found anything about the descriptor.
 *   dispatch   it is ready: read what there is, call the callback.
 *   finalize   the last reference is gone: give back what the source has.
 *
 * Its bugs are two that tutorials have printed.
 *
 *   revents-not-equal   check says "not ready" if (revents != events).  That holds until the poll
 *                       finds more than was asked for, such as a hang-up: then the loop does not
 *                       sleep, and nobody is called, for ever.
 *   unref-twice         a context is unreferenced by its user and once more at the end.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "example.h"

enum { HEALTHY, REVENTS_NOT_EQUAL, UNREF_TWICE };

static const ExampleForm forms[] = {
	{ "healthy", "a source with prepare, check, dispatch, finalize; a hang-up ends it", NULL },
	{ "revents-not-equal", "its check compares revents with events, and misses a hang-up",
	  "SPIN" },
	{ "unref-twice", "a GMainContext unreferenced once too often: a CRITICAL, or a crash",
	  NULL },
	{ NULL, NULL, NULL },
};

static int form;
static gint64 prepared, checked, lines, hangups, finalized, missed;

/* --- the source --------------------------------------------------------------------------- */

typedef struct {
	GSource source; /* first, so that a pointer to one is a pointer to the other */
	GPollFD pollfd; /* what to poll, and what the poll found */
	GString *text;	/* read, but not delivered */
} LineSource;

/* @line is NULL at the end; then what it returns does not matter. */
typedef gboolean (*LineSourceFunc)(const char *line, gpointer data);

static gboolean has_line(const LineSource *lines_from)
{
	return strchr(lines_from->text->str, '\n') != NULL;
}

static gboolean line_prepare(GSource *source, int *timeout_ms)
{
	gboolean ready = has_line((LineSource *)source);

	*timeout_ms = -1; /* as far as we care: sleep until the descriptor wakes you */
	prepared += ready;
	return ready;
}

static gboolean line_check(GSource *source)
{
	LineSource *self = (LineSource *)source;
	gboolean ready = self->pollfd.revents != 0;

	if (form == REVENTS_NOT_EQUAL && self->pollfd.revents != self->pollfd.events) {
		missed += ready;
		ready = FALSE;
	}
	checked += ready;
	return ready;
}

static gboolean line_dispatch(GSource *source, GSourceFunc callback, gpointer data)
{
	LineSource *self = (LineSource *)source;
	LineSourceFunc call = (LineSourceFunc)(void (*)(void))callback;
	gboolean again;
	char buffer[256], *newline;
	gssize n;

	if (self->pollfd.revents) {
		n = read(self->pollfd.fd, buffer, sizeof(buffer));
		if (n <= 0) {
			call(NULL, data);
			return G_SOURCE_REMOVE;
		}
		g_string_append_len(self->text, buffer, n);
	}
	newline = strchr(self->text->str, '\n');
	if (!newline)
		return G_SOURCE_CONTINUE;
	*newline = '\0';
	again = call(self->text->str, data);
	g_string_erase(self->text, 0, newline + 1 - self->text->str);
	return again;
}

static void line_finalize(GSource *source)
{
	LineSource *self = (LineSource *)source;

	close(self->pollfd.fd);
	g_string_free(self->text, TRUE);
	finalized++;
}

static GSourceFuncs line_funcs = {
	.prepare = line_prepare,
	.check = line_check,
	.dispatch = line_dispatch,
	.finalize = line_finalize,
};

static GSource *line_source_new(int fd)
{
	GSource *source = g_source_new(&line_funcs, sizeof(LineSource));
	LineSource *self = (LineSource *)source;

	self->text = g_string_new(NULL);
	self->pollfd = (GPollFD){ .fd = fd, .events = G_IO_IN };
	g_source_add_poll(source, &self->pollfd);
	g_source_set_name(source, "lines");
	return source;
}

/* --- its use ------------------------------------------------------------------------------ */

static int writer; /* the other end of the pipe */
static int step;   /* of the script, in this connection */

static gboolean on_line(const char *line, gpointer data G_GNUC_UNUSED)
{
	if (line) {
		lines++;
	} else {
		hangups++;
		step = 0;
	}
	return G_SOURCE_CONTINUE;
}

static void connect_source(void)
{
	int ends[2];
	GSource *source;

	if (pipe(ends) != 0)
		g_error("pipe: %s", g_strerror(errno));
	writer = ends[1];
	source = line_source_new(ends[0]);
	g_source_set_callback(source, (GSourceFunc)(void (*)(void))on_line, NULL, NULL);
	g_source_attach(source, NULL);
	g_source_unref(source); /* the context has a reference of its own */
}

/*
 * Three iterations are a connection: two lines at once, of which the first is delivered after the
 * poll; the second, which prepare finds; and the hang-up.  Where that is missed nothing more comes.
 */
static gboolean stimulate(gpointer opaque G_GNUC_UNUSED)
{
	switch (step++) {
	case 0:
		connect_source();
		if (write(writer, "one\ntwo\n", 8) < 0)
			perror("write");
		break;
	case 2:
		close(writer);
		break;
	}
	return G_SOURCE_CONTINUE;
}

/* --- unref-twice -------------------------------------------------------------------------- */

static gboolean on_idle(gpointer data G_GNUC_UNUSED)
{
	lines++;
	return G_SOURCE_REMOVE;
}

/* A context of its own for one call, as a thread would have it. */
static gboolean use_a_context(gpointer opaque G_GNUC_UNUSED)
{
	GMainContext *context = g_main_context_new();
	GSource *source = g_idle_source_new();

	g_source_set_callback(source, on_idle, NULL, NULL);
	g_source_attach(source, context);
	g_source_unref(source);
	g_main_context_iteration(context, TRUE);
	g_main_context_unref(context); /* the one reference there was: it is gone */
	g_main_context_unref(context); /* the bug */
	g_main_context_wakeup(NULL);
	return G_SOURCE_CONTINUE;
}

int main(int argc, char **argv)
{
	gint64 iterations;

	form = example_options(argc, argv, forms, &iterations);
	example_run(iterations, form == UNREF_TWICE ? use_a_context : stimulate, NULL);
	printf("prepared=%" G_GINT64_FORMAT "\nchecked=%" G_GINT64_FORMAT
	       "\nlines=%" G_GINT64_FORMAT "\nhangups=%" G_GINT64_FORMAT
	       "\nfinalized=%" G_GINT64_FORMAT "\nmissed=%" G_GINT64_FORMAT "\n",
	       prepared, checked, lines, hangups, finalized, missed);
	return 0;
}
