/* SPDX-License-Identifier: MIT */
/*
 * The recorder: from hits of probes to the events of a recording.
 *
 * The bpf programs (bpf/record.bpf.c) send raw hits. A source of events knows what the hits of its
 * sites mean: record-usdt.c for the probes a program carries, record-functions.c for the exported
 * functions of one that carries none, record-callbacks.c for callbacks learned from its tables.
 * record-emit.c writes events, and the names of every thread and function they mention.
 */
#ifndef TRACER_RECORD_H
#define TRACER_RECORD_H

#include <linux/types.h>

#include "bpf/record.h"
#include "trace/ctf-writer.h"
#include "trace/loop-table.h"
#include "tracer/attach.h"
#include "tracer/flight.h"
#include "tracer/loops.h"
#include "tracer/record-select.h"
#include "tracer/session.h"
#include "tracer/site.h"

struct recorder;
struct thread_state;

/* What a site's hits become. */
struct record_probe {
	struct site site;
	struct record_site reads; /* what the bpf program is to read there */
	const struct function_probe
		*function;    /* of record-functions.c; NULL: a USDT probe or callback */
	uint16_t event;	      /* of a USDT probe */
	uint64_t callback;    /* run address, of a callback */
	bool resumes;	      /* where calls come back to (record-calls.c) */
	bool dispatches;      /* @callback is a GSource's dispatch function */
	bool again;	      /* one more place where the function before is called */
	bool left_out;	      /* by --overhead */
	uint64_t attached_ns; /* its hits are seen from then on; 0: not yet */
	uint64_t hits;	      /* taken from the ring: of the probe; of a leaf, of its entry */
	uint64_t returns;     /* of a leaf */
};

/* A call that has begun and not returned. */
struct call {
	const struct record_probe *probe;
	uint64_t a, b, c; /* whatever its return will need */
	int fd;
	uint32_t op;
	uint64_t sp;	/* where its return address lies */
	uint64_t stack; /* which stack that is in; 0: unknown */
	bool awaited;	/* the place it comes back to was probed before it began */
};

/* How a call ended. */
struct ending {
	uint64_t time_ns;
	uint64_t value; /* that it returned, if that was seen */
	bool seen;	/* else it had ended by that time, and how is not known */
};

/* Values of an event's fields, in their order. */
#define VALUES(...) ((const uint64_t[]){ __VA_ARGS__ })

#define MAX_CALLS_DEEP 64

/* An iteration of a GMainContext that is under way in a thread (record-glib-loop.c). */
struct glib_level {
	uint64_t sp; /* of whoever began it */
	uint64_t ctx;
	uint64_t callbacks; /* of the thread, when it began */
	bool outermost;
	bool prepared; /* and that is still to be told, with the priority that query will get */
	bool asked;    /* query was called, and its result is still to be told */
	bool by_phases;
	bool ready;
	uint64_t prepared_ns;
};

struct thread_state {
	uint32_t tid;
	int n_calls;
	struct call calls[MAX_CALLS_DEEP];
	int polls;			      /* aio_poll()s and iterations under way */
	uint64_t poll_array, poll_n, n_polls; /* the last, and how many since the last look */
	uint64_t ctx[16];		      /* the context of each */
	uint32_t bql;			      /* enum held */
	uint64_t callbacks;		      /* begun in this iteration */
	int n_glib;
	struct glib_level glib[8];
	bool glib_may_not_block; /* the iteration that comes next */
	bool glib_looked;	 /* the tables were asked for its context */
};

/* Which descriptors a thread found ready, and how often, since the last look (record-levels.c). */
#define RECORD_LEVELS 16

struct record_level {
	uint32_t tid;
	int fd;
	uint32_t seen;
};

struct record_levels {
	uint64_t looked_ns, noted;
	struct record_level level[RECORD_LEVELS];
	int n;
};

struct recorder {
	struct session *s; /* of a command: empty until it runs */
	pid_t pid;
	struct image *program;	     /* of a command that carries probes, from its file; or NULL */
	struct loops *loops;	     /* the tables as they were last read; NULL without a layout */
	struct record_select select; /* which events are recorded */
	struct ctf_writer *writer;   /* where they go; NULL with a flight recorder */
	struct flight *flight;	     /* or there; NULL without --on-stall */
	struct record_flight *flights; /* when it writes */
	struct record_watch *watch;    /* for stalls, or NULL */
	uint64_t written;	       /* events given to either */
	struct record_bpf *skel;
	struct ring_buffer *ring;
	GPtrArray *attachments; /* struct attachment * */
	GPtrArray *probes;	/* struct record_probe *, by cookie */
	GArray *functions;	/* struct function_sites, of those that are probed; or NULL */
	GHashTable *threads;	/* tid -> struct thread_state */
	GHashTable *named;	/* addresses whose symbol is in the recording */
	GHashTable *callbacks;	/* run addresses of callbacks that are probed, or cannot be */
	GHashTable *glib_funcs; /* GSourceFuncs -> dispatch function; NULL: none is known */
	GHashTable *known;	/* what a call of a callback with an argument means */
	GHashTable *resumes;	/* return address -> struct record_probe *, or NULL if refused */
	int looks;		/* how often the tables are to be looked at again */
	struct {
		int n; /* contexts made since the tables were looked at; who made the last */
		uint32_t tid;
		uint64_t site;
	} made;
	uint32_t code_fields[LOOP_EV_END]; /* of each event: which fields hold code */
	bool code_known[LOOP_EV_END];
	uint64_t look_ns; /* when a command's tables are looked for next */
	uint64_t look_wait_ns;
	uint64_t flushed_ns; /* when packets were last written that were not full */
	uint64_t maps_ns;    /* when the target's maps were last read anew */
	uint64_t bql;	     /* where the big lock lies; UINT64_MAX: unknown; 0: not looked for */
	int refused;	     /* probes that could not be placed */
	int attached, left_out; /* probes on a kernel that cannot have many */
	int stepped;		/* probes the kernel has to single-step */
	uint64_t lost_seen;
	struct record_levels levels;
	int error; /* the writer's first failure, or 0 */
};

/* --- record-emit.c --- */

/*
 * Write the event @id of thread @tid with its fields' values in the order of the table (each cut to
 * its field's width), and the names it mentions. Texts are written by emit_text().
 */
void emit(struct recorder *r, uint64_t time_ns, uint32_t tid, uint16_t id, const uint64_t *values);
void emit_text(struct recorder *r, uint16_t id, const uint64_t *values, const char *text);

/*
 * To be called often: about once a second it writes what there is, for whoever reads the recording
 * meanwhile, though packets are not full.
 */
void emit_flush(struct recorder *r);

/* The contexts as they are now, of which @before (or NULL) knows nothing: handlers, notifiers. */
void emit_tables(struct recorder *r, const struct loops *before);

/* --- record-begin.c --- */

/* Once probes are attached: the loops that wait already (wait_state). */
void record_tell_waits(struct recorder *r);
/* What /proc calls it, as the enum loop_fd_kind. */
uint32_t record_fd_kind(const char *kind);
/* What an fd is, by @fds, which is to be new, or NULL: a number may be another fd's by now. */
void record_tell_fd(struct recorder *r, struct fds *fds, int fd);
/* Where the recording has its events from, and which it was not asked for (event_source). */
void record_tell_sources(struct recorder *r);
/* Where the event comes from that the tables of the target tell of; NULL for others. */
const char *record_from_tables(const struct session *s, const char *event);

/* --- record-write.c --- */

/* Is the event to be seen at all: to be recorded, or to be watched? Or one of @names? */
bool record_wants(const struct recorder *r, unsigned id);
bool record_wants_any(const struct recorder *r, const char *names);

/* Where every event goes: seen by the watch, and kept if it was chosen. */
void record_write(struct recorder *r, const struct loop_event *event);

/* --- record-levels.c --- */

/* A thread found a descriptor ready; it polls an array; and, to be called often: look at those that
 * are ready all the time. */
void record_levels_note(struct recorder *r, uint32_t tid, int fd);
void record_levels_poll(struct recorder *r, struct thread_state *t, uint64_t array, uint64_t n);
void record_levels_look(struct recorder *r);

/* --- record-watch.c --- */

/* A loop that does not come back to its wait, or came back too late. */
struct record_stall {
	uint32_t tid;
	uint64_t since_ns;
	int64_t ns; /* so far, or in all */
	bool goes_on;
};

struct record_watch *record_watch_new(int64_t min_ns);
void record_watch_free(struct record_watch *w);
/* Loops that are kept from their wait already when the recording begins: since now. */
void record_watch_begin(struct recorder *r);
void record_watch_event(struct recorder *r, const struct loop_event *event);
/* Events were lost: what was begun may be over. */
void record_watch_forget(struct record_watch *w);
/* The next stall that was not told yet: once when it is too long, once when it is over. */
bool record_watch_next(struct record_watch *w, struct record_stall *ret);
/* Write the stack of a thread that stalls, what it does, and the holder's of a lock it waits for.
 */
void record_watch_take_stack(struct recorder *r, const struct record_stall *stall);
/* To be called often, and at the end: what the time of those that are over went into. */
void record_watch_step(struct recorder *r);
void record_watch_end(struct recorder *r);
/* Hits, and stalls' times, that found no room so far. */
uint64_t record_lost(const struct recorder *r);
/* Does any go on? */
bool record_watch_goes_on(const struct record_watch *w);
/* Stacks that could be taken, and that could not. */
void record_watch_stacks(const struct record_watch *w, int *ret_taken, int *ret_missed);

/* --- record-split.c --- */

struct stall_look;

/* From now on what the time of stalls goes into is recorded; or why it is not. */
void record_split_begin(struct recorder *r, struct stall_look *look, int64_t min_ns);

/* --- record-flight.c --- */

/* Errors as flight_open(). */
int record_flight_open(struct recorder *r, const struct ctf_env *env, struct failure *why);
void record_flight_free(struct recorder *r);
/* A recording of this, unless one is under way; and one that somebody asked for. */
void record_flight_stall(struct recorder *r, const struct record_stall *stall);
void record_flight_asked(struct recorder *r);
/* Every few ms: a recording may be complete. */
void record_flight_step(struct recorder *r);
/* So many events were lost up to now. */
void record_flight_lost(struct recorder *r, uint64_t lost);
/* No more events come. @at_end: what led to this is wanted, too. */
void record_flight_finish(struct recorder *r, bool at_end);
int record_flight_count(const struct recorder *r);

/* --- record.c --- */

/* What the ring calls for every hit; stops it (-ECANCELED) once the writer has failed. */
int record_take_hit(void *recorder, void *data, size_t size);

/* Give @probe a cookie; the recorder owns it then. */
struct record_probe *record_add_probe(struct recorder *r, const struct record_probe *probe);

/* Attach all probes from cookie @first on, each to the program of its kind. */
int record_attach(struct recorder *r, size_t first, struct failure *why);

/* Remove every probe. */
void record_detach(struct recorder *r);

/*
 * Leave out probes until the rest costs at most @percent of a processor (overhead-record.c);
 * *ret_words, to be freed, says what that did.
 */
int record_keep_budget(struct recorder *r, double percent, char **ret_words, struct failure *why);

struct thread_state *record_thread(struct recorder *r, uint32_t tid);

/* --- record-hits.c --- */

/* Of each probe that was hit: how often, and what a hit costs. */
void record_show_hits(const struct recorder *r, bool json);

/* --- the sources of events --- */

int record_add_usdt(struct recorder *r, const struct image *program);
void record_add_functions(struct recorder *r);
/* Libraries may have come that call what is probed where it is called. */
void record_follow_functions(struct recorder *r);
void record_usdt_hit(struct recorder *r, const struct record_usdt *hit);
void record_function_entry(struct recorder *r, struct thread_state *t,
			   const struct record_probe *probe, const struct record_entry *hit);

/*
 * Learn the callbacks of the tables as they are now, and give the new ones probes; the caller
 * attaches them. At the first time nothing is said of the handlers; later, what changed is.
 */
void record_add_callbacks(struct recorder *r, const struct loops *before);
void record_callback_entry(struct recorder *r, struct thread_state *t,
			   const struct record_probe *probe, const struct record_entry *hit);
void record_callback_end(struct recorder *r, const struct thread_state *t, const struct call *call,
			 uint64_t time_ns);

/* --- record-calls.c --- */

/* An entry: the calls that it shows to be over end, before anything is said of it. */
void record_settle(struct recorder *r, struct thread_state *t, const struct record_probe *probe,
		   const struct record_entry *hit);
/* Where the end of a call of @probe is seen that comes back to @addr. Errors: site_after_call()'s.
 */
int record_end_site(struct recorder *r, const struct record_probe *probe, uint64_t addr,
		    struct site *ret);
/* A call whose end matters has begun; its members up to `op` are set. */
void record_begin_call(struct recorder *r, struct thread_state *t, const struct record_entry *hit,
		       const struct call *call);
void record_take_return(struct recorder *r, struct thread_state *t,
			const struct record_return *hit);

#endif
