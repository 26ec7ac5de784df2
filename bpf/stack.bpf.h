/* SPDX-License-Identifier: (MIT OR BSD-2-Clause OR GPL-2.0-only) */
/*
 * Copying a thread's registers and stack, for every program that does: stack.bpf.c, stalls.bpf.c.
 * What is copied is unwound by tracer/stack-unwind.c.
 */
#ifndef BPF_STACK_BPF_H
#define BPF_STACK_BPF_H

#include "bpf/kernel.bpf.h"
#include "bpf/stack.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct sched_entity {
	__u64 sum_exec_runtime;
};

struct sched_info {
	unsigned long long run_delay;
};

struct return_instance {
	unsigned long stack;
	unsigned long orig_ret_vaddr;
	struct return_instance *next;
};

struct uprobe_task {
	struct return_instance *return_instances;
};

struct task_struct___stack {
	int pid, tgid;
	unsigned int __state;
	unsigned long nvcsw;
	struct sched_entity se;
	struct sched_info sched_info;
	struct uprobe_task *utask;
};

#pragma clang attribute pop

static __always_inline void describe(struct task_struct *task, const struct pt_regs *regs,
				     struct stack_thread *t)
{
	struct task_struct___stack *s = (void *)task;

	t->tid = task->pid;
	t->state = task->__state;
	t->switches = BPF_CORE_READ(s, nvcsw);
	t->run_ns = BPF_CORE_READ(s, se.sum_exec_runtime);
	t->delay_ns = 0;
	if (bpf_core_field_exists(s->sched_info.run_delay))
		t->delay_ns = BPF_CORE_READ(s, sched_info.run_delay);
	t->nr = (__s64)regs->orig_rax;
	t->args[0] = regs->rdi;
	t->args[1] = regs->rsi;
	t->args[2] = regs->rdx;
	t->args[3] = regs->r10;
	t->args[4] = regs->r8;
	t->args[5] = regs->r9;
	t->sp = regs->rsp;
	t->pc = regs->rip;
}

static __always_inline void read_returns(struct task_struct *task, struct stack_copy *c)
{
	struct task_struct___stack *s = (void *)task;
	struct return_instance *r = BPF_CORE_READ(s, utask, return_instances);

	for (int i = 0; i < STACK_RETURNS; i++) {
		c->returns[i].at = BPF_CORE_READ(r, stack);
		c->returns[i].original = BPF_CORE_READ(r, orig_ret_vaddr);
		r = BPF_CORE_READ(r, next);
	}
}

/* The stack of the current thread from @regs on. What is used is in memory: it was just touched. */
static __always_inline void copy_stack(struct stack_copy *c, struct task_struct *task,
				       const struct pt_regs *regs)
{
	c->size = 0;
	c->probe = 0;
	if (bpf_probe_read_kernel(&c->regs, sizeof(c->regs), regs))
		return;
	describe(task, &c->regs, &c->thread);
	read_returns(task, c);
	for (int at = 0; at < STACK_BYTES; at += STACK_STEP) {
		if (bpf_probe_read_user(c->bytes + at, STACK_STEP, (void *)(c->regs.rsp + at)))
			break;
		c->size = at + STACK_STEP;
	}
}

#endif
