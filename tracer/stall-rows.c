// SPDX-License-Identifier: MIT
/* Stalls that are equal are one row, with a count. See stalls.h. */
#include <inttypes.h>
#include <string.h>

#include "tracer/stalls.h"

#define MAX_ROWS 256 /* more different ones are told together */

struct stall_rows {
	struct doctor *d;
	GPtrArray *rows;
	GHashTable *by_key; /* char * -> struct stall_row */
};

const char *stall_kind_name(enum stall_kind kind)
{
	static const char *const names[] = {
		[STALL_UNKNOWN] = "unknown", [STALL_RUNNING] = "running", [STALL_CPU] = "cpu",
		[STALL_SYSCALL] = "syscall", [STALL_LOCK] = "lock",	  [STALL_NESTED] = "nested",
		[STALL_FAULT] = "fault",     [STALL_STOPPED] = "stopped",
	};

	return names[kind];
}

static void slept_clear(void *data)
{
	g_free(((struct stall_slept *)data)->what);
}

static void row_free(void *data)
{
	struct stall_row *row = data;

	g_free(row->role);
	g_free(row->culprit);
	g_free(row->what);
	g_array_unref(row->calls);
	stall_view_free(row->view);
	g_free(row);
}

GArray *stall_slept_array(void)
{
	GArray *slept = g_array_new(FALSE, FALSE, sizeof(struct stall_slept));

	g_array_set_clear_func(slept, slept_clear);
	return slept;
}

struct stall_row *stall_row_new(void)
{
	struct stall_row *row = g_new0(struct stall_row, 1);

	row->calls = stall_slept_array();
	return row;
}

GPtrArray *stall_row_array(void)
{
	return g_ptr_array_new_with_free_func(row_free);
}

struct stall_rows *stall_rows_new(struct doctor *d)
{
	struct stall_rows *rows = g_new0(struct stall_rows, 1);

	rows->d = d;
	rows->rows = stall_row_array();
	rows->by_key = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	return rows;
}

void stall_rows_free(struct stall_rows *rows)
{
	if (!rows)
		return;
	g_hash_table_destroy(rows->by_key);
	g_ptr_array_free(rows->rows, TRUE);
	g_free(rows);
}

char *stall_call_words(const struct stalls_call *call, char *(*describe_fd)(void *data, int fd),
		       void *data)
{
	bool has_fd;
	const char *name = doctor_call_name((long)call->nr, &has_fd);
	char *fd, *text;

	if (call->nr < 0)
		return g_strdup("a page fault");
	if (!name)
		return g_strdup_printf("system call %lld", (long long)call->nr);
	if (!has_fd)
		return g_strdup(name);
	fd = describe_fd(data, (int)call->arg);
	text = g_strdup_printf("%s on %s", name, fd);
	g_free(fd);
	return text;
}

static char *describe_fd(void *doctor, int fd)
{
	return doctor_describe_fd(doctor, fd);
}

static const struct stalls_call *longest_call(const struct stall *stall)
{
	const struct stalls_call *longest = &stall->calls[0];

	for (int i = 1; i < STALLS_CALLS; i++)
		if (stall->calls[i].ns > longest->ns)
			longest = &stall->calls[i];
	return longest;
}

enum stall_kind stall_kind_of(const int64_t split[])
{
	static const enum stall_kind kinds[] = { [STALLS_RUNNING] = STALL_RUNNING,
						 [STALLS_RUNNABLE] = STALL_CPU,
						 [STALLS_BLOCKED] = STALL_SYSCALL,
						 [STALLS_STOPPED] = STALL_STOPPED };
	int most = 0;

	for (int i = 1; i < STALLS_STATES; i++)
		if (split[i] > split[most])
			most = i;
	return kinds[most];
}

/* What kept it for most of its time, and that in words. */
static enum stall_kind kind_of(struct doctor *d, const struct stall *stall, char **ret_what)
{
	enum stall_kind kind = stall_kind_of(stall->split);
	const struct stall_view *v = stall->view;

	*ret_what = NULL;
	if (kind != STALL_SYSCALL)
		return kind;
	if (v && v->lock.addr) {
		*ret_what = v->lock.bql ? g_strdup("the big lock")
					: g_strdup_printf("the mutex at 0x%" PRIx64, v->lock.addr);
		return STALL_LOCK;
	}
	if (v && v->nested) {
		*ret_what = g_strdup(v->nested);
		return STALL_NESTED;
	}
	*ret_what = stall_call_words(longest_call(stall), describe_fd, d);
	return longest_call(stall)->nr < 0 ? STALL_FAULT : STALL_SYSCALL;
}

static GArray *slept_of(struct doctor *d, const struct stall *stall)
{
	GArray *slept = stall_slept_array();

	for (int i = 0; i < STALLS_CALLS; i++) {
		struct stall_slept one;

		if (!stall->calls[i].ns)
			continue;
		one.what = stall_call_words(&stall->calls[i], describe_fd, d);
		one.ns = (int64_t)stall->calls[i].ns;
		g_array_append_val(slept, one);
	}
	return slept;
}

static const char *culprit_of(const struct stall *stall, enum stall_kind kind)
{
	if (kind == STALL_STOPPED)
		return "nobody of the program: it was stopped";
	if (stall->view)
		return stall->view->culprit;
	if (kind == STALL_CPU)
		return "nobody of the program: others had the CPUs";
	return "unknown: it was over before a stack could be taken";
}

static struct stall_row *find_row(struct stall_rows *rows, const struct stall *stall)
{
	char *what, *key;
	enum stall_kind kind = kind_of(rows->d, stall, &what);
	const char *culprit = culprit_of(stall, kind);
	struct stall_row *row;

	if (rows->rows->len >= MAX_ROWS) {
		culprit = "others, of too many kinds to be told apart";
		kind = STALL_UNKNOWN;
		g_clear_pointer(&what, g_free);
	}
	key = g_strdup_printf("%d/%s/%d/%s", stall->tid, culprit, kind, what ?: "");
	row = g_hash_table_lookup(rows->by_key, key);
	if (row) {
		g_free(key);
		g_free(what);
		return row;
	}
	row = stall_row_new();
	row->tid = stall->tid;
	row->role = g_strdup(stall->role);
	row->culprit = g_strdup(culprit);
	row->kind = kind;
	row->what = what;
	g_ptr_array_add(rows->rows, row);
	g_hash_table_insert(rows->by_key, key, row);
	return row;
}

void stall_rows_add(struct stall_rows *rows, const struct stall *stall)
{
	struct stall_row *row = find_row(rows, stall);
	bool better = stall->view && (!row->view || !row->view->backlog.known);

	row->count++;
	row->total_ns += stall->ns;
	if (better || (stall->view && stall->ns > row->longest_ns && stall->view->backlog.known)) {
		stall_view_free(row->view);
		row->view = stall->view;
		row->view->refs++;
	}
	if (stall->ns <= row->longest_ns)
		return;
	row->longest_ns = stall->ns;
	row->since_attach = stall->since_attach;
	row->goes_on = stall->goes_on;
	row->split_known = true;
	memcpy(row->split, stall->split, sizeof(row->split));
	g_array_unref(row->calls);
	row->calls = slept_of(rows->d, stall);
}

static int by_length(const void *a, const void *b)
{
	const struct stall_row *x = *(struct stall_row *const *)a;
	const struct stall_row *y = *(struct stall_row *const *)b;

	return (x->longest_ns < y->longest_ns) - (x->longest_ns > y->longest_ns);
}

const GPtrArray *stall_rows_sorted(struct stall_rows *rows)
{
	g_ptr_array_sort(rows->rows, by_length);
	return rows->rows;
}
