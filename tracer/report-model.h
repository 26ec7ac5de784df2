/* SPDX-License-Identifier: MIT */
/*
 * What a report knows of a recording: sums and tables that grow with the number of callbacks, call
 * sites, fds and threads, never with the length of the recording.
 *
 * What takes time has a begin and an end in its thread. Each thread has a stack of what has begun
 * (struct report_frame); an end closes its begin. Time is counted twice: with what is nested in it
 * (total), and without (own); the own times of a thread never overlap.
 *
 * Nothing is guessed. A begin whose end is missing has no duration and is "unfinished"; an end
 * whose begin is missing is "unbegun". Where a thread's events were lost, everything open ends
 * there as unfinished.
 */
#ifndef TRACER_REPORT_MODEL_H
#define TRACER_REPORT_MODEL_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "trace/ctf-reader.h"
#include "tracer/failure.h"
#include "tracer/report-hist.h"
#include "tracer/report-map.h"

#define REPORT_NOTES_MAX 16

/* What a thread does: a frame of its stack, and where its time goes. */
enum report_kind {
	REPORT_HANDLER,
	REPORT_BH,
	REPORT_TIMER,
	REPORT_SOURCE,
	REPORT_NOTIFIER, /* the last kind of callback */
	REPORT_ITERATION,
	REPORT_DISPATCH,
	REPORT_POLL,	    /* the loop's own wait */
	REPORT_NESTED_POLL, /* a wait inside a callback */
	REPORT_AIO_POLL,    /* a nested aio_poll */
	REPORT_AIO_WAIT,
	REPORT_BUSY_POLL,
	REPORT_BQL_WAIT,
	REPORT_KINDS,
};

/* How often and how long. */
struct report_calls {
	struct report_hist ns;
	uint64_t own_ns;
	uint64_t max_at_ns; /* when the longest began */
	uint64_t unfinished;
};

/* A callback in one thread, for one context and (of a handler) one fd. */
struct report_callback {
	struct report_key key;
	struct report_calls calls;
	enum report_kind kind;
	uint32_t op;  /* of a handler: enum loop_handler_op; of a notifier: enum loop_poll_phase */
	int32_t fd;   /* of a handler; else -1 */
	uint64_t ctx; /* of a timer: its list */
	uint64_t cb;  /* of a GSource without one: its dispatch function */
	uint64_t source; /* that GSource */
	/* Of a timer: how late it came; of a source in GLib's own loop: how long after the wait its
	 * turn came. NULL when never known. */
	struct report_hist *late;
	uint64_t early, late_unknown; /* not in it */
};

/* poll's timeouts, by length. */
enum report_range {
	REPORT_NO_WAIT,
	REPORT_BELOW_1_MS,
	REPORT_BELOW_10_MS,
	REPORT_BELOW_100_MS,
	REPORT_BELOW_1_S,
	REPORT_FROM_1_S,
	REPORT_FOR_EVER,
	REPORT_RANGE_UNKNOWN,
	REPORT_RANGES,
};

/* Who chose the timeout of polls. */
struct report_chooser {
	struct report_key key;
	uint32_t by; /* enum loop_chooser; unknown also when there was no timeout_chosen */
	uint64_t what, cb;
	uint64_t count;
	uint64_t ranges[REPORT_RANGES];
};

/* What ended waits. */
enum report_cause {
	REPORT_BY_FD,	  /* an fd was ready */
	REPORT_BY_NOTIFY, /* an fd was ready because a thread wrote to it: aio_notify and others */
	REPORT_BY_TIMEOUT,
	REPORT_BY_NOTHING, /* the timeout was 0: there was no sleep */
	REPORT_BY_ERROR,   /* EINTR, mostly */
	REPORT_BY_UNKNOWN, /* fds were ready, and the recording does not say which */
	REPORT_CAUSES,
};

struct report_wakeup {
	struct report_key key;
	enum report_cause cause;
	int32_t fd;	 /* else -1 */
	int32_t err;	 /* REPORT_BY_ERROR: positive errno */
	uint32_t owner;	 /* struct report_fd's, then */
	uint32_t by_tid; /* REPORT_BY_NOTIFY */
	uint64_t site;	 /* REPORT_BY_NOTIFY: where */
	uint64_t ctx;	 /* REPORT_BY_NOTIFY: whom aio_notify was for; 0: not known */
	const struct report_callback *in;     /* REPORT_BY_NOTIFY: which callback wrote, or NULL */
	uint64_t cb;			      /* the fd's callback, where known then */
	const struct report_chooser *chooser; /* REPORT_BY_TIMEOUT, REPORT_BY_NOTHING */
	uint64_t count;
};

/* Nested aio_poll or AIO_WAIT_WHILE, from one place in one thread. */
struct report_nested {
	struct report_key key;
	struct report_calls calls;
	enum report_kind kind; /* REPORT_AIO_POLL or REPORT_AIO_WAIT */
	uint64_t ctx, site;
	uint64_t slept_ns;  /* of it, in poll */
	uint32_t max_depth; /* of aio_poll */
	uint64_t with_bql;  /* of AIO_WAIT: held the big lock */
};

/* The big lock, from one place in any thread. */
struct report_bql {
	struct report_key key;
	struct report_calls wait, hold;
	uint64_t site, file;
	uint32_t line;
};

/* Of the tree of nested waits: all calls of one thing inside of another. */
struct report_node {
	struct report_key key;
	uint32_t number, parent; /* from 1; parent 0: none */
	uint32_t level;		 /* 0: none */
	bool in_wait;		 /* it is one, or inside of one */
	enum report_kind kind;
	void *entry; /* as a frame's */
	uint64_t count, total_ns, max_ns, unfinished;
	uint64_t asleep_ns; /* of total_ns, in polls inside */
};

struct report_frame {
	uint64_t begin_ns;
	uint64_t child_ns; /* spent in what was nested and is closed */
	uint64_t ident;	   /* what the end has to name: 0: anything */
	struct report_calls *calls;
	void *entry; /* the struct that calls is in */
	enum report_kind kind;
	struct report_node *node; /* its own if it is_node, else its parent's; or NULL */
	bool is_node;
};

struct report_thread {
	struct report_key key;		      /* the tid */
	const struct report_watcher *watcher; /* the report's */
	uint32_t tid;
	char *name;
	uint64_t events, first_ns, last_ns;
	bool waited;	 /* in a wait already when the recording began: first_ns is then */
	uint64_t end_ns; /* up to when its time is known */
	uint64_t lost;
	uint64_t gaps_seen; /* its stream's losses at its last event */

	struct report_frame *stack;
	uint32_t depth, room, nested; /* nested: aio_poll frames among them */
	uint32_t placed;	      /* so many have been given their nodes */
	struct report_frame *open;    /* what was open at the end, outermost first */
	uint32_t n_open;

	uint64_t time_ns[REPORT_KINDS]; /* own times */
	uint64_t unknown_ns;		/* in what was unfinished */
	uint64_t unfinished, unbegun;

	/* Of a loop. */
	uint64_t poll_ctx;   /* of its own waits */
	uint32_t loop_kind;  /* enum loop_loop_kind */
	uint64_t iterations; /* waits: poll_enter */
	uint64_t nested_polls;
	uint64_t iteration_begins, iteration_ends, without_callback;
	uint64_t polls_ready, polls_timed_out, polls_failed;
	uint64_t polls_no_wait;	       /* the timeout was 0, and no fd ready */
	uint64_t polls_with_bql;       /* the lock was kept, and the timeout was not 0 */
	struct report_calls between;   /* from a wait's end to the next one's begin */
	struct report_calls iteration; /* from an iteration's begin to its end */
	uint64_t returned_ns;	       /* when the last own wait ended; 0: not known */
	uint64_t ranges[REPORT_RANGES];

	/* The wait that began last. */
	enum report_kind poll_kind;
	int64_t timeout_ns;
	struct {
		bool known;
		uint32_t by;
		uint64_t what, cb;
	} chosen; /* for the next one, until it begins */
	struct report_chooser *chooser;
	bool awaits_fd; /* it found fds, and none is known yet */

	/* aio_notify and the write to the eventfd come together, in either order. */
	uint16_t last_id;
	uint64_t notify_ctx, notify_site;
	int32_t set_fd;

	struct report_bql *hold;
	uint64_t hold_ns;

	struct report_map callbacks;  /* struct report_callback */
	struct report_map choosers;   /* struct report_chooser */
	struct report_map wakeups;    /* struct report_wakeup */
	struct report_map nested_map; /* struct report_nested */
	struct report_map tree;	      /* struct report_node */
};

/* Somebody has written to an eventfd, and its reader has not woken yet. */
struct report_wake {
	bool pending;
	uint64_t number; /* of all of them, from 1; aio_notify and its write are one */
	uint32_t tid;
	uint64_t site, ctx;
	const struct report_callback *in; /* what ran in the thread then: the innermost, or NULL */
};

struct report_fd {
	struct report_key key;
	int32_t fd;
	uint32_t kind; /* enum loop_fd_kind */
	char *target;
	bool owned;	/* by a handler or a GSource that is known */
	uint32_t owner; /* counts its owners: a number for the present one */
	uint64_t io_read, io_write, source;
	uint64_t notifies; /* the context whose notifier it is */
	struct report_wake wake;
};

struct report_context {
	struct report_key key;
	uint32_t kind; /* enum loop_context_kind */
	uint32_t home_tid;
	char *name;
	bool fd_known;
	int32_t fd;	/* its notifier's, if known */
	uint64_t alias; /* of a list of timers: the context that it belongs to */
	struct report_wake wake;
};

/* An address, as the records of the recording call it. */
struct report_name {
	struct report_key key;
	char *symbol;
	uint64_t offset;
	char *file;
	uint64_t line;
	char *text;    /* what is there, if it is a string */
	char *bh_name; /* of a BH with this callback */
};

struct report_source {
	struct report_key key;
	char *name;
	uint64_t dispatch, cb;
	/* Fds are added before a source is attached, and addresses are used again. */
	uint32_t n_fds, n_new; /* n_new: not yet known of which source at this address */
	int32_t fd, new_fd;    /* of n_fds, and of n_new, the last */
};

/* How a frame ends. */
enum report_ending {
	REPORT_ENDED,
	REPORT_CUT,  /* its end is missing: it was over by then */
	REPORT_OPEN, /* it went on when the recording ended */
};

/*
 * Whoever wants to see, while the recording is read, what begins and ends. Ends come in the order
 * of the stack, the innermost first, and every begin has one: what is seen is well nested whatever
 * the recording lacks. Each function may be NULL.
 */
struct report_watcher {
	void *data;
	/* Before anything that the event brings about. */
	void (*event)(void *data, const struct loop_event *event);
	void (*begin)(void *data, const struct report_thread *thread,
		      const struct report_frame *frame);
	void (*end)(void *data, const struct report_thread *thread,
		    const struct report_frame *frame, uint64_t now_ns, enum report_ending ending);
	/* The thread writes to an eventfd to wake its reader. */
	void (*wakes)(void *data, const struct report_thread *thread,
		      const struct report_wake *wake);
	/* The thread has found such an fd ready. */
	void (*woken)(void *data, const struct report_thread *thread,
		      const struct report_wake *wake);
	/* Events of the thread were lost before the one that comes now. */
	void (*lost)(void *data, const struct report_thread *thread, uint64_t n);
};

struct report {
	struct ctf_reader *reader; /* its environment and statistics */
	const struct report_watcher *watcher;
	uint64_t wakes; /* numbers given */
	char *path;
	uint64_t begin_ns, end_ns;
	uint64_t counts[LOOP_EV_END];
	uint32_t provenance[LOOP_EV_END]; /* enum loop_provenance */
	GPtrArray *damaged;		  /* char *: streams that end in an error */
	GPtrArray *notes;		  /* char *: the recorder's remarks */
	uint64_t more_notes;
	struct report_thread *latest;
	struct report_map threads;  /* struct report_thread, by tid */
	struct report_map fds;	    /* struct report_fd */
	struct report_map contexts; /* struct report_context */
	struct report_map names;    /* struct report_name */
	struct report_map sources;  /* struct report_source */
	struct report_map bql;	    /* struct report_bql, by site */
};

/* --- report-read.c ---------------------------------------------------------------------------- */

/* Read the recording to its end. A recording without an event is a failure. */
int report_read(const char *path, struct report **ret_report, struct failure *why);
int report_read_watched(const char *path, const struct report_watcher *watcher,
			struct report **ret_report, struct failure *why);

/* Say which recordings lie in the directory @path: returns @err then, 0 if there are none. */
int report_fail_inside(const char *path, int err, struct failure *why);
void report_free(struct report *report);

/* --- report-events.c, report-names.c: an event into the model --------------------------------- */

void report_event(struct report *report, const struct loop_event *event);
void report_record(struct report *report, const struct loop_event *event);
/* The fd of a source that has just one; else, or if that is not known, -1. */
int32_t report_source_fd(struct report *report, uint64_t addr);

/* --- report-stack.c --------------------------------------------------------------------------- */

void report_push(struct report_thread *thread, const struct report_frame *frame);
/* Close the innermost frame of that kind and ident, and as unfinished what is open inside of it. */
bool report_pop(struct report_thread *thread, enum report_kind kind, uint64_t ident,
		uint64_t now_ns);
/* Close, as unfinished, all but the outermost @keep frames. */
void report_cut(struct report_thread *thread, uint32_t keep, uint64_t now_ns);
/* Account for what is still open, up to @end_ns, and remember it in thread->open. */
void report_settle(struct report_thread *thread, uint64_t end_ns);
void report_calls_add(struct report_calls *calls, uint64_t begin_ns, uint64_t ns, uint64_t own_ns);

/* --- report-tree.c: nested waits, with what they are in and what is in them ------------------- */

/* The innermost frame has begun; or @frame, that was the innermost one, has ended. */
void report_tree_begin(struct report_thread *thread);
void report_tree_end(struct report_thread *thread, const struct report_frame *frame, uint64_t ns,
		     bool finished);
/* A nested poll has slept. */
void report_tree_slept(struct report_thread *thread, uint64_t ns);
/* struct report_node: each before its children, those by their time. */
GPtrArray *report_tree_nodes(const struct report_thread *thread);

/* --- report-waits.c: those inside of callbacks ------------------------------------------------ */

void report_enter_aio_poll(struct report_thread *thread, const struct loop_aio_poll_enter *event);
void report_enter_aio_wait(struct report_thread *thread, const struct loop_aio_wait_enter *event);
void report_bql_wait(struct report *report, struct report_thread *thread,
		     const struct loop_bql_wait *event);
void report_bql_acquired(struct report *report, struct report_thread *thread,
			 const struct loop_bql_acquired *event);
void report_bql_released(struct report_thread *thread, uint64_t now_ns);

/* --- report-polls.c: waits, their timeouts and what ended them ------------------------------- */

void report_timeout_chosen(struct report_thread *thread, const struct loop_timeout_chosen *event);
void report_wait_state(struct report_thread *thread, const struct loop_wait_state *event);
void report_wait_over(struct report_thread *thread, uint64_t now_ns);
void report_poll_enter(struct report_thread *thread, const struct loop_poll_enter *event);
void report_poll_exit(struct report_thread *thread, const struct loop_poll_exit *event);
void report_fd_ready(struct report *report, struct report_thread *thread,
		     const struct loop_fd_ready *event);
/* A handler runs: it tells which fd was ready where no fd_ready is recorded. */
void report_fd_handled(struct report *report, struct report_thread *thread, int32_t fd, uint64_t cb,
		       bool writes);
void report_source_dispatched(struct report *report, struct report_thread *thread, uint64_t source,
			      uint64_t cb);
void report_polls_end(struct report_thread *thread);

/* --- report-wakes.c: who woke whom, who owns an fd -------------------------------------------- */

void report_notify(struct report *report, struct report_thread *thread, uint64_t ctx,
		   uint64_t site);
void report_notifier_set(struct report *report, struct report_thread *thread, int32_t fd,
			 uint64_t site);
void report_notifier_clear(struct report *report, int32_t fd);
/* Who has the fd now, with which callbacks; and that nobody has it any more. */
void report_fd_owned(struct report_fd *fd, uint64_t io_read, uint64_t io_write, uint64_t source);
void report_fd_given_up(struct report_fd *fd);
/* Whoever woke the reader of the fd, once; NULL: nobody that the recording knows of. */
struct report_wake *report_take_wake(struct report *report, uint64_t polled_ctx,
				     struct report_fd *fd);

/* --- lookups; they make what is not there ----------------------------------------------------- */

#define report_each(map, entry) for (uint32_t i_ = 0; ((entry) = report_map_next(map, &i_));)

struct report_thread *report_thread(struct report *report, uint32_t tid);
struct report_fd *report_fd(struct report *report, int32_t fd);
struct report_context *report_context(struct report *report, uint64_t ctx);

#endif
