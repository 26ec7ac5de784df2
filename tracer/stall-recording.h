/* SPDX-License-Identifier: MIT */
/* Stalls that a recording shows. */
#ifndef TRACER_STALL_RECORDING_H
#define TRACER_STALL_RECORDING_H

#include "tracer/stalls.h"

struct stalls_recorded {
	GPtrArray *rows; /* struct stall_row *, the longest first; to be freed */
	uint64_t stalls, iterations, lost;
	uint64_t unsplit; /* of which it does not tell what their time went into */
	bool has_splits;  /* it tells that of others */
	int loops;
	char *target; /* "qemu-system-x86_64 (pid 12)"; to be freed */
	int64_t ns;   /* how long the recording is */
};

/* Errors are report_read()'s. */
int stalls_of_recording(const char *path, int64_t min_ns, struct stalls_recorded *ret,
			struct failure *why);

#endif
