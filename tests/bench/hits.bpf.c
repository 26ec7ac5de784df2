// SPDX-License-Identifier: (MIT OR BSD-2-Clause OR GPL-2.0-only)
/* The smallest probe that sends something: 64 bytes a hit, nobody woken, losses counted. */
#include "bpf/kernel.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 25);
} ring SEC(".maps");

__u64 lost;

SEC("uprobe")
int send_hit(struct pt_regs *ctx)
{
	__u64 *event = bpf_ringbuf_reserve(&ring, 64, 0);

	if (!event) {
		__sync_fetch_and_add(&lost, 1);
		return 0;
	}
	event[0] = bpf_ktime_get_ns();
	event[1] = bpf_get_current_pid_tgid();
	event[2] = bpf_get_attach_cookie(ctx);
	event[3] = PT_REGS_PARM1(ctx);
	event[4] = PT_REGS_PARM2(ctx);
	event[5] = PT_REGS_PARM3(ctx);
	event[6] = PT_REGS_PARM4(ctx);
	event[7] = PT_REGS_PARM5(ctx);
	bpf_ringbuf_submit(event, BPF_RB_NO_WAKEUP);
	return 0;
}
