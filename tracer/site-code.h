/* SPDX-License-Identifier: MIT */
/* What one instruction means for a probe on it or behind it. For site*.c. */
#ifndef TRACER_SITE_CODE_H
#define TRACER_SITE_CODE_H

#include "tracer/code.h"

/* Does the kernel emulate it, so that a hit is cheap? */
bool site_is_emulated(const cs_insn *insn);
/* May no probe sit on it? */
bool site_is_forbidden(const cs_insn *insn);
/* Does it leave straight-line code? */
bool site_leaves(csh cs, const cs_insn *insn);
/* Does it leave it, or change one of the first @n_args arguments? */
bool site_changes(csh cs, const cs_insn *insn, int n_args);
bool site_moves_stack(csh cs, const cs_insn *insn);
/* Does it change what a function has just returned? */
bool site_changes_value(csh cs, const cs_insn *insn);

#endif
