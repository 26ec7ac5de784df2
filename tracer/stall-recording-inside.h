/* SPDX-License-Identifier: MIT */
/* What the parts of stall-recording.c share: a stall that was found, and the rows of equal ones. */
#ifndef TRACER_STALL_RECORDING_INSIDE_H
#define TRACER_STALL_RECORDING_INSIDE_H

#include "tracer/report-model.h"
#include "tracer/stall-recording.h"
#include "tracer/stall-split.h"

/* A stack in the recording. */
struct recorded_stack {
	uint32_t state; /* enum loop_run_state */
	int32_t call;
	uint32_t holder;
	uint64_t lock;
	GArray *frames;			  /* uint64_t */
	struct recorded_stack *of_holder; /* taken at the same time */
};

void recorded_stack_free(struct recorded_stack *stack);

struct recorded_stall {
	const struct report_thread *thread;
	struct report_frame frame; /* the callback with most of it; REPORT_ITERATION: none */
	const struct report_nested *nested; /* an aio_poll() inside, with most of it; or NULL */
	uint64_t begin_ns, ns;
	bool goes_on;
	struct recorded_stack *stack; /* taken meanwhile; or NULL */
	bool has_split;
	struct stall_split split;
};

/* Equal stalls. */
struct recorded_rows;

struct recorded_rows *recorded_rows_new(void);
void recorded_rows_free(struct recorded_rows *rows);
/* Takes over what @stall owns. */
void recorded_rows_add(struct recorded_rows *rows, struct recorded_stall *stall);
/* The address of the big lock. */
void recorded_rows_bql(struct recorded_rows *rows, uint64_t lock);
/* struct stall_row *, the longest first; to be freed. */
GPtrArray *recorded_rows_finish(struct recorded_rows *rows, const struct report *report);

#endif
