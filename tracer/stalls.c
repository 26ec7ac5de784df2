// SPDX-License-Identifier: MIT
/* Watching for stalls, from attaching to the totals: what the kernel tells. See stalls.h. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "bpf/stalls.skel.h"
#include "tracer/attach.h"
#include "tracer/clock.h"
#include "tracer/stalls-inside.h"

#define RESCAN_NS (1000 * 1000000LL) /* for threads that are new */

static int load_failure(int err, struct failure *why)
{
	if (err == -EPERM || err == -EACCES)
		return fail(why, -EPERM,
			    "not allowed to load bpf programs: it needs CAP_BPF and CAP_PERFMON");
	return fail(why, -EOPNOTSUPP,
		    "this kernel cannot run the bpf program that sees stalls (%s)", strerror(-err));
}

static int take_record(void *data, void *record, size_t size)
{
	const uint32_t kind = size >= sizeof(kind) ? *(const uint32_t *)record : 0;
	const struct stalls_end *end = record;
	struct stalls *s = data;

	if (kind == STALLS_STACK && size >= sizeof(struct stalls_stack)) {
		stalls_take_stack(s, record);
	} else if (kind == STALLS_END && size >= sizeof(*end)) {
		const struct watched *w = stalls_find(s, (pid_t)end->tid);

		if (w && w->void_seq != end->away.seq)
			stalls_tell(s, w, &end->away, end->since_attach, (int64_t)end->end_ns,
				    false);
	}
	return 0;
}

unsigned stalls_pause_us(const struct stalls *s)
{
	return CLAMP(s->min_ns / 4000, 1000, 20000);
}

int stalls_step(struct stalls *s)
{
	int err = 0;

	ring_buffer__consume(s->ring);
	for (size_t i = 0; i < s->watched->len; i++)
		stalls_sample(s, s->watched->pdata[i]);
	if (now_ns() >= s->scanned_ns + RESCAN_NS)
		err = stalls_scan(s, NULL);
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

		if (!stalls_look_up(s, w->tid, &t) || !t.away.begin_ns || t.away.seq == w->void_seq)
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
		stalls_tell(s, w, &t.away, t.since_attach, now, true);
	}
}

uint64_t stalls_lost(const struct stalls *s)
{
	return s->skel->bss->lost_stalls;
}

void stalls_totals(struct stalls *s, struct stalls_totals *ret)
{
	*ret = (struct stalls_totals){ .iterations = s->iterations,
				       .loops = (int)s->watched->len,
				       .lost = stalls_lost(s),
				       .lost_stacks = s->skel->bss->lost_stacks +
						      stacks_lost(s->d->stacks) };
	for (size_t i = 0; i < s->watched->len; i++) {
		struct stalls_thread t;

		if (stalls_look_up(s, ((struct watched *)s->watched->pdata[i])->tid, &t))
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

int stalls_open(struct doctor *d, int64_t min_ns, pid_t tid, bool views,
		void (*took)(void *data, const struct stall *stall), void *data,
		struct stalls **ret, struct failure *why)
{
	struct stalls *s = g_new0(struct stalls, 1);
	int err;

	s->d = d;
	s->min_ns = min_ns;
	s->only = tid;
	s->views = views;
	s->took = took;
	s->data = data;
	s->links = g_ptr_array_new_with_free_func(destroy_link);
	s->watched = g_ptr_array_new_with_free_func(stalls_watched_free);
	s->seen = g_hash_table_new(NULL, NULL);
	s->skel = stalls_bpf__open();
	if (!s->skel) {
		err = load_failure(-errno, why);
		goto cleanup;
	}
	s->skel->rodata->tgid = d->t->pid;
	s->skel->rodata->min_ns = min_ns;
	s->skel->rodata->views = views;
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
		err = stalls_scan_all(s, why);
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
