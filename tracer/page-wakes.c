// SPDX-License-Identifier: MIT
/* See page-wakes.h. */
#include "tracer/page-lanes.h"
#include "tracer/page-wakes.h"

/* Writes whose reader may still come: a power of two. */
#define PENDING 65536

struct written {
	uint64_t number, at_ns;
	uint32_t name;
};

struct found {
	uint64_t written_ns, at_ns;
	uint32_t by, tid, name;
};

struct page_wakes {
	uint64_t begin_ns;
	uint64_t grain_ns;
	uint64_t left_out;
	GArray *found;
	struct written pending[PENDING];
};

struct page_wakes *page_wakes_new(uint64_t begin_ns)
{
	struct page_wakes *wakes = g_new0(struct page_wakes, 1);

	wakes->begin_ns = begin_ns;
	wakes->found = g_array_new(FALSE, FALSE, sizeof(struct found));
	return wakes;
}

void page_wakes_free(struct page_wakes *wakes)
{
	g_array_free(wakes->found, TRUE);
	g_free(wakes);
}

void page_wakes_write(struct page_wakes *wakes, const struct report_wake *wake, uint64_t now_ns,
		      uint32_t name)
{
	struct written *written = &wakes->pending[wake->number % PENDING];

	/* aio_notify and its write are one, at the first one's time. */
	if (written->number != wake->number)
		written->at_ns = now_ns;
	written->number = wake->number;
	written->name = name;
}

/* Of each thread keep one within the grain. */
static void thin_out(struct page_wakes *wakes)
{
	GHashTable *last = g_hash_table_new(NULL, NULL); /* tid -> index + 1 */
	struct found *all = (struct found *)wakes->found->data;
	uint32_t kept = 0;

	for (uint32_t i = 0; i < wakes->found->len; i++) {
		void *key = GUINT_TO_POINTER(all[i].tid);
		uint32_t before = GPOINTER_TO_UINT(g_hash_table_lookup(last, key));

		if (before && all[i].at_ns - all[before - 1].at_ns < wakes->grain_ns)
			continue;
		all[kept++] = all[i];
		g_hash_table_insert(last, key, GUINT_TO_POINTER(kept));
	}
	wakes->left_out += wakes->found->len - kept;
	g_array_set_size(wakes->found, kept);
	g_hash_table_destroy(last);
}

void page_wakes_read(struct page_wakes *wakes, const struct report_wake *wake, uint32_t tid,
		     uint64_t now_ns)
{
	const struct written *written = &wakes->pending[wake->number % PENDING];
	struct found found = { now_ns, now_ns, wake->tid, tid, 0 };

	if (written->number != wake->number || now_ns < written->at_ns)
		return; /* overtaken by many others */
	found.written_ns = written->at_ns;
	found.name = written->name;
	g_array_append_val(wakes->found, found);
	while (wakes->found->len > PAGE_WAKES_MAX && wakes->grain_ns <= now_ns - wakes->begin_ns) {
		wakes->grain_ns =
			MAX(2 * wakes->grain_ns, (now_ns - wakes->begin_ns) / PAGE_WAKES_MAX + 1);
		thin_out(wakes);
	}
}

void page_wakes_pack(const struct page_wakes *wakes, json_t *rows, GByteArray *bytes)
{
	uint64_t last_ns = wakes->begin_ns;
	uint32_t at = bytes->len;

	for (uint32_t i = 0; i < wakes->found->len; i++) {
		const struct found *found = &g_array_index(wakes->found, struct found, i);

		page_put_number(bytes, found->at_ns - last_ns);
		page_put_number(bytes, found->at_ns - found->written_ns);
		page_put_number(bytes, found->by);
		page_put_number(bytes, found->tid);
		page_put_number(bytes, found->name);
		last_ns = found->at_ns;
	}
	json_array_append_new(rows, json_pack("{s:s, s:I, s:I, s:I, s:I}", "type", "wakes", "count",
					      (json_int_t)wakes->found->len, "left_out",
					      (json_int_t)wakes->left_out, "at", (json_int_t)at,
					      "bytes", (json_int_t)(bytes->len - at)));
}
