/* SPDX-License-Identifier: MIT */
/*
 * Where a probe may go without hurting the target.
 *
 * A uprobe in the middle of an instruction kills the process. A site is an instruction boundary
 * decoded from a function start that an FDE proves, before which nothing branches away or changes
 * an argument register, which no branch of the function jumps to, and which is no 5-byte nop
 * (kernels from 6.18 on rewrite that one and may corrupt the red zone). Among the first
 * instructions the one that the kernel emulates is taken: the others are single-stepped, some
 * twenty times dearer.
 */
#ifndef TRACER_SITE_H
#define TRACER_SITE_H

#include "tracer/image.h"

#define CALL_BYTES 5 /* of a direct call */

struct site {
	const struct image *img; /* borrowed */
	char name[64];		 /* of the function, for messages */
	uint64_t link;		 /* where the probe goes */
	uint64_t offset;	 /* of link in the file */
	uint64_t ref_ctr_offset; /* of a USDT semaphore in the file, or 0 */
	uint64_t cookie;	 /* what the bpf program gets */
	bool emulated;
	bool of_call;	 /* where the function is called, or jumped to: site-callers.h */
	int stack_bytes; /* from the stack pointer there up to the return address; at a call, -8 */
	bool on_return;	 /* the probe runs when the function returns */
};

/*
 * Find the site for the function that starts at @link (or the function called @name). Errors:
 * -ENOENT (no such function, or no FDE proves it), -ENOEXEC (no safe instruction). *ret is
 * untouched on failure.
 */
int site_at(const struct image *img, uint64_t link, struct site *ret, struct failure *why);
int site_of(const struct image *img, const char *name, struct site *ret, struct failure *why);

/*
 * The same where only the first @n_args arguments matter: there are more places where the kernel
 * need not single-step.
 */
int site_at_args(const struct image *img, uint64_t link, int n_args, struct site *ret,
		 struct failure *why);

/*
 * For a function whose return is probed too, at the same place: where the first @n_args arguments
 * are in place and the stack is still untouched. (Elsewhere the entry would find the kernel's
 * trampoline where the return address was.) The caller sets on_return for the return's probe.
 */
int site_at_untouched(const struct image *img, uint64_t link, int n_args, struct site *ret,
		      struct failure *why);
/*
 * For a function of which only the return is probed; on_return is set. Return probes are for leaves
 * only: the kernel keeps the returns it awaits in the order of the stack pointer, and a return
 * awaited on a coroutine's stack that lies above the thread's own makes it forget the outer ones.
 * The thread dies (SIGILL) when it comes back to one of those.
 */
int site_at_return(const struct image *img, uint64_t link, struct site *ret, struct failure *why);

/*
 * The end of a call without a return probe: at the return address @link, or a few instructions on
 * where nothing has moved the stack pointer or left the straight line (nor, with @keep_value,
 * changed the returned value). That place is also reached without the call: the stack pointer
 * tells, as a call that is under way keeps its caller from getting there. See site-after.c. Errors:
 * -ENOENT (no proven function, or no call, ends there), -ENOEXEC.
 */
int site_after_call(const struct image *img, uint64_t link, bool keep_value, struct site *ret,
		    struct failure *why);

#endif
