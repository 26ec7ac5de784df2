// SPDX-License-Identifier: MIT
/* See site-code.h. */
#include "tracer/site-code.h"

/*
 * What kernels from 5.15 on emulate instead of single-stepping: push of a register, the one-byte
 * nop, relative call, jmp and conditional jumps (arch/x86/kernel/uprobes.c). No size prefixes.
 */
bool site_is_emulated(const cs_insn *insn)
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

/* The 5-byte nop (see site.h), and prefixes the kernel refuses. */
bool site_is_forbidden(const cs_insn *insn)
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

bool site_leaves(csh cs, const cs_insn *insn)
{
	return cs_insn_group(cs, insn, CS_GRP_JUMP) || cs_insn_group(cs, insn, CS_GRP_CALL) ||
	       cs_insn_group(cs, insn, CS_GRP_RET) || cs_insn_group(cs, insn, CS_GRP_INT);
}

bool site_changes(csh cs, const cs_insn *insn, int n_args)
{
	static const register_parts args[] = {
		{ X86_REG_RDI, X86_REG_EDI, X86_REG_DI, X86_REG_DIL },
		{ X86_REG_RSI, X86_REG_ESI, X86_REG_SI, X86_REG_SIL },
		{ X86_REG_RDX, X86_REG_EDX, X86_REG_DX, X86_REG_DL, X86_REG_DH },
		{ X86_REG_RCX, X86_REG_ECX, X86_REG_CX, X86_REG_CL, X86_REG_CH },
		{ X86_REG_R8, X86_REG_R8D, X86_REG_R8W, X86_REG_R8B },
		{ X86_REG_R9, X86_REG_R9D, X86_REG_R9W, X86_REG_R9B },
	};

	return site_leaves(cs, insn) || writes(cs, insn, args, n_args);
}

bool site_moves_stack(csh cs, const cs_insn *insn)
{
	return writes(cs, insn, &stack_pointer, 1);
}

bool site_changes_value(csh cs, const cs_insn *insn)
{
	return writes(cs, insn, &returned_value, 1);
}
