// SPDX-License-Identifier: MIT
/* See proc-parts.h. */
#include "tracer/loops-fdmon.c" // NOLINT: its static functions are what is looked for

#include "tests/fuzz/proc-parts.h"

void fuzz_epoll(struct target *t)
{
	GArray *fds = g_array_new(FALSE, FALSE, sizeof(GPollFD));
	struct loops loops = { .t = t };

	read_epoll(&loops, 4, fds);
	g_array_free(fds, TRUE);
}
