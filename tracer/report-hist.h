/* SPDX-License-Identifier: MIT */
/*
 * A histogram of durations: exact count, total and maximum; percentiles at most 1/16 too high.
 *
 * Every power of two of nanoseconds is cut into 16 equal buckets. The 16 buckets of an octave are
 * made when its first value comes, so a histogram has the size of its spread, not of its length.
 */
#ifndef TRACER_REPORT_HIST_H
#define TRACER_REPORT_HIST_H

#include <stdint.h>

#define REPORT_HIST_BUCKETS 16
#define REPORT_HIST_OCTAVES 61 /* 0: below 16; then one for each power of two from 16 on */

struct report_hist {
	uint64_t count;
	uint64_t total;
	uint64_t min, max; /* 0 while there is no value */
	uint64_t *octaves[REPORT_HIST_OCTAVES];
};

void report_hist_add(struct report_hist *hist, uint64_t value);
/* Add all that is in @from. */
void report_hist_merge(struct report_hist *hist, const struct report_hist *from);
/* Free what it points to. */
void report_hist_release(struct report_hist *hist);

/*
 * The value that @per_mille of all are not above: the upper edge of its bucket, never more than the
 * maximum. 0 without values.
 */
uint64_t report_hist_quantile(const struct report_hist *hist, unsigned int per_mille);

/* How many values lie in that octave, and the first value that belongs to it. */
uint64_t report_hist_octave(const struct report_hist *hist, unsigned int octave);
uint64_t report_hist_from(unsigned int octave);

#endif
