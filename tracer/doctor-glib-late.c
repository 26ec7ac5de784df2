// SPDX-License-Identifier: MIT
/*
 * Which source of a GMainContext is due first? doctor-late.c asks every few ms, as it asks QEMU's
 * lists of timers. The sources are those of the last reading; when each is due is read now.
 */
#include "tracer/doctor-glib.h"

#define MAX_SOURCES 512 /* of a context that are asked */

/* While it is dispatched its time is the old one. */
static bool waits(const struct doctor *d, const struct loop_source *s)
{
	GSource now;

	return !target_read(d->t, s->addr, &now, sizeof(now)) &&
	       !(now.flags & (SOURCE_IN_CALL | SOURCE_BLOCKED)) && now.source_id == s->id;
}

bool glib_first_due(const struct doctor *d, uint64_t gctx, uint64_t *ret_source,
		    int64_t *ret_due_ns, uint64_t *ret_called)
{
	const struct loop_gcontext *g = loops_gcontext(d->loops, gctx);
	const struct loop_source *first = NULL;
	int64_t first_ns = INT64_MAX;

	for (size_t i = 0; g && i < MIN(g->sources->len, MAX_SOURCES); i++) {
		const struct loop_source *s = g->sources->pdata[i];
		int64_t due_ns = s->ready_ns < 0 ? READY_NEVER : glib_ready_now(d, s);

		if (due_ns < 0 || due_ns >= first_ns || !waits(d, s))
			continue;
		first_ns = due_ns;
		first = s;
	}
	if (!first)
		return false;
	*ret_source = first->addr;
	*ret_due_ns = first_ns;
	*ret_called = glib_called(first);
	return true;
}
