// SPDX-License-Identifier: MIT
/* What the kernel has summed up of threads: where their time went. See top-read-parts.h. */
#include <bpf/bpf.h>
#include <string.h>

#include <linux/types.h>
#include "bpf/top.h"
#include "bpf/top.skel.h"
#include "tracer/clock.h"
#include "tracer/describe.h"
#include "tracer/text.h"
#include "tracer/top-read-parts.h"

/* All that is known of a thread since the beginning. */
struct thread_sum {
	uint64_t iterations, by_fd, by_timeout, by_signal, no_wait, bql_waits, hits, stepped;
	int64_t known_ns, wait_ns, bql_ns, callback_ns;
	bool waited; /* at some time */
};

struct top_sum {
	struct thread_sum earlier; /* of closed windows */
	struct thread_sum last;	   /* at the last reading */
};

static struct top_sum *sum_of(struct top *top, uint32_t tid)
{
	struct top_sum *sum = g_hash_table_lookup(top->threads, GUINT_TO_POINTER(tid));

	if (!sum) {
		sum = g_new0(struct top_sum, 1);
		g_hash_table_insert(top->threads, GUINT_TO_POINTER(tid), sum);
	}
	return sum;
}

/* What is under way in @t at @now: the wait, or the outermost callback, or the wait for the lock.
 */
static void add_under_way(const struct top *top, const struct top_thread *t, int64_t now,
			  struct thread_sum *sum)
{
	int64_t wait = 0, bql = 0;

	if (!top->window_ns || t->window != top->skel->bss->window)
		return;
	sum->known_ns += now - (int64_t)t->first_ns;
	if (t->since_ns)
		wait = MAX(now - (int64_t)t->since_ns, 0);
	for (uint32_t i = 0; i < t->depth && i < TOP_DEEP; i++)
		if (t->frames[i].kind == TOP_BQL)
			bql = MAX(now - (int64_t)t->frames[i].begin_ns, 0);
	sum->wait_ns += wait;
	sum->bql_ns += bql;
	if (t->depth && t->frames[0].kind != TOP_BQL)
		sum->callback_ns += now - (int64_t)t->frames[0].begin_ns -
				    (int64_t)(t->wait_ns + t->bql_ns - t->frames[0].waited_ns) -
				    wait - bql;
}

/* All of a thread up to @now; @t: what the kernel has summed up in this window. */
static struct thread_sum thread_now(const struct top *top, const struct top_sum *old,
				    const struct top_thread *t, int64_t now)
{
	struct thread_sum sum = old->earlier;

	sum.iterations += t->iterations;
	sum.by_fd += t->by_fd;
	sum.by_timeout += t->by_timeout;
	sum.by_signal += t->by_signal;
	sum.no_wait += t->no_wait;
	sum.bql_waits += t->bql_waits;
	sum.hits += t->hits;
	sum.stepped += t->stepped;
	sum.wait_ns += (int64_t)t->wait_ns;
	sum.bql_ns += (int64_t)t->bql_ns;
	sum.callback_ns += (int64_t)t->callback_ns;
	sum.waited |= t->since_ns != 0;
	add_under_way(top, t, now, &sum);
	return sum;
}

void top_each_thread(struct top *top,
		     void (*see)(struct top *, uint32_t, const struct top_thread *, void *),
		     void *arg)
{
	int map = bpf_map__fd(top->skel->maps.threads);
	static const struct top_thread none;
	uint32_t tid = 0, *key = NULL;
	struct top_thread t;
	GHashTableIter iter;
	void *at;

	for (; !bpf_map_get_next_key(map, key, &tid); key = &tid)
		sum_of(top, tid);
	g_hash_table_iter_init(&iter, top->threads);
	while (g_hash_table_iter_next(&iter, &at, NULL)) {
		tid = GPOINTER_TO_UINT(at);
		see(top, tid, bpf_map_lookup_elem(map, &tid, &t) ? &none : &t, arg);
	}
}

/* What the kernel has summed up is kept here, so that a thread begins the next window anew. */
static void close_window(struct top *top, uint32_t tid, const struct top_thread *t, void *now)
{
	struct top_sum *sum = sum_of(top, tid);

	sum->earlier = thread_now(top, sum, t, *(int64_t *)now);
	bpf_map_delete_elem(bpf_map__fd(top->skel->maps.threads), &tid);
}

void top_read_window_end(struct top *top)
{
	int64_t now = now_ns();

	top_each_thread(top, close_window, &now);
	top->seen_ns += now - top->window_ns;
}

static void add_hits(struct top *top, uint32_t tid, const struct top_thread *t, void *hits)
{
	const struct thread_sum *earlier = &sum_of(top, tid)->earlier;
	uint64_t *sum = hits;

	sum[0] += earlier->hits + t->hits;
	sum[1] += earlier->stepped + t->stepped;
}

void top_read_hits(struct top *top, uint64_t hits[2])
{
	hits[0] = hits[1] = 0;
	top_each_thread(top, add_hits, hits);
}

uint64_t top_seen_until(const struct top *top, int64_t now)
{
	return top->seen_ns + (top->window_ns ? now - top->window_ns : 0);
}

bool top_has_news(const struct top *top)
{
	return top_seen_until(top, now_ns()) > top->seen_last_ns;
}

/* "main loop", "IOThread io0", or what the thread is called. To be freed. */
static char *thread_name(const struct top *top, uint32_t tid)
{
	char path[64], *comm = NULL, *name;

	name = top->loops ? describe_role(top->loops, (pid_t)tid) : NULL;
	if (name && strcmp(name, "thread") && !g_str_has_prefix(name, "thread \""))
		return name;
	g_free(name);
	if (tid == (uint32_t)top->s->t->pid)
		return g_strdup("main loop");
	g_snprintf(path, sizeof(path), "/proc/%d/task/%u/comm", top->s->t->pid, tid);
	if (!g_file_get_contents(path, &comm, NULL, NULL))
		return g_strdup_printf("thread %u", tid);
	text_make_safe(g_strchomp(comm));
	return comm;
}

static double share(int64_t part, int64_t all)
{
	return all > 0 ? CLAMP((double)part / (double)all, 0, 1) : 0;
}

void top_take_thread(struct top *top, uint32_t tid, const struct top_thread *t, void *arg)
{
	struct top_reading *r = arg;
	struct top_sum *sum = sum_of(top, tid);
	struct thread_sum all = thread_now(top, sum, t, r->now), zero = { 0 };
	const struct thread_sum *from = r->total ? &zero : &sum->last;
	int64_t known = all.known_ns - from->known_ns;
	struct top_loop loop = {
		.tid = (pid_t)tid,
		.is_loop = all.iterations || all.waited,
		.known = known > 0,
		.iterations = all.iterations - from->iterations,
		.by_fd = all.by_fd - from->by_fd,
		.by_timeout = all.by_timeout - from->by_timeout,
		.by_signal = all.by_signal - from->by_signal,
		.no_wait = all.no_wait - from->no_wait,
		.bql_waits = all.bql_waits - from->bql_waits,
		.wait = share(all.wait_ns - from->wait_ns, known),
		.callbacks = share(all.callback_ns - from->callback_ns, known),
		.bql = share(all.bql_ns - from->bql_ns, known),
	};

	loop.name = thread_name(top, tid);
	loop.own = loop.known ? CLAMP(1 - loop.wait - loop.callbacks - loop.bql, 0, 1) : 0;
	loop.per_s = (double)loop.iterations / r->view->seen_seconds;
	r->hits += all.hits - from->hits;
	r->stepped += all.stepped - from->stepped;
	r->view->iterations += loop.iterations;
	g_array_append_val(r->view->loops, loop);
	if (!r->total)
		sum->last = all;
}
