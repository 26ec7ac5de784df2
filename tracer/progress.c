// SPDX-License-Identifier: MIT
/* See progress.h. */
#include <glib.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tracer/clock.h"
#include "tracer/progress.h"
#include "tracer/text.h"

#define EVERY_NS (200 * 1000000LL)
#define COLUMNS	 80

static int64_t shown_ns; /* the last line; 0: none stands there */

bool progress_due(void)
{
	static int terminal = -1;

	if (terminal < 0)
		terminal = isatty(STDERR_FILENO);
	return terminal && now_ns() >= shown_ns + EVERY_NS;
}

void progress(const char *fmt, ...)
{
	struct winsize size;
	int columns = COLUMNS;
	va_list args;
	char *text;

	if (!progress_due())
		return;
	if (!ioctl(STDERR_FILENO, TIOCGWINSZ, &size) && size.ws_col > 1)
		columns = size.ws_col;
	va_start(args, fmt);
	text = g_strdup_vprintf(fmt, args);
	va_end(args);
	text_make_safe(text);
	fprintf(stderr, "\r%.*s\033[K", columns - 1, text);
	shown_ns = now_ns();
	g_free(text);
}

void progress_end(void)
{
	if (shown_ns)
		fputs("\r\033[K", stderr);
	shown_ns = 0;
}
