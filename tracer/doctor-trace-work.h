/* SPDX-License-Identifier: MIT */
/* What the three parts of doctor-trace-lost.c share: work, from when it is published until taken.
 */
#ifndef TRACER_DOCTOR_TRACE_WORK_H
#define TRACER_DOCTOR_TRACE_WORK_H

#include "tracer/doctor-trace.h"

/* @t does, and wakes who sleeps when it goes on: at its next event it has. */
void work_publish(struct trace_doctor *d, struct trace_thread *t, enum trace_work_kind kind,
		  uint64_t a, uint64_t ctx, uint64_t cb, uint64_t due_ns);
void work_settle(struct trace_thread *t, uint64_t now_ns);
/* The notifier of @c is written; a thread takes the notification. */
void work_written(struct trace_context *c, uint64_t now_ns);
void work_accepted(struct trace_context *c, uint64_t now_ns);
/* The thread takes it: was it due while the thread slept? */
void work_take(struct trace_doctor *d, struct trace_thread *t, enum trace_work_kind kind,
	       uint64_t a);
/* A poll found it ready: it was watched, and has woken whoever slept. */
void work_found(struct trace_doctor *d, enum trace_work_kind kind, uint64_t a);
/* It is taken back: did its thread sleep up to now? */
void work_withdraw(struct trace_doctor *d, enum trace_work_kind kind, uint64_t a, uint64_t now_ns);
/* The thread slept from enter_ns on, until @until_ns: a miss, if the work was due meanwhile. */
void work_check(struct trace_doctor *d, const struct trace_thread *t, const struct trace_work *work,
		uint64_t until_ns, bool at_end);
/* Its context; of a timer that of its list. 0: unknown. */
uint64_t work_context(const struct trace_doctor *d, const struct trace_work *work);
/* The thread that was seen to run its context; 0: none was. */
uint32_t work_home(const struct trace_doctor *d, const struct trace_work *work);

#endif
