/* SPDX-License-Identifier: MIT */
/*
 * What this program's own code is called: names for addresses, static functions too, from the
 * symbol table of its file.
 */
#ifndef DEMO_SELF_SYMBOLS_H
#define DEMO_SELF_SYMBOLS_H

#include "osdep.h"

typedef struct SelfSymbols SelfSymbols;

/* Of a file that cannot be read, or was stripped, it has what the dynamic linker knows. */
SelfSymbols *self_symbols_new(void);
void self_symbols_free(SelfSymbols *symbols);

/*
 * The function that @addr lies in, and how far from its start; "FILE+0xADDR" without one, or NULL
 * if it is no code of any file.  g_free() it.
 */
char *self_symbols_name(const SelfSymbols *symbols, uint64_t addr, uint64_t *ret_offset);

/* The program's build-id as hexadecimal digits, "" without one.  g_free() it. */
char *self_build_id(void);

#endif
