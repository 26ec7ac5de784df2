/* SPDX-License-Identifier: (MIT OR BSD-2-Clause OR GPL-2.0-only) */
/*
 * What stalls.bpf.c knows of each loop's thread, and what it sends to tracer/stalls.c. The includer
 * supplies __u32, __s64, __u64 and struct pt_regs. Times are CLOCK_MONOTONIC.
 */
#ifndef BPF_STALLS_H
#define BPF_STALLS_H

#include "bpf/stack.h"

#define STALLS_OWN     4 /* places where a loop waits by itself */
#define STALLS_CALLS   6 /* system calls of one stall that are told apart */
#define STALLS_THREADS 256

enum stalls_state {
	STALLS_RUNNING,
	STALLS_RUNNABLE, /* wants a CPU and has none */
	STALLS_BLOCKED,
	STALLS_STOPPED, /* by a signal, a debugger, a freezer */
	STALLS_STATES,
};

/*
 * Where the thread's loop waits: the stack pointer in the system call. A wait elsewhere is inside
 * of a callback. Written by the tracer; without it every wait is the loop's own.
 */
struct stalls_own {
	__u32 n;
	__u32 pad;
	__u64 sp[STALLS_OWN];
};

/* Time asleep in a system call; nr -1 is a page fault. */
struct stalls_call {
	__s64 nr;
	__u64 arg; /* the first */
	__u64 ns;
	__u64 times; /* that it slept */
};

/* A thread's time away from its wait. */
struct stalls_away {
	__u64 seq;	/* one more each time: the number of iterations so far */
	__u64 begin_ns; /* 0: it waits */
	__u64 ns[STALLS_STATES];
	struct stalls_call calls[STALLS_CALLS]; /* ns 0: unused */
	__u64 other_ns;				/* asleep in calls that found no place there */
};

struct stalls_thread {
	struct stalls_away away;
	__u32 state;
	__u32 since_attach; /* this time began before we came */
	__u64 state_ns;	    /* since when */
	__s64 nr;	    /* the system call it is in, or -1 */
	__u64 arg;
	__u64 sp;	/* in its last wait */
	__u64 stack_ns; /* from then on a stack is wanted */
	__u64 turn_sp;	/* at the last entry of aio_poll(), of this time away; 0: none */
	__u64 own_turn; /* at that of the loop's own */
};

/* It came back after too long. */
struct stalls_end {
	__u32 kind; /* STALLS_END */
	__u32 tid;
	__u64 end_ns;
	__u32 since_attach, pad;
	struct stalls_away away;
};

/* Its stack meanwhile. */
struct stalls_stack {
	__u32 kind; /* STALLS_STACK */
	__u32 tid;
	__u32 at_exit; /* as it left the system call that it had slept in */
	__u32 pad;
	__u64 seq;
	__u64 time_ns;
	__u64 away_ns;
	struct stack_copy copy;
};

enum { STALLS_END = 1, STALLS_STACK = 2 };

#endif
