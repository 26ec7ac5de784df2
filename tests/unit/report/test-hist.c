/* SPDX-License-Identifier: MIT */
/* The histogram and the hash map that a report is made of. */
#include <glib.h>

#include "tracer/report-hist.h"
#include "tracer/report-map.h"

static void test_no_values(void)
{
	struct report_hist hist = { 0 };

	g_assert_cmpuint(report_hist_quantile(&hist, 500), ==, 0);
	g_assert_cmpuint(report_hist_octave(&hist, 0), ==, 0);
	report_hist_release(&hist);
}

static void test_small_values_are_exact(void)
{
	struct report_hist hist = { 0 };

	for (unsigned int v = 1; v <= 10; v++)
		report_hist_add(&hist, v);
	g_assert_cmpuint(hist.count, ==, 10);
	g_assert_cmpuint(hist.total, ==, 55);
	g_assert_cmpuint(hist.min, ==, 1);
	g_assert_cmpuint(hist.max, ==, 10);
	g_assert_cmpuint(report_hist_quantile(&hist, 500), ==, 5);
	g_assert_cmpuint(report_hist_quantile(&hist, 990), ==, 10);
	g_assert_cmpuint(report_hist_quantile(&hist, 0), ==, 1);
	g_assert_cmpuint(report_hist_quantile(&hist, 1000), ==, 10);
	report_hist_release(&hist);
}

/* Every value lies in the octave that begins at or before it, and a percentile is never below it
 * and at most a sixteenth above. */
static void test_any_value(void)
{
	for (unsigned int bit = 0; bit < 64; bit++) {
		for (int offset = -1; offset <= 1; offset++) {
			uint64_t value = (1ULL << bit) + offset, p50;
			struct report_hist hist = { 0 };
			unsigned int octave = 0;

			report_hist_add(&hist, value);
			report_hist_add(&hist,
					UINT64_MAX); /* so that the maximum does not cap it */
			p50 = report_hist_quantile(&hist, 500);
			g_assert_cmpuint(p50, >=, value);
			g_assert_cmpuint(p50 - value, <=, value / 16);
			while (!report_hist_octave(&hist, octave))
				octave++;
			g_assert_cmpuint(report_hist_from(octave), <=, value);
			if (octave + 1 < REPORT_HIST_OCTAVES)
				g_assert_cmpuint(report_hist_from(octave + 1), >, value);
			report_hist_release(&hist);
		}
	}
}

/* Doubled 50 times: 23 << 50 values, more than any float counts exactly. */
static void test_huge_counts(void)
{
	struct report_hist hist = { 0 };

	for (unsigned int i = 0; i < 22; i++)
		report_hist_add(&hist, 7);
	report_hist_add(&hist, 1000000);
	for (unsigned int i = 0; i < 50; i++) {
		struct report_hist copy = { 0 };

		report_hist_merge(&copy, &hist);
		report_hist_merge(&hist, &copy);
		report_hist_release(&copy);
	}
	g_assert_cmpuint(hist.count, ==, 23ULL << 50);
	g_assert_cmpuint(report_hist_octave(&hist, 0), ==, 22ULL << 50);
	g_assert_cmpuint(report_hist_quantile(&hist, 500), ==, 7);
	g_assert_cmpuint(report_hist_quantile(&hist, 956), ==, 7);
	g_assert_cmpuint(report_hist_quantile(&hist, 990), ==, 1000000);
	report_hist_release(&hist);
}

struct thing {
	struct report_key key;
	uint64_t value;
};

static void test_map(void)
{
	struct report_map map = { .entry_size = sizeof(struct thing) };
	struct report_key missing = { .a = 1, .d = 1 };
	struct thing *thing;
	uint64_t sum = 0;

	g_assert_null(report_map_find(&map, missing));
	for (uint64_t i = 0; i < 10000; i++) {
		struct report_key key = { i % 10, i / 10 % 10, i / 100 % 10, i / 1000 };

		thing = report_map_get(&map, key);
		g_assert_cmpuint(thing->value, ==, 0);
		thing->value = i + 1;
	}
	for (uint64_t i = 0; i < 10000; i++) {
		struct report_key key = { i % 10, i / 10 % 10, i / 100 % 10, i / 1000 };

		thing = report_map_find(&map, key);
		g_assert_cmpuint(thing->value, ==, i + 1);
		g_assert_true(report_map_get(&map, key) == thing);
	}
	for (uint32_t i = 0; (thing = report_map_next(&map, &i));)
		sum += thing->value;
	g_assert_cmpuint(sum, ==, 10000 * 10001 / 2);
	g_assert_cmpuint(map.n, ==, 10000);
	report_map_release(&map, NULL);
	g_assert_cmpuint(map.n, ==, 0);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/hist/no-values", test_no_values);
	g_test_add_func("/hist/small-values-are-exact", test_small_values_are_exact);
	g_test_add_func("/hist/any-value", test_any_value);
	g_test_add_func("/hist/huge-counts", test_huge_counts);
	g_test_add_func("/map/ten-thousand", test_map);
	return g_test_run();
}
