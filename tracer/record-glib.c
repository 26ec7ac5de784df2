// SPDX-License-Identifier: MIT
/*
 * GLib's own loop, of any program that uses it: which of its functions are probed, and whether its
 * loop calls them. Iterations are told by record-glib-loop.c, sources where they are dispatched by
 * record-glib-dispatch.c, where they come and go by record-glib-sources.c.
 */
#include <string.h>

#include "tracer/code.h"
#include "tracer/infer.h"
#include "tracer/record-glib-parts.h"

uint64_t glib_context_of(const struct recorder *r, uint64_t ctx)
{
	for (size_t i = 0; !ctx && r->loops && i < r->loops->gcontexts->len; i++) {
		const struct loop_gcontext *g = r->loops->gcontexts->pdata[i];

		if (g->is_default)
			return g->addr;
	}
	return ctx;
}

#define GLIB	 "libglib-2.0.so"
#define NO_READS { { 0, 0 } }, 0

const struct function_probe glib_probes[] = {
	{ { "g_main_context_iteration" }, GLIB, 2, NO_READS, glib_iteration_entry, NULL, "" },
	{ { "g_main_context_prepare" },
	  GLIB,
	  1,
	  NO_READS,
	  glib_prepare_entry,
	  glib_prepare_return,
	  "iteration_begin iteration_end prepare" },
	{ { "g_main_context_query" }, GLIB, 2, NO_READS, glib_query_entry, NULL, "prepare query" },
	{ { "g_main_context_check" },
	  GLIB,
	  4,
	  NO_READS,
	  glib_check_entry,
	  glib_check_return,
	  "check" },
	{ { "g_source_new" },
	  GLIB,
	  1,
	  NO_READS,
	  glib_source_new_entry,
	  NULL,
	  "source_dispatch_begin" },
	{ { "g_source_set_funcs" },
	  GLIB,
	  2,
	  NO_READS,
	  glib_set_funcs_entry,
	  NULL,
	  "source_dispatch_begin" },
};
const size_t n_glib_probes = G_N_ELEMENTS(glib_probes);

/* --- does the loop call what is exported? --- */

struct callees {
	uint64_t wanted, seen[16];
	int n;
	bool found;
};

static bool see_call(const struct code_step *step, void *arg)
{
	struct callees *c = arg;

	c->found |= step->target && step->target == c->wanted;
	if (step->insn->id == X86_INS_CALL && step->target && c->n < (int)G_N_ELEMENTS(c->seen))
		c->seen[c->n++] = step->target;
	return c->found;
}

/* One iteration, g_main_context_iteration(), calls g_main_context_query() itself or one call down.
 */
static bool loop_calls_exports(const struct image *glib)
{
	const struct symbol *run = image_symbol(glib, "g_main_context_iteration");
	const struct symbol *query = image_symbol(glib, "g_main_context_query");
	struct callees outer = { 0 };

	if (!run || !query)
		return false;
	outer.wanted = query->link;
	if (code_walk(glib, run->link, see_call, &outer))
		return false;
	for (int i = 0; !outer.found && i < outer.n; i++) {
		struct callees inner = { .wanted = query->link };

		if (!code_walk(glib, outer.seen[i], see_call, &inner))
			outer.found = inner.found;
	}
	return outer.found;
}

static bool is_phase(const struct function_probe *fn)
{
	return fn->entry == glib_prepare_entry || fn->entry == glib_query_entry ||
	       fn->entry == glib_check_entry;
}

bool glib_loop_shows_phases(struct images *images)
{
	const struct image *glib = infer_glib_image(images);

	return glib && !infer_glib_is_opaque() && loop_calls_exports(glib);
}

bool glib_probe_tells_value(const struct function_probe *fn)
{
	return fn->leave == glib_prepare_return || fn->leave == glib_check_return;
}

bool glib_probe_serves(struct images *images, const struct function_probe *fn)
{
	return (!is_phase(fn) && strcmp(fn->names[0], "g_main_context_dispatch")) ||
	       glib_loop_shows_phases(images);
}
