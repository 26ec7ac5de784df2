/* SPDX-License-Identifier: MIT */
/* What the three parts of doctor-trace-spin.c share: what was counted in a window. */
#ifndef TRACER_DOCTOR_TRACE_SPIN_H
#define TRACER_DOCTOR_TRACE_SPIN_H

#include "tracer/doctor-trace.h"

/* What was counted in a window. The key: cause, and of a BH callback and context, of a timer
 * callback and list, of an fd its number, of a source its address. */
struct trace_counter {
	struct report_key key;
	uint64_t window;
	uint64_t n, drained, calls, ns;
	uint64_t cb, by;
	uint32_t revents;
};

_Static_assert(sizeof(struct trace_counter) == TRACE_COUNTER_SIZE, "doctor-trace.h knows it");

/* Of the window that is open. */
struct trace_counter *spin_counter(struct trace_thread *t, enum trace_cause cause, uint64_t a,
				   uint64_t b);
/* A turn begins: the first of a window, or the window is over and its cause is looked for. */
void spin_turn(struct trace_doctor *d, struct trace_thread *t, uint64_t now_ns);

#endif
