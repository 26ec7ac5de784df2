/* SPDX-License-Identifier: MIT */
/*
 * loopscope --help is one text, in main.c. Here the part of it that is about one command is cut
 * out of it, so that "loopscope fds --help", the man pages and the text cannot differ.
 */
#ifndef TRACER_HELP_H
#define TRACER_HELP_H

#include <stdbool.h>

/* Does the list of words "pid tid via" have @word in it? */
bool help_lists(const char *words, const char *word);

/*
 * Print what @text says of command @name: the lines that show it, and those options that are among
 * @options or that every command takes.
 */
void help_print_command(const char *text, const char *name, const char *options);

#endif
