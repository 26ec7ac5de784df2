/* SPDX-License-Identifier: MIT */
/*
 * The flight recorder: the last events in memory, written as a recording when something happens.
 *
 * Events go into a ring of bytes, in which the oldest give way. Names and whatever else an event
 * may mention later are kept apart, for ever, so that each recording is complete. What gave way is
 * not lost: a recording begins later. What the kernel had no room for is, and stands in the ring at
 * its time.
 */
#ifndef TRACER_FLIGHT_H
#define TRACER_FLIGHT_H

#include "trace/ctf-writer.h"
#include "tracer/failure.h"

struct flight;

/*
 * Recordings will be directories in @dir, which has to be new or empty (-EEXIST). @ring: bytes of
 * events. @env: ends with a NULL key; copied.
 */
int flight_open(const char *dir, size_t ring, const struct ctf_env *env, struct flight **ret,
		struct failure *why);
/* Without the recording under way. NULL is fine. */
void flight_close(struct flight *f);

/* Keep an event; while a recording is under way it goes there too. Errors are that one's. */
int flight_event(struct flight *f, const struct loop_event *event);
/* So many were lost by now. */
int flight_lost(struct flight *f, uint64_t count, uint64_t time_ns);

/* From now on states (of tables) are those of the recording that begins next; old ones go. */
void flight_forget_states(struct flight *f);

/* Write what there is to @dir/@name; what comes is added until flight_end(). */
int flight_begin(struct flight *f, const char *name, struct failure *why);
bool flight_is_writing(const struct flight *f);
/* Bytes of events added since it began. */
size_t flight_added(const struct flight *f);
/* Of the recording under way; *ret_path is the flight recorder's. */
int flight_end(struct flight *f, uint64_t end_ns, const char **ret_path,
	       struct ctf_writer_stats *ret);

#endif
