// SPDX-License-Identifier: (MIT OR BSD-2-Clause OR GPL-2.0-only)
/*
 * Who makes a descriptor and who registers it, each with the stack. The reader is
 * tracer/provenance.c.
 *
 * The tracepoint of returning system calls shows what makes descriptors; probes on the functions
 * that register one, the rest. For each descriptor the latest of both is kept, so nobody has to
 * keep up: a number that is closed and made again overwrites what it was.
 */
#include "bpf/stack.bpf.h"
#include "bpf/provenance.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

const volatile int tgid;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, PROVENANCE_MAX);
	__type(key, struct provenance_key);
	__type(value, struct provenance_event);
} events SEC(".maps");

/* An event is too large for a program's stack. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct provenance_event);
} scratch SEC(".maps");

__u64 lost; /* that found no room */

static __always_inline void keep(struct provenance_event *e, __u32 fd, __u32 kind)
{
	struct provenance_key key = { fd, kind };

	if (bpf_map_update_elem(&events, &key, e, BPF_ANY))
		__sync_fetch_and_add(&lost, 1);
}

static __always_inline struct provenance_event *begin(const struct pt_regs *regs, __u64 by)
{
	struct provenance_event *e;
	__u32 zero = 0;

	e = bpf_map_lookup_elem(&scratch, &zero);
	if (!e)
		return 0;
	e->time_ns = bpf_ktime_get_ns();
	e->by = by;
	copy_stack(&e->stack, bpf_get_current_task_btf(), regs);
	return e;
}

enum {
	NR_OPEN = 2,
	NR_PIPE = 22,
	NR_DUP = 32,
	NR_DUP2 = 33,
	NR_SOCKET = 41,
	NR_ACCEPT = 43,
	NR_SOCKETPAIR = 53,
	NR_FCNTL = 72,
	NR_OPENAT = 257,
	NR_SIGNALFD = 282,
	NR_TIMERFD_CREATE = 283,
	NR_EVENTFD = 284,
	NR_ACCEPT4 = 288,
	NR_SIGNALFD4 = 289,
	NR_EVENTFD2 = 290,
	NR_EPOLL_CREATE1 = 291,
	NR_DUP3 = 292,
	NR_PIPE2 = 293,
	NR_INOTIFY_INIT1 = 294,
	NR_MEMFD_CREATE = 319,
	NR_USERFAULTFD = 323,
	NR_IO_URING_SETUP = 425,
	NR_PIDFD_OPEN = 434,
	NR_OPENAT2 = 437,
	NR_PIDFD_GETFD = 438,
	DUPFD = 0,
	DUPFD_CLOEXEC = 1030,
};

/* Does the call return a new descriptor? */
static __always_inline bool makes_one(long nr, __u64 first, __u64 second)
{
	switch (nr) {
	case NR_OPEN:
	case NR_DUP:
	case NR_DUP2:
	case NR_SOCKET:
	case NR_ACCEPT:
	case NR_OPENAT:
	case NR_TIMERFD_CREATE:
	case NR_EVENTFD:
	case NR_ACCEPT4:
	case NR_EVENTFD2:
	case NR_EPOLL_CREATE1:
	case NR_DUP3:
	case NR_INOTIFY_INIT1:
	case NR_MEMFD_CREATE:
	case NR_USERFAULTFD:
	case NR_IO_URING_SETUP:
	case NR_PIDFD_OPEN:
	case NR_OPENAT2:
	case NR_PIDFD_GETFD:
		return true;
	case NR_SIGNALFD:
	case NR_SIGNALFD4: /* else it changes one */
		return (int)first == -1;
	case NR_FCNTL:
		return second == DUPFD || second == DUPFD_CLOEXEC;
	default:
		return false;
	}
}

SEC("tp_btf/sys_exit")
int BPF_PROG(on_exit, struct pt_regs *regs, long ret)
{
	struct provenance_event *e;
	int pair[2];
	void *where;
	long nr;

	if (bpf_get_current_pid_tgid() >> 32 != tgid || ret < 0)
		return 0;
	nr = (long)regs->orig_rax;
	if (makes_one(nr, regs->rdi, regs->rsi)) {
		e = begin(regs, nr);
		if (e)
			keep(e, ret, PROVENANCE_MADE);
		return 0;
	}
	if (nr != NR_PIPE && nr != NR_PIPE2 && nr != NR_SOCKETPAIR)
		return 0;
	where = (void *)(nr == NR_SOCKETPAIR ? regs->r10 : regs->rdi);
	e = begin(regs, nr);
	if (e && !bpf_probe_read_user(pair, sizeof(pair), where)) {
		keep(e, pair[0], PROVENANCE_MADE);
		keep(e, pair[1], PROVENANCE_MADE);
	}
	return 0;
}

SEC("uprobe")
int on_register(struct pt_regs *ctx)
{
	__u64 site = bpf_get_attach_cookie(ctx);
	__u64 second = PT_REGS_PARM2(ctx);
	struct provenance_event *e;
	int fd = (int)second;

	if (bpf_get_current_pid_tgid() >> 32 != tgid)
		return 0;
	if (site == PROVENANCE_ADD_POLL && bpf_probe_read_user(&fd, sizeof(fd), (void *)second))
		return 0;
	e = begin(ctx, site);
	if (e && fd >= 0)
		keep(e, fd,
		     site == PROVENANCE_AIO_SET_FD_HANDLER ? PROVENANCE_BY_QEMU
							   : PROVENANCE_BY_GLIB);
	return 0;
}
