// SPDX-License-Identifier: MIT
/*
 * Every AioContext of the target: the two globals, and the owners of all timer lists, which the
 * clocks string together. An IOThread that no one named is found like any other.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tracer/loops.h"
#include "tracer/text.h"

#define N_CLOCKS  4
#define MAX_LISTS 4096

static void add_context(struct loops *loops, uint64_t addr, enum context_kind kind)
{
	struct context *c;
	GSource source;

	for (size_t i = 0; i < loops->contexts->len; i++)
		if (((struct context *)loops->contexts->pdata[i])->addr == addr)
			return;
	if (target_read(loops->t, addr, &source, sizeof(source)))
		return;
	/* Only what has an AioContext's GSourceFuncs is one. */
	if (loops->l->global[GLOBAL_SOURCE_FUNCS] &&
	    (uint64_t)(uintptr_t)source.source_funcs !=
		    loops->l->global[GLOBAL_SOURCE_FUNCS] + images_program(loops->images)->bias)
		return;
	c = g_new0(struct context, 1);
	c->addr = addr;
	c->kind = kind;
	c->gctx = (uintptr_t)source.context;
	c->handlers = g_array_new(FALSE, TRUE, sizeof(struct handler));
	c->bhs = g_array_new(FALSE, TRUE, sizeof(struct bottom_half));
	c->timers = g_array_new(FALSE, TRUE, sizeof(struct timer));
	if (kind == CONTEXT_MAIN || kind == CONTEXT_IOHANDLER)
		snprintf(c->name, sizeof(c->name), "%s",
			 layout_global_name(kind == CONTEXT_MAIN ? GLOBAL_QEMU_CTX
								 : GLOBAL_IOHANDLER_CTX));
	else
		snprintf(c->name, sizeof(c->name), "context 0x%" PRIx64, addr);
	g_ptr_array_add(loops->contexts, c);
}

static uint64_t pointer(struct target *t, uint64_t addr)
{
	uint64_t value = 0;

	target_read_u64(t, addr, &value);
	return value;
}

/* Contexts that own timer lists of the clock that @list is of. */
static void add_owners(struct loops *loops, uint64_t list)
{
	const struct layout *l = loops->l;
	uint64_t clock = pointer(loops->t, list + l->off[TL_CLOCK]);
	uint64_t own_cb = pointer(loops->t, list + l->off[TL_NOTIFY_CB]);
	uint64_t at = clock ? pointer(loops->t, clock + l->off[CLOCK_LISTS]) : 0;

	for (int n = 0; at && n < MAX_LISTS; n++) {
		uint64_t opaque = pointer(loops->t, at + l->off[TL_NOTIFY_OPAQUE]);

		if (opaque && pointer(loops->t, at + l->off[TL_NOTIFY_CB]) == own_cb)
			add_context(loops, opaque, CONTEXT_OTHER);
		at = pointer(loops->t, at + l->off[TL_NEXT]);
	}
}

int loops_find_contexts(struct loops *loops, struct failure *why)
{
	uint64_t bias = images_program(loops->images)->bias;
	const struct layout *l = loops->l;
	struct context *first;

	for (int g = GLOBAL_QEMU_CTX; g <= GLOBAL_IOHANDLER_CTX; g++) {
		uint64_t addr = l->global[g] ? pointer(loops->t, l->global[g] + bias) : 0;

		if (addr)
			add_context(loops, addr,
				    g == GLOBAL_QEMU_CTX ? CONTEXT_MAIN : CONTEXT_IOHANDLER);
	}
	if (!loops->contexts->len)
		return fail(why, -ENOENT,
			    "process %d has no main loop: qemu_aio_context is not set up",
			    loops->t->pid);
	first = loops->contexts->pdata[0];
	if (l->off[CTX_TLG] >= 0 && l->off[TL_NEXT] >= 0 && l->off[CLOCK_LISTS] >= 0)
		add_owners(loops, pointer(loops->t, first->addr + l->off[CTX_TLG]));
	return 0;
}
