/* SPDX-License-Identifier: MIT */
/*
 * The rows of loopscope fds: what a poll set's descriptors are, whose, whether ready, and with
 * --provenance who made and who registered them.
 */
#ifndef TRACER_FD_ROWS_H
#define TRACER_FD_ROWS_H

#include "tracer/loops.h"
#include "tracer/provenance.h"
#include "tracer/session.h"

/* What one row says of one descriptor; strings are owned. */
struct fd_row {
	int fd;
	unsigned events;
	const struct fd_info *info;
	enum owner_kind kind;
	char *owner, *context, *callback, *calls;
	int ready; /* 1, 0, -1 unknown */
	/* With --provenance; else NULL. */
	char *made, *registered;
	GPtrArray *made_chain, *registered_chain;
	char *key; /* rows of one key differ in nothing but the descriptor */
};

struct fd_totals {
	int fds, contexts, sources, wakeups, unknown, ready;
};

/* --- fd-rows.c --- */

/* The rows of one poll set (struct fd_row), added to @totals. g_array_free() frees their texts. */
GArray *fd_rows_new(const struct loops *loops, const struct poll_set *set,
		    struct fd_totals *totals);

/* Who made the descriptor of the row, who registered it? */
void fd_row_explain_origin(struct provenance *p, struct session *s, struct fd_row *row);

/* --- fd-rows-show.c --- */

void fd_rows_show(const struct loops *loops, const struct poll_set *set, GArray *rows,
		  const struct options *options);

#endif
