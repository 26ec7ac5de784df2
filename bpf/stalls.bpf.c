// SPDX-License-Identifier: (MIT OR BSD-2-Clause OR GPL-2.0-only)
/*
 * Stalls of loops' threads: how long each is away from its wait, and what it did with that time.
 * The reader is tracer/stalls.c.
 *
 * The tracepoints of system calls say when a thread leaves its wait and when it is back; those of
 * the scheduler, when it runs, waits for a CPU or sleeps, and in which call. Nothing of it needs a
 * probe in the target but one on aio_poll(), where that is exported: a loop that polls busily comes
 * round without a system call.
 *
 * While a stall lasts, a stack is copied at each doubling of its length: of a thread that runs by a
 * tick of its own clock, of one that slept as it leaves the call, where its user registers are
 * still those of the call. The tracer copies the stack of one that still sleeps.
 */
#include "bpf/stack.bpf.h"
#include "bpf/stalls.h"
#include "bpf/tables.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

enum { TASK_STOPPED_OR_TRACED = 0xc, TASK_FROZEN_ = 0x8000 };

const volatile int tgid;
const volatile __u64 min_ns; /* a stall is longer */
const volatile bool views;   /* stacks are wanted; else only of waits, that may be its own */

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 22);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, STALLS_THREADS);
	__type(key, __u32);
	__type(value, struct stalls_thread);
} threads SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, STALLS_THREADS);
	__type(key, __u32);
	__type(value, struct stalls_own);
} own SEC(".maps");

__u64 lost_stalls, lost_stacks; /* that found no room */

static struct stalls_thread *current_thread(__u32 *tid)
{
	__u64 id = bpf_get_current_pid_tgid();

	*tid = id;
	return id >> 32 == tgid ? bpf_map_lookup_elem(&threads, tid) : NULL;
}

/* --- time ----------------------------------------------------------------------------------- */

static void add_sleep(struct stalls_thread *t, __u64 ns)
{
	for (int i = 0; i < STALLS_CALLS; i++) {
		struct stalls_call *c = &t->away.calls[i];

		if (c->ns && (c->nr != t->nr || c->arg != t->arg))
			continue;
		c->nr = t->nr;
		c->arg = t->arg;
		c->ns += ns;
		c->times++;
		return;
	}
	t->away.other_ns += ns;
}

/* Up to now it was in t->state. */
static void account(struct stalls_thread *t, __u64 now)
{
	__u64 ns = now - t->state_ns;

	t->state_ns = now;
	t->away.ns[t->state & 3] += ns;
	if (t->state == STALLS_BLOCKED && ns)
		add_sleep(t, ns);
}

static void come_back(struct stalls_thread *t, __u32 tid, __u64 now)
{
	struct stalls_end *end;

	if (!t->away.begin_ns)
		return;
	account(t, now);
	if (now - t->away.begin_ns >= min_ns) {
		end = bpf_ringbuf_reserve(&ring, sizeof(*end), 0);
		if (end) {
			end->kind = STALLS_END;
			end->tid = tid;
			end->end_ns = now;
			end->since_attach = t->since_attach;
			end->pad = 0;
			end->away = t->away;
			bpf_ringbuf_submit(end, BPF_RB_NO_WAKEUP);
		} else {
			__sync_fetch_and_add(&lost_stalls, 1);
		}
	}
	t->away.begin_ns = 0;
	t->since_attach = 0;
	t->turn_sp = 0;
}

static void go_away(struct stalls_thread *t, __u64 now)
{
	for (int i = 0; i < STALLS_STATES; i++)
		t->away.ns[i] = 0;
	for (int i = 0; i < STALLS_CALLS; i++)
		t->away.calls[i].ns = t->away.calls[i].times = 0;
	t->away.other_ns = 0;
	t->away.seq++;
	t->away.begin_ns = now;
	t->state = STALLS_RUNNING;
	t->state_ns = now;
	t->nr = -1;
	t->stack_ns = now + min_ns;
}

/* --- stacks --------------------------------------------------------------------------------- */

static void send_stack(struct stalls_thread *t, __u32 tid, __u64 now, bool at_exit)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct stalls_stack *s = bpf_ringbuf_reserve(&ring, sizeof(*s), 0);

	t->stack_ns = now + (now - t->away.begin_ns);
	if (!s) {
		__sync_fetch_and_add(&lost_stacks, 1);
		return;
	}
	s->kind = STALLS_STACK;
	s->tid = tid;
	s->at_exit = at_exit;
	s->pad = 0;
	s->seq = t->away.seq;
	s->time_ns = now;
	s->away_ns = now - t->away.begin_ns;
	copy_stack(&s->copy, task, (void *)bpf_task_pt_regs(task));
	bpf_ringbuf_submit(s, BPF_RB_NO_WAKEUP);
}

/* A clock of the thread's own, which ticks while it runs. */
SEC("perf_event")
int tick(void *ctx)
{
	__u64 now = bpf_ktime_get_ns();
	struct stalls_thread *t;
	__u32 tid;

	t = current_thread(&tid);
	if (t && t->away.begin_ns && now >= t->stack_ns)
		send_stack(t, tid, now, false);
	return 0;
}

/* --- the waits ------------------------------------------------------------------------------ */

static bool is_own(__u32 tid, __u64 sp)
{
	struct stalls_own *o = bpf_map_lookup_elem(&own, &tid);

	if (!o)
		return true;
	for (int i = 0; i < STALLS_OWN; i++)
		if (i < o->n && o->sp[i] == sp)
			return true;
	return false;
}

SEC("tp_btf/sys_enter")
int BPF_PROG(enter_call, struct pt_regs *regs, long nr)
{
	__u64 now = bpf_ktime_get_ns();
	struct stalls_thread *t;
	__u32 tid;

	t = current_thread(&tid);
	if (!t)
		return 0;
	t->nr = nr;
	t->arg = regs->rdi;
	if (!is_wait_call(nr) && nr != NR_RESTART_SYSCALL)
		return 0;
	t->sp = regs->rsp;
	if (!is_own(tid, t->sp))
		return 0;
	if (t->turn_sp > t->sp)
		t->own_turn = t->turn_sp;
	come_back(t, tid, now);
	return 0;
}

SEC("tp_btf/sys_exit")
int BPF_PROG(leave_call, struct pt_regs *regs, long result)
{
	__u64 now = bpf_ktime_get_ns();
	struct stalls_thread *t;
	__u32 tid;

	t = current_thread(&tid);
	if (!t)
		return 0;
	if (!t->away.begin_ns)
		go_away(t, now);
	else if (now >= t->stack_ns && (views || is_wait_call(t->nr)))
		send_stack(t, tid, now, true);
	t->nr = -1;
	return 0;
}

/* aio_poll(), which comes round without a system call while it polls busily. */
SEC("uprobe")
int turn(struct pt_regs *ctx)
{
	volatile __u64 sp = PT_REGS_SP(ctx);
	__u64 now = bpf_ktime_get_ns();
	struct stalls_thread *t;
	__u32 tid;

	t = current_thread(&tid);
	if (!t || !t->away.begin_ns)
		return 0;
	if (sp == t->own_turn) {
		come_back(t, tid, now);
		go_away(t, now);
	}
	if (sp > t->turn_sp)
		t->turn_sp = sp;
	return 0;
}

/* --- the scheduler -------------------------------------------------------------------------- */

static struct stalls_thread *thread_of(struct task_struct *task)
{
	__u32 tid = task->pid;

	return task->tgid == tgid ? bpf_map_lookup_elem(&threads, &tid) : NULL;
}

SEC("tp_btf/sched_switch")
int BPF_PROG(switched, bool preempt, struct task_struct *prev, struct task_struct *next,
	     unsigned int state)
{
	__u64 now = bpf_ktime_get_ns();
	struct stalls_thread *t = thread_of(prev);

	if (t && t->away.begin_ns) {
		account(t, now);
		if (preempt || !state)
			t->state = STALLS_RUNNABLE;
		else if (state & (TASK_STOPPED_OR_TRACED | TASK_FROZEN_))
			t->state = STALLS_STOPPED;
		else
			t->state = STALLS_BLOCKED;
	}
	t = thread_of(next);
	if (t && t->away.begin_ns) {
		account(t, now);
		t->state = STALLS_RUNNING;
	}
	return 0;
}

SEC("tp_btf/sched_wakeup")
int BPF_PROG(woken, struct task_struct *task)
{
	struct stalls_thread *t = thread_of(task);

	if (!t || !t->away.begin_ns || t->state == STALLS_RUNNING || t->state == STALLS_RUNNABLE)
		return 0;
	account(t, bpf_ktime_get_ns());
	t->state = STALLS_RUNNABLE;
	return 0;
}
