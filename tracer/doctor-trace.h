/* SPDX-License-Identifier: MIT */
/*
 * The doctor on a recording: the same verdicts, from events.
 *
 * One pass, with the report's model of threads and callbacks; what is remembered grows with the
 * number of callbacks, descriptors and threads, never with the recording's length. Two looks of the
 * live doctor are two windows, two calls or two waits here, or one that lasts much too long. What
 * the recording does not have is no evidence: no verdict rests on an event that was not recorded.
 */
#ifndef TRACER_DOCTOR_TRACE_H
#define TRACER_DOCTOR_TRACE_H

#include "tracer/doctor.h"
#include "tracer/report-model.h"
#include "tracer/stall-split.h"

#define TRACE_ONCE	   10 /* times the limit: one call or wait of that length is enough */
#define TRACE_BUSY	   5  /* times the limit: the host may have been busy for so long */
#define TRACE_COUNTER_SIZE 96 /* of a struct trace_counter */

/* What keeps a loop awake: doctor-trace-spin.c. */
enum trace_cause { CAUSE_NONE, CAUSE_STARVES, CAUSE_TIMER, CAUSE_FD, CAUSE_BH, CAUSE_SOURCE };

/* A run of windows, one after the other, with one cause. */
struct trace_run {
	enum trace_cause cause;
	uint64_t a, b; /* of what: see struct trace_counter's key */
	uint64_t cb, by;
	int windows;
	uint64_t turns, times, from_ns, to_ns;
	uint32_t revents;
	int32_t priority; /* CAUSE_STARVES */
};

struct trace_spin {
	uint64_t window, begin_ns;
	uint64_t polls, iterations, slept;
	uint64_t found; /* polls that found something ready */
	bool began;
	struct trace_run now, best;
	struct report_map counters; /* struct trace_counter */
};

/* A source's callback, and the waits inside of it: doctor-trace-glib.c. */
struct trace_glib_call {
	uint64_t begin_ns, wait_ns;
	uint64_t inner; /* the GMainContext that an iteration inside of it runs; 0: none was seen */
	bool same;	/* which is that of the source */
	uint32_t waits;
};

/* Calls of one callback that waited for too long. */
struct trace_glib_wait {
	struct report_key key; /* the model's entry, tid */
	const struct report_callback *callback;
	uint32_t tid;
	int times;
	uint64_t longest_ns, begin_ns;
	bool open;
	struct trace_glib_call call; /* the longest */
};

/* Sources of one callback in one GMainContext that were attached. */
struct trace_glib_group {
	struct report_key key; /* ctx, callback */
	uint64_t added, gone, called, with_fd;
	uint64_t first_ns, last_ns, window;
	int windows; /* in which some were added */
	uint32_t tid;
};

#define TRACE_RECENT 8

/* A long call, for which what its time went into may still be told (doctor-trace-split.c). */
struct trace_recent {
	struct trace_long *call; /* NULL: none */
	uint64_t begin_ns, end_ns;
	uint64_t ns; /* its own */
};

/* What a thread does. */
struct trace_thread {
	struct report_key key; /* the tid */
	uint32_t tid;
	const struct report_thread *model; /* NULL until something has begun */
	/* Its last wait. */
	bool waits, in_aio_poll; /* in it now; and it is one of aio_poll()'s */
	uint64_t enter_ns, exit_ns;
	int64_t timeout_ns;
	uint64_t poll_ctx;
	uint32_t n_fds;
	uint64_t nested_ctx;	      /* of the nested aio_poll() it is in; 0: none */
	struct trace_work *published; /* its last event; NULL: that was something else */
	uint64_t armed_list;	      /* of the timer it has just armed, until its next event */
	uint64_t bql_wait_ns;	      /* it waits for the big lock since then; 0: it does not */
	struct trace_spin spin;
	struct trace_glib_call glib;
	struct trace_recent recent[TRACE_RECENT];
	uint32_t n_recent;
	bool has_split;
	struct stall_split split; /* the last */
};

/* A context. */
struct trace_context {
	struct report_key key; /* its address; or that of a list of timers */
	uint32_t home_tid;     /* who was seen to run it ... */
	bool is_home;	       /* ... and to sleep in its poll */
	uint64_t list_of;      /* of a list: its context */
	uint64_t write_ns;     /* when its notifier was last written ... */
	uint64_t pending_ns;   /* ... for the first time since it was accepted; 0: not yet */
	uint64_t was_pending_ns, accepted_ns; /* the same before, and when it was accepted */
	uint64_t gctx;			      /* the GMainContext whose source it is */
	bool is_new;			      /* it was made in the recording */
	bool is_run;			      /* somebody does ... */
	bool has_ended;			      /* ... or its IOThread did, and has ended */
};

/* Bottom halves of one callback, scheduled in a context while nobody ran that. */
struct trace_orphan {
	struct report_key key; /* ctx, callback */
	uint64_t times, since_ns;
	uint64_t withdrawn_ns; /* 0: it was not */
	uint32_t tid;	       /* who scheduled it last */
};

/* Work that somebody has to be woken for. */
enum trace_work_kind { WORK_BH = 1, WORK_TIMER, WORK_FD, WORK_NOTIFY, WORK_CO };

struct trace_work {
	struct report_key key; /* kind, address or number */
	bool open;
	bool was_taken; /* before: so its beginning is recorded */
	uint64_t ctx;	/* or the list of a timer; WORK_FD: the context of its handler */
	uint64_t cb;
	uint64_t due_ns; /* not before whoever published it went on: its notify is part of that */
	bool settled;	 /* it did */
};

/* A thread slept on although this was due. */
struct trace_miss {
	struct report_key key; /* tid, kind, and of a BH or a timer the callback */
	struct trace_work work;
	uint64_t enter_ns, ns;
	int64_t timeout_ns;
	int times;
	bool at_end;
};

/* Calls or waits of one kind that lasted too long. */
struct trace_long {
	struct report_key key; /* the model's entry, tid */
	const struct report_thread *thread;
	void *entry;
	enum report_kind kind;
	int times;
	uint64_t longest_ns, begin_ns;
	bool open;   /* the longest went on when the recording ended */
	int excused; /* not in times: they were long only without the CPU */
	bool has_split;
	struct stall_split split; /* of the longest */
	/* Of a wait. */
	const struct report_callback *callback; /* that waited */
	uint32_t n_fds, waiters;		/* who waited for the lock that it kept */
	bool is_stuck;	    /* it waited for what follows; else that was there as well */
	uint64_t stuck_ctx; /* where something was scheduled meanwhile, that was not run: a ... */
	uint64_t stuck_bh;  /* ... bottom half's callback; 0: a coroutine ... */
	uint64_t stuck_ns;  /* ... when that was */
	uint32_t depth;
	/* Of the big lock. */
	uint64_t site;
};

/* Handlers of one callback in one context. */
struct trace_handlers {
	struct report_key key; /* ctx, callback */
	uint64_t added, removed, called;
	uint64_t kept; /* of added, when the last came: none had been removed */
	uint64_t first_ns, last_ns, window;
	int windows; /* in which some were added */
	uint32_t tid;
};

struct trace_fd {
	struct report_key key; /* the number */
	uint64_t ctx, cb;
	bool has_handler;
	struct trace_handlers *group;
	/* Polls that found it closed. */
	uint64_t closed, first_ns, last_ns;
	uint32_t tid;
};

struct trace_source {
	struct report_key key; /* its address */
	uint64_t gctx;
	int32_t priority;
	bool attached;
	uint64_t asked_ns, dispatched_ns; /* when it last was */
	struct trace_glib_group *group;	  /* it was attached in the recording */
	uint64_t calls;
	bool has_fd; /* it asked for one to be polled */
};

/* doctor-trace-flood.c: what went on from look to look at what lies in a descriptor. */
struct trace_flood_run {
	uint64_t from_ns, ns, looks;
	uint64_t polls, asleep_ns, runs, follows; /* of its thread, but for runs */
	uint64_t lowest, highest, kicked;	  /* levels; looks that found several kicks */
	uint64_t fell_per_s;			  /* the level, the most that was seen */
};

/* A descriptor in a thread's waits; or all that the thread does. */
struct trace_flood {
	struct report_key key;
	uint32_t tid, kind;
	uint64_t runs;			    /* of its handler; of a thread of all */
	uint64_t polls, asleep_ns, follows; /* of a thread only */
	uint64_t cb, ctx;
	char *peer;
	struct {
		uint64_t ns, level, polls, asleep_ns, runs, thread_runs, follows;
	} was; /* at the last look */
	struct trace_flood_run now, best;
};

struct trace_doctor {
	struct report *report; /* when it is read */
	int64_t min_ns;
	uint64_t first_ns, last_ns;
	bool has_prepare; /* GLib was seen to ask a source */
	struct report_map threads, contexts, work, misses, longs, handlers, fds, sources;
	struct report_map glib_waits, glib_groups, floods, orphans;
	struct stall_splits *splits;
	struct trace_thread *latest;
	/* The big lock. */
	uint32_t bql_tid;
	uint64_t bql_since_ns, bql_site;
	GPtrArray *findings; /* of struct finding * */
};

/* --- doctor-trace.c --------------------------------------------------------------------------- */

struct trace_thread *trace_thread(struct trace_doctor *d, uint32_t tid);
struct trace_context *trace_context(struct trace_doctor *d, uint64_t ctx);
/* The innermost callback that the thread is in; NULL: none. */
const struct report_frame *trace_callback(const struct trace_thread *t);
struct finding *trace_finding(struct trace_doctor *d, const char *verdict, uint32_t tid);
bool trace_has_finding(const struct trace_doctor *d, uint32_t tid, const char *verdict);
/* "BH foo", "handler bar"; what a context or a descriptor is called. To be freed. */
char *trace_callback_name(const struct trace_doctor *d, const struct report_callback *callback);
char *trace_name(const struct trace_doctor *d, const char *kind, uint64_t addr);
char *trace_context_name(const struct trace_doctor *d, uint64_t ctx);
char *trace_fd_name(const struct trace_doctor *d, int32_t fd);
/* "thread 12 "CPU 0/KVM"". To be freed. */
char *trace_thread_name(const struct trace_doctor *d, uint32_t tid);
/* Does it have every event that happened, but for losses? */
bool trace_is_complete(const struct trace_doctor *d);
/* Was this event recorded, where it happened? */
bool trace_has_event(const struct trace_doctor *d, unsigned id);
/* Since the recording began: "+1.2 s". To be freed. */
char *trace_when(const struct trace_doctor *d, uint64_t ns);

/* --- what each verdict takes from an event, and says at the end ------------------------------- */

void trace_spin_event(struct trace_doctor *d, struct trace_thread *t,
		      const struct loop_event *event);
/* What the recorder says of sources. */
void trace_spin_record(struct trace_doctor *d, const struct loop_event *event);
/* A callback of it has returned after @ns, of its own. */
void trace_spin_called(struct trace_thread *t, const struct report_frame *frame, uint64_t ns);
void trace_spin_lost(struct trace_thread *t);
void trace_spin_conclude(struct trace_doctor *d);

void trace_lost_event(struct trace_doctor *d, struct trace_thread *t,
		      const struct loop_event *event);
void trace_lost_conclude(struct trace_doctor *d);

void trace_long_event(struct trace_doctor *d, struct trace_thread *t,
		      const struct loop_event *event);
void trace_long_end(struct trace_doctor *d, struct trace_thread *t,
		    const struct report_thread *model, const struct report_frame *frame,
		    uint64_t now_ns, enum report_ending ending);
void trace_long_conclude(struct trace_doctor *d);
/* A long call is over; any event, for what its time went into; and that in words. */
void trace_split_call(const struct trace_doctor *d, struct trace_thread *t,
		      const struct trace_recent *call);
void trace_split_event(struct trace_doctor *d, const struct loop_event *event);
void trace_split_say(const struct trace_doctor *d, struct finding *f, const struct trace_long *l);
void trace_long_forget_split(struct trace_long *l);
/* doctor-trace-long-say.c: the verdicts on what was noted. */
void trace_long_say(struct trace_doctor *d);

void trace_handlers_event(struct trace_doctor *d, struct trace_thread *t,
			  const struct loop_event *event);
void trace_handlers_conclude(struct trace_doctor *d);

void trace_glib_event(struct trace_doctor *d, struct trace_thread *t,
		      const struct loop_event *event);
void trace_glib_end(struct trace_doctor *d, struct trace_thread *t,
		    const struct report_thread *model, const struct report_frame *frame,
		    uint64_t now_ns, enum report_ending ending);
void trace_glib_conclude(struct trace_doctor *d);
/* Is it of a program that is no QEMU? */
bool trace_glib_only(const struct trace_doctor *d);

void trace_context_event(struct trace_doctor *d, const struct trace_thread *t,
			 const struct loop_event *event);
void trace_context_conclude(struct trace_doctor *d);

void trace_flood_event(struct trace_doctor *d, const struct trace_thread *t,
		       const struct loop_event *event);
/* The recorder has looked. */
void trace_flood_look(struct trace_doctor *d, const struct loop_fd_level *now);
void trace_flood_conclude(struct trace_doctor *d);
void trace_flood_clear(void *entry);

/* From the report alone. */
void trace_late_conclude(struct trace_doctor *d);
void trace_idle_conclude(struct trace_doctor *d);

/* --- the whole -------------------------------------------------------------------------------- */

/*
 * Read the recording at @path; d->findings has the verdicts. Errors: those of report_read().
 * trace_doctor_clear() also after a failure.
 */
int trace_doctor_read(struct trace_doctor *d, const char *path, struct failure *why);
void trace_doctor_clear(struct trace_doctor *d);
/* "demo-qemu-loop (recording)", to be freed; how many loops and threads there are. */
void trace_doctor_describe(const struct trace_doctor *d, char **ret_target, int *ret_loops,
			   int *ret_threads);

#endif
