/* SPDX-License-Identifier: MIT */
/*
 * What GLib's two basic examples share: their command line.
 *
 *   glib-io-watch --list                      the healthy form and its bugs
 *   glib-io-watch --bug NAME                  run with that bug; until a signal, like without
 *   glib-io-watch --iterations N [--bug NAME] run N scripted iterations, print exact counts
 */
#ifndef GLIB_EXAMPLE_H
#define GLIB_EXAMPLE_H

#include <glib.h>

#define SCRIPT_MS 100 /* without --iterations, what stirs the loop comes so often */

typedef struct {
	const char *name;
	const char *summary;
	const char *verdict; /* what loopscope doctor should say; NULL: nothing */
} ExampleForm;

/*
 * Reads the options; --list, --help and mistakes end the program (status 0, 0, 2).  @forms begins
 * with the healthy one and ends with one without a name.  Returns the chosen one's place in it;
 * *@ret_iterations is -1 for "until a signal".
 */
int example_options(int argc, char **argv, const ExampleForm *forms, gint64 *ret_iterations);

/*
 * Runs the default context: before each iteration script(opaque) makes one source ready.  Without
 * an end a timer does that, and the loop sleeps in between as loops do.
 */
void example_run(gint64 iterations, GSourceFunc script, gpointer opaque);

#endif
