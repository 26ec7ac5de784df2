// SPDX-License-Identifier: MIT
/*
 * The QEMUBH, proven on one that every context owns: a word of the context leads to a structure
 * that begins with the context and has, in this order, a name (in builds that keep one), a function
 * and the context again as its argument (co_schedule_bh).
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "tracer/infer-private.h"
#include "tracer/text.h"

#define KNOWN_FLAGS 31 /* PENDING, SCHEDULED, DELETED, ONESHOT, IDLE */

/* Is the word a pointer to an identifier in the program's read-only data? */
static bool is_name(struct infer *in, uint64_t word)
{
	const struct map *map = target_map_at(in->t, word);
	char name[128];

	return image_holds(in->program, word) && (!map || !map->write) &&
	       !target_read_string(in->t, word, name, sizeof(name)) && text_is_identifier(name);
}

/* Where the function is, if @bh (at no known layout) is a bottom half of the context; or -1. */
static int32_t find_function(struct infer *in, const uint8_t *bh, uint64_t ctx)
{
	int32_t cb = is_name(in, word_at(bh, 8)) ? 16 : 8;

	if (word_at(bh, 0) != ctx || !images_is_function(in->images, word_at(bh, cb)) ||
	    word_at(bh, cb + 8) != ctx || half_at(bh, cb + 24) & ~KNOWN_FLAGS)
		return -1;
	return cb;
}

int infer_bottom_halves(struct infer *in)
{
	int32_t shape = -1;
	size_t n = 0;

	for (size_t i = 0; i < in->contexts->len; i++) {
		const struct context_copy *c = context_at(in, i);

		for (uint32_t o = sizeof(GSource); o + 8 <= in->l->size[TYPE_CTX]; o += 8) {
			uint64_t at = word_at(c->bytes, o);
			uint8_t bh[NODE_MAX];
			int32_t cb;

			if (!at || at % 8 || infer_read_element(in, at, bh))
				continue;
			cb = find_function(in, bh, c->addr);
			if (cb < 0)
				continue;
			if (shape >= 0 && cb != shape)
				return fail(in->why, -EBADMSG,
					    "%s: context 0x%" PRIx64
					    "'s bottom half has another shape "
					    "than those of other contexts",
					    in->program->name, c->addr);
			shape = cb;
			n++;
		}
	}
	if (shape < 0) {
		layout_set(in->l, BH_CTX, LAYOUT_UNKNOWN,
			   "no context owns a bottom half to prove it on");
		return 0;
	}
	layout_set(in->l, BH_CTX, 0, "the context, in %zu bottom halves", n);
	if (shape == 16)
		layout_set(in->l, BH_NAME, 8, "an identifier in read-only data, in %zu", n);
	else
		layout_set(in->l, BH_NAME, LAYOUT_UNKNOWN,
			   "a function follows the context: no name kept");
	layout_set(in->l, BH_CB, shape, "a function, in %zu", n);
	layout_set(in->l, BH_OPAQUE, shape + 8, "the context in its own bottom half, in %zu", n);
	layout_set(in->l, BH_NEXT, shape + 16, "between opaque and flags");
	layout_set(in->l, BH_FLAGS, shape + 24, "none but the five flags set, in %zu", n);
	return 0;
}

/* fdmon_ops: the one word of every context that leads to a table of functions in the program. */
void infer_fdmon(struct infer *in)
{
	for (uint32_t o = sizeof(GSource); o + 8 <= in->l->size[TYPE_CTX]; o += 8) {
		size_t n = 0;

		for (size_t i = 0; i < in->contexts->len; i++) {
			uint64_t at = word_at(context_at(in, i)->bytes, o), ops[3];

			if (!image_holds(in->program, at) || at % 8 ||
			    target_read(in->t, at, ops, sizeof(ops)) ||
			    !image_is_function(in->program, ops[0]) ||
			    !image_is_function(in->program, ops[1]) ||
			    !image_is_function(in->program, ops[2]))
				break;
			n++;
		}
		if (n == in->contexts->len) {
			layout_set(in->l, CTX_FDMON_OPS, o, "three functions, in all %zu contexts",
				   n);
			return;
		}
	}
	layout_set(in->l, CTX_FDMON_OPS, LAYOUT_UNKNOWN,
		   "no table of three functions in all contexts");
}
