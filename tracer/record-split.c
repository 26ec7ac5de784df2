// SPDX-License-Identifier: MIT
/*
 * What the time of a stall went into, as records: running, wanting a CPU, asleep in which calls.
 * The kernel's tracepoints measure it (stalls.h), from one wait of the thread to the next; whoever
 * reads the recording finds the stall by thread and time (stall-split.h).
 */
#include <string.h>

#include "tracer/clock.h"
#include "tracer/record.h"
#include "tracer/stall-look.h"

#define TRACEPOINTS "tracepoints of the scheduler and of system calls"

/* Its sleeps first, so that whoever reads the last has them all. */
static void write_split(void *data, const struct stall_time *time)
{
	struct recorder *r = data;
	uint64_t flags = (time->goes_on ? LOOP_STALL_BITS_GOES_ON : 0) |
			 (time->since_attach ? LOOP_STALL_BITS_SINCE_ATTACH : 0);
	uint64_t now, ago;

	for (int i = 0; i < STALLS_CALLS; i++)
		if (time->calls[i].ns && time->has_fd[i])
			record_tell_fd(r, NULL, (int)time->calls[i].arg);
	now = now_ns();
	ago = now - MIN(now, time->begin_ns + (uint64_t)time->ns);
	for (int i = 0; i < STALLS_CALLS; i++) {
		const struct stalls_call *call = &time->calls[i];

		if (call->ns)
			emit(r, now, 0, LOOP_EV_STALL_CALL,
			     VALUES((uint32_t)time->tid, (uint64_t)call->nr, call->arg, call->ns,
				    call->times));
	}
	emit(r, now, 0, LOOP_EV_STALL_SPLIT,
	     VALUES((uint32_t)time->tid, flags, ago, (uint64_t)time->ns,
		    (uint64_t)time->split[STALLS_RUNNING], (uint64_t)time->split[STALLS_RUNNABLE],
		    (uint64_t)time->split[STALLS_BLOCKED], (uint64_t)time->split[STALLS_STOPPED]));
}

void record_split_begin(struct recorder *r, struct stall_look *look, int64_t min_ns)
{
	struct failure why = { 0 };
	/* A stall of the events' is never longer than that of the system calls around it; but one
	 * may begin with an iteration. */
	int err = stall_look_watch(look, min_ns - min_ns / 10, write_split, r, &why);

	emit_text(r, LOOP_EV_EVENT_SOURCE,
		  VALUES(LOOP_EV_STALL_SPLIT,
			 err ? LOOP_PROVENANCE_ABSENT : LOOP_PROVENANCE_TRACEPOINT, 0),
		  err ? why.text : TRACEPOINTS);
}
