/* SPDX-License-Identifier: (MIT OR BSD-2-Clause OR GPL-2.0-only) */
/*
 * The few kernel types that our programs look into, by name only: CO-RE finds the offsets in the
 * running kernel's BTF, so no vmlinux.h is generated or kept.
 */
#ifndef BPF_KERNEL_BPF_H
#define BPF_KERNEL_BPF_H

#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct task_struct {
	int pid;  /* a thread's number to user space */
	int tgid; /* a process's number to user space */
	unsigned int __state;
	unsigned int flags;
};

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
};

struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
};

#pragma clang attribute pop

/* PF_IO_WORKER of 5.12, PF_USER_WORKER of 6.4: 0x4000 meant nothing before. */
#define KERNEL_WORKER (0x10 | 0x4000)

/*
 * A thread that the kernel made in the process, for io_uring or vhost. It never runs the program,
 * and the user registers that it seems to have are a copy of those of who caused it.
 */
static inline bool is_kernel_worker(struct task_struct *task)
{
	return task->flags & KERNEL_WORKER;
}

#endif
