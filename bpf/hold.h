/* SPDX-License-Identifier: (MIT OR BSD-2-Clause OR GPL-2.0-only) */
/* Where hold.bpf.c holds a process for the tracer (tracer/hold.c). */
#ifndef BPF_HOLD_H
#define BPF_HOLD_H

enum hold_at {
	HOLD_NOWHERE,
	HOLD_EXEC,  /* it has become another program, and nothing of that has run */
	HOLD_ENTRY, /* its libraries are in place; the program's own first instruction is next */
};

#endif
