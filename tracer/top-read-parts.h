/* SPDX-License-Identifier: MIT */
/* What top-read.c and top-read-threads.c share; others include top.h. */
#ifndef TRACER_TOP_READ_PARTS_H
#define TRACER_TOP_READ_PARTS_H

#include "tracer/top.h"

struct top_reading {
	struct top_view *view;
	int64_t now;
	bool total;
	uint64_t hits, stepped;
};

/* Calls @see for each thread that was ever counted, with what the kernel has of it now. */
void top_each_thread(struct top *top,
		     void (*see)(struct top *, uint32_t, const struct top_thread *, void *),
		     void *arg);

/* For how long windows were open, up to @now. */
uint64_t top_seen_until(const struct top *top, int64_t now);

/* One for top_each_thread(): the thread becomes a row of the reading. */
void top_take_thread(struct top *top, uint32_t tid, const struct top_thread *t, void *reading);

#endif
