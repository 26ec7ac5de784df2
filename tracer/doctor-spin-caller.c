// SPDX-License-Identifier: MIT
/* Who makes certain calls? Stacks taken at the next few of them have to agree. */
#include "tracer/doctor-spin.h"

#define STACKS_MS 200

/* A callback that ends in the call leaves no frame: then the callee stands where it would. */
uint64_t spin_caller(struct doctor *d, const struct patient *p, const char *name, int arg,
		     uint64_t value, uint64_t self, struct stack *ret)
{
	uint64_t function = doctor_function(d, name), found = 0;
	GArray *stacks;

	if (!function || stacks_at_calls(d->stacks, function, arg, value, p->tid, PROOF_STACKS,
					 STACKS_MS, &stacks, NULL))
		return 0;
	for (size_t i = 0; i < stacks->len; i++) {
		const struct stack *stack = &g_array_index(stacks, struct stack, i);
		uint64_t callback = 0;
		struct where w;

		doctor_where(d, stack, &w);
		if (stack_holds(stack, self) || w.callback == 0)
			callback = self;
		else if (w.callback > 0)
			callback = stack->frames[w.callback].function;
		if (!callback || (found && callback != found)) {
			found = 0;
			break;
		}
		found = callback;
		*ret = *stack;
	}
	g_array_free(stacks, TRUE);
	return found;
}

void spin_keep_stack(struct finding *f, const struct stack *stack)
{
	f->stack = g_new(struct stack, 1);
	*f->stack = *stack;
}
