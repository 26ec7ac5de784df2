/* SPDX-License-Identifier: MIT */
/*
 * What the time of a stall went into, as a recording tells it (record-split.c): the records of one
 * stall put together. A recording may have none: then nothing of it is known.
 */
#ifndef TRACER_STALL_SPLIT_H
#define TRACER_STALL_SPLIT_H

#include "trace/loop-table.h"
#include "tracer/stalls.h"

struct stall_split {
	uint32_t tid;
	bool goes_on, since_attach;
	uint64_t begin_ns, end_ns; /* of the thread's time away */
	int64_t ns[STALLS_STATES];
	struct stalls_call longest; /* that it slept in; ns 0: it did not */
	GArray *calls;		    /* struct stall_slept; owned by one reference */
};

/* The same, with a reference of its own. */
struct stall_split stall_split_copy(const struct stall_split *split);
void stall_split_clear(struct stall_split *split);

/* Is it of that time of the thread: of most of both, or of the end of one that was under way? */
bool stall_split_fits(const struct stall_split *split, uint64_t begin_ns, uint64_t end_ns);

struct stall_splits;

struct stall_splits *stall_splits_new(void);
void stall_splits_free(struct stall_splits *s);
/* Every event of a recording in turn. Returns what this one completes, until the next; or NULL. */
const struct stall_split *stall_splits_event(struct stall_splits *s,
					     const struct loop_event *event);

#endif
