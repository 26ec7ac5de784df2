// SPDX-License-Identifier: (MIT OR BSD-2-Clause OR GPL-2.0-only)
/*
 * Counting what the loops of one process do, in the kernel: how often each thread polls and whether
 * it slept, which descriptors were ready, which bottom halves ran and who scheduled them, which
 * timers were armed in the past, which sources were dispatched. A loop of a million turns a second
 * costs no more memory than an idle one. The reader is tracer/watch.c.
 */
#include "bpf/kernel.bpf.h"
#include "bpf/tables.h"
#include "bpf/watch.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct sched_entity {
	__u64 sum_exec_runtime;
};

struct sched_info {
	unsigned long long run_delay;
};

struct task_struct___watch {
	unsigned long nvcsw;
	struct sched_entity se;
	struct sched_info sched_info;
};

#pragma clang attribute pop

const volatile int tgid;
const volatile struct watch_layout layout;

/* Clock minus CLOCK_MONOTONIC, where that is known. */
__s64 clock_offset[WATCH_CLOCKS];
__u32 clock_known[WATCH_CLOCKS];

__u64 lost; /* what found no place in its map and was not counted */

#define MAP(name, entries, key_type, value_type)                                                   \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_HASH);                                                   \
		__uint(max_entries, entries);                                                      \
		__type(key, key_type);                                                             \
		__type(value, value_type);                                                         \
	} name SEC(".maps")

MAP(threads, 1024, __u32, struct watch_thread);
MAP(fds, 8192, struct watch_fd_key, struct watch_fd);
MAP(bhs, 2048, struct watch_bh_key, struct watch_bh);
MAP(timers, 4096, __u64, struct watch_timer);
MAP(sources, 1024, __u64, struct watch_source);
MAP(ios, 8192, struct watch_fd_key, struct watch_io);
MAP(calls, 256, struct watch_call_key, struct watch_call);
MAP(clock_calls, 1024, __u32, __u32);

static const struct watch_thread no_thread;
static const struct watch_fd no_fd;
static const struct watch_bh no_bh;
static const struct watch_timer no_timer;
static const struct watch_source no_source;
static const struct watch_io no_io;
static const struct watch_call no_call;

/* The value of @key, made from @zero if it is new; NULL and counted if there is no place. */
static void *value_of(void *map, const void *key, const void *zero)
{
	void *value = bpf_map_lookup_elem(map, key);

	if (value)
		return value;
	bpf_map_update_elem(map, key, zero, BPF_NOEXIST);
	value = bpf_map_lookup_elem(map, key);
	if (!value)
		__sync_fetch_and_add(&lost, 1);
	return value;
}

/* A forked child has our breakpoints until it runs another program: its hits are not the target's.
 */
static bool is_target(__u32 *tid)
{
	__u64 id = bpf_get_current_pid_tgid();

	*tid = id;
	return id >> 32 == tgid;
}

/* The turn that a thread's loop is in. */
static __u64 turn_of(__u32 tid)
{
	struct watch_thread *t = bpf_map_lookup_elem(&threads, &tid);

	return t ? t->turns : 0;
}

static __u64 pointer_at(__u64 base, __s32 offset)
{
	__u64 value = 0;

	if (base && offset >= 0)
		bpf_probe_read_user(&value, sizeof(value), (void *)(base + offset));
	return value;
}

/* --- waiting ------------------------------------------------------------------------------ */

/* @third and @fourth are the arguments of the call. */
static bool asks_for_zero(__u32 nr, __u64 third, __u64 fourth)
{
	__s64 ts[2] = { -1, -1 };
	__u64 at = nr == NR_PPOLL ? third : fourth;

	switch (nr) {
	case NR_POLL:
		return (__s32)third == 0;
	case NR_EPOLL_WAIT:
	case NR_EPOLL_PWAIT:
		return (__s32)fourth == 0;
	case NR_PPOLL:
	case NR_EPOLL_PWAIT2:
		return at && !bpf_probe_read_user(ts, sizeof(ts), (void *)at) && !ts[0] && !ts[1];
	default:
		return false;
	}
}

static void wait_enter(struct pt_regs *ctx, __u32 tid, __u32 nr)
{
	struct task_struct___watch *task = (void *)bpf_get_current_task_btf();
	/* Read first: the verifier takes no pointer into ctx that depends on anything. */
	volatile __u64 third = PT_REGS_PARM3(ctx), fourth = PT_REGS_PARM4(ctx);
	volatile __u64 sp = PT_REGS_SP(ctx);
	struct watch_thread *t = value_of(&threads, &tid, &no_thread);

	if (!t)
		return;
	t->nr = nr;
	t->array = PT_REGS_PARM1(ctx);
	t->n = PT_REGS_PARM2(ctx);
	t->switches = BPF_CORE_READ(task, nvcsw);
	t->polls++;
	t->turns += !t->in_aio_poll;
	/* An aio_poll() may have returned without a poll: then this one is not below it. */
	t->is_outer = !t->in_aio_poll || sp > t->turn_sp;
	t->outer += t->is_outer;
	t->in_aio_poll = 0;
	t->zero += asks_for_zero(nr, third, fourth);
	t->entered_ns = bpf_ktime_get_ns();
}

static void note_time(__u64 *run_ns, __u64 *delay_ns, __u64 *now_ns)
{
	struct task_struct___watch *task = (void *)bpf_get_current_task_btf();

	*run_ns = BPF_CORE_READ(task, se.sum_exec_runtime);
	if (bpf_core_field_exists(task->sched_info.run_delay))
		*delay_ns = BPF_CORE_READ(task, sched_info.run_delay);
	*now_ns = bpf_ktime_get_ns();
}

/* Now the loop has the thread in its own hands. */
static void note_turn(struct watch_thread *t)
{
	note_time(&t->out_run_ns, &t->out_delay_ns, &t->returned_ns);
}

static void loop_turn(__u32 tid, __u64 sp)
{
	struct watch_thread *t = value_of(&threads, &tid, &no_thread);

	if (!t)
		return;
	t->turns++;
	t->in_aio_poll = 1;
	t->turn_sp = sp;
	note_turn(t);
}

struct scan {
	struct watch_thread *t;
	struct watch_fd_key key;
	bool slept;
	__u64 left; /* ready descriptors not found yet */
};

static long scan_chunk(__u32 chunk, struct scan *s)
{
	struct watch_thread *t = s->t;
	__u64 from = (__u64)chunk * WATCH_CHUNK, n;

	if (from >= t->n || !s->left)
		return 1;
	n = t->n - from;
	if (n > WATCH_CHUNK)
		n = WATCH_CHUNK;
	if (bpf_probe_read_user(t->fds, n * sizeof(t->fds[0]),
				(void *)(t->array + from * sizeof(t->fds[0]))))
		return 1;
	for (int i = 0; i < WATCH_CHUNK; i++) {
		__u32 revents = t->fds[i] >> 48; /* a GPollFD: int, short, short */
		struct watch_fd *fd;

		if (i >= n)
			break;
		if (!revents)
			continue;
		s->key.fd = (__s32)t->fds[i];
		s->left--;
		fd = value_of(&fds, &s->key, &no_fd);
		if (fd) {
			fd->ready++;
			fd->slept += s->slept;
			fd->turn = t->turns;
			fd->revents |= revents;
		}
	}
	return 0;
}

SEC("uprobe")
int on_wait_return(struct pt_regs *ctx)
{
	struct task_struct___watch *task = (void *)bpf_get_current_task_btf();
	__s64 ready = (__s32)PT_REGS_RC(ctx);
	struct watch_thread *t;
	struct scan s = {};
	__u32 tid;

	if (!is_target(&tid))
		return 0;
	t = bpf_map_lookup_elem(&threads, &tid);
	if (!t || t->returned_ns >= t->entered_ns) /* it was in there before we came */
		return 0;
	s.slept = BPF_CORE_READ(task, nvcsw) != t->switches;
	t->returned++;
	t->slept += s.slept;
	if (ready > 0) {
		t->ready++;
		s.t = t;
		s.key.tid = tid;
		s.left = ready;
		if (t->nr == NR_POLL || t->nr == NR_PPOLL)
			bpf_loop(WATCH_CHUNKS, scan_chunk, &s, 0);
	}
	note_turn(t);
	return 0;
}

/* --- what runs ---------------------------------------------------------------------------- */

static struct watch_bh *find_bh(__u64 bh, __u32 tid)
{
	struct watch_bh_key key = { .tid = tid };
	struct watch_bh *b;

	key.ctx = pointer_at(bh, layout.bh_ctx);
	key.cb = pointer_at(bh, layout.bh_cb);
	b = value_of(&bhs, &key, &no_bh);
	if (b) {
		b->bh = bh;
		b->name = pointer_at(bh, layout.bh_name);
	}
	return b;
}

static void bh_schedule(struct pt_regs *ctx, __u32 tid)
{
	struct watch_bh *b = find_bh(PT_REGS_PARM1(ctx), tid);

	if (!b)
		return;
	b->scheduled++;
	b->turn = turn_of(tid);
}

static void bh_oneshot(struct pt_regs *ctx, __u32 tid)
{
	struct watch_bh_key key = { PT_REGS_PARM1(ctx), PT_REGS_PARM2(ctx), tid, 0 };
	struct watch_bh *b = value_of(&bhs, &key, &no_bh);

	if (!b)
		return;
	b->oneshot = 1;
	b->name = PT_REGS_PARM4(ctx);
	b->scheduled++;
	b->turn = turn_of(tid);
}

static void bh_call(struct pt_regs *ctx, __u32 tid)
{
	struct watch_bh *b = find_bh(PT_REGS_PARM1(ctx), tid);

	if (b)
		b->calls++;
}

static void timer_arm(struct pt_regs *ctx, __u32 tid)
{
	__u64 timer = PT_REGS_PARM1(ctx), now = bpf_ktime_get_ns(), at;
	struct watch_timer *t = value_of(&timers, &timer, &no_timer);
	__u32 clock = -1;

	if (!t)
		return;
	at = pointer_at(pointer_at(timer, layout.timer_list), layout.list_clock);
	if (!at || layout.clock_type < 0 ||
	    bpf_probe_read_user(&clock, sizeof(clock), (void *)(at + layout.clock_type)))
		clock = -1;
	t->armed++;
	t->turn = turn_of(tid);
	t->cb = pointer_at(timer, layout.timer_cb);
	t->expire_ns = (__s64)PT_REGS_PARM2(ctx);
	t->armed_ns = now;
	t->tid = tid;
	t->clock = clock;
	if (clock < WATCH_CLOCKS && clock_known[clock] &&
	    t->expire_ns <= (__s64)now + clock_offset[clock])
		t->past++;
}

static void source_dispatch(struct pt_regs *ctx, __u32 tid)
{
	__u64 source = PT_REGS_PARM1(ctx);
	struct watch_source *s = value_of(&sources, &source, &no_source);

	if (!s)
		return;
	s->dispatched++;
	s->turn = turn_of(tid);
	s->tid = tid;
}

static void note_call(__u32 tid, __u32 number)
{
	struct watch_call_key key = { tid, number };
	struct watch_call *c = value_of(&calls, &key, &no_call);

	if (!c)
		return;
	c->count++;
	note_time(&c->run_ns, &c->delay_ns, &c->entered_ns);
}

/* One program for all functions that are counted when they are entered: one link for each file. */
SEC("uprobe")
int on_entry(struct pt_regs *ctx)
{
	__u64 cookie = bpf_get_attach_cookie(ctx);
	__u32 tid;

	if (!is_target(&tid))
		return 0;
	switch (cookie & ((1 << WATCH_NR_SHIFT) - 1)) {
	case WATCH_WAIT:
		wait_enter(ctx, tid, cookie >> WATCH_NR_SHIFT);
		break;
	case WATCH_TURN:
		loop_turn(tid, PT_REGS_SP(ctx));
		break;
	case WATCH_BH_CALL:
		bh_call(ctx, tid);
		break;
	case WATCH_BH_SCHEDULE:
		bh_schedule(ctx, tid);
		break;
	case WATCH_BH_ONESHOT:
		bh_oneshot(ctx, tid);
		break;
	case WATCH_TIMER:
		timer_arm(ctx, tid);
		break;
	case WATCH_SOURCE:
		source_dispatch(ctx, tid);
		break;
	case WATCH_CALL:
		note_call(tid, cookie >> WATCH_NR_SHIFT);
		break;
	}
	return 0;
}

/* --- what a clock says: the virtual one is CLOCK_MONOTONIC plus something ------------------- */

SEC("uprobe")
int clock_enter(struct pt_regs *ctx)
{
	__u32 tid, type;

	if (is_target(&tid)) {
		type = PT_REGS_PARM1(ctx);
		bpf_map_update_elem(&clock_calls, &tid, &type, BPF_ANY);
	}
	return 0;
}

SEC("uprobe")
int clock_return(struct pt_regs *ctx)
{
	__s64 now = (__s64)bpf_ktime_get_ns();
	__u32 tid, *type;

	if (!is_target(&tid))
		return 0;
	type = bpf_map_lookup_elem(&clock_calls, &tid);
	if (type && *type < WATCH_CLOCKS && !clock_known[*type]) {
		clock_offset[*type] = (__s64)PT_REGS_RC(ctx) - now;
		clock_known[*type] = 1;
	}
	return 0;
}

/* --- does anybody take what a descriptor offers? Attached only to prove it ----------------- */

enum { MOVES_NOTHING, MOVES_IN, MOVES_OUT, MOVES_BOTH };

/* read, write, their relatives and whatever else takes an event: not poll, fcntl, ioctl, close. */
static int moves(__u64 nr)
{
	switch (nr) {
	case 0:	  /* read */
	case 17:  /* pread64 */
	case 19:  /* readv */
	case 43:  /* accept */
	case 45:  /* recvfrom */
	case 47:  /* recvmsg */
	case 288: /* accept4 */
	case 295: /* preadv */
	case 299: /* recvmmsg */
	case 327: /* preadv2 */
		return MOVES_IN;
	case 1:	  /* write */
	case 18:  /* pwrite64 */
	case 20:  /* writev */
	case 44:  /* sendto */
	case 46:  /* sendmsg */
	case 296: /* pwritev */
	case 307: /* sendmmsg */
	case 328: /* pwritev2 */
		return MOVES_OUT;
	case 40:  /* sendfile */
	case 275: /* splice */
	case 276: /* tee */
	case 278: /* vmsplice */
		return MOVES_BOTH;
	default:
		return MOVES_NOTHING;
	}
}

SEC("tp_btf/sys_exit")
int BPF_PROG(io_done, struct pt_regs *regs, long result)
{
	int what = moves(regs->orig_rax);
	struct watch_fd_key key;
	struct watch_io *io;
	__u64 value;

	if (what == MOVES_NOTHING || !is_target(&key.tid))
		return 0;
	key.fd = (__s32)regs->rdi;
	io = value_of(&ios, &key, &no_io);
	if (!io)
		return 0;
	__sync_fetch_and_add(&io->calls, 1);
	if (result > 0 && what != MOVES_OUT) {
		__sync_fetch_and_add(&io->in, 1);
		__sync_fetch_and_add(&io->bytes, result);
		if (!regs->orig_rax && result == sizeof(value) &&
		    !bpf_probe_read_user(&value, sizeof(value), (void *)regs->rsi))
			__sync_fetch_and_add(&io->counted, value);
	}
	if (result > 0 && what != MOVES_IN)
		__sync_fetch_and_add(&io->out, 1);
	return 0;
}
