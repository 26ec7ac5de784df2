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
#include "tracer/top-read-parts.h"

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
		       struct top_reading *r, uint64_t interval)
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

static void read_calls(struct top *top, struct top_reading *r, uint64_t interval)
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
	struct top_reading r = { .view = view, .now = now_ns(), .total = total };
	uint64_t seen = top_seen_until(top, r.now);

	*view = (struct top_view){ 0 };
	view->loops = g_array_new(FALSE, TRUE, sizeof(struct top_loop));
	view->rows = g_array_new(FALSE, TRUE, sizeof(struct top_row));
	if (!total)
		top->skel->bss->interval = interval + 1;
	view->seconds = (double)(r.now - (int64_t)(total ? top->began_ns : top->read_ns)) / 1e9;
	view->seen_seconds = (double)(seen - (total ? 0 : top->seen_last_ns)) / 1e9;
	view->seen_seconds = MAX(view->seen_seconds, 1e-9);
	top_each_thread(top, top_take_thread, &r);
	top_each_thread(top, note_running, &r.now);
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
