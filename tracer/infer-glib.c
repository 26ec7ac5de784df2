// SPDX-License-Identifier: MIT
/*
 * GLib's private GMainContext: the list of its sources, the descriptor by which other threads wake
 * it up, the thread that owns it; and when a source is due. GSource itself is public and stable.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>

#include "tracer/code.h"
#include "tracer/infer-private.h"

#define GCTX_MAX 512 /* bytes that are looked at */

/* Is @link the first of a GList? An array of the sources to be dispatched begins as one does. */
static bool is_first_link(struct target *t, uint64_t link, uint64_t words[3])
{
	uint64_t next[3];

	if (target_read(t, link, words, 3 * sizeof(*words)) || words[2])
		return false;
	return !words[1] || (words[1] % 8 == 0 && !target_read(t, words[1], next, sizeof(next)) &&
			     next[2] == link);
}

/*
 * Is @link a GList link whose data is a list of sources, of @gctx and of one priority? Returns the
 * offset of the list's head there, or -1. In GLib from 2.80 on the link is part of that list.
 */
static int32_t source_list_head(struct target *t, uint64_t link, uint64_t gctx)
{
	uint64_t first[3], words[6];

	if (!is_first_link(t, link, first) || target_read(t, first[0], words, sizeof(words)))
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

struct image *infer_glib_image(struct images *images)
{
	struct image *img = images_library(images, "libglib-2.0.so");

	if (!img)
		img = images_program(images);
	return image_symbol(img, "g_main_context_default") ? img : NULL;
}

/* g_source_get_ready_time() returns a field of priv as it is, with nothing done to it. */
struct ready_time {
	int64_t off;
	bool loaded, changed;
};

static bool see_ready_time(const struct code_step *step, void *arg)
{
	struct ready_time *seen = arg;
	unsigned id = step->insn->id;

	if (id == X86_INS_RET)
		return seen->loaded;
	if (id == X86_INS_MOV && step->mem.kind == VALUE_FIELD && !step->mem_write &&
	    step->mem.field == offsetof(GSource, priv) && step->mem_size == 8) {
		seen->changed |= seen->loaded && seen->off != step->mem.n;
		seen->off = step->mem.n;
		seen->loaded = true;
	} else if (seen->loaded && id != X86_INS_ADD && id != X86_INS_POP && id != X86_INS_LEAVE) {
		seen->changed = true; /* a unit of its own, a flag beside it: not known here */
	}
	return false;
}

/* g_main_context_is_owner() reads one word of its context, and compares it with the thread. */
struct owner_word {
	int64_t off;
	bool several;
};

static bool see_owner(const struct code_step *step, void *arg)
{
	struct owner_word *seen = arg;

	if (step->mem.kind != VALUE_ARG0 || step->mem_write || step->mem_size != 8)
		return false;
	seen->several |= seen->off >= 0 && seen->off != step->mem.n;
	seen->off = step->mem.n;
	return false;
}

static void infer_from_getters(struct images *images, struct layout *l)
{
	struct image *glib = infer_glib_image(images);
	const struct symbol *ready = glib ? image_symbol(glib, "g_source_get_ready_time") : NULL;
	const struct symbol *is_owner = glib ? image_symbol(glib, "g_main_context_is_owner") : NULL;
	struct ready_time time = { 0 };
	struct owner_word owner = { -1, false };

	if (ready && !code_walk(glib, ready->link, see_ready_time, &time) && time.loaded &&
	    !time.changed && time.off >= 0)
		layout_set(l, PRIV_READY_TIME, (int32_t)time.off,
			   "g_source_get_ready_time() returns it as it is");
	if (is_owner && !code_walk(glib, is_owner->link, see_owner, &owner) && owner.off >= 0 &&
	    owner.off + 8 <= GCTX_MAX && !owner.several)
		layout_set(l, GCTX_OWNER, (int32_t)owner.off,
			   "g_main_context_is_owner() compares it with the calling thread");
}

/* As much of a context as is mapped; the rest is zero. */
static int read_gcontext(struct target *t, uint64_t addr, uint8_t *bytes)
{
	size_t page = 4096 - addr % 4096;

	if (!target_read(t, addr, bytes, GCTX_MAX))
		return 0;
	memset(bytes, 0, GCTX_MAX);
	return page < GCTX_MAX ? target_read(t, addr, bytes, page) : -EFAULT;
}

void infer_glib(struct target *t, struct images *images, struct layout *l, uint64_t gctx)
{
	uint8_t bytes[GCTX_MAX];

	if (!gctx || gctx % 8 || read_gcontext(t, gctx, bytes))
		return;
	if (l->off[GCTX_OWNER] < 0 || l->off[PRIV_READY_TIME] < 0)
		infer_from_getters(images, l);
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
