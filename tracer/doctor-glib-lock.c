// SPDX-License-Identifier: MIT
/*
 * Which of GLib's locks does a thread sleep for? GLib takes them by futexes of its own, in static
 * functions that the exported ones call or jump to. So the function that made the system call is
 * compared with where the exported functions lead. None of these locks says who holds it.
 */
#include <inttypes.h>

#include "tracer/code.h"
#include "tracer/doctor-glib.h"
#include "tracer/infer.h"

static const struct {
	const char *function, *what;
} locks[] = {
	{ "g_mutex_lock", "the GMutex" },	    { "g_rw_lock_reader_lock", "the GRWLock" },
	{ "g_rw_lock_writer_lock", "the GRWLock" }, { "g_cond_wait", "the GCond" },
	{ "g_cond_wait_until", "the GCond" },	    { "g_bit_lock", "the bit lock" },
};

struct leads {
	uint64_t wanted;
	bool found;
};

static bool see_target(const struct code_step *step, void *arg)
{
	struct leads *leads = arg;

	leads->found |= step->target && step->target == leads->wanted;
	return leads->found;
}

static bool leads_to(const struct image *glib, const char *function, uint64_t wanted)
{
	const struct symbol *symbol = image_symbol(glib, function);
	struct leads leads = { .wanted = wanted };

	if (!symbol)
		return false;
	if (symbol->link == wanted)
		return true;
	code_walk(glib, symbol->link, see_target, &leads);
	return leads.found;
}

char *glib_describe_lock(const struct doctor *d, const struct stack *stack)
{
	struct image *glib = infer_glib_image(d->images);

	/* The system call itself, or libc's syscall(), and then GLib. */
	for (int i = 0; glib && i < stack->n && i < 2; i++) {
		uint64_t function = stack->frames[i].function;

		if (!function || !image_holds(glib, function))
			continue;
		for (size_t k = 0; k < G_N_ELEMENTS(locks); k++)
			if (leads_to(glib, locks[k].function, function - glib->bias))
				return g_strdup_printf("waiting for %s at 0x%" PRIx64
						       ", which does not say who holds it",
						       locks[k].what, stack->thread.args[0]);
		return NULL;
	}
	return NULL;
}
