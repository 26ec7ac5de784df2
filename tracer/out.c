// SPDX-License-Identifier: MIT
/* See out.h. */
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tracer/out.h"

#define GAP	   2
#define MAX_RANGES 8
#define FOLD_AT	   4 /* so many equal rows become one with a count */

struct row {
	char **cells; /* n_columns of them, NULL for a line under a row */
	char *under;
	int column;
};

struct table {
	int n;
	char **heads;
	GArray *rows; /* struct row */
};

struct table *table_new(const char *const *heads)
{
	struct table *table = g_new0(struct table, 1);

	table->heads = g_strdupv((char **)heads);
	table->n = g_strv_length(table->heads);
	table->rows = g_array_new(FALSE, TRUE, sizeof(struct row));
	return table;
}

void table_row(struct table *table, ...)
{
	struct row row = { .cells = g_new0(char *, table->n + 1) };
	va_list args;

	va_start(args, table);
	for (int i = 0; i < table->n; i++) {
		const char *cell = va_arg(args, const char *);

		row.cells[i] = g_strdup(cell ? cell : "");
	}
	va_end(args);
	g_array_append_val(table->rows, row);
}

void table_under(struct table *table, int column, const char *text)
{
	struct row row = { .column = column };

	if (!text || !text[0])
		return;
	row.under = g_strdup(text);
	g_array_append_val(table->rows, row);
}

/* Print @text cut to @width columns; the last cell of a line is not padded. */
static void print_cell(const char *text, int width, bool pad)
{
	glong len = g_utf8_strlen(text, -1);

	if (len > width) {
		char *cut = g_utf8_substring(text, 0, MAX(width - 3, 0));

		printf("%s...", cut);
		g_free(cut);
		len = width;
	} else {
		fputs(text, stdout);
	}
	if (pad)
		printf("%*s", (int)(width - len + GAP), "");
}

static void print_row(const struct table *table, char *const *cells, const int *widths,
		      const char *indent)
{
	int last = table->n - 1;

	while (last > 0 && !cells[last][0])
		last--;
	fputs(indent, stdout);
	for (int i = 0; i <= last; i++)
		print_cell(cells[i], widths[i], i < last);
	putchar('\n');
}

/* The widest columns give way until a line fits. */
static void fit(int *widths, int n, int room)
{
	for (;;) {
		int total = (n - 1) * GAP, widest = 0;

		for (int i = 0; i < n; i++) {
			total += widths[i];
			widest = widths[i] > widths[widest] ? i : widest;
		}
		if (total <= room || widths[widest] <= 8)
			return;
		widths[widest]--;
	}
}

void table_print(struct table *table, const char *indent)
{
	bool bold = isatty(STDOUT_FILENO) && !getenv("NO_COLOR");
	int *widths = g_new0(int, table->n);

	for (int i = 0; i < table->n; i++) {
		widths[i] = (int)g_utf8_strlen(table->heads[i], -1);
		for (size_t k = 0; k < table->rows->len; k++) {
			const struct row *row = &g_array_index(table->rows, struct row, k);

			if (row->cells)
				widths[i] = MAX(widths[i], (int)g_utf8_strlen(row->cells[i], -1));
		}
	}
	fit(widths, table->n, OUT_COLUMNS - (int)strlen(indent));
	if (bold)
		fputs("\033[1m", stdout);
	print_row(table, table->heads, widths, indent);
	if (bold)
		fputs("\033[0m", stdout);
	for (size_t k = 0; k < table->rows->len; k++) {
		struct row *row = &g_array_index(table->rows, struct row, k);
		int at = (int)strlen(indent);

		if (row->cells) {
			print_row(table, row->cells, widths, indent);
			continue;
		}
		for (int i = 0; i < row->column; i++)
			at += widths[i] + GAP;
		printf("%*s", at, "");
		print_cell(row->under, OUT_COLUMNS - at, false);
		putchar('\n');
	}
	g_free(widths);
	table_free(table);
}

void table_free(struct table *table)
{
	for (size_t k = 0; k < table->rows->len; k++) {
		struct row *row = &g_array_index(table->rows, struct row, k);

		g_strfreev(row->cells);
		g_free(row->under);
	}
	g_strfreev(table->heads);
	g_array_free(table->rows, TRUE);
	g_free(table);
}

struct fold {
	bool never;
	GHashTable *groups; /* key -> GArray of int */
	GHashTable *taken;  /* keys that fold_take() has given */
};

static void free_numbers(void *numbers)
{
	g_array_free(numbers, TRUE);
}

struct fold *fold_new(bool never)
{
	struct fold *fold = g_new0(struct fold, 1);

	fold->never = never;
	fold->groups = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, free_numbers);
	fold->taken = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	return fold;
}

void fold_free(struct fold *fold)
{
	g_hash_table_destroy(fold->groups);
	g_hash_table_destroy(fold->taken);
	g_free(fold);
}

void fold_add(struct fold *fold, const char *key, int number)
{
	GArray *numbers = g_hash_table_lookup(fold->groups, key);

	if (!numbers) {
		numbers = g_array_new(FALSE, FALSE, sizeof(int));
		g_hash_table_insert(fold->groups, g_strdup(key), numbers);
	}
	g_array_append_val(numbers, number);
}

GArray *fold_take(struct fold *fold, const char *key, bool *ret_few)
{
	GArray *numbers = g_hash_table_lookup(fold->groups, key);

	*ret_few = fold->never || !numbers || numbers->len < FOLD_AT;
	if (*ret_few || !g_hash_table_add(fold->taken, g_strdup(key)))
		return NULL;
	return numbers;
}

void out_wrapped(const char *text)
{
	char **words = g_strsplit(text, " ", -1);
	int at = 0;

	for (int i = 0; words[i]; i++) {
		int width = (int)g_utf8_strlen(words[i], -1);

		if (at && at + 1 + width > OUT_COLUMNS) {
			printf("\n ");
			at = 1;
		}
		at += printf("%s", at ? " " : "");
		print_cell(words[i], OUT_COLUMNS - at, false);
		at += width;
	}
	putchar('\n');
	g_strfreev(words);
}

void out_json(json_t *object)
{
	/* Text was made safe before, so this is a defect of ours; it must not look like nothing. */
	if (!object)
		object = json_pack("{s:s, s:s}", "type", "error", "text",
				   "a row could not be written");
	json_dumpf(object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(12));
	putchar('\n');
	json_decref(object);
}

json_t *out_address(uint64_t addr)
{
	char text[24];

	if (!addr)
		return json_null();
	snprintf(text, sizeof(text), "0x%lx", (unsigned long)addr);
	return json_string(text);
}

json_t *out_text(const char *text)
{
	return text && text[0] ? json_string(text) : json_null();
}

const char *out_events(unsigned events)
{
	static const char *const words[] = { "-",   "in",     "pri",	 "in+pri",
					     "out", "in+out", "pri+out", "in+pri+out" };

	return words[events & (POLLIN | POLLPRI | POLLOUT)];
}

/* Three digits, "2.5", "97.1", "970", never "1e+03". */
static char *three_digits(double value, const char *unit)
{
	char text[32];

	snprintf(text, sizeof(text), "%.*f", value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2, value);
	while (strchr(text, '.') && text[strlen(text) - 1] == '0')
		text[strlen(text) - 1] = 0;
	if (text[strlen(text) - 1] == '.')
		text[strlen(text) - 1] = 0;
	return g_strdup_printf("%s %s", text, unit);
}

char *out_duration(int64_t ns)
{
	if (ns < 0)
		return g_strdup("for ever");
	if (ns < 1000)
		return g_strdup_printf("%d ns", (int)ns);
	if (ns < 999500)
		return three_digits(ns / 1e3, "us");
	if (ns < 999500000)
		return three_digits(ns / 1e6, "ms");
	if (ns < 120 * 1000000000LL)
		return three_digits(ns / 1e9, "s");
	return g_strdup_printf("%lld min", (long long)(ns / 60000000000LL));
}

static int by_value(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;

	return (x > y) - (x < y);
}

char *out_ranges(GArray *numbers)
{
	GString *text = g_string_new(NULL);
	size_t i = 0;

	g_array_sort(numbers, by_value);
	for (int ranges = 0; i < numbers->len && ranges < MAX_RANGES; ranges++) {
		size_t first = i;

		while (i + 1 < numbers->len &&
		       g_array_index(numbers, int, i + 1) == g_array_index(numbers, int, i) + 1)
			i++;
		g_string_append_printf(text, "%s%d", ranges ? " " : "",
				       g_array_index(numbers, int, first));
		if (i > first)
			g_string_append_printf(text, "-%d", g_array_index(numbers, int, i));
		i++;
	}
	if (i < numbers->len)
		g_string_append_printf(text, " ... (%zu more)", numbers->len - i);
	return g_string_free(text, FALSE);
}
