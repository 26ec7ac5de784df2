/* SPDX-License-Identifier: (MIT OR BSD-2-Clause OR GPL-2.0-only) */
/*
 * What stack.bpf.c sends to the tracer (tracer/stack-copy.c): what each thread does now, and the
 * registers and stack of one. The includer supplies __u32, __s64, __u64 and struct pt_regs.
 */
#ifndef BPF_STACK_H
#define BPF_STACK_H

#define STACK_BYTES   (16 * 1024)
#define STACK_STEP    1024 /* one read over the stack's end would get nothing at all */
#define STACK_RETURNS 4

/* One thread; in kernel mode unless `nr` is negative. All counters are since its start. */
struct stack_thread {
	__u32 tid;
	__u32 state; /* 0 runs or wants to, 1 sleeps, 2 sleeps uninterruptibly, others: stopped */
	__u64 switches; /* how often it went to sleep by itself: unchanged means the same sleep */
	__u64 run_ns;	/* on a CPU */
	__u64 delay_ns; /* wanted one and waited */
	__s64 nr;	/* of the system call it is in, or -1 */
	__u64 args[6];	/* of that call */
	__u64 sp, pc;
};

/*
 * A probe at a return has put its own address in place of the return address: where, and what was
 * there. Without this an unwinder would end at the trampoline.
 */
struct stack_return {
	__u64 at, original;
};

struct stack_copy {
	struct stack_thread thread;
	struct pt_regs regs;
	struct stack_return returns[STACK_RETURNS];
	__u32 size;  /* bytes that could be read, from the stack pointer up */
	__u32 probe; /* of copy_at_probe(): its cookie */
	unsigned char bytes[STACK_BYTES];
};

#endif
