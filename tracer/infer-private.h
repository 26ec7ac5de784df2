/* SPDX-License-Identifier: MIT */
/* What the parts of the inference share. See infer.h. */
#ifndef TRACER_INFER_PRIVATE_H
#define TRACER_INFER_PRIVATE_H

#include "tracer/infer.h"

#define CTX_MAX	 2048 /* bytes; no AioContext is larger */
#define NODE_MAX 256  /* bytes of a list element that are looked at */

struct context_copy {
	uint64_t addr;
	uint8_t bytes[CTX_MAX];
};

struct infer {
	struct target *t;
	struct images *images;
	struct image *program;
	struct fds *fds;
	struct layout *l;
	struct failure *why;
	GArray *contexts; /* struct context_copy: first qemu_aio_context, second iohandler_ctx */
};

static inline uint64_t word_at(const void *bytes, size_t offset)
{
	uint64_t word;

	__builtin_memcpy(&word, (const char *)bytes + offset, sizeof(word));
	return word;
}

static inline uint32_t half_at(const void *bytes, size_t offset)
{
	uint32_t half;

	__builtin_memcpy(&half, (const char *)bytes + offset, sizeof(half));
	return half;
}

static inline const struct context_copy *context_at(const struct infer *in, size_t i)
{
	return &g_array_index(in->contexts, struct context_copy, i);
}

/* Add the context at @addr, unless it is known; -EBADMSG if its GSource is not an AioContext's. */
int infer_add_context(struct infer *in, uint64_t addr);

/* Read all contexts again: they are older than what was just read of their lists. */
int infer_reread_contexts(struct infer *in);

/* Read an element of a list: NODE_MAX bytes, fewer (zero-filled) at the end of mapped memory. */
int infer_read_element(struct infer *in, uint64_t addr, uint8_t *bytes);

/* The steps, in the order in which each needs those before it (infer-*.c). */
int infer_from_code(struct infer *in);	   /* globals, size, notify_me, notified, notifier */
int infer_timers(struct infer *in);	   /* tlg, timer lists, clocks, timers; all contexts */
int infer_handlers(struct infer *in);	   /* handler lists and AioHandler */
void infer_bh_lists(struct infer *in);	   /* bh_list, bh_slice_list */
int infer_bottom_halves(struct infer *in); /* QEMUBH */
void infer_fdmon(struct infer *in);	   /* fdmon_ops */

#endif
