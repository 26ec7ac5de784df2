/* SPDX-License-Identifier: MIT */
/*
 * loopscope --help is one text (help-text.c). The part of it that is about one command is cut out
 * of it (help.c), so that "loopscope fds --help", the man pages and the text cannot differ.
 */
#ifndef TRACER_HELP_H
#define TRACER_HELP_H

#include <stdbool.h>

extern const char help_text[];

/* Does the list of words "pid tid via" have @word in it? */
bool help_lists(const char *words, const char *word);

/*
 * Print what help_text says of command @name: the lines that show it, and those options that are
 * among @options or that every command takes.
 */
void help_print_command(const char *name, const char *options);

#endif
