/* SPDX-License-Identifier: MIT */
/*
 * Where QEMU changed its mind about the loop, the era is a switch.  This is the list of them, and
 * era.c says which QEMU has which; nothing else in this directory knows a version.
 *
 * A program that wants another QEMU than today's sets loop_settings before it makes its first
 * context.  A context keeps the era it was made in.
 */
#ifndef DEMO_ERA_H
#define DEMO_ERA_H

#include <stdbool.h>
#include <stdint.h>
#include <linux/types.h>
#include "trace/loop_events.h"

typedef struct LoopEra {
	const char *name; /* the first QEMU that is so, or the last */
	const char *summary;

	/*
	 * GLib polls one fd of a context, that of its epoll instance or ring; its handlers then
	 * come by a ready list.  Before: a GPollFD for each handler, and all of them are walked.  A
	 * ring cannot be used so; a context that becomes a GSource gives it up.
	 */
	bool fd_tag;

	/* A context's first choice of fd monitor is io_uring. */
	bool io_uring_default;

	/* How long to poll busily is kept for each handler; before, for the whole context. */
	bool poll_per_handler;

	/* The BQL is dropped around every poll; before, around those only that may sleep. */
	bool bql_dropped_always;

	/* Too many iterations without a sleep: a warning, once, and a sleep of 1 ms. */
	bool spin_warning;
} LoopEra;

extern const LoopEra loop_eras[]; /* the oldest first, ended by one without a name */

const LoopEra *loop_era_by_name(const char *name); /* or NULL */
const LoopEra *loop_era_today(void);

extern struct LoopSettings {
	const LoopEra *era;	      /* NULL: today's */
	enum loop_fdmon fdmon;	      /* LOOP_FDMON_UNKNOWN: the era's own choice */
	int64_t iothread_poll_max_ns; /* an IOThread's busy polling, unless it is told otherwise */
} loop_settings;

#endif
