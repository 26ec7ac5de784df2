/* SPDX-License-Identifier: MIT */
/* A command that loopscope starts, to look at it from its beginning. */
#ifndef TRACER_CHILD_H
#define TRACER_CHILD_H

#include <signal.h>

#include "tracer/hold.h"
#include "tracer/session.h"

struct child {
	pid_t pid;
	int go;		   /* writing a byte there lets it begin; -1: it was let go */
	struct hold *hold; /* NULL: nothing is to be done before it runs */
};

/* Fork; the child waits for child_go() and then becomes the command. */
int child_start(char *const *argv, struct child *ret, struct failure *why);
void child_go(struct child *child);

/*
 * Wait until it has a loop whose layout can be told: then @s is open on it. -ESRCH: it ended
 * before; else why it cannot be told. *@stop ends the waiting. Returns 1, with @s closed, when a
 * step of its hold has said that no more is needed.
 */
int child_find_loop(struct child *child, struct session *s, const volatile sig_atomic_t *stop,
		    struct failure *why);

/* It is not held any more, whatever it becomes. */
void child_let_be(struct child *child);

/* SIGTERM, unless it has ended; and wait for that. One that never began ends at once. */
void child_end(struct child *child);

#endif
