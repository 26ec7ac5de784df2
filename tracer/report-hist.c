// SPDX-License-Identifier: MIT
/* See report-hist.h. */
#include <glib.h>

#include "tracer/report-hist.h"

#define SUB_BITS 4
_Static_assert(1 << SUB_BITS == REPORT_HIST_BUCKETS, "sub-buckets");

static unsigned int octave_of(uint64_t value)
{
	return value < REPORT_HIST_BUCKETS ? 0 : 64 - SUB_BITS - __builtin_clzll(value);
}

uint64_t report_hist_from(unsigned int octave)
{
	return octave ? 1ULL << (octave + SUB_BITS - 1) : 0;
}

/* The highest value of a bucket. */
static uint64_t bucket_edge(unsigned int octave, unsigned int bucket)
{
	if (!octave)
		return bucket;
	return report_hist_from(octave) + ((bucket + 1ULL) << (octave - 1)) - 1;
}

void report_hist_add(struct report_hist *hist, uint64_t value)
{
	unsigned int octave = octave_of(value);
	unsigned int bucket = (octave ? value >> (octave - 1) : value) % REPORT_HIST_BUCKETS;

	if (!hist->octaves[octave])
		hist->octaves[octave] = g_new0(uint64_t, REPORT_HIST_BUCKETS);
	hist->octaves[octave][bucket]++;
	if (!hist->count++ || value < hist->min)
		hist->min = value;
	if (value > hist->max)
		hist->max = value;
	hist->total += value;
}

void report_hist_merge(struct report_hist *hist, const struct report_hist *from)
{
	if (!from->count)
		return;
	for (unsigned int o = 0; o < REPORT_HIST_OCTAVES; o++) {
		if (!from->octaves[o])
			continue;
		if (!hist->octaves[o])
			hist->octaves[o] = g_new0(uint64_t, REPORT_HIST_BUCKETS);
		for (unsigned int b = 0; b < REPORT_HIST_BUCKETS; b++)
			hist->octaves[o][b] += from->octaves[o][b];
	}
	hist->min = hist->count ? MIN(hist->min, from->min) : from->min;
	hist->max = MAX(hist->max, from->max);
	hist->count += from->count;
	hist->total += from->total;
}

void report_hist_release(struct report_hist *hist)
{
	for (unsigned int o = 0; o < REPORT_HIST_OCTAVES; o++)
		g_free(hist->octaves[o]);
	*hist = (struct report_hist){ 0 };
}

uint64_t report_hist_quantile(const struct report_hist *hist, unsigned int per_mille)
{
	/* How many values are above it, at most: so a count near 2^64 does not overflow. */
	uint64_t above = hist->count / 1000 * (1000 - per_mille) +
			 hist->count % 1000 * (1000 - per_mille) / 1000;
	uint64_t seen = 0;

	for (unsigned int o = 0; o < REPORT_HIST_OCTAVES; o++) {
		for (unsigned int b = 0; hist->octaves[o] && b < REPORT_HIST_BUCKETS; b++) {
			seen += hist->octaves[o][b];
			if (seen && seen >= hist->count - above)
				return MIN(bucket_edge(o, b), hist->max);
		}
	}
	return hist->max;
}

uint64_t report_hist_octave(const struct report_hist *hist, unsigned int octave)
{
	uint64_t sum = 0;

	for (unsigned int b = 0; hist->octaves[octave] && b < REPORT_HIST_BUCKETS; b++)
		sum += hist->octaves[octave][b];
	return sum;
}
