// SPDX-License-Identifier: MIT
/* Reading the counters. See watch.h. */
#include <bpf/bpf.h>
#include <string.h>

#include "tracer/watch-private.h"

/* A map's keys and values, one after the other, padded as struct watched_... is. */
static GArray *read_map(const struct bpf_map *map, size_t value_at, size_t element)
{
	GArray *all = g_array_new(FALSE, TRUE, element);
	int fd = bpf_map__fd(map);
	uint8_t *row = g_malloc0(element);
	uint64_t key[3] = { 0 };
	bool first = true;

	while (!bpf_map_get_next_key(fd, first ? NULL : key, key)) {
		first = false;
		memcpy(row, key, MIN(sizeof(key), value_at));
		if (!bpf_map_lookup_elem(fd, key, row + value_at))
			g_array_append_vals(all, row, 1);
	}
	g_free(row);
	return all;
}

bool watch_read_thread(const struct watch *w, pid_t tid, struct watch_thread *ret)
{
	return !bpf_map_lookup_elem(bpf_map__fd(w->skel->maps.threads), &tid, ret);
}

GArray *watch_read_threads(const struct watch *w)
{
	GArray *tids = g_array_new(FALSE, FALSE, sizeof(pid_t));
	int fd = bpf_map__fd(w->skel->maps.threads);
	pid_t tid = 0;

	while (!bpf_map_get_next_key(fd, tid ? &tid : NULL, &tid))
		g_array_append_val(tids, tid);
	return tids;
}

struct watch_call watch_read_call(const struct watch *w, int number, pid_t tid)
{
	struct watch_call_key key = { (uint32_t)tid, (uint32_t)number };
	struct watch_call call = { 0 };

	bpf_map_lookup_elem(bpf_map__fd(w->skel->maps.calls), &key, &call);
	return call;
}

GArray *watch_read_fds(const struct watch *w)
{
	return read_map(w->skel->maps.fds, offsetof(struct watched_fd, value),
			sizeof(struct watched_fd));
}

GArray *watch_read_bhs(const struct watch *w)
{
	return read_map(w->skel->maps.bhs, offsetof(struct watched_bh, value),
			sizeof(struct watched_bh));
}

GArray *watch_read_timers(const struct watch *w)
{
	return read_map(w->skel->maps.timers, offsetof(struct watched_timer, value),
			sizeof(struct watched_timer));
}

GArray *watch_read_sources(const struct watch *w)
{
	return read_map(w->skel->maps.sources, offsetof(struct watched_source, value),
			sizeof(struct watched_source));
}

GArray *watch_read_ios(const struct watch *w)
{
	return read_map(w->skel->maps.ios, offsetof(struct watched_io, value),
			sizeof(struct watched_io));
}

size_t watch_sites(const struct watch *w)
{
	return w->sites;
}

uint64_t watch_lost(const struct watch *w)
{
	return w->skel->bss->lost;
}
