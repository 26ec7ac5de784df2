// SPDX-License-Identifier: (MIT OR BSD-2-Clause OR GPL-2.0-only)
/*
 * A process that the tracer has started stops itself when it becomes another program, and again at
 * the entry point of that; the tracer, its parent, lets it go on. See tracer/hold.c.
 */
#include <linux/types.h>

#include "bpf/kernel.bpf.h"
#include "bpf/hold.h"

#define SIGSTOP 19

char LICENSE[] SEC("license") = "Dual BSD/GPL";

const volatile int tgid;

__u32 held; /* enum hold_at; the tracer sets it back */

static __always_inline int hold(__u32 at)
{
	if (bpf_get_current_pid_tgid() >> 32 != tgid)
		return 0;
	held = at;
	if (bpf_send_signal(SIGSTOP))
		held = HOLD_NOWHERE;
	return 0;
}

SEC("tp_btf/sched_process_exec")
int on_exec(void *ctx)
{
	return hold(HOLD_EXEC);
}

SEC("uprobe")
int on_entry(struct pt_regs *ctx)
{
	return hold(HOLD_ENTRY);
}
