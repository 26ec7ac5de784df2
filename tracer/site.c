// SPDX-License-Identifier: MIT
/* See site.h. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "tracer/site-code.h"
#include "tracer/site.h"

#define LOOK_AHEAD 8 /* instructions; further in, arguments are rarely still in place */

struct candidates {
	uint64_t at[LOOK_AHEAD];
	bool emulated[LOOK_AHEAD], usable[LOOK_AHEAD];
	int stack[LOOK_AHEAD]; /* bytes above the return address, before the instruction */
	int n, depth, n_args;
	bool closed;
	csh cs;
};

/* How many bytes @insn puts on the stack; false if it moves the stack pointer in another way. */
static bool stack_growth(csh cs, const cs_insn *insn, int *bytes)
{
	const cs_x86 *x = &insn->detail->x86;

	*bytes = 0;
	if (insn->id == X86_INS_PUSH) {
		*bytes = 8;
		return true;
	}
	if (insn->id == X86_INS_SUB && x->operands[0].type == X86_OP_REG &&
	    x->operands[0].reg == X86_REG_RSP && x->operands[1].type == X86_OP_IMM) {
		*bytes = (int)x->operands[1].imm;
		return true;
	}
	return !site_moves_stack(cs, insn);
}

static void add_candidate(struct candidates *c, const struct code_step *step)
{
	int growth = 0;

	c->at[c->n] = step->insn->address;
	c->emulated[c->n] = site_is_emulated(step->insn);
	c->usable[c->n] = !site_is_forbidden(step->insn);
	c->stack[c->n] = c->depth;
	c->n++;
	c->closed = c->n == LOOK_AHEAD || site_changes(c->cs, step->insn, c->n_args) ||
		    !stack_growth(c->cs, step->insn, &growth);
	c->depth += growth;
}

static bool collect(const struct code_step *step, void *arg)
{
	struct candidates *c = arg;

	if (!c->closed)
		add_candidate(c, step);
	/* A jump back puts all that lies between it and its target into a loop. */
	for (int i = 0; i < c->n; i++)
		if (step->target >= c->at[0] && step->target <= c->at[i] &&
		    cs_insn_group(c->cs, step->insn, CS_GRP_JUMP))
			c->usable[i] = false;
	return false;
}

static int find_site(const struct image *img, uint64_t link, int n_args, bool untouched,
		     struct site *ret, struct failure *why)
{
	const struct symbol *symbol = image_symbol_at(img, link);
	struct candidates c = { .n_args = MIN(n_args, 6) };
	int best = -1, err;
	char name[64];

	if (symbol && symbol->link == link)
		snprintf(name, sizeof(name), "%s", symbol->name);
	else
		snprintf(name, sizeof(name), "%.40s+0x%" PRIx64, img->name, link);
	c.cs = code_decoder();
	err = c.cs ? code_walk(img, link, collect, &c) : -ENOMEM;
	cs_close(&c.cs);
	if (err)
		return fail(why, err, "%s: no .eh_frame entry proves a function there", name);
	for (int i = c.n - 1; i >= 0; i--)
		if (c.usable[i] && !(untouched && c.stack[i]) &&
		    (best < 0 || c.emulated[i] || !c.emulated[best]))
			best = i;
	if (best < 0)
		return fail(why, -ENOEXEC, "%s: no instruction where a probe is safe", name);
	*ret = (struct site){ .img = img,
			      .link = c.at[best],
			      .emulated = c.emulated[best],
			      .stack_bytes = c.stack[best] };
	snprintf(ret->name, sizeof(ret->name), "%s", name);
	return image_file_offset(img, ret->link, &ret->offset)
		       ? fail(why, -ENOENT, "%s is not in its file", name)
		       : 0;
}

int site_at_args(const struct image *img, uint64_t link, int n_args, struct site *ret,
		 struct failure *why)
{
	return find_site(img, link, n_args, false, ret, why);
}

int site_at_untouched(const struct image *img, uint64_t link, int n_args, struct site *ret,
		      struct failure *why)
{
	return find_site(img, link, n_args, true, ret, why);
}

int site_at_return(const struct image *img, uint64_t link, struct site *ret, struct failure *why)
{
	int err = site_at_untouched(img, link, 0, ret, why);

	if (!err)
		ret->on_return = true;
	return err;
}

int site_at(const struct image *img, uint64_t link, struct site *ret, struct failure *why)
{
	return site_at_args(img, link, 6, ret, why);
}

int site_of(const struct image *img, const char *name, struct site *ret, struct failure *why)
{
	const struct symbol *symbol = image_symbol(img, name);

	if (!symbol || !symbol->function)
		return fail(why, -ENOENT, "%s has no function %s", img->name, name);
	return site_at(img, symbol->link, ret, why);
}
