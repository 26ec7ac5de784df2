// SPDX-License-Identifier: MIT
/* Chains of calls and sentences, in lines of at most OUT_COLUMNS. See out.h. */
#include <stdio.h>
#include <string.h>

#include "tracer/out.h"

#define LONGEST_ROUND 12 /* frames of one round of a recursion */

/* How often the round of @length names that begins at @at is there, one after the other. */
static int rounds_at(const GPtrArray *names, unsigned at, unsigned length)
{
	unsigned rounds = 1;

	for (unsigned i = at; i + length < names->len; i++) {
		if (strcmp(names->pdata[i], names->pdata[i + length]))
			break;
		rounds = (i - at + 1) / length + 1;
	}
	return (int)rounds;
}

/* A recursion is told once: what in @names stands three times or more becomes "(a > b) x 31". */
static void fold_rounds(GPtrArray *names)
{
	for (unsigned at = 0; at < names->len; at++) {
		for (unsigned length = 1; length <= LONGEST_ROUND; length++) {
			int rounds = rounds_at(names, at, length);
			char **first = (char **)&names->pdata[at], **last = first + length - 1;
			char *text;

			if (rounds < 3)
				continue;
			text = g_strdup_printf("%s) x %d", *last, rounds);
			g_free(*last);
			*last = text;
			text = g_strdup_printf("(%s", *first);
			g_free(*first);
			*first = text;
			g_ptr_array_remove_range(names, at + length, (rounds - 1) * length);
			at += length - 1;
			break;
		}
	}
}

void out_chain(GPtrArray *names)
{
	int column = 0;

	fold_rounds(names);
	for (unsigned i = 0; i < names->len; i++) {
		const char *name = names->pdata[i];

		if (column && column + 3 + (int)strlen(name) > OUT_COLUMNS) {
			printf("\n");
			column = 0;
		}
		column += printf("%s%s%s", column ? "" : "  ", i ? "> " : "", name);
		column += printf(i + 1 < names->len ? " " : "\n");
	}
}

void out_folded(const char *mark, const char *text)
{
	int left = OUT_COLUMNS - 3 - (int)strlen(mark);

	printf("  %s ", mark);
	while ((int)strlen(text) > left) {
		int cut = left;

		while (cut > 0 && text[cut] != ' ')
			cut--;
		if (!cut)
			break;
		printf("%.*s\n    ", cut, text);
		text += cut + 1;
		left = OUT_COLUMNS - 4;
	}
	printf("%s\n", text);
}
