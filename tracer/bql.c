// SPDX-License-Identifier: MIT
/* Finding the big lock in the code of its two functions. See bql.h. */
#include <string.h>

#include "tracer/bql.h"
#include "tracer/code.h"

static const char *const lock_functions[] = { "bql_lock_impl", "qemu_mutex_lock_iothread_impl",
					      NULL };
static const char *const unlock_functions[] = { "bql_unlock", "qemu_mutex_unlock_iothread", NULL };

/* Taking it is a call through a pointer (it may be profiled), hence any call that gets an address.
 */
struct passed {
	uint64_t wanted; /* 0: whatever goes to qemu_mutex_unlock_impl() */
	uint64_t found;
};

static bool see_argument(const struct code_step *step, void *arg)
{
	struct passed *passed = arg;
	const struct value *first = &step->regs[GPR_RDI];
	bool call = step->insn->id == X86_INS_CALL || step->calls;

	if (!call || first->kind != VALUE_LINK)
		return false;
	if (passed->wanted ? (uint64_t)first->n == passed->wanted
			   : step->calls && !strcmp(step->calls, "qemu_mutex_unlock_impl"))
		passed->found = first->n;
	return passed->found != 0;
}

static uint64_t find_in(struct image *program, const char *const *functions, uint64_t wanted)
{
	struct passed passed = { .wanted = wanted };

	for (; *functions && !passed.found; functions++) {
		const struct symbol *symbol = image_symbol(program, *functions);

		if (symbol)
			code_walk(program, symbol->link, see_argument, &passed);
	}
	return passed.found;
}

uint64_t bql_find(struct images *images)
{
	struct image *program = images_program(images);
	uint64_t link = find_in(program, unlock_functions, 0);

	return link && find_in(program, lock_functions, link) ? link + program->bias : 0;
}
