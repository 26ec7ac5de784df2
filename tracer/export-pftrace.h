/* SPDX-License-Identifier: MIT */
/*
 * What the parts of the Perfetto exporter share: an event is begun by naming it and adding notes to
 * it, and written by pftrace_event(); a track describes itself when it is first asked for.
 */
#ifndef TRACER_EXPORT_PFTRACE_H
#define TRACER_EXPORT_PFTRACE_H

#include "tracer/export-proto.h"
#include "tracer/export.h"
#include "tracer/stall-split.h"

/* Annotations of slices, and categories: a report's kinds, then these. */
enum note {
	NOTE_FD = 1,
	NOTE_CTX,
	NOTE_TIMEOUT,
	NOTE_CHOSEN_BY,
	NOTE_LATE,
	NOTE_RET,
	NOTE_SITE,
	NOTE_ENDED,
	NOTE_LOST,
	NOTE_BY_THREAD,
	NOTE_WENT_INTO,
	NOTES
};
enum { CATEGORY_WAKE = REPORT_KINDS, CATEGORY_LOST, CATEGORY_STALL, CATEGORIES };

/* Tracks: the kind, and a number of its own. */
enum track { TRACK_PROCESS = 1, TRACK_THREAD, TRACK_FDS_READY, TRACK_BHS, TRACK_BQL };

enum { TYPE_BEGIN = 1, TYPE_END = 2, TYPE_INSTANT = 3, TYPE_COUNTER = 4 };

struct pftrace {
	const struct report *report;	/* all of it */
	const struct loop_event *event; /* now */
	struct export_names *names;
	struct stall_splits *splits;
	GHashTable *tracks;   /* uuid of each that is described */
	GHashTable *choosers; /* struct report_chooser -> words */
	GHashTable *queued;   /* BH -> its context */
	GHashTable *contexts; /* context -> struct bh_count */
	uint32_t pid;
	uint32_t bql_holder; /* 0: nobody */
	GByteArray *packet, *track_event, *part, *interned, *one;
};

static inline uint64_t pftrace_uuid(enum track track, uint32_t number)
{
	return (uint64_t)track << 32 | number;
}

/* --- export-pftrace-packets.c ----------------------------------------------------------------- */

/* The first packet: the clock of all others, and the numbers of what is always the same. */
void pftrace_head(struct pftrace *p);

/* Of the next event: its name, by number and, if new, with its text; and what is known of it. */
void pftrace_name(struct pftrace *p, uint32_t number, const char *new_name, int category);
void pftrace_note(struct pftrace *p, enum note note, const char *text, int64_t number);
void pftrace_note_words(struct pftrace *p, enum note note, char *words); /* takes them */
/* An arrow of that number begins or ends at it. */
void pftrace_flow(struct pftrace *p, uint64_t number, bool ends);
void pftrace_event(struct pftrace *p, uint64_t ns, uint64_t uuid, int type);
void pftrace_counter(struct pftrace *p, uint64_t uuid, int64_t value);

/* Tracks: each returns its uuid. */
uint64_t pftrace_process(struct pftrace *p);
uint64_t pftrace_thread(struct pftrace *p, uint32_t tid);
/* One under another one, of slices or of a counter. */
uint64_t pftrace_child(struct pftrace *p, uint64_t uuid, uint64_t parent, const char *name,
		       bool counter);

/* --- export-pftrace-counters.c: BHs that are queued, who holds the big lock ------------------- */

void pftrace_bh_queued(struct pftrace *p, uint64_t bh, uint64_t ctx);
void pftrace_bh_taken(struct pftrace *p, uint64_t bh);
/* Which BHs are queued is not known any more: count anew. */
void pftrace_forget_bhs(struct pftrace *p);
void pftrace_bql_acquired(struct pftrace *p, const struct loop_bql_acquired *event);
void pftrace_bql_released(struct pftrace *p);

#endif
