/* SPDX-License-Identifier: MIT */
/*
 * Stalls: times in which a loop's thread is away from its wait for too long, seen as they happen.
 *
 * The kernel measures them (bpf/stalls.bpf.c) and copies stacks while they last; stalls.c watches
 * over it, stall-threads.c finds the threads, stall-take.c takes the stacks. What a stack says,
 * whose lock is waited for and what was left waiting is found at that very moment (stall-view.c).
 * Equal stalls are one row (stall-rows.c), which cmd-stalls.c and JSON show.
 */
#ifndef TRACER_STALLS_H
#define TRACER_STALLS_H

#include <linux/ptrace.h>
#include <linux/types.h>

#include "bpf/stalls.h"
#include "tracer/doctor.h"

/* What kept the loop for most of the time. */
enum stall_kind {
	STALL_UNKNOWN, /* of a recording that does not say */
	STALL_RUNNING,
	STALL_CPU, /* it wanted a CPU and got none */
	STALL_SYSCALL,
	STALL_LOCK,
	STALL_NESTED, /* it waited in a poll of its own, inside of a callback */
	STALL_FAULT,  /* a page fault */
	STALL_STOPPED,
};

/* "running", "cpu", "syscall" ... as JSON calls it. */
const char *stall_kind_name(enum stall_kind kind);

/* A mutex that the thread waits for. */
struct stall_lock {
	uint64_t addr; /* 0: none */
	bool bql;
	pid_t holder; /* 0: not proven */
	char *holder_name;
	char *holder_does; /* in words; NULL: its stack could not be taken */
};

#define STALL_LISTED 64 /* of each kind of what is left waiting; all are counted */

/* What a loop would have to do. */
struct stall_backlog {
	bool known;
	int fds, bhs, timers;
	GPtrArray *items; /* struct stall_item * */
};

enum stall_item_kind { STALL_FD, STALL_BH, STALL_TIMER };

struct stall_item {
	enum stall_item_kind kind;
	int fd;		 /* of an fd */
	int64_t late_ns; /* of a timer */
	char *what;	 /* "eventfd"; a BH's context */
	char *callback;
};

/* What was seen while it lasted. Counted: stall_view_free() drops one reference. */
struct stall_view {
	int refs;
	uint64_t seq;	   /* of the time away that it is of */
	uint64_t away_ns;  /* how long that was then */
	uint64_t callback; /* 0: none is proven */
	char *culprit;	   /* "BH foo", or what else the loop was in */
	char *nested;	   /* "aio_poll() called by foo, depth 2"; NULL: no nested wait */
	struct stall_lock lock;
	struct stall_backlog backlog;
	GPtrArray *stack; /* char *, the innermost first */
};

struct stall {
	pid_t tid;
	const char *role; /* of the thread; borrowed */
	bool since_attach, goes_on;
	uint64_t begin_ns;
	int64_t ns;
	int64_t split[STALLS_STATES];
	struct stalls_call calls[STALLS_CALLS];
	struct stall_view *view; /* borrowed; NULL: it was over before a stack could be taken */
};

/* --- stall-view.c --- */

struct stall_view *stall_view_empty(void);
struct stall_view *stall_view_new(struct doctor *d, const struct stack *stack, bool at_exit);
/* What is left waiting now for the loop of @tid: reads the tables. */
void stall_view_add_backlog(struct doctor *d, struct stall_view *v, pid_t tid);
void stall_view_free(struct stall_view *v);

/* --- stalls.c --- */

struct stalls;

/*
 * Watch the loops of @d's process (doctor_open_tables() was called on it), or only thread @tid's.
 * @took is called for each stall when it is over, or at the end. Errors: -EPERM, -EOPNOTSUPP,
 * -ENOENT (no loop). The caller closes; NULL is fine there. Without @views stacks are taken only to
 * tell the loop's own waits from others, and no stall has a view.
 */
int stalls_open(struct doctor *d, int64_t min_ns, pid_t tid, bool views,
		void (*took)(void *data, const struct stall *stall), void *data,
		struct stalls **ret, struct failure *why);
void stalls_close(struct stalls *s);

/* One look; -ESRCH when the process has ended. And how long to sleep before the next. */
int stalls_step(struct stalls *s);
unsigned stalls_pause_us(const struct stalls *s);
/* Nothing more will be looked at: what still goes on is told, with the time so far. */
void stalls_end(struct stalls *s);

struct stalls_totals {
	uint64_t iterations;
	int loops;
	uint64_t lost;	      /* stalls that found no room: not told at all */
	uint64_t lost_stacks; /* stalls are told, perhaps without a stack */
};

uint64_t stalls_lost(const struct stalls *s);
void stalls_totals(struct stalls *s, struct stalls_totals *ret);

/* --- stall-rows.c --- */

/* Stalls that are equal in thread, culprit and what kept them. Strings are owned. */
struct stall_row {
	pid_t tid;
	char *role, *culprit;
	enum stall_kind kind;
	char *what; /* "clock_nanosleep", "read on fd 7 (fifo /tmp/x)", "the big lock"; or NULL */
	uint64_t count;
	int64_t longest_ns, total_ns;
	bool since_attach, goes_on;   /* the longest */
	int64_t split[STALLS_STATES]; /* of the longest */
	bool split_known;	      /* not that of a recording that does not tell */
	GArray *calls;		      /* struct stall_slept, of the longest */
	struct stall_view *view;      /* of the longest that has one, or NULL */
};

struct stall_slept {
	char *what;
	int64_t ns;
};

GArray *stall_slept_array(void); /* of them; owns the texts */
/* "read on fd 7 (fifo /tmp/x)": with @describe_fd's words of the descriptor. To be freed. */
char *stall_call_words(const struct stalls_call *call, char *(*describe_fd)(void *data, int fd),
		       void *data);
/* What took most of it: STALL_SYSCALL stands for all that sleeps. */
enum stall_kind stall_kind_of(const int64_t split[]);

struct stall_row *stall_row_new(void);
GPtrArray *stall_row_array(void); /* that frees them */

struct stall_rows;

struct stall_rows *stall_rows_new(struct doctor *d);
void stall_rows_free(struct stall_rows *rows);
void stall_rows_add(struct stall_rows *rows, const struct stall *stall);
/* The longest first: struct stall_row *. Owned by @rows. */
const GPtrArray *stall_rows_sorted(struct stall_rows *rows);

/* --- stall-show.c --- */

/* "412 ms asleep in fsync on fd 7 (file), 3 ms running": of @whole ns. To be freed. */
char *stall_split_words(const int64_t split[], const GArray *calls, int64_t whole);

void stall_row_print(const struct stall_row *row);
void stall_row_print_json(const struct stall_row *row, uint64_t number);

#endif
