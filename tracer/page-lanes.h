/* SPDX-License-Identifier: MIT */
/*
 * What a page draws over time, packed: lanes of slices, one for each depth of each thread.
 *
 * A page has room for PAGE_SLICES_MAX slices. Up to there every call is one. Beyond, calls of a
 * lane that follow each other within a short time (the grain, as short as the room allows) become
 * one slice, which keeps how many they were, how long they took together, and the longest one's
 * name.
 */
#ifndef TRACER_PAGE_LANES_H
#define TRACER_PAGE_LANES_H

#include <glib.h>
#include <jansson.h>
#include <stdint.h>

#include "tracer/report-model.h"

#define PAGE_SLICES_MAX 1000000
#define PAGE_DEPTH_MAX	64 /* what is deeper is not drawn */

struct page_slice {
	uint64_t begin_ns, end_ns;
	uint64_t busy_ns, longest_ns;
	uint32_t count;
	uint32_t name;
	enum report_kind kind;
	enum report_ending ending;
};

struct page_lanes;
struct page_lanes *page_lanes_new(uint64_t begin_ns, uint32_t slices_max);
void page_lanes_free(struct page_lanes *lanes);

/* Slices of a lane come in the order of time and do not overlap. */
void page_lanes_add(struct page_lanes *lanes, uint32_t tid, uint32_t depth,
		    const struct page_slice *slice);

/*
 * Append the slices to @bytes, and to @rows a row for each lane, which says where its bytes lie,
 *and one of them all. Of a slice:
 *
 *	(begin - the lane's last end) * 8 + ending * 2 + (count > 1), length, name * 16 + kind;
 *	and if count > 1: count, busy, longest
 *
 * each a little-endian base-128 number. Times are nanoseconds.
 */
void page_lanes_pack(const struct page_lanes *lanes, json_t *rows, GByteArray *bytes);

/* Such a number. */
void page_put_number(GByteArray *bytes, uint64_t number);

#endif
