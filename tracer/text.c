// SPDX-License-Identifier: MIT
/* See text.h. */
#include <ctype.h>
#include <glib.h>

#include "tracer/text.h"

void text_make_safe(char *text)
{
	while (*text) {
		gunichar c = g_utf8_get_char_validated(text, -1);

		/* Also the C1 controls (U+0080..U+009F), which some terminals obey. */
		if (c >= (gunichar)-2 || c < 0x20 || (c >= 0x7f && c < 0xa0))
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
