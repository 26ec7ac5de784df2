// SPDX-License-Identifier: MIT
/* What the readers share, and the one that reads memory. See reader.h. */
#include <errno.h>
#include <string.h>

#include "tracer/reader.h"

#define FDS_MAX (1 << 18) /* fds of one poll set */

const char *read_way_name(enum read_way way)
{
	static const char *const names[] = { "mem", "iter", "probe" };

	return names[way];
}

static void free_list(void *list)
{
	g_array_free(list, TRUE);
}

static void clear_set(void *set)
{
	g_array_free(((struct poll_set *)set)->fds, TRUE);
}

struct tables *tables_new(size_t n_lists)
{
	struct tables *tables = g_new0(struct tables, 1);

	tables->lists = g_ptr_array_new_with_free_func(free_list);
	for (size_t i = 0; i < n_lists; i++)
		g_ptr_array_add(tables->lists, g_array_new(FALSE, TRUE, sizeof(struct element)));
	tables->sets = g_array_new(FALSE, TRUE, sizeof(struct poll_set));
	g_array_set_clear_func(tables->sets, clear_set);
	return tables;
}

void tables_clear(struct tables *tables)
{
	for (guint i = 0; i < tables->lists->len; i++)
		g_array_set_size(tables->lists->pdata[i], 0);
	g_array_set_size(tables->sets, 0);
	tables->lost = 0;
}

void tables_free(struct tables *tables)
{
	if (!tables)
		return;
	g_ptr_array_free(tables->lists, TRUE);
	g_array_free(tables->sets, TRUE);
	g_free(tables);
}

/* Timeouts come in four forms; @timeout is what ppoll's pointer leads to, -1 in both without one.
 */
static int64_t timeout_of(long nr, const uint64_t *args, const int64_t *timeout)
{
	int ms;

	switch (nr) {
	case NR_POLL:
		ms = (int)args[2];
		break;
	case NR_EPOLL_WAIT:
	case NR_EPOLL_PWAIT:
		ms = (int)args[3];
		break;
	case NR_PPOLL:
		if (timeout[0] < 0 || timeout[0] > INT64_MAX / 1000000000 - 1)
			return -1;
		return timeout[0] * 1000000000 + timeout[1];
	default:
		return -1;
	}
	return ms < 0 ? -1 : (int64_t)ms * 1000000;
}

struct poll_set *tables_add_set(struct tables *tables, pid_t tid, long nr, const uint64_t *args,
				const int64_t *timeout)
{
	struct poll_set set = { .tid = tid, .nr = nr, .epfd = -1 };

	set.timeout_ns = timeout_of(nr, args, timeout);
	if (nr != NR_POLL && nr != NR_PPOLL)
		set.epfd = (int)args[0];
	set.fds = g_array_new(FALSE, TRUE, sizeof(GPollFD));
	g_array_append_val(tables->sets, set);
	return &g_array_index(tables->sets, struct poll_set, tables->sets->len - 1);
}

/* Of what was read, where it is part of that: one read an element, and both of one moment. */
static int read_next(struct target *t, const struct list_spec *spec, const struct element *e,
		     uint64_t *ret)
{
	if (spec->next + sizeof(*ret) > spec->size)
		return target_read_u64(t, e->addr + spec->next, ret);
	memcpy(ret, e->bytes + spec->next, sizeof(*ret));
	return 0;
}

/*
 * A list that leads back into itself has no end: it is left when the element at the last power of
 * two is met again. That one is taken twice, so the caller sees that it does not point back there.
 */
static void read_list(struct target *t, const struct list_spec *spec, GArray *list)
{
	uint64_t at = spec->first, mark = 0;
	bool closed = false;

	while (at && !closed && list->len < LIST_MAX) {
		struct element e = { .addr = at };

		closed = at == mark;
		e.failed = target_read(t, at, e.bytes, spec->size) || read_next(t, spec, &e, &at);
		if (e.failed)
			at = 0;
		g_array_append_val(list, e);
		if (!(list->len & (list->len - 1)))
			mark = e.addr;
	}
}

static void read_set(struct target *t, const struct thread *thread, struct tables *tables)
{
	int64_t timeout[2] = { -1, -1 };
	struct poll_set *set;
	size_t n = thread->args[1];

	if (thread->nr == NR_PPOLL && thread->args[2])
		target_read(t, thread->args[2], timeout, sizeof(timeout));
	set = tables_add_set(tables, thread->tid, thread->nr, thread->args, timeout);
	if ((thread->nr != NR_POLL && thread->nr != NR_PPOLL) || !n || n > FDS_MAX)
		return;
	g_array_set_size(set->fds, n);
	if (target_read(t, thread->args[0], set->fds->data, n * sizeof(GPollFD)))
		g_array_set_size(set->fds, 0);
}

int tables_read_mem(struct target *t, const struct list_spec *specs, size_t n, bool sets,
		    struct tables *tables, struct failure *why)
{
	int err = sets ? target_refresh(t, why) : 0;

	if (err)
		return err;
	for (size_t i = 0; sets && i < t->threads->len; i++) {
		struct thread *thread = &g_array_index(t->threads, struct thread, i);

		if (thread->sleeping && is_wait_call(thread->nr))
			read_set(t, thread, tables);
	}
	for (size_t i = 0; i < n; i++)
		read_list(t, &specs[i], tables->lists->pdata[i]);
	return 0;
}

static int by_tid(const void *a, const void *b)
{
	return ((const struct poll_set *)a)->tid - ((const struct poll_set *)b)->tid;
}

int tables_read(enum read_way way, struct target *t, struct images *images,
		const struct list_spec *specs, size_t n, int timeout_ms, struct tables **ret,
		struct failure *why)
{
	struct tables *tables = tables_new(n);
	int err;

	if (way == READ_MEM)
		err = tables_read_mem(t, specs, n, true, tables, why);
	else
		err = tables_read_iter(t, specs, n, way == READ_ITER, tables, why);
	if (!err && way == READ_PROBE)
		err = tables_read_probe(t, images, timeout_ms, tables, why);
	if (err) {
		tables_free(tables);
		return err;
	}
	g_array_sort(tables->sets, by_tid);
	*ret = tables;
	return 0;
}
