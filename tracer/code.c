// SPDX-License-Identifier: MIT
/* One forward pass over a function. See code.h. */
#include <errno.h>
#include <string.h>

#include "tracer/code.h"

/* Register states that wait for the walk at the targets of forward jumps. */
struct pending {
	uint64_t at;
	struct value regs[N_REGS];
};

struct walk {
	const struct image *img;
	const struct function *fn;
	csh cs;
	struct value regs[N_REGS];
	bool reached; /* a path that was followed leads here */
	GArray *pending;
};

csh code_decoder(void)
{
	csh cs;

	if (cs_open(CS_ARCH_X86, CS_MODE_64, &cs) != CS_ERR_OK)
		return 0;
	cs_option(cs, CS_OPT_DETAIL, CS_OPT_ON);
	return cs;
}

/* The 64-bit register that @reg is, or is the lower half of; -1 for others. @whole: all of it. */
static int reg_index(unsigned reg, bool *whole)
{
	static const struct {
		uint16_t r64, r32, r16, r8, high;
	} table[N_REGS] = {
		[GPR_RAX] = { X86_REG_RAX, X86_REG_EAX, X86_REG_AX, X86_REG_AL, X86_REG_AH },
		[GPR_RBX] = { X86_REG_RBX, X86_REG_EBX, X86_REG_BX, X86_REG_BL, X86_REG_BH },
		[GPR_RCX] = { X86_REG_RCX, X86_REG_ECX, X86_REG_CX, X86_REG_CL, X86_REG_CH },
		[GPR_RDX] = { X86_REG_RDX, X86_REG_EDX, X86_REG_DX, X86_REG_DL, X86_REG_DH },
		[GPR_RSI] = { X86_REG_RSI, X86_REG_ESI, X86_REG_SI, X86_REG_SIL },
		[GPR_RDI] = { X86_REG_RDI, X86_REG_EDI, X86_REG_DI, X86_REG_DIL },
		[GPR_RBP] = { X86_REG_RBP, X86_REG_EBP, X86_REG_BP, X86_REG_BPL },
		[GPR_RSP] = { X86_REG_RSP, X86_REG_ESP, X86_REG_SP, X86_REG_SPL },
		[GPR_R8] = { X86_REG_R8, X86_REG_R8D, X86_REG_R8W, X86_REG_R8B },
		[GPR_R9] = { X86_REG_R9, X86_REG_R9D, X86_REG_R9W, X86_REG_R9B },
		[GPR_R10] = { X86_REG_R10, X86_REG_R10D, X86_REG_R10W, X86_REG_R10B },
		[GPR_R11] = { X86_REG_R11, X86_REG_R11D, X86_REG_R11W, X86_REG_R11B },
		[GPR_R12] = { X86_REG_R12, X86_REG_R12D, X86_REG_R12W, X86_REG_R12B },
		[GPR_R13] = { X86_REG_R13, X86_REG_R13D, X86_REG_R13W, X86_REG_R13B },
		[GPR_R14] = { X86_REG_R14, X86_REG_R14D, X86_REG_R14W, X86_REG_R14B },
		[GPR_R15] = { X86_REG_R15, X86_REG_R15D, X86_REG_R15W, X86_REG_R15B },
	};

	for (int i = 0; i < N_REGS; i++) {
		if (reg == table[i].r64 || reg == table[i].r32) {
			*whole = true;
			return i;
		}
		if (reg == table[i].r16 || reg == table[i].r8 || (reg && reg == table[i].high)) {
			*whole = false;
			return i;
		}
	}
	return -1;
}

static struct value reg_value(const struct walk *w, unsigned reg)
{
	bool whole;
	int i = reg_index(reg, &whole);

	return i >= 0 && whole ? w->regs[i] : (struct value){ 0 };
}

static struct value mem_address(const struct walk *w, const cs_insn *insn, const x86_op_mem *mem)
{
	struct value v;

	if (mem->index != X86_REG_INVALID || mem->segment != X86_REG_INVALID)
		return (struct value){ 0 };
	if (mem->base == X86_REG_RIP)
		return (struct value){ VALUE_LINK,
				       (int64_t)(insn->address + insn->size) + mem->disp, 0 };
	v = reg_value(w, mem->base);
	v.n += mem->disp;
	return v;
}

static struct value operand_value(const struct walk *w, const cs_x86_op *op)
{
	if (op->type == X86_OP_IMM)
		return (struct value){ VALUE_CONST, op->imm, 0 };
	if (op->type == X86_OP_REG)
		return reg_value(w, op->reg);
	return (struct value){ 0 };
}

/* The value @insn leaves in its first operand, a register. */
static struct value result(const struct walk *w, const cs_insn *insn)
{
	const cs_x86 *x = &insn->detail->x86;
	struct value a, b;

	if (x->op_count != 2)
		return (struct value){ 0 };
	a = operand_value(w, &x->operands[0]);
	b = operand_value(w, &x->operands[1]);
	switch (insn->id) {
	case X86_INS_MOV:
	case X86_INS_MOVABS:
		if (x->operands[1].type == X86_OP_MEM && x->operands[1].size == 8) {
			a = mem_address(w, insn, &x->operands[1].mem);
			if (a.kind == VALUE_ARG0)
				return (struct value){ VALUE_FIELD, 0, a.n };
		}
		return b;
	case X86_INS_LEA:
		return mem_address(w, insn, &x->operands[1].mem);
	case X86_INS_XOR:
		if (x->operands[1].type == X86_OP_REG && x->operands[0].reg == x->operands[1].reg)
			return (struct value){ VALUE_CONST, 0, 0 };
		break;
	case X86_INS_ADD:
	case X86_INS_SUB:
		if (b.kind == VALUE_CONST && a.kind != VALUE_UNKNOWN) {
			a.n += insn->id == X86_INS_ADD ? b.n : -b.n;
			return a;
		}
		break;
	}
	return (struct value){ 0 };
}

static void execute(struct walk *w, const cs_insn *insn)
{
	static const int clobbered[] = { GPR_RAX, GPR_RCX, GPR_RDX, GPR_RSI, GPR_RDI,
					 GPR_R8,  GPR_R9,  GPR_R10, GPR_R11 };
	const cs_x86 *x = &insn->detail->x86;
	struct value v = result(w, insn);
	bool half = x->op_count && x->operands[0].size == 4;
	cs_regs read, written;
	uint8_t n_read, n_written;
	bool whole;

	if (cs_regs_access(w->cs, insn, read, &n_read, written, &n_written))
		n_written = 0;
	for (int i = 0; i < n_written; i++) {
		int reg = reg_index(written[i], &whole);

		if (reg < 0)
			continue;
		w->regs[reg] = (struct value){ 0 };
		/* Half an address is none; half a constant is its lower half. */
		if (half)
			v = v.kind == VALUE_CONST ? (struct value){ VALUE_CONST, (uint32_t)v.n, 0 }
						  : (struct value){ 0 };
		if (whole && x->op_count && x->operands[0].type == X86_OP_REG &&
		    x->operands[0].reg == written[i])
			w->regs[reg] = v;
	}
	if (insn->id == X86_INS_CALL)
		for (size_t i = 0; i < G_N_ELEMENTS(clobbered); i++)
			w->regs[clobbered[i]] = (struct value){ 0 };
}

/* Where two paths meet only what they agree on is known. */
static void merge(struct value *into, const struct value *from)
{
	for (int i = 0; i < N_REGS; i++)
		if (into[i].kind != from[i].kind || into[i].n != from[i].n ||
		    into[i].field != from[i].field)
			into[i] = (struct value){ 0 };
}

static struct pending *find_pending(struct walk *w, uint64_t at)
{
	for (size_t i = 0; i < w->pending->len; i++) {
		struct pending *p = &g_array_index(w->pending, struct pending, i);

		if (p->at == at)
			return p;
	}
	return NULL;
}

static void note_jump(struct walk *w, uint64_t from, uint64_t target)
{
	struct pending *known = find_pending(w, target), fresh;

	if (!w->reached || target <= from || target >= w->fn->end)
		return;
	if (known) {
		merge(known->regs, w->regs);
		return;
	}
	fresh.at = target;
	memcpy(fresh.regs, w->regs, sizeof(fresh.regs));
	g_array_append_val(w->pending, fresh);
}

static void arrive(struct walk *w, uint64_t at)
{
	struct pending *p = find_pending(w, at);

	if (p && w->reached)
		merge(w->regs, p->regs);
	else if (p)
		memcpy(w->regs, p->regs, sizeof(w->regs));
	else if (!w->reached)
		memset(w->regs, 0, sizeof(w->regs));
	w->reached = w->reached || p;
}

static void describe(const struct walk *w, const cs_insn *insn, struct code_step *step)
{
	const cs_x86 *x = &insn->detail->x86;

	memset(step, 0, sizeof(*step));
	step->insn = insn;
	step->regs = w->regs;
	for (int i = 0; i < x->op_count; i++) {
		const cs_x86_op *op = &x->operands[i];

		if (op->type != X86_OP_MEM || insn->id == X86_INS_LEA || insn->id == X86_INS_NOP)
			continue;
		step->mem = mem_address(w, insn, &op->mem);
		step->mem_size = op->size;
		step->mem_write = op->access & CS_AC_WRITE;
		if (step->mem_write && i == 0 && x->op_count == 2)
			step->source = operand_value(w, &x->operands[1]);
	}
	if ((cs_insn_group(w->cs, insn, CS_GRP_CALL) || cs_insn_group(w->cs, insn, CS_GRP_JUMP)) &&
	    x->op_count == 1 && x->operands[0].type == X86_OP_IMM) {
		const struct symbol *symbol;

		step->target = x->operands[0].imm;
		step->calls = g_hash_table_lookup(w->img->plt, &step->target);
		if (!step->calls && (step->target < w->fn->start || step->target >= w->fn->end) &&
		    (symbol = image_symbol_at(w->img, step->target)) &&
		    symbol->link == step->target)
			step->calls = symbol->name;
	}
}

int code_walk(const struct image *img, uint64_t link, code_visitor *visit, void *arg)
{
	struct walk w = { .img = img, .fn = image_function_at(img, link), .reached = true };
	const uint8_t *code;
	size_t size;
	cs_insn *insn;

	if (!w.fn || w.fn->start != link)
		return -ENOENT;
	code = image_bytes(img, link, &size);
	if (!code)
		return -ENOENT;
	size = MIN(size, w.fn->end - link);
	w.cs = code_decoder();
	if (!w.cs)
		return -ENOMEM;
	w.regs[GPR_RDI] = (struct value){ VALUE_ARG0, 0, 0 };
	w.pending = g_array_new(FALSE, FALSE, sizeof(struct pending));
	insn = cs_malloc(w.cs);
	while (cs_disasm_iter(w.cs, &code, &size, &link, insn)) {
		struct code_step step;

		arrive(&w, insn->address);
		describe(&w, insn, &step);
		if (visit(&step, arg))
			break;
		if (cs_insn_group(w.cs, insn, CS_GRP_JUMP) && step.target)
			note_jump(&w, insn->address, step.target);
		execute(&w, insn);
		if (insn->id == X86_INS_JMP || cs_insn_group(w.cs, insn, CS_GRP_RET))
			w.reached = false;
	}
	cs_free(insn, 1);
	g_array_free(w.pending, TRUE);
	cs_close(&w.cs);
	return 0;
}

static bool see_getter(const struct code_step *step, void *arg)
{
	if (step->insn->id == X86_INS_ENDBR64)
		return false;
	if (step->insn->id == X86_INS_MOV && !step->mem_write && step->mem_size == 8)
		*(struct value *)arg = step->mem;
	return true;
}

struct value code_getter(const struct image *img, uint64_t link)
{
	struct value place = { 0 };

	code_walk(img, link, see_getter, &place);
	return place;
}
