/* SPDX-License-Identifier: MIT */
/*
 * Reading machine code: what a small exported function does with its first argument.
 *
 * A stripped QEMU exports one-line functions whose code says where a field lies: aio_notify() sets
 * ctx->notified and tests ctx->notify_me. code_walk() decodes one function (as its FDE bounds it),
 * keeps track of registers that hold the first argument, one of its fields, a constant or an
 * address, and shows each instruction to a visitor. It follows jumps forward only: in a loop it
 * sees the first round. What it cannot follow is unknown, never guessed.
 */
#ifndef TRACER_CODE_H
#define TRACER_CODE_H

#include <capstone/capstone.h>
#include <stdbool.h>

#include "tracer/image.h"

enum value_kind {
	VALUE_UNKNOWN,
	VALUE_ARG0,  /* the function's first argument plus n */
	VALUE_CONST, /* n */
	VALUE_LINK,  /* the link address n */
	VALUE_FIELD, /* what the first argument's field at offset `field` held, plus n */
};

struct value {
	enum value_kind kind;
	int64_t n;
	int64_t field;
};

enum {
	GPR_RAX,
	GPR_RBX,
	GPR_RCX,
	GPR_RDX,
	GPR_RSI,
	GPR_RDI,
	GPR_RBP,
	GPR_RSP,
	GPR_R8,
	GPR_R9,
	GPR_R10,
	GPR_R11,
	GPR_R12,
	GPR_R13,
	GPR_R14,
	GPR_R15,
	N_REGS
};

struct code_step {
	const cs_insn *insn;
	const struct value *regs; /* before the instruction, by REG_ */
	struct value mem;	  /* address of its memory operand; unknown if it has none */
	int mem_size;		  /* in bytes, 0 without a memory operand */
	bool mem_write;
	struct value source; /* what it writes there, where that is known */
	uint64_t target;     /* link address a direct call or jump goes to, or 0 */
	const char *calls;   /* name of the function a call or tail jump goes to, or NULL */
};

/* Returns true to stop the walk. */
typedef bool code_visitor(const struct code_step *step, void *arg);

/* Walk the function at link address @link. -ENOENT if no FDE or symbol proves a function there. */
int code_walk(const struct image *img, uint64_t link, code_visitor *visit, void *arg);

/*
 * Where a getter has what it returns: the address that the first instruction of the function at
 * @link loads a word from. A build for processors that check indirect branches begins each function
 * with a mark (endbr64), which does nothing. Unknown if the function begins with something else.
 */
struct value code_getter(const struct image *img, uint64_t link);

/* A decoder with details, for one thread; NULL if capstone cannot. Closed by cs_close(). */
csh code_decoder(void);

#endif
