// SPDX-License-Identifier: MIT
/*
 * Timer lists, clocks and timers, and through them every context of the target.
 *
 * A context's timer list group is four pointers to timer lists, one per clock, each of which holds
 * the context as the argument of its notify callback. The clocks hold all timer lists of all
 * contexts, so IOThreads that nobody has named are found here.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "tracer/infer-private.h"

#define N_CLOCKS   4	/* QEMU_CLOCK_REALTIME, VIRTUAL, HOST, VIRTUAL_RT */
#define MAX_LISTS  4096 /* timer lists of one clock */
#define CLOCK_LOOK 32	/* bytes of a clock */
#define MAX_LOOK   64	/* timers of one list that are looked at here */

/* Is there, in the timer list copied to @list, the context with a function before it? */
static int32_t find_opaque(struct infer *in, const uint8_t *list, uint64_t ctx)
{
	for (int32_t o = 16; o + 8 <= NODE_MAX; o += 8)
		if (word_at(list, o) == ctx && images_is_function(in->images, word_at(list, o - 8)))
			return o;
	return -1;
}

/* The four words at @tlg of @c are timer lists of one shape and of clocks in the program's data. */
static int32_t timer_lists_at(struct infer *in, const struct context_copy *c, uint32_t tlg)
{
	int32_t opaque = -1;

	for (int i = 0; i < N_CLOCKS; i++) {
		uint64_t addr = word_at(c->bytes, tlg + 8 * i);
		uint8_t list[NODE_MAX];
		int32_t at;

		if (!addr || addr % 8 || infer_read_element(in, addr, list) ||
		    !image_holds(in->program, word_at(list, 0)))
			return -1;
		at = find_opaque(in, list, c->addr);
		if (at < 0 || (i && at != opaque))
			return -1;
		opaque = at;
	}
	return opaque;
}

static int find_group(struct infer *in)
{
	const struct context_copy *first = context_at(in, 0);
	uint32_t size = in->l->size[TYPE_CTX];

	for (uint32_t o = sizeof(GSource); o + 8 * N_CLOCKS <= size; o += 8) {
		int32_t opaque = timer_lists_at(in, first, o);

		if (opaque < 0)
			continue;
		for (size_t i = 1; i < in->contexts->len; i++)
			if (timer_lists_at(in, context_at(in, i), o) != opaque)
				return fail(in->why, -EBADMSG,
					    "%s: context 0x%" PRIx64 " has no timer lists at +%u, "
					    "where qemu_aio_context has",
					    in->program->name, context_at(in, i)->addr, o);
		layout_set(in->l, CTX_TLG, o, "four timer lists that hold the context");
		layout_set(in->l, TL_CLOCK, 0, "in the program's data for every list");
		layout_set(in->l, TL_NOTIFY_OPAQUE, opaque, "the context, in all of its lists");
		layout_set(in->l, TL_NOTIFY_CB, opaque - 8, "a function, before the context");
		return 0;
	}
	return fail(in->why, -EBADMSG, "%s: qemu_aio_context has no four timer lists that hold it",
		    in->program->name);
}

/* At @o the four clocks hold their own index, and a bool after it. */
static bool is_clock_type(uint8_t clock[][CLOCK_LOOK], int32_t o)
{
	for (int i = 0; i < N_CLOCKS; i++)
		if (half_at(clock[i], o) != (uint32_t)i || clock[i][o + 4] > 1)
			return false;
	return true;
}

/* The four clocks: the list head points to an element that points back, the type is the index. */
static int find_clocks(struct infer *in)
{
	const struct context_copy *c = context_at(in, 0);
	int32_t tlg = in->l->off[CTX_TLG];
	uint8_t clock[N_CLOCKS][CLOCK_LOOK], list[NODE_MAX];
	uint64_t clocks[N_CLOCKS], first, link;
	int32_t type;

	for (int i = 0; i < N_CLOCKS; i++)
		if (target_read_u64(in->t, word_at(c->bytes, tlg + 8 * i), &clocks[i]) ||
		    target_read(in->t, clocks[i], clock[i], CLOCK_LOOK))
			return fail(in->why, -EBADMSG, "%s: clock %d is not in memory",
				    in->program->name, i);
	for (type = 8; type + 8 <= CLOCK_LOOK && !is_clock_type(clock, type); type += 4)
		;
	if (type + 8 > CLOCK_LOOK)
		return fail(in->why, -EBADMSG,
			    "%s: the timer lists of qemu_aio_context are not of clocks 0, 1, 2, 3",
			    in->program->name);
	layout_set(in->l, CLOCK_TYPE, type, "0, 1, 2, 3 in the clocks of the four lists");
	layout_set(in->l, CLOCK_ENABLED, type + 4, "0 or 1 in all clocks");

	if (target_read_u64(in->t, clocks[0], &first) || infer_read_element(in, first, list))
		return fail(in->why, -EBADMSG, "%s: the first clock has no timer lists",
			    in->program->name);
	for (int32_t o = 8; o + 16 <= NODE_MAX; o += 8) {
		if (word_at(list, o) != clocks[0])
			continue;
		/* The same has to hold one element further, where there is one. */
		link = word_at(list, o - 8);
		if (link) {
			uint8_t next[NODE_MAX];

			if (infer_read_element(in, link, next) || word_at(next, o) != first + o - 8)
				continue;
		}
		layout_set(in->l, CLOCK_LISTS, 0, "its first list points back at it");
		layout_set(in->l, TL_NEXT, o - 8, "before the link that points back at the clock");
		return 0;
	}
	return fail(in->why, -EBADMSG, "%s: the first clock's timer lists do not point back at it",
		    in->program->name);
}

/* Call @see for every timer list of every clock, until it returns non-zero. */
static int for_each_list(struct infer *in, int (*see)(struct infer *, uint64_t, const uint8_t *))
{
	int32_t tlg = in->l->off[CTX_TLG];

	for (int i = 0; i < N_CLOCKS; i++) {
		uint64_t addr, clock;
		int n = 0;

		if (target_read_u64(in->t, word_at(context_at(in, 0)->bytes, tlg + 8 * i),
				    &clock) ||
		    target_read_u64(in->t, clock, &addr))
			return -EFAULT;
		for (; addr && n < MAX_LISTS; n++) {
			uint8_t list[NODE_MAX];
			int err;

			if (infer_read_element(in, addr, list))
				return -EFAULT;
			err = see(in, addr, list);
			if (err)
				return err;
			addr = word_at(list, in->l->off[TL_NEXT]);
		}
	}
	return 0;
}

/* A list with the contexts' own notify callback belongs to a context. */
static int add_context_of(struct infer *in, uint64_t addr, const uint8_t *list)
{
	uint8_t own[NODE_MAX];

	(void)addr;
	if (infer_read_element(in, word_at(context_at(in, 0)->bytes, in->l->off[CTX_TLG]), own))
		return -EFAULT;
	if (layout_get(in->l, TL_NOTIFY_CB, list, NODE_MAX) !=
	    layout_get(in->l, TL_NOTIFY_CB, own, NODE_MAX))
		return 0;
	return infer_add_context(in, layout_get(in->l, TL_NOTIFY_OPAQUE, list, NODE_MAX));
}

/*
 * How many timers follow from @at if a timer holds its list at @own: each has to point back at
 * @list, to hold a function next and a known scale at its end, and to expire after the one before.
 */
static int count_timers(struct infer *in, uint64_t list, uint64_t at, int32_t own)
{
	uint64_t before = 0;
	uint8_t timer[NODE_MAX];
	int n = 0;

	for (; at && n < MAX_LOOK; n++) {
		uint32_t scale;

		if (at % 8 || infer_read_element(in, at, timer))
			return 0;
		scale = half_at(timer, own + 36);
		if (word_at(timer, own) != list || word_at(timer, own - 8) < before ||
		    !images_is_function(in->images, word_at(timer, own + 8)) ||
		    (scale != 1 && scale != 1000 && scale != 1000000))
			return 0;
		before = word_at(timer, own - 8);
		at = word_at(timer, own + 24);
	}
	return n;
}

/* In the timer list @list at @addr, the word that leads to timers of it. */
static int find_timer(struct infer *in, uint64_t addr, const uint8_t *list)
{
	for (int32_t o = 8; o < in->l->off[TL_NEXT]; o += 8) {
		for (int32_t own = 8; own <= 64; own += 8) {
			int n = word_at(list, o) ? count_timers(in, addr, word_at(list, o), own)
						 : 0;

			if (!n)
				continue;
			layout_set(in->l, TL_ACTIVE, o, "leads to %d timers that point back", n);
			layout_set(in->l, TIMER_LIST, own, "its own list, in %d timers", n);
			layout_set(in->l, TIMER_EXPIRE, own - 8, "ascends along %d timers", n);
			layout_set(in->l, TIMER_CB, own + 8, "a function in %d timers", n);
			layout_set(in->l, TIMER_OPAQUE, own + 16, "between callback and next");
			layout_set(in->l, TIMER_NEXT, own + 24, "leads through %d timers", n);
			layout_set(in->l, TIMER_SCALE, own + 36, "1, 1000 or 1000000");
			return 1;
		}
	}
	return 0;
}

int infer_timers(struct infer *in)
{
	int err = find_group(in);

	if (!err)
		err = find_clocks(in);
	if (err)
		return err;
	err = for_each_list(in, add_context_of);
	if (err)
		return err == -EFAULT
			       ? fail(in->why, -EBADMSG, "%s: a list of timer lists leads nowhere",
				      in->program->name)
			       : err;
	if (for_each_list(in, find_timer) != 1)
		layout_set(in->l, TL_ACTIVE, LAYOUT_UNKNOWN, "no timer was armed to prove it on");
	return 0;
}
