/* SPDX-License-Identifier: MIT */
/*
 * The doctor: watches the loops of a live process for a while and says what is wrong with them, or
 * nothing.
 *
 * Each verdict stands in a file of its own (doctor-blocked.c, doctor-nested.c, ...) and follows the
 * same rule: what it claims was seen in at least two samples, was held against what a healthy loop
 * also does, and is shown with the numbers that prove it. A doubt is silence.
 */
#ifndef TRACER_DOCTOR_H
#define TRACER_DOCTOR_H

#include <signal.h>

#include "tracer/loops.h"
#include "tracer/stack.h"
#include "tracer/watch.h"

#define DEAD_FD_ADVICE                                                                             \
	"Who closes a descriptor has to remove its handler first: aio_set_fd_handler() or "        \
	"qemu_set_fd_handler() with no callbacks."

/* Of a nested wait for what another context of the thread would have to run. */
#define WRONG_CO_ADVICE                                                                            \
	"Move the coroutine to the context that is polled (aio_co_schedule() and a yield), or do " \
	"not wait for it in aio_poll()."
#define WRONG_BH_ADVICE                                                                             \
	"A nested aio_poll() runs one context only: schedule the bottom half in that, or wait for " \
	"it from the loop."

#define ORPHAN_ADVICE                                                                                \
	"Has its IOThread ended, or was it never started? Give the work to a context that a thread " \
	"runs."

/* What blocks for longer is a finding, unless another limit is asked for. */
#define DOCTOR_MIN_MS 100

/* One verdict. All strings are owned. */
struct finding {
	const char *verdict; /* "BLOCKED CALLBACK", "NESTED WAIT", ... */
	pid_t tid;
	char *role;	     /* of the thread: "main loop", "IOThread io0" */
	char *span;	     /* how long: "for 310 ms" */
	char *culprit;	     /* who is to blame, in a few words */
	GPtrArray *evidence; /* of char *, a sentence each */
	struct stack *stack; /* of the thread, or NULL */
	const char *advice;
};

/* The call that a thread is in (doctor-call.c). */
struct call {
	bool is_known;	   /* a stack has named the function */
	uint64_t function; /* 0: none that could be counted, and one is enough */
	int number;	   /* for watch_read_call(); -1: it could not be probed */
	bool is_entry;	   /* its entry was seen */
	uint64_t since_ns; /* the time away in which it was first seen ... */
	uint64_t count, switches, first_ns, first_run_ns, first_delay_ns; /* ... and then */
};

/* Stacks of a thread that does not come back to its wait, and what they had in common. */
struct blocked {
	uint64_t since_ns; /* when it left its wait; tells one time from another */
	uint64_t void_ns;  /* the time that does not count: it was stopped meanwhile */
	bool before_us;	   /* the longest began before we came */
	char *name;	   /* of the callback */
	int64_t sampled_ns;
	int64_t longest_ns; /* that it was seen away, without the time it waited for a CPU */
	struct call call;   /* of the callback, or what stands in for it */
	int samples;	    /* that showed it, in a call that lasted too long by then */
	int stacks;	    /* taken in all */
	uint64_t cpu_ns;    /* of the longest */
	struct stack stack; /* the last */
	char *wait;	    /* what it waited for then, in words */
	GPtrArray *others;  /* char *: about the holder, the waiters */
};

/* A wait in an aio_poll() that somebody called, not the loop itself. */
struct nested {
	uint64_t switches; /* names the sleep that is looked at ... */
	int64_t since_ns;  /* ... and when it was first seen */
	bool is_none;	   /* it is the loop's own */
	uint64_t outer;	   /* the loop's own polls so far ... */
	int64_t outer_ns;  /* ... and since when there have been no more */
	uint64_t site;	   /* return address of the call of aio_poll() */
	int64_t sampled_ns;
	int samples;	/* stacks that showed it */
	bool one_sleep; /* in all of them */
	int64_t longest_ns;
	int depth;
	char *callback;	     /* "BH foo"; NULL: none could be proven */
	char *caller;	     /* of aio_poll() */
	char *chain;	     /* from the caller to the callback */
	GPtrArray *evidence; /* char *: about the lock, and who could end it */
	char *waiters;	     /* who waits for the lock and could end it, or NULL */
	GArray *outside; /* uint64_t: bottom halves that it does not run, at the first stack ... */
	int64_t outside_ns; /* ... and when that was */
	char *stuck;	    /* one of them is what it waits for: a sentence, or NULL ... */
	char *stuck_what;   /* ... in a few words */
	bool stuck_co;	    /* it enters a coroutine */
	struct stack stack; /* the last */
};

/* A loop of GLib's that runs inside of a callback: doctor-glib-nested.c. */
struct glib_nested {
	struct call call;      /* of that callback */
	uint64_t own_switches; /* names a sleep that was seen to be the loop's own */
	int64_t sampled_ns, longest_ns;
	int samples; /* stacks that showed it */
	char *culprit, *chain;
	bool same;	     /* the loop runs the context that the callback is of */
	GPtrArray *evidence; /* char *, or NULL */
	struct stack stack;  /* the last */
};

/* Who holds the big lock while somebody sleeps for it. */
struct hold {
	pid_t owner, waiter;
	uint64_t switches; /* names the waiter's sleep */
	int64_t since_ns;
	uint64_t delay_ns; /* the owner's, then */
	int64_t sampled_ns, longest_ns;
	int samples; /* stacks of the owner in this sleep */
	char *wait;  /* what the owner did then */
	char *waiters;
	struct stack stack;
};

/* A thread's counters at an earlier look. */
struct past {
	int64_t at_ns;
	uint64_t run_ns, delay_ns;
};

#define PAST_LOOKS 64

/* A thread of the target. */
struct patient {
	pid_t tid;
	bool is_loop,
		is_none;  /* it is a loop's; it was looked at and is not; both false: unknown */
	bool seen;	  /* in this look */
	int64_t first_ns; /* when it was first seen */
	char *role;
	struct thread_now now, at_start, at_half;
	struct watch_thread half, done; /* counts at half time, or when a proof began; at its end */
	struct blocked blocked;
	struct nested nested;
	struct glib_nested glib_nested;
	bool may_spin, spins;	      /* suspected, proven */
	struct past past[PAST_LOOKS]; /* the last looks, in turn */
	unsigned n_past;
};

struct leak;		   /* doctor-leak.c's: the handlers in the readings so far */
struct late;		   /* doctor-late.c's: the lists of timers */
struct glib_leak;	   /* doctor-glib-leak.c's: the sources in the readings so far */
struct glib_idle_contexts; /* doctor-glib-context.c's: those that nobody was seen to run */

struct doctor {
	struct target *t;
	struct images *images;
	struct layout *l;
	struct fds *fds;
	struct stacks *stacks;
	struct watch *watch;
	struct loops *loops;	   /* the last reading */
	GPtrArray *patients;	   /* of struct patient * */
	GPtrArray *findings;	   /* of struct finding * */
	GHashTable *callbacks;	   /* run address -> what it is, of all that the tables name */
	int64_t start_ns, half_ns; /* CLOCK_MONOTONIC: attached, half time */
	int64_t looked_ns;	   /* the last look of the visit */
	int64_t min_ns;		   /* blocked longer than this is a finding */
	GArray *fds_at_half;	   /* of struct watched_fd */
	struct leak *leak;
	struct late *late;
	struct glib_leak *glib_leak;
	struct glib_idle_contexts *glib_idle;
	GArray *idle_contexts;	/* doctor-context.c's: that nobody was seen to run */
	GHashTable *glib_homes; /* address of a GMainContext -> tid that polled it last */
	int looks;
	int due;	  /* looks that the visit should have had: see doctor_is_sure() */
	int proofs;	  /* that a loop spins, gathered so far */
	GArray *idle_bhs; /* doctor-spin-idle.c's: that were scheduled in readings so far */
	int idle_readings;
	struct hold hold, held; /* now, and the longest that was proven */
	uint64_t bql;		/* address of the big lock's mutex; 0: unknown */
	uint64_t lost;
};

/* --- doctor.c: what all verdicts use -------------------------------------------------------- */

struct finding *finding_new(struct doctor *d, const char *verdict, struct patient *p);
void finding_say(struct finding *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void finding_free(void *finding);
/* Did a live visit come to look often enough? If not, that nothing was found means little. */
bool doctor_is_sure(const struct doctor *d);
/* Is there this verdict, or any for NULL, of the thread? */
bool doctor_has_finding(const struct doctor *d, pid_t tid, const char *verdict);

/* --- doctor-patients.c: the threads --------------------------------------------------------- */

void patient_free(void *patient);
/* Read the loops again into d->loops, with the poll sets of those that sleep, or of those that do
 * not. */
int doctor_read_loops(struct doctor *d, struct failure *why);
int doctor_read_busy_loops(struct doctor *d, struct failure *why);
/* Refresh the patients' thread state. */
int doctor_look(struct doctor *d, struct failure *why);
struct patient *doctor_patient(struct doctor *d, pid_t tid);
/* Take from d->loops who runs what. */
void doctor_note_homes(struct doctor *d);
/* Whose loop runs the context; NULL: unknown. */
struct patient *doctor_home(struct doctor *d, const struct context *c);
/* What the patient is to the loops, also while it does not poll. */
const char *doctor_role(struct doctor *d, struct patient *p);

/* --- doctor-frames.c: what a stack says ----------------------------------------------------- */

struct where {
	int machine;  /* index of the innermost frame of loop machinery, -1: none */
	int callback; /* index of the frame that it called through a pointer, -1: none proven */
	bool busy_polling; /* the callback is an io_poll: it waits, by asking again and again */
	bool for_bql;	   /* no callback: the loop itself waits for the big lock */
};

void doctor_where(struct doctor *d, const struct stack *stack, struct where *ret);

/* Is any of its frames a loop's? */
bool doctor_is_loop(const struct doctor *d, const struct stack *stack);
/* Is it a loop's own wait, which no callback is in? */
bool doctor_is_own_wait(const struct doctor *d, const struct stack *stack);

/* The aio_poll() that a sleeper sleeps in, where that is not its loop's own. */
struct nest {
	int poll;	/* index of its frame */
	int callback;	/* of the frame of the callback that called it, -1: none proven */
	int depth;	/* how many there are, one below the other */
	bool glib_loop; /* the loop's own waits are not aio_poll()'s */
};

/* False if the wait is the loop's own, or no wait of aio_poll(). */
bool doctor_nest(struct doctor *d, pid_t tid, const struct stack *stack, struct nest *ret);
/* The same of a g_main_loop_run() or g_main_context_iteration(); ret->callback is one. */
bool doctor_glib_nest(struct doctor *d, const struct stack *stack, struct nest *ret);
/* The name of a frame's function. To be freed. */
char *frame_name(const struct doctor *d, const struct frame *f);
/* Is some frame in this function? */
bool stack_holds(const struct stack *stack, uint64_t function);

/* Run address of the program's function @name; 0 if it exports none. */
uint64_t doctor_function(const struct doctor *d, const char *name);

/* --- doctor-call.c: is it one call? --------------------------------------------------------- */

#define CALL_TICKS_NS (25 * 1000000LL) /* a running thread's time may be known so much later */

/* How long the call has lasted for certain, in this time away; -1: not known. It may be over. */
int64_t call_lasted_ns(const struct doctor *d, const struct call *c, const struct thread_now *now,
		       uint64_t since_ns);
/*
 * A stack of the thread @now, away since @since_ns, shows @function (0: something that happens at
 * most once in that time). Returns how long that call has lasted for certain; -1: look again.
 */
int64_t call_seen(const struct doctor *d, struct call *c, const struct thread_now *now,
		  uint64_t function, uint64_t since_ns);

/* --- doctor-callbacks.c: what a callback is ------------------------------------------------- */

/* "handler", "BH", "timer", "io_poll", "GSource callback", "dispatch function"; NULL: unknown. */
const char *doctor_kind_of(const struct doctor *d, uint64_t callback);
/* Remember what the callback at @addr is, unless it is known. */
void doctor_learn(struct doctor *d, uint64_t addr, const char *kind);
/*
 * "BH foo", "handler bar", "timer baz": what it is, and its name. @stack is of the thread that is
 * in it now, or NULL. To be freed.
 */
char *doctor_callback_name(const struct doctor *d, uint64_t callback, const struct stack *stack);
/* Fill d->callbacks from d->loops. */
void doctor_learn_callbacks(struct doctor *d);

/* --- doctor-wait.c: what a thread waits for ------------------------------------------------- */

/* "in nanosleep", "in read on fd 7 (fifo /tmp/x)", "for a mutex that thread 12 holds". To be freed.
 */
char *doctor_describe_wait(struct doctor *d, const struct stack *stack, GPtrArray *others);
/* The address of the mutex that the thread sleeps for, by libc's function on its stack; or 0. */
uint64_t doctor_mutex_waited_for(const struct doctor *d, const struct stack *stack);
/* What a system call is called, and whether its first argument is a descriptor; NULL: unknown. */
const char *doctor_call_name(long nr, bool *ret_fd);
/* Threads that wait for a mutex that @tid holds: adds a sentence to @others if there are any. */
void doctor_find_waiters(struct doctor *d, pid_t tid, GPtrArray *others);
/* Who holds the mutex at @addr: 0 if nobody of the target's threads is proven to. */
pid_t doctor_mutex_owner(const struct doctor *d, uint64_t addr);
/* "main loop", "CPU 0/TCG" ... what the thread is called. */
const char *doctor_comm(const struct doctor *d, pid_t tid);
/* "thread 12 "CPU 0/KVM""; without a name where a core does not tell it. To be freed. */
char *doctor_thread_name(const struct doctor *d, pid_t tid);
/* Does it sleep until it gets the big lock? */
bool doctor_waits_for_bql(const struct doctor *d, const struct patient *p);
/* "in read on fd 7 (fifo /tmp/x)". To be freed. */
char *doctor_describe_call(struct doctor *d, const struct thread_now *now);
/* Is it in a system call on a file, a pipe or a socket? */
bool doctor_does_io(const struct thread_now *now);
/* "fd 7 (fifo /tmp/x)". To be freed. */
char *doctor_describe_fd(struct doctor *d, int fd);
/* The names of the innermost frames from @from on: "a < b < c". To be freed. */
char *doctor_callers(const struct doctor *d, const struct stack *stack, int from, int max);
/* What an eventfd counts, from fdinfo; -1: unknown. */
int64_t doctor_eventfd_count(const struct doctor *d, int fd);

/* What a clock of QEMU's says, where that can be known from outside: not of the virtual ones. */
bool doctor_clock_now(int clock, int64_t *ret_ns);

/* --- the verdicts --------------------------------------------------------------------------- */

/* Look for blocked callbacks; called every few ms. Stacks are taken only of what is overdue. */
void blocked_sample(struct doctor *d);
void blocked_conclude(struct doctor *d);
/* Those that wait for the big lock, unless what its holder does was found to be the cause. */
void blocked_conclude_waiters(struct doctor *d);

/* The same of waits in a nested aio_poll(). */
void nested_sample(struct doctor *d);
void nested_conclude(struct doctor *d);
void nested_clear(struct nested *n);

/* Who keeps the big lock from others; after the verdicts on what the holder does. */
void hold_sample(struct doctor *d);
void hold_conclude(struct doctor *d);
void hold_clear(struct hold *h);

/* Spinning: note the counts at half time, conclude at the end (which takes a proof's time more). */
void spin_half(struct doctor *d);
void spin_conclude(struct doctor *d);

/* In what d->loops has: handlers whose descriptor is closed. Reads the loops again if there are. */
int dead_check(struct doctor *d, struct failure *why);
/* The finding on the handler @name of @c, without evidence. */
struct finding *finding_dead(struct doctor *d, struct patient *p, const char *name,
			     const struct context *c, int fd);

/* Reads the lists of handlers now and then in a visit of @visit_ns: do handlers pile up? */
struct leak *leak_new(void);
void leak_free(struct leak *leak);
void leak_sample(struct doctor *d, int64_t visit_ns);
/* Something grew, and was seen too seldom. */
bool leak_is_open(const struct doctor *d);
void leak_conclude(struct doctor *d);

/* The first timers of all lists, every few ms; after all other verdicts. */
struct late *late_new(void);
void late_free(struct late *late);
void late_find_lists(struct doctor *d);
void late_sample(struct doctor *d, int64_t visit_ns);
void late_conclude(struct doctor *d);
/* Has it seen too little for a verdict, and more than nothing? */
bool late_is_undecided(const struct doctor *d);

/* Idle bottom halves, in what d->loops has. */
GArray *idle_new(void);
void idle_look(struct doctor *d);
void idle_conclude(struct doctor *d);

/* doctor-context.c: work in contexts that no thread runs, in what d->loops has; between readings.
 */
GArray *contexts_new(void);
void contexts_look(struct doctor *d);
void contexts_sample(struct doctor *d);
void contexts_conclude(struct doctor *d);
/* The finding on @what in @context, without evidence; @since_ns -1: one look. */
struct finding *finding_without_thread(struct doctor *d, struct patient *p, const char *what,
				       const char *context, int64_t since_ns);

/* Two readings, a moment apart, of all that sleeps; says what it finds. */
int lost_check(struct doctor *d, struct failure *why);

/* What all kinds of target begin with. */
void doctor_begin(struct doctor *d, struct target *t, struct images *images, struct layout *l,
		  struct fds *fds);
/*
 * doctor-core.c: what a core file proves, into d->findings. Errors: those of loops_read().
 * doctor_close() also after a failure.
 */
int core_examine(struct doctor *d, struct target *t, struct images *images, struct layout *l,
		 struct fds *fds, struct failure *why);

/* --- doctor.c: the whole visit -------------------------------------------------------------- */

/*
 * Attach. Errors: those of stacks_open(), watch_open() and loops_read(), -EAGAIN (the process is
 * stopped). All but @d is borrowed. doctor_close() also after a failure.
 */
int doctor_open(struct doctor *d, struct target *t, struct images *images, struct layout *l,
		struct fds *fds, struct failure *why);
/* The same without the counters (d->watch stays NULL): for whoever only asks what a stack says. */
int doctor_open_tables(struct doctor *d, struct target *t, struct images *images, struct layout *l,
		       struct fds *fds, struct failure *why);
/* Watch for @duration_ms, or until *@stop; then d->findings has the verdicts. */
int doctor_visit(struct doctor *d, int duration_ms, const volatile sig_atomic_t *stop,
		 struct failure *why);
void doctor_close(struct doctor *d);

#endif
