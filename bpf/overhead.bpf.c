// SPDX-License-Identifier: (MIT OR BSD-2-Clause OR GPL-2.0-only)
/*
 * Counts the hits of each site in one process, and nothing else: how often would each probe be hit?
 * The reader is tracer/overhead-count.c.
 */
#include "bpf/kernel.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define MAX_SITES 8192

const volatile int tgid;

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, MAX_SITES);
	__type(key, __u32);
	__type(value, __u64);
} hits SEC(".maps");

SEC("uprobe")
int on_hit(struct pt_regs *ctx)
{
	__u32 key = bpf_get_attach_cookie(ctx);
	__u64 *count;

	if (bpf_get_current_pid_tgid() >> 32 != tgid)
		return 0;
	count = bpf_map_lookup_elem(&hits, &key);
	if (count)
		++*count;
	return 0;
}
