// SPDX-License-Identifier: MIT
/* Which threads are watched for stalls: those whose stacks are a loop's. See stalls-inside.h. */
#include <bpf/bpf.h>
#include <linux/perf_event.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bpf/stalls.skel.h"
#include "tracer/clock.h"
#include "tracer/stalls-inside.h"

#define FIND_NS (2000 * 1000000LL) /* for the first threads, of a busy process */

bool stalls_look_up(const struct stalls *s, pid_t tid, struct stalls_thread *ret)
{
	return !bpf_map_lookup_elem(bpf_map__fd(s->skel->maps.threads), &tid, ret);
}

void stalls_watched_free(void *data)
{
	struct watched *w = data;

	bpf_link__destroy(w->ticks);
	stall_view_free(w->views[RAN]);
	stall_view_free(w->views[SLEPT]);
	g_free(w);
}

struct watched *stalls_find(const struct stalls *s, pid_t tid)
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

void stalls_learn_own(struct stalls *s, struct watched *w, uint64_t sp)
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
		stalls_learn_own(s, w, now->sp);
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
	if (s->views)
		start_ticks(s, w);
}

/* Is it a loop's? Its chain of calls says so: also that of one that is blocked just now. */
static void consider(struct stalls *s, const struct patient *p)
{
	struct stack stack;

	if (s->only && p->tid != s->only)
		return;
	if (stacks_take(s->d->stacks, p->tid, STALLS_TAKE_MS, &stack, NULL))
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

int stalls_scan(struct stalls *s, struct failure *why)
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
		if (stalls_look_up(s, w->tid, &t))
			s->iterations += t.away.seq;
		bpf_map_delete_elem(bpf_map__fd(s->skel->maps.threads), &w->tid);
		bpf_map_delete_elem(bpf_map__fd(s->skel->maps.own), &w->tid);
		g_ptr_array_remove_index_fast(s->watched, i);
	}
	g_hash_table_foreach_remove(s->seen, has_gone, s->d);
	return 0;
}

int stalls_scan_all(struct stalls *s, struct failure *why)
{
	int64_t end = now_ns() + FIND_NS;
	int err = stalls_scan(s, why);

	while (!err && g_hash_table_size(s->seen) < (s->only ? 1 : s->d->patients->len) &&
	       now_ns() < end) {
		usleep(10000);
		err = stalls_scan(s, why);
	}
	return err;
}
