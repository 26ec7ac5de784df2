// SPDX-License-Identifier: MIT
/* Watching for stalls: which threads, when to copy a stack, what became of it. See stalls.h. */
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/perf_event.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bpf/stalls.skel.h"
#include "tracer/attach.h"
#include "tracer/clock.h"
#include "tracer/stalls.h"

#define RESCAN_NS  (1000 * 1000000LL) /* for threads that are new */
#define BACKLOG_NS (100 * 1000000LL)  /* the tables are not read more often */
#define FIND_NS	   (2000 * 1000000LL) /* for the first threads, of a busy process */
#define TAKE_MS	   20
#define MAX_MISSES 50 /* stacks of a thread that neither say that it is a loop nor that not */

/* A loop's thread. */
struct watched {
	pid_t tid;
	struct bpf_link *ticks;
	bool knows_own; /* where it waits */
	int misses;
	uint64_t void_seq;	     /* a time that was no stall */
	uint64_t sampled_ns;	     /* when its stack was taken last, of a sleeper */
	struct stall_view *views[2]; /* of one time away: while it ran, while it slept */
};

enum { RAN, SLEPT };

struct stalls {
	struct doctor *d;
	int64_t min_ns;
	pid_t only; /* 0: all */
	struct stalls_bpf *skel;
	struct ring_buffer *ring;
	struct attachment *turns;
	GPtrArray *links;   /* struct bpf_link * */
	GPtrArray *watched; /* struct watched * */
	GHashTable *seen;   /* tids that were looked at */
	int64_t scanned_ns, backlog_ns;
	void (*took)(void *data, const struct stall *stall);
	void *data;
	uint64_t iterations; /* of threads that have gone */
};

static int load_failure(int err, struct failure *why)
{
	if (err == -EPERM || err == -EACCES)
		return fail(why, -EPERM,
			    "not allowed to load bpf programs: it needs CAP_BPF and CAP_PERFMON");
	return fail(why, -EOPNOTSUPP,
		    "this kernel cannot run the bpf program that sees stalls (%s)", strerror(-err));
}

static bool look_up(const struct stalls *s, pid_t tid, struct stalls_thread *ret)
{
	return !bpf_map_lookup_elem(bpf_map__fd(s->skel->maps.threads), &tid, ret);
}

/* --- which threads -------------------------------------------------------------------------- */

static void watched_free(void *data)
{
	struct watched *w = data;

	bpf_link__destroy(w->ticks);
	stall_view_free(w->views[RAN]);
	stall_view_free(w->views[SLEPT]);
	g_free(w);
}

static struct watched *find(const struct stalls *s, pid_t tid)
{
	for (size_t i = 0; i < s->watched->len; i++) {
		struct watched *w = s->watched->pdata[i];

		if (w->tid == tid)
			return w;
	}
	return NULL;
}

static void start_ticks(struct stalls *s, struct watched *w)
{
	struct perf_event_attr attr = { .type = PERF_TYPE_SOFTWARE,
					.size = sizeof(attr),
					.config = PERF_COUNT_SW_CPU_CLOCK,
					.sample_period = MAX(s->min_ns / 2, 1000000) };
	int fd = (int)syscall(SYS_perf_event_open, &attr, w->tid, -1, -1, PERF_FLAG_FD_CLOEXEC);

	if (fd < 0)
		return;
	w->ticks = bpf_program__attach_perf_event(s->skel->progs.tick, fd);
	if (!w->ticks)
		close(fd);
}

/* It waits at @sp by itself: what its stack is, says so. */
static void learn_own(struct stalls *s, struct watched *w, uint64_t sp)
{
	int fd = bpf_map__fd(s->skel->maps.own);
	struct stalls_own own = { .n = 0 };

	bpf_map_lookup_elem(fd, &w->tid, &own);
	own.sp[own.n % STALLS_OWN] = sp;
	own.n = MIN(own.n + 1, STALLS_OWN);
	bpf_map_update_elem(fd, &w->tid, &own, BPF_ANY);
	w->knows_own = true;
}

static void watch(struct stalls *s, const struct stack *stack)
{
	const struct thread_now *now = &stack->thread;
	struct watched *w = g_new0(struct watched, 1);
	struct stalls_thread t = { .state = STALLS_BLOCKED, .nr = now->nr, .arg = now->args[0] };

	w->tid = now->tid;
	w->void_seq = UINT64_MAX;
	g_ptr_array_add(s->watched, w);
	if (doctor_is_own_wait(s->d, stack)) {
		learn_own(s, w, now->sp);
	} else {
		t.since_attach = 1;
		t.state = now->state == 'R'   ? STALLS_RUNNING
			  : now->state == 'T' ? STALLS_STOPPED
					      : STALLS_BLOCKED;
		t.away.begin_ns = t.state_ns = now_ns();
		t.stack_ns = t.away.begin_ns + s->min_ns;
		/* A wait that is not its own: then its own is not known, and none is until a stack
		 * says. */
		if (is_wait_call(now->nr) && doctor_is_loop(s->d, stack)) {
			const struct stalls_own none = { .n = 0 };

			bpf_map_update_elem(bpf_map__fd(s->skel->maps.own), &w->tid, &none,
					    BPF_ANY);
		}
	}
	bpf_map_update_elem(bpf_map__fd(s->skel->maps.threads), &w->tid, &t, BPF_ANY);
	start_ticks(s, w);
}

/* Is it a loop's? Its chain of calls says so: also that of one that is blocked just now. */
static void consider(struct stalls *s, const struct patient *p)
{
	struct stack stack;

	if (s->only && p->tid != s->only)
		return;
	if (stacks_take(s->d->stacks, p->tid, TAKE_MS, &stack, NULL))
		return;
	g_hash_table_add(s->seen, GINT_TO_POINTER(p->tid));
	if ((p->is_loop || p->tid == s->only || doctor_is_loop(s->d, &stack)) &&
	    s->watched->len < STALLS_THREADS)
		watch(s, &stack);
}

static gboolean has_gone(void *tid, void *value, void *doctor)
{
	(void)value;
	return !doctor_patient(doctor, GPOINTER_TO_INT(tid));
}

/* Threads come and go. */
static int scan(struct stalls *s, struct failure *why)
{
	int err = doctor_look(s->d, why);

	if (err)
		return err;
	s->scanned_ns = now_ns();
	for (size_t i = 0; i < s->d->patients->len; i++) {
		const struct patient *p = s->d->patients->pdata[i];

		if (!g_hash_table_contains(s->seen, GINT_TO_POINTER(p->tid)))
			consider(s, p);
	}
	for (size_t i = s->watched->len; i-- > 0;) {
		struct watched *w = s->watched->pdata[i];
		struct stalls_thread t;

		if (doctor_patient(s->d, w->tid))
			continue;
		if (look_up(s, w->tid, &t))
			s->iterations += t.away.seq;
		bpf_map_delete_elem(bpf_map__fd(s->skel->maps.threads), &w->tid);
		bpf_map_delete_elem(bpf_map__fd(s->skel->maps.own), &w->tid);
		g_ptr_array_remove_index_fast(s->watched, i);
	}
	g_hash_table_foreach_remove(s->seen, has_gone, s->d);
	return 0;
}

/* A thread that wants a CPU and gets none shows no stack: then a little later. */
static int scan_all(struct stalls *s, struct failure *why)
{
	int64_t end = now_ns() + FIND_NS;
	int err = scan(s, why);

	while (!err && g_hash_table_size(s->seen) < (s->only ? 1 : s->d->patients->len) &&
	       now_ns() < end) {
		usleep(10000);
		err = scan(s, why);
	}
	return err;
}

/* --- what the kernel tells ------------------------------------------------------------------ */

static void set_view(struct watched *w, int which, struct stall_view *v)
{
	/* Those of an earlier time away go. */
	for (int i = 0; i < 2; i++) {
		if (w->views[i] && (i == which || w->views[i]->seq != v->seq)) {
			stall_view_free(w->views[i]);
			w->views[i] = NULL;
		}
	}
	w->views[which] = v;
}

/* Reading the tables takes milliseconds: not for each of many stalls. */
static void add_backlog(struct stalls *s, const struct watched *w, struct stall_view *v)
{
	struct stalls_thread t;

	if (now_ns() < s->backlog_ns + BACKLOG_NS)
		return;
	stall_view_add_backlog(s->d, v, w->tid);
	s->backlog_ns = now_ns();
	/* It has come back meanwhile: then what was read is of another time. */
	if (!look_up(s, w->tid, &t) || !t.away.begin_ns || t.away.seq != v->seq)
		v->backlog.known = false;
}

static void take_stack(struct stalls *s, const struct stalls_stack *in)
{
	struct watched *w = find(s, (pid_t)in->tid);
	struct stall_view *v;
	struct stack stack;
	struct where where;

	if (!w || stacks_unwind(s->d->stacks, &in->copy, &stack))
		return;
	if (in->at_exit)
		stack.thread.state = 'S';
	if (doctor_is_own_wait(s->d, &stack)) { /* one that was not known */
		w->void_seq = in->seq;
		learn_own(s, w, stack.thread.sp);
		return;
	}
	doctor_where(s->d, &stack, &where);
	if (where.busy_polling) {
		w->void_seq = in->seq;
		return;
	}
	/* What was seen in its sleep says more: whose lock, what was left waiting. */
	if (in->at_exit && w->views[SLEPT] && w->views[SLEPT]->seq == in->seq)
		return;
	v = stall_view_new(s->d, &stack, in->at_exit);
	v->seq = in->seq;
	v->away_ns = in->away_ns;
	add_backlog(s, w, v);
	set_view(w, in->at_exit ? SLEPT : RAN, v);
}

static struct stall_view *view_of(const struct watched *w, const struct stalls_away *away)
{
	bool ran = away->ns[STALLS_RUNNING] + away->ns[STALLS_RUNNABLE] >
		   away->ns[STALLS_BLOCKED] + away->ns[STALLS_STOPPED];
	struct stall_view *v = w->views[ran ? RAN : SLEPT], *other = w->views[ran ? SLEPT : RAN];

	if (v && v->seq == away->seq)
		return v;
	return other && other->seq == away->seq ? other : NULL;
}

static void tell(struct stalls *s, const struct watched *w, const struct stalls_away *away,
		 bool since_attach, int64_t end_ns, bool goes_on)
{
	struct patient *p = doctor_patient(s->d, w->tid);
	struct stall stall = { .tid = w->tid,
			       .role = p ? doctor_role(s->d, p) : "thread",
			       .since_attach = since_attach,
			       .goes_on = goes_on,
			       .ns = end_ns - (int64_t)away->begin_ns,
			       .split_known = true,
			       .view = view_of(w, away) };

	for (int i = 0; i < STALLS_STATES; i++)
		stall.split[i] = (int64_t)away->ns[i];
	memcpy(stall.calls, away->calls, sizeof(stall.calls));
	s->took(s->data, &stall);
}

static int take_record(void *data, void *record, size_t size)
{
	const uint32_t kind = size >= sizeof(kind) ? *(const uint32_t *)record : 0;
	const struct stalls_end *end = record;
	struct stalls *s = data;

	if (kind == STALLS_STACK && size >= sizeof(struct stalls_stack)) {
		take_stack(s, record);
	} else if (kind == STALLS_END && size >= sizeof(*end)) {
		const struct watched *w = find(s, (pid_t)end->tid);

		if (w && w->void_seq != end->away.seq)
			tell(s, w, &end->away, end->since_attach, (int64_t)end->end_ns, false);
	}
	return 0;
}

/* --- what the tracer sees ------------------------------------------------------------------- */

/* A thread that sleeps on, for twice as long as when its stack was taken last. */
static bool is_due(const struct stalls *s, const struct watched *w, const struct stalls_thread *t)
{
	int64_t away = now_ns() - (int64_t)t->away.begin_ns;
	int64_t then = (int64_t)w->sampled_ns - (int64_t)t->away.begin_ns;

	return t->away.begin_ns && t->away.seq != w->void_seq && t->state != STALLS_RUNNING &&
	       away >= s->min_ns && (then < 0 || away >= 2 * then);
}

static void sample(struct stalls *s, struct watched *w)
{
	struct stalls_thread t, again;
	struct stall_view *v;
	struct stack stack;

	if (!look_up(s, w->tid, &t))
		return;
	if (!w->knows_own && !t.away.begin_ns && w->misses < MAX_MISSES) {
		w->misses++;
		if (!stacks_take(s->d->stacks, w->tid, 1, &stack, NULL) &&
		    doctor_is_own_wait(s->d, &stack))
			learn_own(s, w, stack.thread.sp);
		return;
	}
	if (!is_due(s, w, &t))
		return;
	doctor_look(s->d, NULL); /* whose lock, and who waits, is told by what they do now */
	if (stacks_take(s->d->stacks, w->tid, TAKE_MS, &stack, NULL))
		return;
	ring_buffer__consume(s->ring);
	if (!look_up(s, w->tid, &again) || again.away.seq != t.away.seq || !again.away.begin_ns)
		return;
	w->sampled_ns = now_ns();
	if (stack.thread.state == 'T')
		return; /* whoever stopped it is to blame, whatever it was in */
	if (doctor_is_own_wait(s->d, &stack)) {
		w->void_seq = t.away.seq;
		learn_own(s, w, stack.thread.sp);
		return;
	}
	v = stall_view_new(s->d, &stack, false);
	v->seq = t.away.seq;
	v->away_ns = w->sampled_ns - t.away.begin_ns;
	add_backlog(s, w, v);
	set_view(w, stack.thread.state == 'R' ? RAN : SLEPT, v);
}

int stalls_step(struct stalls *s)
{
	int err = 0;

	usleep(CLAMP(s->min_ns / 4000, 1000, 20000));
	ring_buffer__consume(s->ring);
	for (size_t i = 0; i < s->watched->len; i++)
		sample(s, s->watched->pdata[i]);
	if (now_ns() >= s->scanned_ns + RESCAN_NS)
		err = scan(s, NULL);
	return fds_target_lives(s->d->fds) ? err : -ESRCH;
}

void stalls_end(struct stalls *s)
{
	int64_t now = now_ns();

	ring_buffer__consume(s->ring);
	for (size_t i = 0; i < s->watched->len; i++) {
		struct watched *w = s->watched->pdata[i];
		struct stalls_thread t;
		int64_t ns;

		if (!look_up(s, w->tid, &t) || !t.away.begin_ns || t.away.seq == w->void_seq)
			continue;
		ns = now - (int64_t)t.state_ns;
		if (now - (int64_t)t.away.begin_ns < s->min_ns || ns < 0)
			continue;
		t.away.ns[t.state % STALLS_STATES] += ns;
		for (int k = 0; k < STALLS_CALLS && t.state == STALLS_BLOCKED; k++) {
			struct stalls_call *c = &t.away.calls[k];

			if (c->ns && (c->nr != t.nr || c->arg != t.arg))
				continue;
			*c = (struct stalls_call){ t.nr, t.arg, c->ns + ns, c->times + 1 };
			break;
		}
		tell(s, w, &t.away, t.since_attach, now, true);
	}
}

void stalls_totals(struct stalls *s, struct stalls_totals *ret)
{
	*ret = (struct stalls_totals){ .iterations = s->iterations,
				       .loops = (int)s->watched->len,
				       .lost = s->skel->bss->lost_stalls,
				       .lost_stacks = s->skel->bss->lost_stacks +
						      stacks_lost(s->d->stacks) };
	for (size_t i = 0; i < s->watched->len; i++) {
		struct stalls_thread t;

		if (look_up(s, ((struct watched *)s->watched->pdata[i])->tid, &t))
			ret->iterations += t.away.seq;
	}
}

/* --- attaching ------------------------------------------------------------------------------ */

static int attach(struct stalls *s, struct failure *why)
{
	struct bpf_program *programs[] = { s->skel->progs.leave_call, s->skel->progs.enter_call,
					   s->skel->progs.switched, s->skel->progs.woken };

	for (size_t i = 0; i < G_N_ELEMENTS(programs); i++) {
		struct bpf_link *link = bpf_program__attach_trace(programs[i]);

		if (!link)
			return load_failure(-errno, why);
		g_ptr_array_add(s->links, link);
	}
	return 0;
}

/* Without it, or where it is not safe, busy polling is recognised by its stack. */
static void attach_turns(struct stalls *s)
{
	struct image *program = images_program(s->d->images);
	const struct symbol *symbol = image_symbol(program, "aio_poll");
	struct site site;

	if (symbol && !site_at_args(program, symbol->link, 1, &site, NULL))
		attach_sites(s->skel->progs.turn, ATTACH_BEST, s->d->t->pid, &site, 1, &s->turns,
			     NULL);
}

static void destroy_link(void *link)
{
	bpf_link__destroy(link);
}

int stalls_open(struct doctor *d, int64_t min_ns, pid_t tid,
		void (*took)(void *data, const struct stall *stall), void *data,
		struct stalls **ret, struct failure *why)
{
	struct stalls *s = g_new0(struct stalls, 1);
	int err;

	s->d = d;
	s->min_ns = min_ns;
	s->only = tid;
	s->took = took;
	s->data = data;
	s->links = g_ptr_array_new_with_free_func(destroy_link);
	s->watched = g_ptr_array_new_with_free_func(watched_free);
	s->seen = g_hash_table_new(NULL, NULL);
	s->skel = stalls_bpf__open();
	if (!s->skel) {
		err = load_failure(-errno, why);
		goto cleanup;
	}
	s->skel->rodata->tgid = d->t->pid;
	s->skel->rodata->min_ns = min_ns;
	attach_prepare(s->skel->progs.turn, ATTACH_BEST);
	err = stalls_bpf__load(s->skel);
	if (err) {
		err = load_failure(err, why);
		goto cleanup;
	}
	s->ring = ring_buffer__new(bpf_map__fd(s->skel->maps.ring), take_record, s, NULL);
	if (!s->ring) {
		err = load_failure(-errno, why);
		goto cleanup;
	}
	err = attach(s, why);
	if (!err)
		err = scan_all(s, why);
	if (!err && !s->watched->len)
		err = tid ? fail(why, -ESRCH, "process %d has no thread %d", d->t->pid, tid)
			  : fail(why, -ENOENT, "process %d has no loop that is known", d->t->pid);
	if (err)
		goto cleanup;
	attach_turns(s);
	*ret = s;
	return 0;

cleanup:
	stalls_close(s);
	return err;
}

void stalls_close(struct stalls *s)
{
	if (!s)
		return;
	attach_remove(s->turns);
	g_ptr_array_free(s->watched, TRUE);
	g_ptr_array_free(s->links, TRUE);
	g_hash_table_destroy(s->seen);
	ring_buffer__free(s->ring);
	stalls_bpf__destroy(s->skel);
	g_free(s);
}
