/* SPDX-License-Identifier: MIT */
/*
 * The program records itself: the recording that "loopscope record" makes, without a privilege, a
 * tracer or a daemon.
 *
 *   self_record_begin("recording", 8 << 20, failed, &err);
 *   ...
 *   self_record_end(&stats);
 *
 * Every probe is listened to, as if a tracer had raised its semaphore, and a tracer may do so at
 * the same time.  Each thread puts its events into a ring of its own; a writer thread empties the
 * rings into the files some hundred times a second.  What a ring cannot take is counted, and told
 * in the recording.
 *
 * A program that is killed leaves what was written until then: all but its last half second.
 */
#ifndef DEMO_SELF_RECORD_H
#define DEMO_SELF_RECORD_H

#include "error.h"
#include "osdep.h"

#define SELF_RECORD_BUFFER (8 << 20) /* bytes of a ring, unless told otherwise */

typedef struct SelfRecordStats {
	uint64_t events; /* in the recording, names among them */
	uint64_t lost;
	unsigned threads; /* that had events */
} SelfRecordStats;

/* Called by the writer thread, once: nothing can be written any more.  The program goes on. */
typedef void SelfRecordFailed(int err);

/*
 * Once in a program's life, and before any other thread uses the loop: a signal handler may have
 * events only in a thread that had one before.  0 or -errno; -ENOTSUP: built without probes.
 */
int self_record_begin(const char *path, size_t buffer_bytes, SelfRecordFailed *failed,
		      Error **errp);

/* Writes down what there is.  False if nothing was begun. */
bool self_record_end(SelfRecordStats *ret_stats);

#endif
