/* SPDX-License-Identifier: MIT */
/*
 * Stalls, for the recorder: one look at a thread, its stack and whose lock it waits for; and of
 * each stall, when it is over, what its time went into (stalls.h).
 */
#ifndef TRACER_STALL_LOOK_H
#define TRACER_STALL_LOOK_H

#include <linux/ptrace.h>
#include <linux/types.h>

#include "bpf/stalls.h"
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

/* A time away of a loop's thread. */
struct stall_time {
	pid_t tid;
	bool goes_on, since_attach;
	uint64_t begin_ns;
	int64_t ns;
	int64_t split[STALLS_STATES];
	struct stalls_call calls[STALLS_CALLS]; /* ns 0: unused */
	bool has_fd[STALLS_CALLS];		/* its first argument is a descriptor */
};

/* From now on @took is called for each that is over. Errors: stalls_open()'s. */
int stall_look_watch(struct stall_look *look, int64_t min_ns,
		     void (*took)(void *data, const struct stall_time *time), void *data,
		     struct failure *why);
/* To be called often; and at the end, when also what goes on is told. */
void stall_look_step(struct stall_look *look);
void stall_look_end(struct stall_look *look);
/* So many found no room. */
uint64_t stall_look_lost(const struct stall_look *look);

#endif
