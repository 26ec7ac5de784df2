// SPDX-License-Identifier: (MIT OR BSD-2-Clause OR GPL-2.0-only)
/*
 * The poll set of each thread, from the arguments of the poll it enters next.
 *
 * Probes on libc's poll() and ppoll(), in one process only. Each thread sends the set of one call:
 * its own iteration, complete, in chunks; calls after that cost a map lookup until the tracer has
 * gone. The reader is tracer/reader-bpf.c.
 */
#include "bpf/kernel.bpf.h"
#include "bpf/tables.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

const volatile int tgid;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 22);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, __u32);
} seen SEC(".maps");

__u64 lost; /* records that did not fit into the ring */

#include "bpf/pollset.bpf.h"

static long copy(struct sets *s, void *to, __u32 size, const void *from)
{
	return bpf_probe_read_user(to, size, from);
}

/* The cookie of the site is the number of the system call the function makes. */
SEC("uprobe")
int send_pollset(struct pt_regs *ctx)
{
	__u64 id = bpf_get_current_pid_tgid();
	__u32 tid = id, one = 1;
	struct sets s = {};

	if (id >> 32 != tgid || bpf_map_update_elem(&seen, &tid, &one, BPF_NOEXIST))
		return 0;
	s.wait.tid = tid;
	s.wait.nr = bpf_get_attach_cookie(ctx);
	s.wait.args[0] = PT_REGS_PARM1(ctx);
	s.wait.args[1] = PT_REGS_PARM2(ctx);
	s.wait.args[2] = PT_REGS_PARM3(ctx);
	send_wait(&s);
	return 0;
}
