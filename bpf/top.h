/* SPDX-License-Identifier: (MIT OR BSD-2-Clause OR GPL-2.0-only) */
/*
 * What top.bpf.c is told of each site, and what it counts for the tracer (tracer/top.c). The
 * includer supplies __u8, __u32, __s32 and __u64.
 */
#ifndef BPF_TOP_H
#define BPF_TOP_H

#define TOP_MAX_SITES	4096
#define TOP_MAX_THREADS 1024
#define TOP_MAX_CALLS	4096  /* callbacks, one for each thread that runs it */
#define TOP_MAX_KNOWN	65536 /* callbacks with their arguments */
#define TOP_MAX_WANTED	4096
#define TOP_ARGS	6
#define TOP_DEEP	16 /* calls within calls */

/*
 * A histogram of nanoseconds: each power of two is cut into 4 buckets. The last one also holds
 * whatever is longer.
 */
#define TOP_SUB_BITS 2
#define TOP_BUCKETS  136 /* up to 2^35 ns, half a minute */

enum top_op {
	TOP_NOTHING,
	TOP_WAIT,  /* the thread goes to wait for its descriptors */
	TOP_WOKEN, /* it is back */
	TOP_BEGIN, /* a callback, or the wait for the lock, begins; a TOP_END of its object ends it
		    */
	TOP_END,
	TOP_CALL,   /* the same at a function's entry: it ends where its caller goes on */
	TOP_RESUME, /* the place where callers go on */
	TOP_ARM,    /* a timer is armed: its callback may be new */
	TOP_CHANGE, /* handlers change: their callbacks may be new */
};

/* What runs; also the order in which people are shown them. */
enum top_kind {
	TOP_HANDLER,
	TOP_BH,
	TOP_TIMER,
	TOP_SOURCE,
	TOP_NOTIFIER,
	TOP_BQL, /* no callback: the wait for the big lock */
	TOP_KINDS,
};

/* In what form an argument of a wait says for how long. */
enum top_timeout { TOP_FOREVER, TOP_NS, TOP_MS, TOP_TIMESPEC };

struct top_site {
	__u8 op;
	__u8 kind;
	__u8 stepped; /* a hit is single-stepped by the kernel: some twenty times dearer */
	__u8 timeout, timeout_arg;
	__u8 cb_arg;	 /* of TOP_BEGIN; TOP_ARGS: none */
	__u8 object_arg; /* of TOP_BEGIN and TOP_END */
	__u8 ret_arg;	 /* of TOP_WOKEN; TOP_ARGS: what the function returned */
	__u8 ring;	 /* of TOP_WOKEN: io_uring's, which returns no number of descriptors */
	__u8 pad[3];
	__u32 stack_bytes; /* of TOP_CALL: from the stack pointer there up to the return address */
	__u64 cb;	   /* of TOP_CALL: the callback; 0: in a bottom half */
};

/* Offsets in QEMU's structures, from the layout; negative: unknown. */
struct top_layout {
	__s32 bh_cb, bh_name, timer_cb, timer_opaque;
};

struct top_frame {
	__u64 cb, object;
	__u64 begin_ns;
	__u64 sp;	 /* where the return address lies; 0 if the end is told by its object */
	__u64 name;	 /* of a bottom half: where its name is */
	__u64 waited_ns; /* what the thread had waited by then */
	__u32 kind;
	__u32 awaited; /* the place it comes back to was probed before it began */
};

/* Only the thread itself changes it. All times are sums over the windows (see `window`). */
struct top_thread {
	__u64 window;	/* the last one in which it was seen */
	__u64 first_ns; /* since when, in that window, its state is known */
	__u64 since_ns; /* it waits since then; 0: it does not wait */
	__u64 iterations;
	__u64 by_fd, by_timeout, by_signal, no_wait; /* what ended its waits */
	__u64 wait_ns, bql_ns;
	__u64 callback_ns; /* in callbacks that have returned, less what it waited in them */
	__u64 bql_waits;
	__u64 hits, stepped; /* of probes: what watching costs it */
	__u32 zero;	     /* the wait it is in was for no time */
	__u32 depth;
	struct top_frame frames[TOP_DEEP];
};

struct top_key {
	__u64 cb;
	__u32 tid;
	__u32 kind; /* enum top_kind */
};

struct top_calls {
	__u64 calls;
	__u64 timed; /* of these, whose end was seen; only they are in what follows */
	__u64 total_ns, max_ns;
	__u64 name;	     /* of a bottom half: where its name is */
	__u64 recent_max[2]; /* of the interval with that number, modulo 2 */
	__u64 recent[2];     /* that number */
	__u32 hist[TOP_BUCKETS];
};

/* A callback with the argument that was registered with it. */
struct top_known {
	__u64 cb, arg;
};

/* What the tracer is asked to probe: a place where callers go on, or a callback (of a timer). */
struct top_wanted {
	__u32 callback; /* it is one */
	__u32 probed;
};

/* What was not counted. */
struct top_lost {
	__u64 threads, calls, known, wanted; /* the map was full */
	__u64 deep;			     /* more than TOP_DEEP calls within calls */
};

#endif
