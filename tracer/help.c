// SPDX-License-Identifier: MIT
/* The part of help_text that is about one command. See help.h. */
#include <glib.h>
#include <stdio.h>
#include <string.h>

#include "tracer/help.h"

#define DEEP 12 /* blanks: a line that goes on with the one before */

bool help_lists(const char *words, const char *word)
{
	char **list = g_strsplit(words, " ", -1);
	bool found = g_strv_contains((const char *const *)list, word);

	g_strfreev(list);
	return found;
}

/* Is one of the --words on an option's line among @options? */
static bool takes_line(const char *line, const char *options)
{
	const char *at = line + strspn(line, " ");
	char *name;
	bool takes;

	at = g_str_has_prefix(at, "--") ? at : strstr(at, "--");
	if (!at)
		return false;
	name = g_strndup(at + 2, strspn(at + 2, "abcdefghijklmnopqrstuvwxyz-"));
	takes = help_lists(options, name) || help_lists("verbose help version", name);
	g_free(name);
	return takes;
}

void help_print_command(const char *name, const char *options)
{
	char *usage = g_strdup_printf("  loopscope %s ", name);
	char **lines = g_strsplit(help_text, "\n", -1);
	bool shown = false, options_begun = false, in_list = true;

	for (char **line = lines; *line; line++) {
		size_t blanks = strspn(*line, " ");

		if (g_str_has_prefix(*line, "Exit:"))
			in_list = false;
		if (!in_list)
			shown = true;
		else if (g_str_has_prefix(*line, "  loopscope "))
			shown = g_str_has_prefix(*line, usage);
		else if (blanks && (*line)[blanks] == '-')
			shown = takes_line(*line, options);
		else if (blanks < DEEP)
			shown = false;
		if (!shown)
			continue;
		if (!options_begun && blanks && (*line)[blanks] == '-') {
			putchar('\n');
			options_begun = true;
		}
		if (g_str_has_prefix(*line, "Exit:"))
			putchar('\n');
		if (line[1] || **line)
			puts(*line);
	}
	g_strfreev(lines);
	g_free(usage);
}
