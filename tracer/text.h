/* SPDX-License-Identifier: MIT */
/*
 * Text that came from a target, made fit to show.
 *
 * Names of threads, files and callbacks are bytes that somebody else chose: they may hold escape
 * sequences for a terminal, or no valid UTF-8, which JSON refuses. Whatever is not printable ASCII
 * or valid UTF-8 becomes '?'.
 */
#ifndef TRACER_TEXT_H
#define TRACER_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* Replace, in place, every control character and every byte that is not valid UTF-8. */
void text_make_safe(char *text);

/* True if @text is what C calls an identifier, at least two characters long. */
bool text_is_identifier(const char *text);

#endif
