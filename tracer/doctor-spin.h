/* SPDX-License-Identifier: MIT */
/* What the parts of the SPIN verdict share: suspicion and proof (doctor-spin.c), the causes. */
#ifndef TRACER_DOCTOR_SPIN_H
#define TRACER_DOCTOR_SPIN_H

#include "tracer/doctor.h"

#define PROOF_STACKS 3

/* All counts at one moment. */
struct counts {
	int64_t at_ns;
	GArray *fds, *bhs, *timers, *sources; /* of struct watched_... */
};

/* What a descriptor holds: bytes, or what an eventfd counts; -1 while unknown. */
struct level {
	int fd;
	int64_t last, lowest;
	int looks;
	bool fell;
};

/* What was seen while the proof was gathered. */
struct proof {
	struct counts *before, *after;
	GArray *levels; /* of struct level */
	GArray *ios;	/* of struct watched_io */
	GArray *hungry; /* doctor-starved.c: what was ready and waited when it began */
	/* Of the suspect in question. */
	unsigned long long turns, zero;		  /* turns of its loop, and those with timeout 0 */
	unsigned long long first_turn, last_turn; /* the numbers of the first and the last */
	uint64_t turn_ns; /* what a turn takes on a CPU, the probes' share included */
	bool silent; /* it never polls: GLib's does not while what is ready excludes all else */
	double seconds;
	unsigned long long
		moved; /* system calls of its thread that moved data; waking itself is none */
};

/* doctor-proof.c: gather it, look at it with one suspect in mind, free what it holds. */
int proof_gather(struct doctor *d, struct proof *proof);
void proof_of(const struct doctor *d, const struct patient *p, struct proof *proof);
void proof_clear(struct proof *proof);
struct watch_thread spin_thread_counts(const struct doctor *d, pid_t tid);

/* Each finds what it is named for and says so; false if it cannot prove it. */
bool spin_by_timer(struct doctor *d, struct patient *p, const struct proof *proof);
bool spin_by_fd(struct doctor *d, struct patient *p, const struct proof *proof);
bool spin_by_bh(struct doctor *d, struct patient *p, const struct proof *proof);
bool spin_by_source(struct doctor *d, struct patient *p, const struct proof *proof);
/* None of these: not even the culprit is known, but that it spins. */
bool spin_by_nothing(struct doctor *d, struct patient *p, const struct proof *proof);

/*
 * doctor-flood.c: kept awake from outside. Is there a descriptor that in both halves of the visit
 * gave its thread no rest; and is it a client that floods, or a kick without end?
 */
bool flood_is_suspect(const struct doctor *d, const struct patient *p);
bool flood_explain(struct doctor *d, struct patient *p, const struct proof *proof);

/* Not a spin in itself, but one that keeps others from their turn: said in its place. */
GArray *starved_look(const struct doctor *d);
bool starved_by_source(struct doctor *d, struct patient *p, const struct proof *proof);

/* The counts of a source before the proof was gathered; zero if it had none. */
struct watch_source spin_source_before(const struct proof *proof, const struct watched_source *w);

/* Subtract what was counted before the proof was gathered. */
void spin_bh_since(const struct proof *proof, const struct watch_bh_key *key, struct watch_bh *b);
void spin_timer_since(const struct proof *proof, uint64_t timer, struct watch_timer *t);

/* Helpers of theirs. */
void spin_keep_stack(struct finding *f, const struct stack *stack);
struct finding *spin_finding(struct doctor *d, struct patient *p, const struct proof *proof);
bool is_all(uint64_t part, uint64_t whole); /* 99 % and more */
bool is_eventfd(const struct doctor *d, int fd);
/*
 * Did it happen @n times in the turns from @from_turn to @to_turn (a count's own two readings),
 * hence in every one, and up to the end?
 */
bool in_every_turn(const struct proof *proof, uint64_t n, uint64_t from_turn, uint64_t to_turn);
/* The loop's own: a context's notifier, or GLib's wake-up. What it says is no event of anybody's.
 */
bool is_own_fd(const struct doctor *d, int fd);
int64_t spin_fd_level(const struct doctor *d, int fd);
/* System calls of any thread on it; and the callback of its owner that @revents are for, or 0. */
struct watch_io spin_fd_calls(const struct proof *proof, int fd);
uint64_t spin_fd_callback(const struct doctor *d, const struct owner *o, unsigned revents);
/* The counts of a descriptor before the proof was gathered; zero if it had none. */
struct watch_fd spin_fd_before(const struct proof *proof, const struct watch_fd_key *key);
/*
 * Which callback makes the calls of the program's function @name with @value as argument @arg? The
 * answer is the callback's address, 0 if stacks of several calls do not agree. *ret is one of them.
 */
uint64_t spin_caller(struct doctor *d, const struct patient *p, const char *name, int arg,
		     uint64_t value, uint64_t self, struct stack *ret);

#endif
