// SPDX-License-Identifier: (MIT OR BSD-2-Clause OR GPL-2.0-only)
/*
 * The tables of a sleeping loop, by a task iterator: nothing is probed and nobody is stopped.
 *
 * For each thread of the target that sleeps in poll, ppoll or an epoll wait it sends the poll set
 * that the call's arguments point to. For the thread `tgid` it also walks the lists in `lists`,
 * element by element, in the target's memory. The reader is tracer/reader-bpf.c.
 */
#include "bpf/kernel.bpf.h"
#include "bpf/tables.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

const volatile int tgid;
const volatile __u32 n_lists;
const volatile __u32 first_list; /* what the tracer calls list 0 here */
const volatile bool want_pollsets;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 22); /* the reader chooses */
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, TABLES_MAX_LISTS);
	__type(key, __u32);
	__type(value, struct tables_list);
} lists SEC(".maps");

__u64 lost; /* records that did not fit into the ring */

struct walk {
	struct task_struct *task;
	__u64 at;
	__u32 list, next, size;
};

static long walk_element(__u32 i, struct walk *w)
{
	struct tables_element *e;
	__u32 size = w->size;

	if (!w->at)
		return 1;
	e = bpf_ringbuf_reserve(&ring, sizeof(*e), 0);
	if (!e) {
		__sync_fetch_and_add(&lost, 1);
		return 1;
	}
	e->type = TABLES_ELEMENT;
	e->list = w->list;
	e->pad = 0;
	e->addr = w->at;
	if (size > TABLES_MAX_ELEMENT)
		size = TABLES_MAX_ELEMENT;
	e->failed = bpf_copy_from_user_task(e->bytes, size, (void *)w->at, w->task, 0) != 0;
	if (e->failed ||
	    bpf_copy_from_user_task(&w->at, sizeof(w->at), (void *)(w->at + w->next), w->task, 0))
		w->at = 0;
	bpf_ringbuf_submit(e, BPF_RB_NO_WAKEUP);
	return 0;
}

static long walk_list(__u32 i, struct task_struct **task)
{
	struct tables_list *l = bpf_map_lookup_elem(&lists, &i);
	struct walk w = { .task = *task, .list = first_list + i };

	if (!l)
		return 1;
	w.at = l->first;
	w.next = l->next;
	w.size = l->size;
	bpf_loop(l->max, walk_element, &w, 0);
	return 0;
}

#include "bpf/pollset.bpf.h"

static long copy(struct sets *s, void *to, __u32 size, const void *from)
{
	return bpf_copy_from_user_task(to, size, from, s->task, 0);
}

/*
 * After a stop (SIGSTOP, a debugger) the kernel continues poll() as restart_syscall(), arguments in
 * place. Which call it was stands before the pc: "mov $number, %eax; syscall" is 7 bytes.
 */
static __u64 restarted_call(struct task_struct *task, __u64 pc)
{
	unsigned char code[7];
	__u32 nr;

	if (bpf_copy_from_user_task(code, sizeof(code), (void *)(pc - sizeof(code)), task, 0) ||
	    code[0] != 0xb8 || code[5] != 0x0f || code[6] != 0x05)
		return NR_RESTART_SYSCALL;
	__builtin_memcpy(&nr, code + 1, sizeof(nr));
	return nr;
}

static void send_pollset(struct task_struct *task)
{
	struct sets s = { .task = task };
	struct pt_regs regs;

	/* A thread that runs has no call to show: its registers are of an earlier one. */
	if (!task->__state)
		return;
	/* Its layout is ABI: that of the header, whatever the kernel calls the fields. */
	if (bpf_probe_read_kernel(&regs, sizeof(regs), (void *)bpf_task_pt_regs(task)))
		return;
	s.wait.tid = task->pid;
	s.wait.nr = regs.orig_rax;
	if (s.wait.nr == NR_RESTART_SYSCALL)
		s.wait.nr = restarted_call(task, regs.rip);
	s.wait.args[0] = regs.rdi;
	s.wait.args[1] = regs.rsi;
	s.wait.args[2] = regs.rdx;
	s.wait.args[3] = regs.r10;
	if (is_wait_call(s.wait.nr))
		send_wait(&s);
}

SEC("iter.s/task")
int dump_tables(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;

	if (!task || task->tgid != tgid || is_kernel_worker(task))
		return 0;
	if (want_pollsets)
		send_pollset(task);
	if (task->pid == tgid)
		bpf_loop(n_lists, walk_list, &task, 0);
	return 0;
}
