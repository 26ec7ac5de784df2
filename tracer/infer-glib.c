// SPDX-License-Identifier: MIT
/*
 * GLib's private GMainContext, as far as the poll set needs it: the list of its sources, and the
 * descriptor by which other threads wake it up. GSource itself is public and stable.
 */
#include <inttypes.h>
#include <poll.h>
#include <string.h>

#include "tracer/infer-private.h"

#define GCTX_MAX 512 /* bytes that are looked at */

/*
 * Is @link a GList link whose data is a list of sources, of @gctx and of one priority? Returns the
 * offset of the list's head there, or -1. In GLib from 2.80 on the link is part of that list.
 */
static int32_t source_list_head(struct target *t, uint64_t link, uint64_t gctx)
{
	uint64_t list, words[6];

	if (target_read_u64(t, link, &list) || target_read(t, list, words, sizeof(words)))
		return -1;
	for (int i = 0; i < 4; i++) {
		GSource source;

		/* head, tail, priority, behind a GList since 2.80: it is the source's own priority.
		 */
		if (!words[i] || words[i] % 8 ||
		    target_read(t, words[i], &source, sizeof(source)) ||
		    (uint64_t)(uintptr_t)source.context != gctx || source.prev ||
		    source.priority != (int)words[i + 2])
			continue;
		return 8 * i;
	}
	return -1;
}

void infer_glib(struct target *t, struct layout *l, uint64_t gctx)
{
	uint8_t bytes[GCTX_MAX];

	if (target_read(t, gctx, bytes, sizeof(bytes)))
		return;
	for (uint32_t o = 0; o + 8 <= GCTX_MAX && l->off[GCTX_SOURCES] < 0; o += 8) {
		uint64_t link = word_at(bytes, o);
		int32_t head = link && !(link % 8) ? source_list_head(t, link, gctx) : -1;

		if (head < 0)
			continue;
		layout_set(l, GCTX_SOURCES, o, "leads to sources of this context, by priority");
		layout_set(l, GSL_HEAD, head, "a source of the context with no one before it");
	}
	/* The wake-up's GPollFD: its fd is also the first of a {fd, -1} pair the context points to.
	 */
	for (uint32_t o = 8; o + 8 <= GCTX_MAX && l->off[GCTX_WAKEUP] < 0; o += 8) {
		GPollFD rec;
		int pair[2];

		memcpy(&rec, bytes + o, sizeof(rec));
		if (rec.fd < 0 || rec.events != POLLIN ||
		    target_read(t, word_at(bytes, o - 8), pair, sizeof(pair)) || pair[0] != rec.fd)
			continue;
		layout_set(l, GCTX_WAKEUP, o,
			   "a GPollFD of the fd that the word before it leads to");
	}
}
