/* SPDX-License-Identifier: MIT */
/* What a page draws has a bound, however much there is, and nothing is lost of its sums. */
#include <glib.h>

#include "tracer/page-lanes.h"
#include "tracer/page-wakes.h"

static uint64_t take_number(const GByteArray *bytes, uint32_t *at)
{
	uint64_t number = 0;
	int shift = 0;
	uint8_t byte;

	do {
		g_assert_cmpuint(*at, <, bytes->len);
		byte = bytes->data[(*at)++];
		number |= (uint64_t)(byte & 127) << shift;
		shift += 7;
	} while (byte > 127);
	return number;
}

struct sums {
	uint64_t slices, count, busy, last_ns, longest;
};

static struct sums unpack(const GByteArray *bytes, uint32_t at, uint32_t end)
{
	struct sums sums = { 0 };

	while (at < end) {
		uint64_t head = take_number(bytes, &at), length = take_number(bytes, &at);

		take_number(bytes, &at);
		sums.slices++;
		sums.last_ns += (head >> 3) + length;
		if (head & 1) {
			uint64_t count = take_number(bytes, &at), busy = take_number(bytes, &at);
			uint64_t longest = take_number(bytes, &at);

			g_assert_cmpuint(count, >, 1);
			g_assert_cmpuint(busy, <=, length);
			sums.count += count;
			sums.busy += busy;
			sums.longest = MAX(sums.longest, longest);
		} else {
			sums.count++;
			sums.busy += length;
			sums.longest = MAX(sums.longest, length);
		}
	}
	g_assert_cmpuint(at, ==, end);
	return sums;
}

/* @n calls in two lanes, of 10 ns each 100 ns; one of them is of 50 ns. */
static struct sums many_calls(uint32_t n, uint32_t room, json_t **ret_rows)
{
	struct page_lanes *lanes = page_lanes_new(1000, room);
	GByteArray *bytes = g_byte_array_new();
	struct sums sums;
	json_t *first;

	for (uint32_t i = 0; i < n; i++) {
		uint64_t begin_ns = 1000 + i * 100ULL, ns = i == n / 2 ? 50 : 10;

		for (uint32_t depth = 0; depth < 2; depth++)
			page_lanes_add(lanes, 7, depth,
				       &(struct page_slice){ begin_ns, begin_ns + ns, ns, ns, 1, 3,
							     REPORT_BH, REPORT_ENDED });
	}
	*ret_rows = json_array();
	page_lanes_pack(lanes, *ret_rows, bytes);
	g_assert_cmpuint(json_array_size(*ret_rows), ==, 3);
	first = json_array_get(*ret_rows, 0);
	sums = unpack(bytes, (uint32_t)json_integer_value(json_object_get(first, "at")),
		      (uint32_t)json_integer_value(json_object_get(first, "bytes")));
	g_assert_cmpuint(sums.slices, ==, json_integer_value(json_object_get(first, "slices")));
	page_lanes_free(lanes);
	g_byte_array_free(bytes, TRUE);
	return sums;
}

static int64_t of_all(json_t *rows, const char *key)
{
	return json_integer_value(json_object_get(json_array_get(rows, 2), key));
}

static void test_few_calls_are_told_one_by_one(void)
{
	json_t *rows;
	struct sums sums = many_calls(1000, 2000, &rows);

	g_assert_cmpuint(sums.slices, ==, 1000);
	g_assert_cmpuint(sums.count, ==, 1000);
	g_assert_cmpint(of_all(rows, "grain_ns"), ==, 0);
	json_decref(rows);
}

static void test_many_calls_become_few_slices(void)
{
	json_t *rows;
	struct sums sums = many_calls(100000, 2000, &rows);

	g_assert_cmpint(of_all(rows, "slices"), <=, 2000);
	g_assert_cmpint(of_all(rows, "grain_ns"), >, 0);
	g_assert_cmpuint(sums.count, ==, 100000);
	g_assert_cmpuint(sums.busy, ==, 100000 * 10 + 40);
	g_assert_cmpuint(sums.longest, ==, 50);
	g_assert_cmpuint(sums.last_ns, ==, 99999 * 100 + 10);
	json_decref(rows);
}

static void test_what_is_too_deep_is_not_drawn(void)
{
	struct page_lanes *lanes = page_lanes_new(0, 10);
	GByteArray *bytes = g_byte_array_new();
	json_t *rows = json_array();

	page_lanes_add(lanes, 7, PAGE_DEPTH_MAX, &(struct page_slice){ .end_ns = 1, .count = 1 });
	page_lanes_pack(lanes, rows, bytes);
	g_assert_cmpuint(bytes->len, ==, 0);
	json_decref(rows);
	g_byte_array_free(bytes, TRUE);
	page_lanes_free(lanes);
}

static json_t *wake(uint64_t times, GByteArray *bytes)
{
	struct page_wakes *wakes = page_wakes_new(0);
	json_t *rows = json_array(), *row;

	for (uint64_t i = 1; i <= times; i++) {
		struct report_wake one = { .pending = true, .number = i, .tid = 5 };

		page_wakes_write(wakes, &one, i * 100, 9);
		page_wakes_write(wakes, &one, i * 100 + 1, 8); /* aio_notify after its write */
		page_wakes_read(wakes, &one, 6 + i % 2, i * 100 + 30);
	}
	page_wakes_pack(wakes, rows, bytes);
	page_wakes_free(wakes);
	row = json_incref(json_array_get(rows, 0));
	json_decref(rows);
	return row;
}

static void test_a_wake_up(void)
{
	static const uint64_t numbers[] = { 130, 30, 5, 7, 8 };
	GByteArray *bytes = g_byte_array_new();
	json_t *row = wake(1, bytes);
	uint32_t at = 0;

	for (size_t i = 0; i < G_N_ELEMENTS(numbers); i++)
		g_assert_cmpuint(take_number(bytes, &at), ==, numbers[i]);
	g_assert_cmpuint(at, ==, bytes->len);
	json_decref(row);
	g_byte_array_free(bytes, TRUE);
}

static void test_many_wake_ups_become_few(void)
{
	GByteArray *bytes = g_byte_array_new();
	json_t *row = wake(1000000, bytes);
	int64_t count = json_integer_value(json_object_get(row, "count"));

	g_assert_cmpint(count, <=, PAGE_WAKES_MAX);
	g_assert_cmpint(count, >, PAGE_WAKES_MAX / 8);
	g_assert_cmpint(count + json_integer_value(json_object_get(row, "left_out")), ==, 1000000);
	json_decref(row);
	g_byte_array_free(bytes, TRUE);
}

/* More are pending than anybody remembers: the old ones are not made up. */
static void test_a_forgotten_write(void)
{
	struct page_wakes *wakes = page_wakes_new(0);
	GByteArray *bytes = g_byte_array_new();
	json_t *rows = json_array();

	for (uint64_t i = 1; i <= 200000; i++)
		page_wakes_write(wakes, &(struct report_wake){ .number = i }, i, 0);
	page_wakes_read(wakes, &(struct report_wake){ .number = 1 }, 6, 300000);
	page_wakes_read(wakes, &(struct report_wake){ .number = 200000 }, 6, 300000);
	page_wakes_pack(wakes, rows, bytes);
	g_assert_cmpint(json_integer_value(json_object_get(json_array_get(rows, 0), "count")), ==,
			1);
	json_decref(rows);
	g_byte_array_free(bytes, TRUE);
	page_wakes_free(wakes);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/page/lanes/few", test_few_calls_are_told_one_by_one);
	g_test_add_func("/page/lanes/many", test_many_calls_become_few_slices);
	g_test_add_func("/page/lanes/deep", test_what_is_too_deep_is_not_drawn);
	g_test_add_func("/page/wakes/one", test_a_wake_up);
	g_test_add_func("/page/wakes/many", test_many_wake_ups_become_few);
	g_test_add_func("/page/wakes/forgotten", test_a_forgotten_write);
	return g_test_run();
}
