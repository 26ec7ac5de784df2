// SPDX-License-Identifier: (MIT OR BSD-2-Clause OR GPL-2.0-only)
/*
 * What threads do, and their stacks, without stopping anybody. The reader is tracer/stack-copy.c.
 *
 * A thread that sleeps is looked at by a task iterator: its user registers lie at the top of its
 * kernel stack. One that runs is looked at by itself, in a perf event of its own; and a probe can
 * take the stack of whoever comes along.
 */
#include "bpf/stack.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

const volatile int tgid;

int want_tid;	  /* copy_sleeper: whose stack */
int want_arg;	  /* copy_at_probe: only where this argument, from 0, ... */
__u64 want_value; /* ... has this value */
int wanted;	  /* copy_at_probe, copy_runner: how many stacks, ... */
int taken;	  /* ... and how many they took */

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} ring SEC(".maps");

__u64 lost; /* stacks that did not fit */

SEC("iter.s/task")
int list_threads(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct stack_thread t = {};
	struct pt_regs regs;

	if (!task || task->tgid != tgid || is_kernel_worker(task) ||
	    bpf_probe_read_kernel(&regs, sizeof(regs), (void *)bpf_task_pt_regs(task)))
		return 0;
	describe(task, &regs, &t);
	bpf_seq_write(ctx->meta->seq, &t, sizeof(t));
	return 0;
}

SEC("iter.s/task")
int copy_sleeper(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct stack_copy *c;

	if (!task || task->tgid != tgid || task->pid != want_tid)
		return 0;
	c = bpf_ringbuf_reserve(&ring, sizeof(*c), 0);
	if (!c) {
		__sync_fetch_and_add(&lost, 1);
		return 0;
	}
	c->size = 0;
	c->probe = 0;
	if (!bpf_probe_read_kernel(&c->regs, sizeof(c->regs), (void *)bpf_task_pt_regs(task))) {
		describe(task, &c->regs, &c->thread);
		read_returns(task, c);
		for (int at = 0; at < STACK_BYTES; at += STACK_STEP) {
			if (bpf_copy_from_user_task(c->bytes + at, STACK_STEP,
						    (void *)(c->regs.rsp + at), task, 0))
				break;
			c->size = at + STACK_STEP;
		}
	}
	bpf_ringbuf_submit(c, BPF_RB_NO_WAKEUP);
	return 0;
}

static void copy_current(const struct pt_regs *regs, __u32 probe)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct stack_copy *c;

	if (task->tgid != tgid || taken >= wanted)
		return;
	__sync_fetch_and_add(&taken, 1);
	c = bpf_ringbuf_reserve(&ring, sizeof(*c), 0);
	if (!c) {
		__sync_fetch_and_add(&lost, 1);
		return;
	}
	copy_stack(c, task, regs);
	c->probe = probe;
	bpf_ringbuf_submit(c, BPF_RB_NO_WAKEUP);
}

/* Of a thread that runs: its own clock ticks in it. In the kernel it has its user registers too. */
SEC("perf_event")
int copy_runner(void *ctx)
{
	copy_current((void *)bpf_task_pt_regs(bpf_get_current_task_btf()), 0);
	return 0;
}

SEC("uprobe")
int copy_at_probe(struct pt_regs *ctx)
{
	/* All are read first: the verifier takes no pointer that depends on which is wanted. */
	volatile __u64 args[3] = { PT_REGS_PARM1(ctx), PT_REGS_PARM2(ctx), PT_REGS_PARM3(ctx) };
	__u64 value = args[want_arg & 1];

	if (want_arg == 2)
		value = args[2];
	if (value == want_value && (!want_tid || want_tid == (int)bpf_get_current_pid_tgid()))
		copy_current(ctx, bpf_get_attach_cookie(ctx));
	return 0;
}
