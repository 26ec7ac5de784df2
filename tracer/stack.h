/* SPDX-License-Identifier: MIT */
/*
 * What the threads of a live process do now, and the chain of calls of one of them.
 *
 * Never by ptrace: a stop would wake the very sleeps that people look for. Registers and up to 16
 * KiB of stack are copied by bpf programs (bpf/stack.bpf.c) and unwound here, by the .eh_frame of
 * the files that the target runs; a stripped program needs no more.
 */
#ifndef TRACER_STACK_H
#define TRACER_STACK_H

#include <linux/types.h>

#include "tracer/images.h"
#include "tracer/target.h"

#define STACK_MAX_FRAMES 128

struct thread_now {
	pid_t tid;
	char state; /* 'R' runs or wants to, 'S' sleeps, 'D' sleeps for a disk, 'T' stopped */
	uint64_t
		switches; /* how often it went to sleep by itself: unchanged means the same sleep */
	uint64_t run_ns, delay_ns; /* since its start: on a CPU, and waiting for one */
	long nr;		   /* of the system call it is in, or -1 */
	uint64_t args[6];
	uint64_t sp, pc;
};

struct frame {
	uint64_t pc;	   /* where it is, or goes on after the call */
	uint64_t function; /* where its function starts, proven by an FDE; 0: unknown */
};

struct stack {
	struct thread_now thread;
	int n;
	struct frame frames[STACK_MAX_FRAMES]; /* the innermost first */
	bool whole;			       /* it reaches the thread's first function */
};

struct stacks;

/*
 * Load the programs for the target. Errors: -EPERM, -EOPNOTSUPP. @t and @images are borrowed. The
 * caller closes; NULL is fine there.
 */
int stacks_open(struct target *t, struct images *images, struct stacks **ret, struct failure *why);
void stacks_close(struct stacks *s);

/* All threads at this moment: a GArray of struct thread_now, to be freed. -ESRCH when it has gone.
 */
int stacks_threads(struct stacks *s, GArray **ret, struct failure *why);

/*
 * The stack of thread @tid: of one that sleeps at once, of one that runs at the next tick of its
 * own clock, for which at most @timeout_ms are waited. Errors: -ESRCH (no such thread), -EAGAIN (it
 * neither slept nor ran), -EBADMSG (no frame could be unwound).
 */
int stacks_take(struct stacks *s, pid_t tid, int timeout_ms, struct stack *ret,
		struct failure *why);

/*
 * The stacks of the next @n calls of the function at run address @function that have @value as
 * argument @arg (0 to 2), waited for @timeout_ms at most; of thread @tid, or of any for 0. Returns
 * a GArray of struct stack, to be freed; it may be empty.
 */
int stacks_at_calls(struct stacks *s, uint64_t function, int arg, uint64_t value, pid_t tid, int n,
		    int timeout_ms, GArray **ret, struct failure *why);

/* From what another bpf program copied (bpf/stack.bpf.h): the same. -EBADMSG. */
struct stack_copy;
int stacks_unwind(struct stacks *s, const struct stack_copy *copy, struct stack *ret);

/* Was anything lost? */
uint64_t stacks_lost(const struct stacks *s);

/* Unwinding (stack-unwind.c). @copy is what stack.bpf.c sends. */
struct unwinder;
struct unwinder *unwinder_new(struct target *t, struct images *images);
void unwinder_free(struct unwinder *u);
int unwinder_run(struct unwinder *u, const struct stack_copy *copy, struct stack *ret);

#endif
