// SPDX-License-Identifier: (MIT OR BSD-2-Clause OR GPL-2.0-only)
/*
 * Counts the hits of each site in one process, and nothing else: how often would each probe be hit?
 * Of functions whose end matters, also how often from where they were called. The reader is
 * tracer/overhead-count.c.
 */
#include "bpf/kernel.bpf.h"
#include "bpf/overhead.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

const volatile int tgid;

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, OVERHEAD_MAX_SITES);
	__type(key, __u32);
	__type(value, __u64);
} hits SEC(".maps");

/* Of each site: how many bytes above the stack pointer the return address lies; -1: no matter. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, OVERHEAD_MAX_SITES);
	__type(key, __u32);
	__type(value, __s32);
} above SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, OVERHEAD_MAX_RETURNS);
	__type(key, struct overhead_return);
	__type(value, __u64);
} returns SEC(".maps");

static void count_return(struct pt_regs *ctx, __u32 site)
{
	struct overhead_return key = { .site = site };
	__s32 *bytes = bpf_map_lookup_elem(&above, &site);
	__u64 *count, one = 1;

	if (!bytes || *bytes < 0 ||
	    bpf_probe_read_user(&key.addr, sizeof(key.addr), (void *)(PT_REGS_SP(ctx) + *bytes)))
		return;
	count = bpf_map_lookup_elem(&returns, &key);
	if (count)
		__sync_fetch_and_add(count, 1);
	else
		bpf_map_update_elem(&returns, &key, &one, BPF_NOEXIST);
}

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
	count_return(ctx, key);
	return 0;
}
