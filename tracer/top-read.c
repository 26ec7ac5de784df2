// SPDX-License-Identifier: MIT
/*
 * From the kernel's sums to rows: what is new since they were last read, with what is under way
 * taken up to now. See top.h.
 */
#include <bpf/bpf.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include <linux/types.h>
#include "bpf/top.h"
#include "bpf/top.skel.h"
#include "tracer/clock.h"
#include "tracer/describe.h"
#include "tracer/text.h"
#include "tracer/top.h"

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

struct top_count {
	struct top_key key;
	struct top_calls last;
	uint64_t running_ns; /* of the call that is under way */
	uint64_t running_last;
};

static unsigned key_hash(const void *key)
{
	const struct top_key *k = key;

	return ((k->cb ^ (uint64_t)k->tid << 40 ^ (uint64_t)k->kind << 60) *
		0x9e3779b97f4a7c15ULL) >>
	       32;
}

static gboolean key_equal(const void *a, const void *b)
{
	return !memcmp(a, b, sizeof(struct top_key));
}

void top_read_init(struct top *top)
{
	top->threads = g_hash_table_new_full(NULL, NULL, NULL, g_free);
	top->calls = g_hash_table_new_full(key_hash, key_equal, NULL, g_free);
	top->names = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
}

void top_read_free(struct top *top)
{
	g_hash_table_destroy(top->threads);
	g_hash_table_destroy(top->calls);
	g_hash_table_destroy(top->names);
}

/* --- threads --- */

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

/* Calls @see for each thread that was ever counted. */
static void each_thread(struct top *top,
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

	each_thread(top, close_window, &now);
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
	each_thread(top, add_hits, hits);
}

static uint64_t seen_until(const struct top *top, int64_t now)
{
	return top->seen_ns + (top->window_ns ? now - top->window_ns : 0);
}

bool top_has_news(const struct top *top)
{
	return seen_until(top, now_ns()) > top->seen_last_ns;
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

struct reading {
	struct top_view *view;
	int64_t now;
	bool total;
	uint64_t hits, stepped;
};

static void take_thread(struct top *top, uint32_t tid, const struct top_thread *t, void *arg)
{
	struct reading *r = arg;
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

/* --- callbacks --- */

/*
 * A callback's name. In a program without symbols: that of a bottom half is the one it was given,
 * and of a context's notifier it is known what it is.
 */
static const char *callback_name(struct top *top, const struct top_key *key, uint64_t name_at)
{
	uint64_t both = key->cb ^ (name_at << 1);
	char *name = g_hash_table_lookup(top->names, &both), text[128];
	struct image *img;

	if (name)
		return name;
	img = images_at(top->s->images, key->cb);
	if (!img || !image_symbol_at(img, key->cb - img->bias)) {
		if (g_hash_table_contains(top->notifiers, (void *)key->cb))
			name = g_strdup("(context's own notifier)");
		else if (name_at && !target_read_string(top->s->t, name_at, text, sizeof(text)) &&
			 text[0])
			name = g_strdup(text);
	}
	if (!name)
		name = images_name(top->s->images, key->cb);
	text_make_safe(name);
	g_hash_table_insert(top->names, g_memdup2(&both, sizeof(both)), name);
	return name;
}

static struct top_count *count_of(struct top *top, const struct top_key *key)
{
	struct top_count *count = g_hash_table_lookup(top->calls, key);

	if (!count) {
		count = g_new0(struct top_count, 1);
		count->key = *key;
		g_hash_table_insert(top->calls, &count->key, count);
	}
	return count;
}

/* Calls that are under way, by callback. */
static void note_running(struct top *top, uint32_t tid, const struct top_thread *t, void *now)
{
	for (uint32_t i = 0; top->window_ns && i < t->depth && i < TOP_DEEP; i++) {
		const struct top_frame *f = &t->frames[i];
		struct top_key key = { f->cb, tid, f->kind };

		if (f->kind == TOP_BQL || t->window != top->skel->bss->window)
			continue;
		count_of(top, &key)->running_ns = MAX(*(int64_t *)now - (int64_t)f->begin_ns, 1);
	}
}

static void fill_times(struct top_row *row, const struct top_calls *now,
		       const struct top_calls *last, bool total, uint64_t interval)
{
	uint64_t hist[TOP_BUCKETS], highest = 0;
	unsigned slot = interval & 1;

	for (unsigned b = 0; b < TOP_BUCKETS; b++) {
		hist[b] = now->hist[b] - last->hist[b];
		if (hist[b])
			highest = top_hist_edge(b);
	}
	row->max_ns = total			      ? now->max_ns
		      : now->recent[slot] == interval ? now->recent_max[slot]
						      : MIN(highest, now->max_ns);
	row->p50_ns = top_hist_quantile(hist, row->timed, 500, row->max_ns);
	row->p99_ns = top_hist_quantile(hist, row->timed, 990, row->max_ns);
}

static void take_calls(struct top *top, struct top_count *count, const struct top_calls *now,
		       struct reading *r, uint64_t interval)
{
	static const struct top_calls zero;
	const struct top_calls *from = r->total ? &zero : &count->last;
	struct top_row row = {
		.key = count->key,
		.calls = now->calls - from->calls,
		.timed = now->timed - from->timed,
		.running_ns = count->running_ns,
	};
	uint64_t ran_before = r->total ? 0 : count->running_last;

	fill_times(&row, now, from, r->total, interval);
	/* What is under way counts as it goes, not all at once when it ends. */
	row.total_ns = now->total_ns - from->total_ns + count->running_ns;
	row.total_ns -= MIN(ran_before, row.total_ns);
	row.max_ns = MAX(row.max_ns, row.running_ns);
	row.per_s = (double)row.calls / r->view->seen_seconds;
	row.share = (double)row.total_ns / 1e9 / r->view->seen_seconds;
	row.name = g_strdup(callback_name(top, &count->key, now->name));
	for (size_t i = 0; i < r->view->loops->len; i++) {
		const struct top_loop *loop = &g_array_index(r->view->loops, struct top_loop, i);

		if (loop->tid == (pid_t)row.key.tid)
			row.loop = loop->name;
	}
	if (!row.loop)
		row.loop = "?";
	r->view->calls += row.calls;
	if (row.calls || row.running_ns)
		g_array_append_val(r->view->rows, row);
	else
		g_free(row.name);
	if (!r->total)
		count->last = *now;
}

/* --- all of it --- */

static int by_thread(const void *a, const void *b)
{
	return ((const struct top_loop *)a)->tid - ((const struct top_loop *)b)->tid;
}

static uint64_t missed_hits(const struct top *top)
{
	struct bpf_prog_info info = { 0 };
	uint32_t size = sizeof(info);

	if (bpf_obj_get_info_by_fd(bpf_program__fd(top->skel->progs.on_hit), &info, &size))
		return 0;
	return info.recursion_misses;
}

static void read_calls(struct top *top, struct reading *r, uint64_t interval)
{
	int map = bpf_map__fd(top->skel->maps.calls);
	struct top_key key, *at = NULL;
	GHashTableIter iter;
	struct top_count *count;
	struct top_calls now;

	for (; !bpf_map_get_next_key(map, at, &key); at = &key)
		count_of(top, &key);
	g_hash_table_iter_init(&iter, top->calls);
	while (g_hash_table_iter_next(&iter, NULL, (void **)&count)) {
		if (bpf_map_lookup_elem(map, &count->key, &now))
			now = count->last;
		take_calls(top, count, &now, r, interval);
		if (!r->total)
			count->running_last = count->running_ns;
		count->running_ns = 0;
	}
}

void top_read(struct top *top, bool total, struct top_view *view)
{
	uint64_t interval = top->skel->bss->interval;
	struct reading r = { .view = view, .now = now_ns(), .total = total };
	uint64_t seen = seen_until(top, r.now);

	*view = (struct top_view){ 0 };
	view->loops = g_array_new(FALSE, TRUE, sizeof(struct top_loop));
	view->rows = g_array_new(FALSE, TRUE, sizeof(struct top_row));
	if (!total)
		top->skel->bss->interval = interval + 1;
	view->seconds = (double)(r.now - (int64_t)(total ? top->began_ns : top->read_ns)) / 1e9;
	view->seen_seconds = (double)(seen - (total ? 0 : top->seen_last_ns)) / 1e9;
	view->seen_seconds = MAX(view->seen_seconds, 1e-9);
	each_thread(top, take_thread, &r);
	each_thread(top, note_running, &r.now);
	g_array_sort(view->loops, by_thread);
	read_calls(top, &r, interval);
	view->lost = top->skel->bss->lost;
	view->missed = missed_hits(top);
	view->hits = (double)r.hits / view->seconds;
	view->stepped = (double)r.stepped / view->seconds;
	if (total)
		return;
	top->read_ns = r.now;
	top->seen_last_ns = seen;
}

void top_view_clear(struct top_view *view)
{
	for (size_t i = 0; view->loops && i < view->loops->len; i++)
		g_free(g_array_index(view->loops, struct top_loop, i).name);
	for (size_t i = 0; view->rows && i < view->rows->len; i++)
		g_free(g_array_index(view->rows, struct top_row, i).name);
	if (view->loops)
		g_array_free(view->loops, TRUE);
	if (view->rows)
		g_array_free(view->rows, TRUE);
	*view = (struct top_view){ 0 };
}

uint64_t top_lost_sum(const struct top_view *view)
{
	const struct top_lost *l = &view->lost;

	return l->threads + l->calls + l->known + l->wanted + l->deep + view->missed;
}
