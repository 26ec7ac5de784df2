// SPDX-License-Identifier: (MIT OR BSD-2-Clause OR GPL-2.0-only)
/*
 * How often callbacks run and for how long, and where the time of their threads goes, summed up in
 * the kernel: nothing is sent for a single call. The reader is tracer/top.c.
 *
 * Everything is kept by thread, and only the thread itself counts: so nothing here is atomic, and
 * no map is kept for each CPU. What is under way in a thread is a stack of frames. A USDT probe
 * tells which callback ends by its object; where a function is probed, a frame knows its return
 * address, and the place it comes back to is probed too (the first calls from a new place are
 * counted, but not timed).
 */
#include "bpf/kernel.bpf.h"
#include "bpf/top.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define SAME_STACK 0x40000 /* bytes: a call and what it has called are not further apart */
#define ETIME_62   62

const volatile int tgid;
const volatile struct top_layout layout;

bool open;	/* between windows nothing counts, though probes may be there still */
__u64 window;	/* what was under way at the end of one is not known in the next */
__u64 interval; /* of the reader's, for the longest call in each */
__u64 changes;	/* of handlers */
struct top_lost lost;

#define MAP(name, map_type, entries, key_type, value_type)                                         \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_##map_type);                                             \
		__uint(max_entries, entries);                                                      \
		__type(key, key_type);                                                             \
		__type(value, value_type);                                                         \
	} name SEC(".maps")

MAP(sites, ARRAY, TOP_MAX_SITES, __u32, struct top_site);
MAP(threads, HASH, TOP_MAX_THREADS, __u32, struct top_thread);
MAP(calls, HASH, TOP_MAX_CALLS, struct top_key, struct top_calls);
MAP(known, HASH, TOP_MAX_KNOWN, struct top_known, __u8);
MAP(wanted, HASH, TOP_MAX_WANTED, __u64, struct top_wanted);

static const struct top_thread no_thread;
static const struct top_calls no_calls;

/* The value of @key, made from @zero if it is new; NULL and counted if there is no place. */
static __always_inline void *value_of(void *map, const void *key, const void *zero, __u64 *no_place)
{
	void *value = bpf_map_lookup_elem(map, key);

	if (value)
		return value;
	bpf_map_update_elem(map, key, zero, BPF_NOEXIST);
	value = bpf_map_lookup_elem(map, key);
	if (!value)
		__sync_fetch_and_add(no_place, 1);
	return value;
}

/* Not static: so the verifier looks at it once, not once for each way here. */
__noinline __u32 bucket_of(__u64 ns)
{
	__u32 power = 0;
	__u64 left = ns;

	if (ns < 1 << TOP_SUB_BITS)
		return ns;
	if (left >> 32) {
		power += 32;
		left >>= 32;
	}
	if (left >> 16) {
		power += 16;
		left >>= 16;
	}
	if (left >> 8) {
		power += 8;
		left >>= 8;
	}
	if (left >> 4) {
		power += 4;
		left >>= 4;
	}
	if (left >> 2) {
		power += 2;
		left >>= 2;
	}
	power += left >> 1;
	return ((power - TOP_SUB_BITS + 1) << TOP_SUB_BITS) +
	       ((ns >> (power - TOP_SUB_BITS)) & ((1 << TOP_SUB_BITS) - 1));
}

/*
 * @ns: how long it took; of one whose end was not seen, 0 and @timed false. Not static: the
 * verifier looks at it once.
 */
__noinline int count_call(__u64 cb, __u64 name, __u64 thread_and_kind, __u64 ns, bool timed)
{
	struct top_key key = { .cb = cb, .tid = thread_and_kind >> 32, .kind = thread_and_kind };
	struct top_calls *c = value_of(&calls, &key, &no_calls, &lost.calls);
	__u64 bucket;
	__u32 slot = interval & 1;

	if (!c)
		return 0;
	c->name = name;
	c->calls++;
	if (!timed)
		return 0;
	c->timed++;
	c->total_ns += ns;
	bucket = bucket_of(ns);
	if (bucket >= TOP_BUCKETS)
		bucket = TOP_BUCKETS - 1;
	barrier_var(bucket); /* the verifier has to see the bound in the register that is used */
	if (bucket < TOP_BUCKETS)
		c->hist[bucket]++;
	if (ns > c->max_ns)
		c->max_ns = ns;
	if (c->recent[slot] != interval) {
		c->recent[slot] = interval;
		c->recent_max[slot] = 0;
	}
	if (ns > c->recent_max[slot])
		c->recent_max[slot] = ns;
	return 0;
}

static __always_inline struct top_frame *frame_at(struct top_thread *t, __u32 at)
{
	return &t->frames[at & (TOP_DEEP - 1)];
}

/* The innermost frame is over; whether its end was @seen. */
static __noinline void end_frame(struct top_thread *t, __u32 tid, bool seen)
{
	__u32 at = t->depth - 1;
	struct top_frame *f = frame_at(t, at);
	__u64 ns = bpf_ktime_get_ns() - f->begin_ns;

	t->depth = at;
	if (f->kind != TOP_BQL)
		count_call(f->cb, f->name, (__u64)tid << 32 | f->kind, seen ? ns : 0, seen);
	if (!seen)
		return;
	if (f->kind == TOP_BQL) {
		t->bql_ns += ns;
		t->bql_waits++;
	} else if (!at) {
		t->callback_ns += ns - (t->wait_ns + t->bql_ns - f->waited_ns);
	}
}

/* Frames are looked through from the innermost, or from the outermost, to the first that fits. */
struct search {
	struct top_thread *t;
	__u64 object, sp; /* of the end that was seen, or of a call that begins */
	__u32 tid, kind;
	__u32 found; /* its number plus 1; 0: none */
	__u32 keep;  /* of end_frames(): so many */
};

static long end_one(__u32 i, struct search *s)
{
	if (s->t->depth <= s->keep)
		return 1;
	end_frame(s->t, s->tid, false);
	return 0;
}

/* All but the first @keep frames are over, and of none the end was seen. */
static __noinline void end_frames(struct top_thread *t, __u32 tid, __u32 keep)
{
	struct search s = { .t = t, .tid = tid, .keep = keep };

	if (t->depth > keep)
		bpf_loop(TOP_DEEP, end_one, &s, 0);
}

static __always_inline void push(struct top_thread *t, __u32 tid, const struct top_frame *frame)
{
	struct top_frame *f;

	if (t->depth >= TOP_DEEP) {
		__sync_fetch_and_add(&lost.deep, 1);
		end_frames(t, tid, 0);
	}
	f = frame_at(t, t->depth);
	*f = *frame;
	f->waited_ns = t->wait_ns + t->bql_ns;
	t->depth++;
	f->begin_ns = bpf_ktime_get_ns();
}

static __always_inline bool is_its_end(const struct top_frame *f, const struct search *s)
{
	return s->sp ? f->sp + 8 == s->sp : f->kind == s->kind && f->object == s->object;
}

static long find_ended(__u32 i, struct search *s)
{
	__u32 at = s->t->depth - 1 - i;

	if (i >= s->t->depth)
		return 1;
	if (!is_its_end(frame_at(s->t, at), s))
		return 0;
	s->found = at + 1;
	return 1;
}

/* The end of a call was seen: by its object, or (@sp) where its caller goes on. */
static __always_inline void end(struct top_thread *t, __u32 tid, __u32 kind, __u64 object, __u64 sp)
{
	struct search s = { .t = t, .tid = tid, .object = object, .sp = sp, .kind = kind };

	if (!t->depth)
		return;
	s.found = t->depth;
	if (!is_its_end(frame_at(t, t->depth - 1), &s)) {
		s.found = 0;
		bpf_loop(TOP_DEEP, find_ended, &s, 0);
		end_frames(t, tid, s.found ? s.found : TOP_DEEP);
	}
	if (s.found && t->depth)
		end_frame(t, tid, true);
}

static long find_settled(__u32 i, struct search *s)
{
	const struct top_frame *f = frame_at(s->t, i);

	if (i >= s->t->depth)
		return 1;
	/* One whose end is awaited is still there when it jumps to another function. */
	if (!f->sp || f->sp > s->sp || s->sp - f->sp >= SAME_STACK ||
	    (f->sp == s->sp && f->awaited))
		return 0;
	s->found = i + 1;
	return 1;
}

/* A call at @sp begins: calls further down on the same stack are over. */
static __noinline void settle(struct top_thread *t, __u32 tid, __u64 sp)
{
	struct search s = { .t = t, .tid = tid, .sp = sp };

	if (!t->depth)
		return;
	bpf_loop(TOP_DEEP, find_settled, &s, 0);
	if (s.found)
		end_frames(t, tid, s.found - 1);
}

static bool is_zero(const struct top_site *site, __u64 arg)
{
	__s64 ts[2] = { -1, -1 };

	switch (site->timeout) {
	case TOP_NS:
		return !arg;
	case TOP_MS:
		return !(__u32)arg;
	case TOP_TIMESPEC:
		return arg && !bpf_probe_read_user(ts, sizeof(ts), (void *)arg) && !ts[0] && !ts[1];
	default:
		return false;
	}
}

static __always_inline void wait(struct top_thread *t, const struct top_site *site, __u64 timeout)
{
	t->iterations++;
	t->zero = is_zero(site, timeout);
	t->since_ns = bpf_ktime_get_ns();
}

static __always_inline void woken(struct top_thread *t, const struct top_site *site, __s64 ret)
{
	if (site->ring)
		ret = ret == -ETIME_62 ? 0 : 1;
	if (ret > 0)
		t->by_fd++;
	else if (ret < 0)
		t->by_signal++;
	else if (t->zero && t->since_ns)
		t->no_wait++;
	else
		t->by_timeout++;
	if (t->since_ns)
		t->wait_ns += bpf_ktime_get_ns() - t->since_ns;
	t->since_ns = 0;
}

static __always_inline void want(__u64 addr, bool callback)
{
	struct top_wanted new = { .callback = callback };

	if (bpf_map_update_elem(&wanted, &addr, &new, BPF_NOEXIST) &&
	    !bpf_map_lookup_elem(&wanted, &addr))
		__sync_fetch_and_add(&lost.wanted, 1);
}

static __u64 word_at(__u64 base, __s32 offset)
{
	__u64 value = 0;

	if (base && offset >= 0)
		bpf_probe_read_user(&value, sizeof(value), (void *)(base + offset));
	return value;
}

/*
 * A function is entered. A handler or timer gets its argument first, a source's callback may get it
 * third; a call with another argument is nobody's.
 */
static __always_inline void call(struct top_thread *t, __u32 tid, const struct top_site *site,
				 const __u64 *args, __u64 sp)
{
	struct top_frame frame = { .cb = site->cb,
				   .sp = sp + site->stack_bytes,
				   .kind = site->kind };
	struct top_wanted *back;
	__u64 addr = 0;

	settle(t, tid, frame.sp);
	if (site->cb) {
		struct top_known known1 = { site->cb, args[0] }, known2 = { site->cb, args[1] },
				 known3 = { site->cb, args[2] };
		__u8 *kind = bpf_map_lookup_elem(&known, &known1);

		if (!kind && site->kind == TOP_SOURCE)
			kind = bpf_map_lookup_elem(&known, &known2);
		if (!kind && site->kind == TOP_SOURCE)
			kind = bpf_map_lookup_elem(&known, &known3);
		if (!kind)
			return;
		frame.kind = *kind;
	} else if (site->kind == TOP_BH) {
		frame.cb = word_at(args[0], layout.bh_cb);
		frame.name = word_at(args[0], layout.bh_name);
	}
	if (bpf_probe_read_user(&addr, sizeof(addr), (void *)frame.sp))
		return;
	back = bpf_map_lookup_elem(&wanted, &addr);
	if (back)
		frame.awaited = back->probed;
	else
		want(addr, false);
	push(t, tid, &frame);
}

static __always_inline void arm(__u64 timer)
{
	struct top_known key = { word_at(timer, layout.timer_cb),
				 word_at(timer, layout.timer_opaque) };
	__u8 kind = TOP_TIMER;

	if (!key.cb || bpf_map_lookup_elem(&known, &key))
		return;
	if (bpf_map_update_elem(&known, &key, &kind, BPF_NOEXIST))
		__sync_fetch_and_add(&lost.known, 1);
	want(key.cb, true);
}

/* What began before this window is not known. */
static __always_inline void enter_window(struct top_thread *t)
{
	if (t->window == window)
		return;
	t->window = window;
	t->first_ns = bpf_ktime_get_ns();
	t->since_ns = 0;
	t->depth = 0;
}

/* A forked child has our breakpoints until it runs another program: its hits are not the target's.
 */
SEC("uprobe")
int on_hit(struct pt_regs *ctx)
{
	__u64 args[8] = { PT_REGS_PARM1(ctx), PT_REGS_PARM2(ctx), PT_REGS_PARM3(ctx),
			  PT_REGS_PARM4(ctx), PT_REGS_PARM5(ctx), ctx->r9 };
	__u64 id = bpf_get_current_pid_tgid(), sp = PT_REGS_SP(ctx), ret = PT_REGS_RC(ctx);
	struct top_site *site;
	struct top_thread *t;
	__u32 tid = id, key;

	if (id >> 32 != tgid || !open)
		return 0;
	key = bpf_get_attach_cookie(ctx);
	site = bpf_map_lookup_elem(&sites, &key);
	if (!site)
		return 0;
	t = value_of(&threads, &tid, &no_thread, &lost.threads);
	if (!t)
		return 0;
	enter_window(t);
	t->hits++;
	t->stepped += site->stepped;
	switch (site->op) {
	case TOP_WAIT:
		if (site->timeout == TOP_TIMESPEC || site->timeout == TOP_MS) /* a function */
			settle(t, tid, sp);
		wait(t, site, args[site->timeout_arg & 7]);
		break;
	case TOP_WOKEN:
		woken(t, site, (__s32)(site->ret_arg < TOP_ARGS ? args[site->ret_arg & 7] : ret));
		break;
	case TOP_BEGIN: {
		struct top_frame frame = { .cb = args[site->cb_arg & 7],
					   .object = args[site->object_arg & 7],
					   .kind = site->kind };

		/* A source without a callback is an AioContext: what it runs is told by itself. */
		if (frame.cb || site->kind == TOP_BQL)
			push(t, tid, &frame);
		break;
	}
	case TOP_END:
		end(t, tid, site->kind, args[site->object_arg & 7], 0);
		break;
	case TOP_CALL:
		call(t, tid, site, args, sp);
		break;
	case TOP_RESUME:
		end(t, tid, 0, 0, sp);
		break;
	case TOP_ARM:
		arm(args[0]);
		break;
	case TOP_CHANGE:
		__sync_fetch_and_add(&changes, 1);
		break;
	}
	return 0;
}
