// SPDX-License-Identifier: MIT
/* See page-lanes.h. */
#include "tracer/page-lanes.h"

struct lane {
	uint32_t tid, depth;
	GArray *slices; /* struct page_slice */
};

_Static_assert(REPORT_KINDS <= 16, "a kind has four bits");

struct page_lanes {
	uint64_t begin_ns;
	uint32_t n, max;   /* slices */
	uint64_t grain_ns; /* 0: every slice is one call */
	uint64_t latest_ns;
	GHashTable *by_key; /* depth << 32 | tid -> struct lane, which are in @list */
	GPtrArray *list;
};

static void lane_free(void *data)
{
	struct lane *lane = data;

	g_array_free(lane->slices, TRUE);
	g_free(lane);
}

struct page_lanes *page_lanes_new(uint64_t begin_ns, uint32_t slices_max)
{
	struct page_lanes *lanes = g_new0(struct page_lanes, 1);

	lanes->begin_ns = begin_ns;
	lanes->max = slices_max;
	lanes->by_key = g_hash_table_new(NULL, NULL);
	lanes->list = g_ptr_array_new_with_free_func(lane_free);
	return lanes;
}

void page_lanes_free(struct page_lanes *lanes)
{
	g_hash_table_destroy(lanes->by_key);
	g_ptr_array_free(lanes->list, TRUE);
	g_free(lanes);
}

static struct lane *find_lane(struct page_lanes *lanes, uint32_t tid, uint32_t depth)
{
	void *key = GSIZE_TO_POINTER((gsize)depth << 32 | tid);
	struct lane *lane = g_hash_table_lookup(lanes->by_key, key);

	if (!lane) {
		lane = g_new0(struct lane, 1);
		lane->tid = tid;
		lane->depth = depth;
		lane->slices = g_array_new(FALSE, FALSE, sizeof(struct page_slice));
		g_hash_table_insert(lanes->by_key, key, lane);
		g_ptr_array_add(lanes->list, lane);
	}
	return lane;
}

/* Make one of the two if both lie within the grain. */
static bool merge(struct page_slice *into, const struct page_slice *next, uint64_t grain_ns)
{
	if (next->end_ns - into->begin_ns > grain_ns)
		return false;
	into->ending = MAX(into->ending, next->ending);
	into->end_ns = next->end_ns;
	into->busy_ns += next->busy_ns;
	into->count += next->count;
	if (next->longest_ns > into->longest_ns) {
		into->longest_ns = next->longest_ns;
		into->name = next->name;
		into->kind = next->kind;
	}
	return true;
}

/* Put slices together until half of the room is free. */
static void coarsen(struct page_lanes *lanes)
{
	uint64_t span_ns = lanes->latest_ns - lanes->begin_ns;

	lanes->grain_ns = MAX(2 * lanes->grain_ns, span_ns / lanes->max + 1);
	lanes->n = 0;
	for (uint32_t i = 0; i < lanes->list->len; i++) {
		GArray *slices = ((struct lane *)lanes->list->pdata[i])->slices;
		struct page_slice *all = (struct page_slice *)slices->data;
		uint32_t kept = 0;

		for (uint32_t k = 0; k < slices->len; k++)
			if (!kept || !merge(&all[kept - 1], &all[k], lanes->grain_ns))
				all[kept++] = all[k];
		g_array_set_size(slices, kept);
		lanes->n += kept;
	}
}

void page_lanes_add(struct page_lanes *lanes, uint32_t tid, uint32_t depth,
		    const struct page_slice *slice)
{
	struct page_slice *last;
	GArray *slices;

	if (depth >= PAGE_DEPTH_MAX)
		return;
	slices = find_lane(lanes, tid, depth)->slices;
	last = slices->len ? &g_array_index(slices, struct page_slice, slices->len - 1) : NULL;
	lanes->latest_ns = MAX(lanes->latest_ns, slice->end_ns);
	if (last && lanes->grain_ns && merge(last, slice, lanes->grain_ns))
		return;
	g_array_append_vals(slices, slice, 1);
	lanes->n++;
	while (lanes->n > lanes->max && lanes->grain_ns <= lanes->latest_ns - lanes->begin_ns)
		coarsen(lanes);
}

/* --- packing ---------------------------------------------------------------------------------- */

void page_put_number(GByteArray *bytes, uint64_t number)
{
	uint8_t packed[10];
	int n = 0;

	for (; number > 127; number >>= 7)
		packed[n++] = (uint8_t)(number | 128);
	packed[n++] = (uint8_t)number;
	g_byte_array_append(bytes, packed, n);
}

static void pack(const struct page_lanes *lanes, const struct lane *lane, GByteArray *bytes)
{
	uint64_t last_ns = lanes->begin_ns;

	for (uint32_t i = 0; i < lane->slices->len; i++) {
		const struct page_slice *slice = &g_array_index(lane->slices, struct page_slice, i);

		page_put_number(bytes, (slice->begin_ns - last_ns) << 3 | slice->ending << 1 |
					       (slice->count > 1));
		page_put_number(bytes, slice->end_ns - slice->begin_ns);
		page_put_number(bytes, (uint64_t)slice->name << 4 | slice->kind);
		last_ns = slice->end_ns;
		if (slice->count == 1)
			continue;
		page_put_number(bytes, slice->count);
		page_put_number(bytes, slice->busy_ns);
		page_put_number(bytes, slice->longest_ns);
	}
}

void page_lanes_pack(const struct page_lanes *lanes, json_t *rows, GByteArray *bytes)
{
	for (uint32_t i = 0; i < lanes->list->len; i++) {
		const struct lane *lane = lanes->list->pdata[i];
		uint32_t at = bytes->len;

		pack(lanes, lane, bytes);
		json_array_append_new(
			rows, json_pack("{s:s, s:I, s:I, s:I, s:I, s:I}", "type", "lane", "thread",
					(json_int_t)lane->tid, "depth", (json_int_t)lane->depth,
					"slices", (json_int_t)lane->slices->len, "at",
					(json_int_t)at, "bytes", (json_int_t)(bytes->len - at)));
	}
	json_array_append_new(rows, json_pack("{s:s, s:I, s:I}", "type", "lanes", "slices",
					      (json_int_t)lanes->n, "grain_ns",
					      (json_int_t)lanes->grain_ns));
}
