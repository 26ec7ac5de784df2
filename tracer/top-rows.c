// SPDX-License-Identifier: MIT
/* Rows of top: their order, what a filter finds, and what a histogram says. See top.h. */
#include <string.h>

#include "tracer/top.h"

uint64_t top_hist_edge(unsigned bucket)
{
	unsigned octave = bucket >> TOP_SUB_BITS, sub = bucket & ((1 << TOP_SUB_BITS) - 1);

	if (bucket == TOP_BUCKETS - 1)
		return UINT64_MAX;
	if (!octave)
		return bucket;
	return (((1ULL << TOP_SUB_BITS) + sub + 1) << (octave - 1)) - 1;
}

uint64_t top_hist_quantile(const uint64_t *hist, uint64_t n, unsigned per_mille, uint64_t max)
{
	/* How many are above it, at most. */
	uint64_t above = n / 1000 * (1000 - per_mille) + n % 1000 * (1000 - per_mille) / 1000;
	uint64_t seen = 0;

	for (unsigned b = 0; b < TOP_BUCKETS; b++) {
		seen += hist[b];
		if (seen && seen >= n - above)
			return MIN(top_hist_edge(b), max);
	}
	return max;
}

static const char *const sort_names[TOP_SORTS] = {
	[TOP_BY_TIME] = "time", [TOP_BY_RATE] = "rate", [TOP_BY_P50] = "p50",
	[TOP_BY_P99] = "p99",	[TOP_BY_MAX] = "max",	[TOP_BY_NAME] = "name",
};

const char *top_sort_name(enum top_sort sort)
{
	return sort_names[sort];
}

int top_sort_of(const char *name)
{
	for (int i = 0; i < TOP_SORTS; i++)
		if (!strcmp(name, sort_names[i]))
			return i;
	return -1;
}

static double value_of(const struct top_row *row, enum top_sort sort)
{
	switch (sort) {
	case TOP_BY_RATE:
		return (double)row->calls;
	case TOP_BY_P50:
		return (double)row->p50_ns;
	case TOP_BY_P99:
		return (double)row->p99_ns;
	case TOP_BY_MAX:
		return (double)row->max_ns;
	default:
		return (double)row->total_ns;
	}
}

/* Rows that are equal in what is sorted by keep one order, from one interval to the next. */
static int compare_rows(const void *a, const void *b, void *sort)
{
	const struct top_row *x = a, *y = b;
	enum top_sort by = GPOINTER_TO_INT(sort);
	double vx = value_of(x, by), vy = value_of(y, by);
	int names = strcmp(x->name, y->name);

	if (by != TOP_BY_NAME && vx != vy)
		return vx < vy ? 1 : -1;
	if (names)
		return names;
	if (x->key.tid != y->key.tid)
		return x->key.tid < y->key.tid ? -1 : 1;
	if (x->key.kind != y->key.kind)
		return x->key.kind < y->key.kind ? -1 : 1;
	return x->key.cb < y->key.cb ? -1 : x->key.cb > y->key.cb;
}

void top_sort_rows(GArray *rows, enum top_sort sort)
{
	g_array_sort_with_data(rows, compare_rows, GINT_TO_POINTER(sort));
}

static bool contains(const char *text, const char *part)
{
	char *a = g_utf8_casefold(text, -1), *b = g_utf8_casefold(part, -1);
	bool found = strstr(a, b) != NULL;

	g_free(a);
	g_free(b);
	return found;
}

bool top_row_matches(const struct top_row *row, const char *text)
{
	return contains(row->name, text) || contains(row->loop, text) ||
	       contains(top_kind_name(row->key.kind), text);
}

const char *top_kind_name(uint32_t kind)
{
	static const char *const names[TOP_KINDS] = {
		[TOP_HANDLER] = "handler",   [TOP_BH] = "bh",
		[TOP_TIMER] = "timer",	     [TOP_SOURCE] = "source",
		[TOP_NOTIFIER] = "notifier", [TOP_BQL] = "bql",
	};

	return kind < TOP_KINDS ? names[kind] : "?";
}

/* --- rows that stay --- */

static void clear_frozen(void *frozen)
{
	struct top_frozen *f = frozen;

	g_free(f->row.name);
	g_free((char *)f->row.loop);
}

GArray *top_frozen_new(void)
{
	GArray *frozen = g_array_new(FALSE, TRUE, sizeof(struct top_frozen));

	g_array_set_clear_func(frozen, clear_frozen);
	return frozen;
}

static int find_frozen(const GArray *frozen, const struct top_key *key)
{
	for (size_t i = 0; i < frozen->len; i++)
		if (!memcmp(&g_array_index(frozen, struct top_frozen, i).row.key, key,
			    sizeof(*key)))
			return (int)i;
	return -1;
}

bool top_is_frozen(const GArray *frozen, const struct top_key *key)
{
	return find_frozen(frozen, key) >= 0;
}

static int by_place(const void *a, const void *b)
{
	return (int)((const struct top_frozen *)a)->at - (int)((const struct top_frozen *)b)->at;
}

void top_freeze(GArray *frozen, const struct top_row *row, unsigned at)
{
	struct top_frozen f = { .at = at };
	int old = find_frozen(frozen, &row->key);

	if (old >= 0) {
		g_array_remove_index(frozen, old);
		return;
	}
	f.row.key = row->key;
	f.row.name = g_strdup(row->name);
	f.row.loop = g_strdup(row->loop);
	g_array_append_val(frozen, f);
	g_array_sort(frozen, by_place);
}

static const struct top_row *find_row(const GArray *rows, const struct top_key *key)
{
	for (size_t i = 0; i < rows->len; i++) {
		const struct top_row *row = &g_array_index(rows, struct top_row, i);

		if (!memcmp(&row->key, key, sizeof(*key)))
			return row;
	}
	return NULL;
}

GArray *top_arrange(const GArray *rows, enum top_sort sort, const char *filter,
		    const GArray *frozen)
{
	GArray *shown = g_array_new(FALSE, FALSE, sizeof(struct top_row));

	for (size_t i = 0; i < rows->len; i++) {
		const struct top_row *row = &g_array_index(rows, struct top_row, i);

		if (!top_is_frozen(frozen, &row->key) && top_row_matches(row, filter))
			g_array_append_vals(shown, row, 1);
	}
	top_sort_rows(shown, sort);
	for (size_t i = 0; i < frozen->len; i++) {
		const struct top_frozen *f = &g_array_index(frozen, struct top_frozen, i);
		const struct top_row *row = find_row(rows, &f->row.key);

		g_array_insert_vals(shown, MIN(f->at, shown->len), row ? row : &f->row, 1);
	}
	return shown;
}
