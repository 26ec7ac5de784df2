// SPDX-License-Identifier: MIT
/* Rows of top: percentiles of its histograms, order, filter, rows that stay; what a budget leaves
 * out. */
#include <string.h>

#include "tracer/overhead.h"
#include "tracer/top.h"

/* The bucket that bpf/top.bpf.c counts @ns in, by counting up. */
static unsigned bucket_of(uint64_t ns)
{
	unsigned bucket = 0;

	while (bucket < TOP_BUCKETS - 1 && top_hist_edge(bucket) < ns)
		bucket++;
	return bucket;
}

static void test_edges(void)
{
	static const struct {
		unsigned bucket;
		uint64_t last;
	} known[] = { { 0, 0 },	  { 3, 3 },   { 4, 4 },	  { 7, 7 },   { 8, 9 },
		      { 11, 15 }, { 12, 19 }, { 15, 31 }, { 16, 39 }, { 40, 2559 } };

	for (size_t i = 0; i < G_N_ELEMENTS(known); i++)
		g_assert_cmpuint(top_hist_edge(known[i].bucket), ==, known[i].last);
	for (unsigned b = 1; b < TOP_BUCKETS; b++)
		g_assert_cmpuint(top_hist_edge(b), >, top_hist_edge(b - 1));
	g_assert_cmpuint(top_hist_edge(TOP_BUCKETS - 1), ==, UINT64_MAX);
	/* Half a minute has a bucket of its own size. */
	g_assert_cmpuint(bucket_of(30000000000ULL), <, TOP_BUCKETS - 1);
}

static void test_quantiles(void)
{
	uint64_t hist[TOP_BUCKETS] = { 0 };
	uint64_t p50, p99;

	g_assert_cmpuint(top_hist_quantile(hist, 0, 990, 0), ==, 0);
	for (uint64_t ns = 1; ns <= 1000; ns++)
		hist[bucket_of(ns * 1000)]++;
	p50 = top_hist_quantile(hist, 1000, 500, 1000000);
	p99 = top_hist_quantile(hist, 1000, 990, 1000000);
	g_assert_cmpuint(p50, >=, 500000);
	g_assert_cmpuint(p50, <=, 625000);
	g_assert_cmpuint(p99, >=, 990000);
	g_assert_cmpuint(p99, <=, 1000000);
	/* One value is its own percentile, and never above the maximum. */
	memset(hist, 0, sizeof(hist));
	hist[bucket_of(1234)] = 1;
	g_assert_cmpuint(top_hist_quantile(hist, 1, 500, 1234), ==, 1234);
	/* Longer than any bucket. */
	memset(hist, 0, sizeof(hist));
	hist[TOP_BUCKETS - 1] = 2;
	g_assert_cmpuint(top_hist_quantile(hist, 2, 990, 1ULL << 40), ==, 1ULL << 40);
}

static void add(GArray *rows, const char *name, uint64_t cb, uint64_t calls, uint64_t total,
		uint64_t max)
{
	struct top_row row = { .key = { cb, 7, TOP_HANDLER },
			       .name = (char *)name,
			       .loop = "main loop",
			       .calls = calls,
			       .total_ns = total,
			       .p50_ns = max / 2,
			       .p99_ns = max,
			       .max_ns = max };

	g_array_append_val(rows, row);
}

static GArray *some_rows(void)
{
	GArray *rows = g_array_new(FALSE, FALSE, sizeof(struct top_row));

	add(rows, "often", 1, 1000, 50, 2);
	add(rows, "slow", 2, 1, 900, 900);
	add(rows, "idle", 3, 0, 0, 0);
	add(rows, "Both", 4, 500, 500, 100);
	return rows;
}

static void check_order(const GArray *rows, const char *expected)
{
	GString *names = g_string_new(NULL);

	for (size_t i = 0; i < rows->len; i++)
		g_string_append_printf(names, "%s%s", i ? " " : "",
				       g_array_index(rows, struct top_row, i).name);
	g_assert_cmpstr(names->str, ==, expected);
	g_string_free(names, TRUE);
}

static void test_order(void)
{
	static const struct {
		const char *key, *order;
	} known[] = { { "time", "slow Both often idle" }, { "rate", "often Both slow idle" },
		      { "p50", "slow Both often idle" },  { "p99", "slow Both often idle" },
		      { "max", "slow Both often idle" },  { "name", "Both idle often slow" } };
	GArray *rows = some_rows();

	for (size_t i = 0; i < G_N_ELEMENTS(known); i++) {
		top_sort_rows(rows, top_sort_of(known[i].key));
		check_order(rows, known[i].order);
		g_assert_cmpstr(top_sort_name(top_sort_of(known[i].key)), ==, known[i].key);
	}
	g_assert_cmpint(top_sort_of("size"), ==, -1);
	g_array_free(rows, TRUE);
}

static void test_filter(void)
{
	GArray *rows = some_rows(), *none = top_frozen_new(), *shown;

	shown = top_arrange(rows, TOP_BY_TIME, "BOTH", none);
	check_order(shown, "Both");
	g_array_free(shown, TRUE);
	shown = top_arrange(rows, TOP_BY_TIME, "main", none); /* by its loop */
	check_order(shown, "slow Both often idle");
	g_array_free(shown, TRUE);
	shown = top_arrange(rows, TOP_BY_TIME, "handl", none); /* by its kind */
	g_assert_cmpuint(shown->len, ==, 4);
	g_array_free(shown, TRUE);
	shown = top_arrange(rows, TOP_BY_TIME, "nothing", none);
	g_assert_cmpuint(shown->len, ==, 0);
	g_array_free(shown, TRUE);
	g_array_free(none, TRUE);
	g_array_free(rows, TRUE);
}

static void test_frozen(void)
{
	GArray *rows = some_rows(), *frozen = top_frozen_new(), *shown;

	/* "often" stays the second, whatever the order and the filter are. */
	top_freeze(frozen, &g_array_index(rows, struct top_row, 0), 1);
	shown = top_arrange(rows, TOP_BY_TIME, "", frozen);
	check_order(shown, "slow often Both idle");
	g_array_free(shown, TRUE);
	shown = top_arrange(rows, TOP_BY_RATE, "", frozen);
	check_order(shown, "Both often slow idle");
	g_array_free(shown, TRUE);
	shown = top_arrange(rows, TOP_BY_RATE, "idle", frozen);
	check_order(shown, "idle often");
	g_array_free(shown, TRUE);
	/* Also when it does nothing any more; and it moves up where there are fewer rows. */
	g_array_remove_index(rows, 0);
	shown = top_arrange(rows, TOP_BY_TIME, "nothing", frozen);
	check_order(shown, "often");
	g_assert_cmpuint(g_array_index(shown, struct top_row, 0).calls, ==, 0);
	top_freeze(frozen, &g_array_index(shown, struct top_row, 0), 0);
	g_assert_cmpuint(frozen->len, ==, 0);
	g_array_free(shown, TRUE);
	g_array_free(frozen, TRUE);
	g_array_free(rows, TRUE);
}

static void test_time_words(void)
{
	static const struct {
		uint64_t ns;
		const char *text;
	} known[] = { { 0, "-" },
		      { 1, "1ns" },
		      { 999, "999ns" },
		      { 1000, "1.00us" },
		      { 12345, "12.3us" },
		      { 999499, "999us" },
		      { 999600, "1.00ms" },
		      { 97100000000, "97.1s" },
		      { 4000000000000, "4000s" },
		      { UINT64_MAX, "99999s" } };
	char text[8];

	for (size_t i = 0; i < G_N_ELEMENTS(known); i++) {
		top_format_time(text, known[i].ns);
		g_assert_cmpstr(text, ==, known[i].text);
	}
}

static void test_budget(void)
{
	struct overhead_unit units[] = {
		{ .rank = 0, .percent = 4 }, { .rank = 1, .percent = 3 },
		{ .rank = 2, .percent = 1 }, { .rank = 2, .percent = 2 },
		{ .rank = 3, .percent = 0 },
	};
	const struct overhead_cost cost = { 500, 12000 };

	g_assert_cmpfloat(overhead_percent(&cost, 20000, 0), ==, 3);
	g_assert_cmpfloat(overhead_percent(&cost, 0, 2500), ==, 9);
	/* All fit. */
	g_assert_cmpfloat(overhead_choose(units, 5, 10), ==, 10);
	for (int i = 0; i < 5; i++)
		g_assert_false(units[i].left_out);
	/* The dearest of the highest rank goes; what is never hit stays. */
	g_assert_cmpfloat(overhead_choose(units, 5, 9), ==, 8);
	g_assert_true(units[3].left_out && !units[2].left_out && !units[4].left_out);
	/* Rank by rank; what is never left out stays, whatever it costs. */
	g_assert_cmpfloat(overhead_choose(units, 5, 4.5), ==, 4);
	g_assert_true(units[1].left_out && units[2].left_out && units[3].left_out);
	/* When a dear one is gone there is room for a cheap one again. */
	g_assert_cmpfloat(overhead_choose(units, 5, 5), ==, 5);
	g_assert_true(units[1].left_out && !units[2].left_out && units[3].left_out);
	g_assert_cmpfloat(overhead_choose(units, 5, 1), ==, 4);
	g_assert_false(units[0].left_out);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/top/edges", test_edges);
	g_test_add_func("/top/quantiles", test_quantiles);
	g_test_add_func("/top/order", test_order);
	g_test_add_func("/top/filter", test_filter);
	g_test_add_func("/top/frozen", test_frozen);
	g_test_add_func("/top/time-words", test_time_words);
	g_test_add_func("/top/budget", test_budget);
	return g_test_run();
}
