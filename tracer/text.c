// SPDX-License-Identifier: MIT
/* See text.h. */
#include <ctype.h>
#include <glib.h>

#include "tracer/text.h"

/* Controls (C1 too, which some terminals obey), what turns the direction of text, line separators.
 */
static bool is_unsafe(gunichar c)
{
	GUnicodeType type;

	if (c >= (gunichar)-2) /* no valid UTF-8 */
		return true;
	type = g_unichar_type(c);
	return !g_unichar_isprint(c) || type == G_UNICODE_LINE_SEPARATOR ||
	       type == G_UNICODE_PARAGRAPH_SEPARATOR;
}

void text_make_safe(char *text)
{
	/* Byte by byte: the length stays, and the rest of a replaced character is no UTF-8 either.
	 */
	while (*text) {
		if (is_unsafe(g_utf8_get_char_validated(text, -1)))
			*text++ = '?';
		else
			text = g_utf8_next_char(text);
	}
}

bool text_is_identifier(const char *text)
{
	size_t n = 0;

	if (!isalpha((unsigned char)text[0]) && text[0] != '_')
		return false;
	while (isalnum((unsigned char)text[n]) || text[n] == '_')
		n++;
	return n > 1 && !text[n];
}
