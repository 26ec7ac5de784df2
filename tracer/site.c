// SPDX-License-Identifier: MIT
/* See site.h. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "tracer/code.h"
#include "tracer/site.h"

#define LOOK_AHEAD 8 /* instructions; further in, arguments are rarely still in place */

/*
 * What kernels from 5.15 on emulate instead of single-stepping: push of a register, the one-byte
 * nop, relative call, jmp and conditional jumps (arch/x86/kernel/uprobes.c). No size prefixes.
 */
static bool is_emulated(const cs_insn *insn)
{
	const uint8_t *b = insn->bytes;

	switch (insn->size) {
	case 1:
		return b[0] == 0x90 || (b[0] & 0xf8) == 0x50;
	case 2:
		return (b[0] == 0x41 && (b[1] & 0xf8) == 0x50) || b[0] == 0xeb ||
		       (b[0] & 0xf0) == 0x70;
	case 5:
		return b[0] == 0xe8 || b[0] == 0xe9;
	case 6:
		return b[0] == 0x0f && (b[1] & 0xf0) == 0x80;
	default:
		return false;
	}
}

/* What no probe may sit on: the 5-byte nop (see site.h), and prefixes the kernel refuses. */
static bool is_forbidden(const cs_insn *insn)
{
	const uint8_t *prefix = insn->detail->x86.prefix;

	return (insn->size == 5 && insn->id == X86_INS_NOP) || prefix[0] == X86_PREFIX_LOCK ||
	       prefix[1] == X86_PREFIX_CS || prefix[1] == X86_PREFIX_DS ||
	       prefix[1] == X86_PREFIX_ES || prefix[1] == X86_PREFIX_SS;
}

/* Registers with their parts; zero-terminated. */
typedef x86_reg register_parts[6];

static const register_parts stack_pointer = { X86_REG_RSP, X86_REG_ESP, X86_REG_SP };
static const register_parts returned_value = { X86_REG_RAX, X86_REG_EAX, X86_REG_AX, X86_REG_AL,
					       X86_REG_AH };

/* Does @insn change a part of one of the @n registers, named by it or not? */
static bool writes(csh cs, const cs_insn *insn, const register_parts *registers, int n)
{
	cs_regs read, written;
	uint8_t n_read, n_written;

	if (cs_regs_access(cs, insn, read, &n_read, written, &n_written))
		return true;
	for (int i = 0; i < n_written; i++)
		for (int k = 0; k < n; k++)
			for (const x86_reg *part = registers[k]; *part; part++)
				if (written[i] == *part)
					return true;
	return false;
}

/* Does @insn leave straight-line code or change one of the first @n_args arguments? */
static bool ends_prologue(csh cs, const cs_insn *insn, int n_args)
{
	static const register_parts args[] = {
		{ X86_REG_RDI, X86_REG_EDI, X86_REG_DI, X86_REG_DIL },
		{ X86_REG_RSI, X86_REG_ESI, X86_REG_SI, X86_REG_SIL },
		{ X86_REG_RDX, X86_REG_EDX, X86_REG_DX, X86_REG_DL, X86_REG_DH },
		{ X86_REG_RCX, X86_REG_ECX, X86_REG_CX, X86_REG_CL, X86_REG_CH },
		{ X86_REG_R8, X86_REG_R8D, X86_REG_R8W, X86_REG_R8B },
		{ X86_REG_R9, X86_REG_R9D, X86_REG_R9W, X86_REG_R9B },
	};

	return cs_insn_group(cs, insn, CS_GRP_JUMP) || cs_insn_group(cs, insn, CS_GRP_CALL) ||
	       cs_insn_group(cs, insn, CS_GRP_RET) || cs_insn_group(cs, insn, CS_GRP_INT) ||
	       writes(cs, insn, args, n_args);
}

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
	return !writes(cs, insn, &stack_pointer, 1);
}

static void add_candidate(struct candidates *c, const struct code_step *step)
{
	int growth = 0;

	c->at[c->n] = step->insn->address;
	c->emulated[c->n] = is_emulated(step->insn);
	c->usable[c->n] = !is_forbidden(step->insn);
	c->stack[c->n] = c->depth;
	c->n++;
	c->closed = c->n == LOOK_AHEAD || ends_prologue(c->cs, step->insn, c->n_args) ||
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

/* --- where a call comes back to --- */

struct resume {
	uint64_t link;	/* the return address */
	uint64_t call;	/* where the last call before it ended */
	uint64_t joins; /* the first place behind it that a jump leads to */
	struct candidates c;
	bool keep_value;
};

static void add_resume(struct resume *r, const cs_insn *insn)
{
	struct candidates *c = &r->c;

	c->at[c->n] = insn->address;
	c->emulated[c->n] = is_emulated(insn);
	c->usable[c->n] = !is_forbidden(insn);
	c->n++;
	c->closed = c->n == LOOK_AHEAD || ends_prologue(c->cs, insn, 0) ||
		    writes(c->cs, insn, &stack_pointer, 1) ||
		    (r->keep_value && writes(c->cs, insn, &returned_value, 1));
}

static bool collect_resume(const struct code_step *step, void *arg)
{
	struct resume *r = arg;
	const cs_insn *insn = step->insn;

	if (insn->address >= r->link && r->call == r->link && !r->c.closed)
		add_resume(r, insn);
	if (cs_insn_group(r->c.cs, insn, CS_GRP_CALL) && insn->address < r->link)
		r->call = insn->address + insn->size;
	if (step->target > r->link && step->target < r->joins)
		r->joins = step->target;
	return false;
}

int site_after_call(const struct image *img, uint64_t link, bool keep_value, struct site *ret,
		    struct failure *why)
{
	const struct function *fn = image_function_at(img, link);
	struct resume r = { .link = link, .joins = UINT64_MAX, .keep_value = keep_value };
	int best = -1, err;

	if (!fn)
		return fail(why, -ENOENT, "%s+0x%" PRIx64 " is in no proven function", img->name,
			    link);
	r.c.cs = code_decoder();
	err = r.c.cs ? code_walk(img, fn->start, collect_resume, &r) : -ENOMEM;
	cs_close(&r.c.cs);
	if (err || !r.c.n)
		return fail(why, err ? err : -ENOENT, "no call ends at %s+0x%" PRIx64, img->name,
			    link);
	for (int i = r.c.n - 1; i >= 0; i--)
		if (r.c.usable[i] && r.c.at[i] < r.joins &&
		    (best < 0 || r.c.emulated[i] || !r.c.emulated[best]))
			best = i;
	if (best < 0)
		return fail(why, -ENOEXEC, "%s+0x%" PRIx64 ": no instruction where a probe is safe",
			    img->name, link);
	*ret = (struct site){ .img = img, .link = r.c.at[best], .emulated = r.c.emulated[best] };
	snprintf(ret->name, sizeof(ret->name), "%.40s+0x%" PRIx64, img->name, link);
	return image_file_offset(img, ret->link, &ret->offset)
		       ? fail(why, -ENOENT, "%s is not in its file", ret->name)
		       : 0;
}

int site_of(const struct image *img, const char *name, struct site *ret, struct failure *why)
{
	const struct symbol *symbol = image_symbol(img, name);

	if (!symbol || !symbol->function)
		return fail(why, -ENOENT, "%s has no function %s", img->name, name);
	return site_at(img, symbol->link, ret, why);
}
