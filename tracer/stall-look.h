/* SPDX-License-Identifier: MIT */
/* One look at a thread that stalls, for the recorder: its stack, and whose lock it waits for. */
#ifndef TRACER_STALL_LOOK_H
#define TRACER_STALL_LOOK_H

#include "tracer/session.h"
#include "tracer/stack.h"

struct stall_look;

/* @s has a layout; it is borrowed. NULL if it cannot be looked into. */
struct stall_look *stall_look_open(struct session *s);
void stall_look_close(struct stall_look *look);

struct stall_looked {
	struct stack stack;
	bool is_loop;  /* its chain of calls says so */
	uint64_t lock; /* the mutex that it waits for; 0: none */
	pid_t holder;  /* 0: not proven */
	bool has_held;
	struct stack held; /* the holder's */
};

/* False if there is no stack, or if the thread is back in its loop's own wait. */
bool stall_look_take(struct stall_look *look, pid_t tid, struct stall_looked *ret);

#endif
