/* SPDX-License-Identifier: MIT */
/*
 * A command that we have started, held before the first instruction of each program that it
 * becomes: a wrapper script, env, chroot and in the end the one that is meant. So probes are in
 * place before anything runs that they are to see, whatever file that turns out to be, in whatever
 * root.
 *
 * It stops itself (bpf/hold.bpf.c) and is let go on: no ptrace, and of a process that was there
 * before nothing is ever held.
 */
#ifndef TRACER_HOLD_H
#define TRACER_HOLD_H

#include <signal.h>

#include "tracer/image.h"

struct hold;

struct hold_steps {
	/* It has become another program; what it was is gone. NULL: nothing to do. */
	void (*begun)(void *arg);
	/*
	 * The next instruction is @program's first, its libraries are in place. Returns 1 when this
	 * is the one that is meant: it is not held again; 0 to go on; or a negative errno. It may
	 * take @program, leaving NULL.
	 */
	int (*at_entry)(void *arg, struct image **program, struct failure *why);
	void *arg;
};

/* For a child of this process. Errors: -EPERM, -EOPNOTSUPP. The caller ends it; NULL is fine there.
 */
int hold_begin(pid_t pid, const struct hold_steps *steps, struct hold **ret, struct failure *why);

/*
 * So long, or until the process ends or *@stop, do what is to be done where it is held. Returns
 * what a step returned if not 0; else 0.
 */
int hold_wait(struct hold *h, int timeout_ms, const volatile sig_atomic_t *stop,
	      struct failure *why);

/* Does it run a program, for which all is done? Else it is about to. */
bool hold_runs(const struct hold *h);

/* It goes on, and is held no more. */
void hold_end(struct hold *h);

#endif
