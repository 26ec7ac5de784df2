/* SPDX-License-Identifier: (MIT OR BSD-2-Clause OR GPL-2.0-only) */
/*
 * What record.bpf.c sends to the recorder (tracer/record.c), and what the recorder tells it of each
 * site. The includer supplies __u16, __u32 and __u64.
 */
#ifndef BPF_RECORD_H
#define BPF_RECORD_H

#define RECORD_MAX_SITES 4096
#define RECORD_ARGS	 6
#define RECORD_READS	 5
#define RECORD_STACK	 3 /* words: the return address, then arguments 6 and 7 */

enum { RECORD_USDT = 1, RECORD_ENTRY = 2, RECORD_RETURN = 3 };

/* Reads of a function's structures at its entry: *(u64 *)(argument + offset). */
struct record_site {
	__u32 n_reads;
	struct {
		__u16 arg;
		__u16 off;
	} reads[RECORD_READS];
	__s32 stack_bytes; /* from the stack pointer there up to the return address */
	__u64 back;	   /* the return address, where it is not on the stack yet; else 0 */
};

/* What every hit begins with: its kind, and the cookie of its site. */
struct record_hit {
	__u64 time_ns;
	__u16 kind;
	__u16 cookie;
	__u32 tid;
};

/* A USDT probe: the event's arguments, in registers. */
struct record_usdt {
	struct record_hit h;
	__u64 pc; /* where the program lies follows from it, also after the program has ended */
	__u64 args[RECORD_ARGS];
};

struct record_entry {
	struct record_hit h;
	__u64 args[RECORD_ARGS];
	__u64 sp; /* where the return address lies */
	__u64 stack[RECORD_STACK];
	__u64 reads[RECORD_READS]; /* 0 where the memory could not be read */
};

/* A function has returned, or its caller goes on. */
struct record_return {
	struct record_hit h;
	__u64 sp; /* just above where the return address was */
	__u64 value;
};

#endif
