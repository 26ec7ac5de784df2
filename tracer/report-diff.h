/* SPDX-License-Identifier: MIT */
/* Two recordings side by side, as report-diff.c finds and its text and JSON show them. */
#ifndef TRACER_REPORT_DIFF_H
#define TRACER_REPORT_DIFF_H

#include "tracer/report-model.h"

/* A loop, a callback, a chooser of timeouts, a cause of wake-ups or a place that takes the big
 * lock, in either recording. */
struct diff_row {
	char *loop, *kind, *name;
	struct report_hist ns[2];   /* of a loop: from a wait's end to the next one's begin; of a
				     * place: waits for the lock */
	struct report_hist hold[2]; /* of a place */
	uint64_t count[2];
	uint64_t asleep_ns[2], span_ns[2]; /* of a loop */
	uint64_t unfinished[2];		   /* of a callback */
};

struct diff {
	const struct report *sides[2];
	uint64_t length_ns[2];
	GHashTable *loops, *callbacks, *choosers, *causes, *bql; /* key -> struct diff_row */
};

/* Times a second; 0 of a recording that has no length. */
double diff_per_second(const struct diff *diff, int side, uint64_t count);
/* "new", "gone" or NULL. */
const char *diff_only_in(const struct diff_row *row);

/* What has changed most comes first: time a second, or what is counted a second. */
GPtrArray *diff_sorted(const struct diff *diff, GHashTable *rows, GCompareDataFunc compare);
int diff_by_time(const void *a, const void *b, void *diff);
int diff_by_count(const void *a, const void *b, void *diff);

/* --- report-diff-text.c, report-diff-json.c --------------------------------------------------- */

void diff_print_text(const struct diff *diff, bool all);
void diff_print_json(const struct diff *diff);

#endif
