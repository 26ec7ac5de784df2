/* SPDX-License-Identifier: MIT */
/*
 * How far long work is: one line on standard error, written over and over, and only where that is a
 * terminal. Whatever else is printed comes after progress_end().
 */
#ifndef TRACER_PROGRESS_H
#define TRACER_PROGRESS_H

#include <stdbool.h>

/* True a few times a second, on a terminal: then it is worth calling progress(). */
bool progress_due(void);

/* Show the line, which is cut to the terminal's width. */
void progress(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Take it away. Nothing to do if none was shown. */
void progress_end(void);

#endif
