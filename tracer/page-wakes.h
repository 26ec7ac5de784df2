/* SPDX-License-Identifier: MIT */
/*
 * Wake-ups for a page: who wrote, when, and which thread found it when. Beyond PAGE_WAKES_MAX only
 * some of those that a thread gets within a short time are kept.
 */
#ifndef TRACER_PAGE_WAKES_H
#define TRACER_PAGE_WAKES_H

#include <glib.h>
#include <jansson.h>

#include "tracer/report-model.h"

#define PAGE_WAKES_MAX 200000

struct page_wakes;
struct page_wakes *page_wakes_new(uint64_t begin_ns);
void page_wakes_free(struct page_wakes *wakes);

/* A thread writes; @name is what it is called. */
void page_wakes_write(struct page_wakes *wakes, const struct report_wake *wake, uint64_t now_ns,
		      uint32_t name);
/* @tid has found it. */
void page_wakes_read(struct page_wakes *wakes, const struct report_wake *wake, uint32_t tid,
		     uint64_t now_ns);

/*
 * Append them to @bytes, in the order in which they were found, and a row to @rows. Of each, as in
 * page-lanes.h: time since the last one, by how much earlier it was written, by which thread, for
 * which thread, name.
 */
void page_wakes_pack(const struct page_wakes *wakes, json_t *rows, GByteArray *bytes);

#endif
