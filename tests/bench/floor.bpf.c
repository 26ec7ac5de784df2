// SPDX-License-Identifier: (MIT OR BSD-2-Clause OR GPL-2.0-only)
/*
 * What no tracer by uprobes can go below: a probe whose program does nothing, and one that sends as
 * many bytes as the recorder does for a USDT probe, which are nothing but zeros.
 */
#include "bpf/kernel.bpf.h"
#include "bpf/record.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 26);
} ring SEC(".maps");

__u64 lost;

SEC("uprobe")
int do_nothing(struct pt_regs *ctx)
{
	return 0;
}

SEC("uprobe")
int send_zeros(struct pt_regs *ctx)
{
	__u64 *words = bpf_ringbuf_reserve(&ring, sizeof(struct record_usdt), 0);

	if (!words) {
		__sync_fetch_and_add(&lost, 1);
		return 0;
	}
	for (int i = 0; i < sizeof(struct record_usdt) / 8; i++)
		words[i] = 0;
	bpf_ringbuf_submit(words, BPF_RB_NO_WAKEUP);
	return 0;
}
