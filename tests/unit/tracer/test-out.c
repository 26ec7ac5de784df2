/* SPDX-License-Identifier: MIT */
/* Words, ranges, folding, and tables that never pass 100 columns. */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tracer/out.h"

/* --- what is printed, as text --------------------------------------------------------------- */

static int saved = -1, caught = -1;

static void catch_output(void)
{
	fflush(stdout);
	saved = dup(STDOUT_FILENO);
	caught = g_file_open_tmp("out-XXXXXX", NULL, NULL);
	g_assert_cmpint(caught, >=, 0);
	dup2(caught, STDOUT_FILENO);
}

static char *caught_output(void)
{
	g_autofree char *link = g_strdup_printf("/proc/self/fd/%d", caught);
	char *text = NULL, path[4096];
	ssize_t n = readlink(link, path, sizeof(path) - 1);

	fflush(stdout);
	dup2(saved, STDOUT_FILENO);
	close(saved);
	g_assert_true(g_file_get_contents(link, &text, NULL, NULL));
	close(caught);
	path[n > 0 ? n : 0] = 0;
	unlink(path);
	return text;
}

static glong widest(const char *text)
{
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
	glong width = 0;

	for (char **line = lines; *line; line++)
		width = MAX(width, g_utf8_strlen(*line, -1));
	return width;
}

static char *table_text(const char *const *heads, const char *indent, const char *a, const char *b,
			const char *c, int column, const char *under)
{
	struct table *table = table_new(heads);

	table_row(table, a, b, c, NULL);
	table_under(table, column, under);
	table_row(table, "x", NULL, NULL, NULL);
	catch_output();
	table_print(table, indent);
	return caught_output();
}

static const char *const heads[] = { "ONE", "TWO", "THREE", NULL };

/* --- tables --------------------------------------------------------------------------------- */

static void test_columns_are_aligned(void)
{
	g_autofree char *text = table_text(heads, " ", "a", "bbbbbb", "c", 1, "under");

	g_assert_cmpstr(text, ==,
			" ONE  TWO     THREE\n"
			" a    bbbbbb  c\n"
			"      under\n"
			" x\n");
}

static void test_rows_end_without_blanks(void)
{
	g_autofree char *text = table_text(heads, "", "a", "", "", 0, NULL);

	g_assert_cmpstr(text, ==, "ONE  TWO  THREE\na\nx\n");
}

static void test_wide_cells_give_way(void)
{
	g_autofree char *wide = g_strnfill(300, 'w');

	for (int column = 0; column < 3; column++) {
		g_autofree char *text = table_text(heads, "  ", column == 0 ? wide : "short",
						   column == 1 ? wide : "short",
						   column == 2 ? wide : "short", column, wide);

		g_assert_cmpint(widest(text), ==, OUT_COLUMNS);
		g_assert_nonnull(strstr(text, "www..."));
		g_assert_nonnull(strstr(text, "short"));
	}
}

static void test_all_cells_wide(void)
{
	g_autofree char *wide = g_strnfill(300, 'w');
	g_autofree char *text = table_text(heads, "    ", wide, wide, wide, 2, wide);

	g_assert_cmpint(widest(text), <=, OUT_COLUMNS);
}

static void test_many_columns(void)
{
	static const char *const many[] = { "AAAAAAAAAA", "BBBBBBBBBB", "CCCCCCCCCC",
					    "DDDDDDDDDD", "EEEEEEEEEE", "FFFFFFFFFF",
					    "GGGGGGGGGG", "HHHHHHHHHH", NULL };
	struct table *table = table_new(many);
	g_autofree char *wide = g_strnfill(40, 'w');
	g_autofree char *text = NULL;

	table_row(table, wide, wide, wide, wide, wide, wide, wide, wide, NULL);
	catch_output();
	table_print(table, "  ");
	text = caught_output();
	g_assert_cmpint(widest(text), <=, OUT_COLUMNS);
}

/* A cell of three-byte characters is cut between two of them. */
static void test_cutting_keeps_characters_whole(void)
{
	GString *wide = g_string_new(NULL);

	for (int i = 0; i < 200; i++)
		g_string_append(wide, "\xe2\x82\xac");
	for (int column = 0; column < 3; column++) {
		g_autofree char *text = table_text(
			heads, "", column == 0 ? wide->str : "a", column == 1 ? wide->str : "bb",
			column == 2 ? wide->str : "c", column, wide->str);

		g_assert_true(g_utf8_validate(text, -1, NULL));
		g_assert_cmpint(widest(text), ==, OUT_COLUMNS);
	}
	g_string_free(wide, TRUE);
}

static void test_a_table_without_rows_is_its_heads(void)
{
	struct table *table = table_new(heads);
	g_autofree char *text = NULL;

	catch_output();
	table_print(table, " ");
	text = caught_output();
	g_assert_cmpstr(text, ==, " ONE  TWO  THREE\n");
}

/* --- ranges, durations, events ---------------------------------------------------------------- */

static char *ranges_of(const int *numbers, size_t n)
{
	GArray *array = g_array_new(FALSE, FALSE, sizeof(int));
	char *text;

	g_array_append_vals(array, numbers, n);
	text = out_ranges(array);
	g_array_free(array, TRUE);
	return text;
}

#define assert_ranges(expected, ...)                                                               \
	do {                                                                                       \
		int numbers_[] = { __VA_ARGS__ };                                                  \
		g_autofree char *text_ = ranges_of(numbers_, G_N_ELEMENTS(numbers_));              \
		g_assert_cmpstr(text_, ==, expected);                                              \
	} while (0)

static void test_ranges(void)
{
	g_autofree char *none = ranges_of(NULL, 0);

	g_assert_cmpstr(none, ==, "");
	assert_ranges("7", 7);
	assert_ranges("3-5 7 9-12", 3, 4, 5, 7, 9, 10, 11, 12);
	assert_ranges("3-5", 5, 3, 4);
	assert_ranges("1 3 5 7 9 11 13 15", 1, 3, 5, 7, 9, 11, 13, 15);
	assert_ranges("1 3 5 7 9 11 13 15 ... (2 more)", 1, 3, 5, 7, 9, 11, 13, 15, 17, 19);
	assert_ranges("-1-1", -1, 0, 1);
	assert_ranges("-2147483648 2147483647", G_MAXINT, G_MININT);
}

static void test_ranges_stay_short(void)
{
	GArray *array = g_array_new(FALSE, FALSE, sizeof(int));
	g_autofree char *text = NULL;

	for (int i = 0; i < 100000; i += 2)
		g_array_append_val(array, i);
	text = out_ranges(array);
	g_assert_cmpuint(strlen(text), <, 80);
	g_assert_nonnull(strstr(text, "(49992 more)"));
	g_array_free(array, TRUE);
}

static void assert_duration(int64_t ns, const char *expected)
{
	g_autofree char *text = out_duration(ns);

	g_assert_cmpstr(text, ==, expected);
}

static void test_durations(void)
{
	assert_duration(-1, "for ever");
	assert_duration(INT64_MIN, "for ever");
	assert_duration(0, "0 ns");
	assert_duration(999, "999 ns");
	assert_duration(1000, "1 us");
	assert_duration(1500, "1.5 us");
	assert_duration(1000000, "1 ms");
	assert_duration(970000000, "970 ms");
	assert_duration(1000000000, "1 s");
	assert_duration(2500000000, "2.5 s");
	assert_duration(119000000000, "119 s");
	assert_duration(120000000000, "2 min");
	assert_duration(3600000000000, "60 min");
}

/* Rounded up to the next unit it is that unit: nobody reads "1e+03 us". */
static void test_durations_are_never_in_exponents(void)
{
	for (int64_t unit = 1000; unit <= 1000000000; unit *= 1000) {
		for (int64_t below = 1; below < 10; below++) {
			g_autofree char *text = out_duration(unit * 1000 - below * unit / 1000);

			g_test_message("%s", text);
			g_assert_null(strchr(text, 'e'));
		}
	}
}

static void test_events(void)
{
	g_assert_cmpstr(out_events(0), ==, "-");
	g_assert_cmpstr(out_events(POLLIN), ==, "in");
	g_assert_cmpstr(out_events(POLLOUT), ==, "out");
	g_assert_cmpstr(out_events(POLLIN | POLLOUT), ==, "in+out");
	g_assert_cmpstr(out_events(POLLIN | POLLERR | POLLHUP), ==, "in");
	g_assert_cmpstr(out_events(POLLERR | POLLHUP | POLLNVAL), ==, "-");
	g_assert_cmpstr(out_events(0xffff), ==, "in+pri+out");
}

/* --- folding ---------------------------------------------------------------------------------- */

static void fold_many(struct fold *fold, const char *key, int n)
{
	for (int i = 0; i < n; i++)
		fold_add(fold, key, i);
}

static void test_few_rows_are_not_folded(void)
{
	struct fold *fold = fold_new(false);
	bool few = false;

	fold_many(fold, "few", 3);
	for (int i = 0; i < 3; i++) {
		g_assert_null(fold_take(fold, "few", &few));
		g_assert_true(few);
	}
	fold_free(fold);
}

static void test_many_rows_are_taken_once(void)
{
	struct fold *fold = fold_new(false);
	bool few = true;
	GArray *numbers;

	fold_many(fold, "many", 4);
	fold_many(fold, "other", 1000);
	numbers = fold_take(fold, "many", &few);
	g_assert_nonnull(numbers);
	g_assert_cmpuint(numbers->len, ==, 4);
	g_assert_false(few);
	for (int i = 0; i < 3; i++) {
		g_assert_null(fold_take(fold, "many", &few));
		g_assert_false(few);
	}
	g_assert_cmpuint(fold_take(fold, "other", &few)->len, ==, 1000);
	fold_free(fold);
}

static void test_never_folds_nothing(void)
{
	struct fold *fold = fold_new(true);
	bool few = false;

	fold_many(fold, "many", 1000);
	g_assert_null(fold_take(fold, "many", &few));
	g_assert_true(few);
	fold_free(fold);
}

/* --- JSON ------------------------------------------------------------------------------------- */

static void test_json_values(void)
{
	json_t *address = out_address(0xffffffffffffffffULL), *text = out_text("a\"b");

	g_assert_cmpstr(json_string_value(address), ==, "0xffffffffffffffff");
	g_assert_cmpstr(json_string_value(text), ==, "a\"b");
	g_assert_true(json_is_null(out_address(0)));
	g_assert_true(json_is_null(out_text(NULL)));
	g_assert_true(json_is_null(out_text("")));
	json_decref(address);
	json_decref(text);
}

static void test_json_is_one_line(void)
{
	g_autofree char *text = NULL;

	catch_output();
	out_json(json_pack("{s:s, s:[i, i]}", "type", "a\nb", "list", 1, 2));
	text = caught_output();
	g_assert_cmpstr(text, ==, "{\"type\":\"a\\nb\",\"list\":[1,2]}\n");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_set_nonfatal_assertions();
	g_test_add_func("/out/table/aligned", test_columns_are_aligned);
	g_test_add_func("/out/table/no-blanks-at-the-end", test_rows_end_without_blanks);
	g_test_add_func("/out/table/wide-cells", test_wide_cells_give_way);
	g_test_add_func("/out/table/all-cells-wide", test_all_cells_wide);
	g_test_add_func("/out/table/many-columns", test_many_columns);
	g_test_add_func("/out/table/whole-characters", test_cutting_keeps_characters_whole);
	g_test_add_func("/out/table/no-rows", test_a_table_without_rows_is_its_heads);
	g_test_add_func("/out/ranges", test_ranges);
	g_test_add_func("/out/ranges/short", test_ranges_stay_short);
	g_test_add_func("/out/duration", test_durations);
	g_test_add_func("/out/duration/no-exponents", test_durations_are_never_in_exponents);
	g_test_add_func("/out/events", test_events);
	g_test_add_func("/out/fold/few", test_few_rows_are_not_folded);
	g_test_add_func("/out/fold/many", test_many_rows_are_taken_once);
	g_test_add_func("/out/fold/never", test_never_folds_nothing);
	g_test_add_func("/out/json/values", test_json_values);
	g_test_add_func("/out/json/one-line", test_json_is_one_line);
	return g_test_run();
}
