// SPDX-License-Identifier: MIT
/* See proc-parts.h. */
#include "tracer/loops-iothread.c" // NOLINT: its static functions are what is looked for

#include "tests/fuzz/proc-parts.h"

void fuzz_own_tid(struct target *t)
{
	own_tid(t, 1);
}
