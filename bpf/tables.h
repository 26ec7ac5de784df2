/* SPDX-License-Identifier: (MIT OR BSD-2-Clause OR GPL-2.0-only) */
/*
 * What tables.bpf.c and pollset.bpf.c send to the tracer (tracer/reader-bpf.c): poll sets and raw
 * list elements. The includer supplies __u32, __s64 and __u64. All records are of fixed size.
 */
#ifndef BPF_TABLES_H
#define BPF_TABLES_H

#define TABLES_MAX_LISTS   512
#define TABLES_MAX_ELEMENT 256 /* bytes of a list element */
#define TABLES_CHUNK	   64  /* GPollFDs of one record */

/* The system calls in which a loop waits, by their x86-64 numbers. */
enum {
	NR_POLL = 7,
	NR_RESTART_SYSCALL = 219, /* a poll that a stop interrupted goes on as this */
	NR_EPOLL_WAIT = 232,
	NR_PPOLL = 271,
	NR_EPOLL_PWAIT = 281,
	NR_IO_URING_ENTER = 426,
	NR_EPOLL_PWAIT2 = 441,
};

/* Is it one of them? Not restart_syscall: sleeps and futex waits go on as that, too. */
static inline _Bool is_wait_call(long nr)
{
	switch (nr) {
	case NR_POLL:
	case NR_PPOLL:
	case NR_EPOLL_WAIT:
	case NR_EPOLL_PWAIT:
	case NR_EPOLL_PWAIT2:
	case NR_IO_URING_ENTER:
		return 1;
	default:
		return 0;
	}
}

enum { TABLES_POLLSET = 1, TABLES_ELEMENT = 2 };

/* A thread that waits in a system call, or is about to. */
struct tables_wait {
	__u64 nr; /* of the system call */
	__u64 args[4];
	__s64 timeout[2]; /* ppoll's: seconds and nanoseconds; -1 in both without one */
	__u32 tid;
	__u32 pad;
};

/* Its poll set; a large one comes in several records, in order. */
struct tables_pollset {
	__u32 type;
	__u32 first;  /* index of fds[0] in the set */
	__u32 n;      /* fds in this record */
	__u32 failed; /* the set could not be read */
	struct tables_wait wait;
	__u64 fds[TABLES_CHUNK]; /* a GPollFD each */
};

/* One element of list number `list`, in order; failed: the memory could not be read. */
struct tables_element {
	__u32 type;
	__u32 list;
	__u32 failed;
	__u32 pad;
	__u64 addr;
	unsigned char bytes[TABLES_MAX_ELEMENT];
};

/* A list the iterator is asked to walk. */
struct tables_list {
	__u64 first; /* address of the first element, or 0 */
	__u32 next;  /* offset of the pointer to the next */
	__u32 size;  /* bytes to copy of each */
	__u32 max;   /* elements at most */
	__u32 pad;
};

#endif
