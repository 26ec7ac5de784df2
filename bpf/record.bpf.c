// SPDX-License-Identifier: (MIT OR BSD-2-Clause OR GPL-2.0-only)
/*
 * The recorder's probes. They know nothing of events: a hit sends its time, thread, site and
 * arguments, and the tracer makes events of that (tracer/record-*.c). So one program serves every
 * USDT probe, one every function's entry and one every return, in any build of the target.
 *
 * Nobody is woken: the tracer looks at the ring by a timer. What does not fit is counted.
 */
#include "bpf/kernel.bpf.h"
#include "bpf/record.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

const volatile int tgid;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 26);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, RECORD_MAX_SITES);
	__type(key, __u32);
	__type(value, struct record_site);
} sites SEC(".maps");

__u64 lost;
/* The recording is over. Probes go one after the other: nothing of the time between is told. */
bool closed;

static int fill(struct record_hit *h, struct pt_regs *ctx, __u64 id, __u16 kind)
{
	h->time_ns = bpf_ktime_get_ns();
	h->kind = kind;
	h->cookie = bpf_get_attach_cookie(ctx);
	h->tid = id;
	return h->cookie;
}

/* A forked child has our breakpoints until it runs another program: its hits are not the target's.
 */
static bool is_target(__u64 id)
{
	return id >> 32 == tgid && !closed;
}

static __always_inline void *reserve(__u64 size)
{
	void *r = bpf_ringbuf_reserve(&ring, size, 0);

	if (!r)
		__sync_fetch_and_add(&lost, 1);
	return r;
}

static void copy_args(struct pt_regs *ctx, __u64 *args)
{
	args[0] = PT_REGS_PARM1(ctx);
	args[1] = PT_REGS_PARM2(ctx);
	args[2] = PT_REGS_PARM3(ctx);
	args[3] = PT_REGS_PARM4(ctx);
	args[4] = PT_REGS_PARM5(ctx);
	args[5] = ctx->r9;
}

SEC("uprobe")
int on_usdt(struct pt_regs *ctx)
{
	__u64 id = bpf_get_current_pid_tgid();
	struct record_usdt *r;

	if (!is_target(id))
		return 0;
	r = reserve(sizeof(*r));
	if (!r)
		return 0;
	fill(&r->h, ctx, id, RECORD_USDT);
	r->pc = PT_REGS_IP(ctx);
	copy_args(ctx, r->args);
	bpf_ringbuf_submit(r, BPF_RB_NO_WAKEUP);
	return 0;
}

SEC("uprobe")
int on_entry(struct pt_regs *ctx)
{
	__u64 id = bpf_get_current_pid_tgid();
	struct record_entry *r;
	struct record_site *site;
	__u32 key;

	if (!is_target(id))
		return 0;
	r = reserve(sizeof(*r));
	if (!r)
		return 0;
	key = fill(&r->h, ctx, id, RECORD_ENTRY);
	copy_args(ctx, r->args);
	r->sp = PT_REGS_SP(ctx);
	for (int i = 0; i < RECORD_READS; i++)
		r->reads[i] = 0;
	site = bpf_map_lookup_elem(&sites, &key);
	if (site) {
		r->sp += site->stack_bytes;
		for (int i = 0; i < RECORD_READS && i < site->n_reads; i++) {
			__u32 arg = site->reads[i].arg;

			if (arg < RECORD_ARGS)
				bpf_probe_read_user(&r->reads[i], sizeof(r->reads[i]),
						    (void *)(r->args[arg] + site->reads[i].off));
		}
	}
	if (site && site->back) {
		r->stack[0] = site->back;
		r->stack[1] = r->stack[2] = 0;
	} else if (bpf_probe_read_user(r->stack, sizeof(r->stack), (void *)r->sp)) {
		r->stack[0] = r->stack[1] = r->stack[2] = 0;
	}
	bpf_ringbuf_submit(r, BPF_RB_NO_WAKEUP);
	return 0;
}

/* At a function's return (of leaves), or where its caller goes on: the stack pointer is the same.
 */
SEC("uprobe")
int on_return(struct pt_regs *ctx)
{
	__u64 id = bpf_get_current_pid_tgid();
	struct record_return *r;

	if (!is_target(id))
		return 0;
	r = reserve(sizeof(*r));
	if (!r)
		return 0;
	fill(&r->h, ctx, id, RECORD_RETURN);
	r->sp = PT_REGS_SP(ctx);
	r->value = PT_REGS_RC(ctx);
	bpf_ringbuf_submit(r, BPF_RB_NO_WAKEUP);
	return 0;
}
