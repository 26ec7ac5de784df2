/* SPDX-License-Identifier: MIT */
/* What the parts of stalls.c share: which threads are watched, and what was seen of each. */
#ifndef TRACER_STALLS_INSIDE_H
#define TRACER_STALLS_INSIDE_H

#include "tracer/stalls.h"

#define STALLS_TAKE_MS 20 /* for a stack */

/* A loop's thread. */
struct watched {
	pid_t tid;
	struct bpf_link *ticks;
	bool knows_own; /* where it waits */
	int misses;
	uint64_t void_seq;	     /* a time that was no stall */
	uint64_t sampled_ns;	     /* when its stack was taken last, of a sleeper */
	struct stall_view *views[2]; /* of one time away: while it ran, while it slept */
};

enum { RAN, SLEPT };

struct stalls {
	struct doctor *d;
	int64_t min_ns;
	pid_t only; /* 0: all */
	bool views; /* of each stall one is wanted */
	struct stalls_bpf *skel;
	struct ring_buffer *ring;
	struct attachment *turns;
	GPtrArray *links;   /* struct bpf_link * */
	GPtrArray *watched; /* struct watched * */
	GHashTable *seen;   /* tids that were looked at */
	int64_t scanned_ns, backlog_ns;
	void (*took)(void *data, const struct stall *stall);
	void *data;
	uint64_t iterations; /* of threads that have gone */
};

/* --- stall-threads.c --- */

/* What the kernel knows of the thread now. */
bool stalls_look_up(const struct stalls *s, pid_t tid, struct stalls_thread *ret);
struct watched *stalls_find(const struct stalls *s, pid_t tid);
void stalls_watched_free(void *watched);
/* It waits at @sp by itself: what its stack is, says so. */
void stalls_learn_own(struct stalls *s, struct watched *w, uint64_t sp);
/* Threads come and go. */
int stalls_scan(struct stalls *s, struct failure *why);
/* A thread that wants a CPU and gets none shows no stack: then a little later. */
int stalls_scan_all(struct stalls *s, struct failure *why);

/* --- stall-take.c --- */

/* A stack that the kernel copied. */
void stalls_take_stack(struct stalls *s, const struct stalls_stack *in);
/* Look at a thread that may sleep on. */
void stalls_sample(struct stalls *s, struct watched *w);
/* Hand a stall over to whoever asked for them. */
void stalls_tell(struct stalls *s, const struct watched *w, const struct stalls_away *away,
		 bool since_attach, int64_t end_ns, bool goes_on);

#endif
