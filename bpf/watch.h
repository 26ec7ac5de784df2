/* SPDX-License-Identifier: (MIT OR BSD-2-Clause OR GPL-2.0-only) */
/*
 * What watch.bpf.c counts in the kernel and tracer/watch.c reads: a few numbers for each thread,
 * descriptor, bottom half, timer and source. The includer supplies __u32, __s64 and __u64.
 */
#ifndef BPF_WATCH_H
#define BPF_WATCH_H

#define WATCH_CHUNK  64 /* GPollFDs that are looked at in one go */
#define WATCH_CHUNKS 64 /* the first 4096 of a set */
#define WATCH_CLOCKS 4
#define WATCH_CALLED 32 /* functions whose calls are told apart */

/* The cookie of a site: what its function does, and above that the system call's number or the
 * function's. */
enum {
	WATCH_WAIT = 1,
	WATCH_BH_CALL,
	WATCH_BH_SCHEDULE,
	WATCH_BH_ONESHOT, /* by context, callback, opaque and name */
	WATCH_TIMER,
	WATCH_SOURCE,
	WATCH_TURN, /* of aio_poll(), which polls only if there is a reason to */
	WATCH_CALL, /* a function of which calls are told apart; its number above */
};
#define WATCH_NR_SHIFT 8

/*
 * A thread that polls. It waits now if entered_ns > returned_ns, the time when it last came back
 * from a wait, or began a turn of aio_poll(). Times are CLOCK_MONOTONIC.
 */
struct watch_thread {
	__u64 turns; /* of its loop: polls, and turns of aio_poll() that had no reason to poll */
	__u64 polls;
	__u64 zero; /* with timeout 0 */
	__u64 returned;
	__u64 slept; /* returned after having slept */
	__u64 ready; /* returned with something ready */
	__u64 entered_ns, returned_ns;
	__u64 out_run_ns, out_delay_ns; /* struct stack_thread's counters when it last returned */
	/* Of the call that it is in. */
	__u64 array, n, switches;
	__u32 nr;
	__u32 in_aio_poll; /* a turn was counted and has not polled yet */
	__u64 turn_sp;	   /* the stack pointer at its entry */
	__u64 outer;	   /* polls of a loop that is not aio_poll()'s: main_loop_wait(), GLib's */
	__u64 is_outer;	   /* the poll it is in, or was in last, is one */
	__u64 fds[WATCH_CHUNK];
};

struct watch_fd_key {
	__u32 tid;
	__s32 fd;
};

/*
 * Each count comes with the number of its thread's turn in which it last went up: so counts and
 * turns fit together, whenever they are read.
 */
struct watch_fd {
	__u64 ready; /* polls of the thread that found it so */
	__u64 slept; /* of these, that had to sleep for it */
	__u64 turn;
	__u32 revents; /* all that were seen */
	__u32 pad;
};

/*
 * Bottom halves of one callback in one context, and what one thread does with them: a one-shot one
 * is a new object each time, and schedulers are not always the home thread.
 */
struct watch_bh_key {
	__u64 ctx, cb;
	__u32 tid;
	__u32 pad;
};

struct watch_bh {
	__u64 calls; /* 0 also where the compiler made aio_bh_call() part of its caller */
	__u64 scheduled;
	__u64 turn;
	__u64 bh, name; /* the last one's address, and where its name lies */
	__u32 oneshot;
	__u32 pad;
};

struct watch_timer {
	__u64 armed;
	__u64 turn;
	__u64 past; /* of these, with an expiry that had passed; of timers on a known clock */
	__u64 cb;
	__s64 expire_ns; /* the last */
	__u64 armed_ns;	 /* when */
	__s32 clock;	 /* -1: unknown */
	__u32 tid;
};

struct watch_source {
	__u64 dispatched;
	__u64 turn;
	__u32 tid;
	__u32 pad;
};

/* Calls of one function by one thread, and the thread's counters at the last. */
struct watch_call_key {
	__u32 tid;
	__u32 number;
};

struct watch_call {
	__u64 count;
	__u64 entered_ns, run_ns, delay_ns;
};

/* System calls on a descriptor, by a struct watch_fd_key. */
struct watch_io {
	__u64 calls;
	__u64 in, out; /* of these, that took something from it, or put something in */
	__u64 bytes;   /* that were taken */
	__u64 counted; /* of an eventfd: what the reads of 8 bytes returned, summed up */
};

/* Offsets in QEMU's structures, from the layout; negative: unknown. */
struct watch_layout {
	__s32 bh_ctx, bh_name, bh_cb;
	__s32 timer_cb, timer_list, list_clock, clock_type;
	__s32 pad;
};

#endif
