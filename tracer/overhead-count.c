// SPDX-License-Identifier: MIT
/* How often probes would be hit, and which of them a budget allows. See overhead.h. */
#include <bpf/bpf.h>
#include <errno.h>
#include <glib.h>
#include <string.h>
#include <linux/types.h>
#include <unistd.h>

#include "bpf/overhead.h"
#include "bpf/overhead.skel.h"
#include "tracer/attach.h"
#include "tracer/clock.h"
#include "tracer/overhead.h"
#include "tracer/reader.h"

static uint64_t hits_of(int map, uint32_t site)
{
	int cpus = libbpf_num_possible_cpus();
	uint64_t *counts = g_new0(uint64_t, MAX(cpus, 1)), sum = 0;

	if (!bpf_map_lookup_elem(map, &site, counts))
		for (int i = 0; i < cpus; i++)
			sum += counts[i];
	g_free(counts);
	return sum;
}

/* The places that calls come back to, with their counts. */
static GArray *take_ends(int map)
{
	GArray *ends = g_array_new(FALSE, FALSE, sizeof(struct overhead_end));
	struct overhead_return key, *last = NULL;

	for (; !bpf_map_get_next_key(map, last, &key); last = &key) {
		struct overhead_end end = { key.site, key.addr, 0 };

		if (!bpf_map_lookup_elem(map, &key, &end.hits))
			g_array_append_val(ends, end);
	}
	return ends;
}

static void tell_above(int map, const struct overhead_site *sites, size_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		int32_t above = sites[i].ends ? sites[i].site.stack_bytes : -1;

		bpf_map_update_elem(map, &i, &above, BPF_ANY);
	}
}

int overhead_count(pid_t pid, struct overhead_site *sites, size_t n, int ms, GArray **ret_ends,
		   double *ret_seconds, struct failure *why)
{
	struct overhead_bpf *skel = overhead_bpf__open();
	struct site *numbered = g_new0(struct site, n);
	struct attachment *attachment = NULL;
	int64_t begin;
	int err = skel ? 0 : bpf_failure(-errno, why);

	if (err)
		goto cleanup;
	skel->rodata->tgid = pid;
	attach_prepare(skel->progs.on_hit, ATTACH_BEST);
	err = overhead_bpf__load(skel);
	if (err) {
		err = bpf_failure(err, why);
		goto cleanup;
	}
	for (size_t i = 0; i < n; i++) {
		numbered[i] = sites[i].site;
		numbered[i].cookie = i;
	}
	tell_above(bpf_map__fd(skel->maps.above), sites, n);
	err = attach_sites(skel->progs.on_hit, ATTACH_BEST, pid, numbered, n, &attachment, why);
	if (err)
		goto cleanup;
	begin = now_ns();
	usleep((useconds_t)ms * 1000);
	for (size_t i = 0; i < n; i++)
		sites[i].hits = hits_of(bpf_map__fd(skel->maps.hits), i);
	*ret_seconds = (double)(now_ns() - begin) / 1e9;
	*ret_ends = take_ends(bpf_map__fd(skel->maps.returns));

cleanup:
	attach_remove(attachment);
	overhead_bpf__destroy(skel);
	g_free(numbered);
	return err;
}

/* The unit that is the next to be left out; NULL if none is left. */
static struct overhead_unit *next_out(struct overhead_unit *units, size_t n)
{
	struct overhead_unit *next = NULL;

	for (size_t i = 0; i < n; i++) {
		struct overhead_unit *u = &units[i];

		if (u->left_out || !u->rank || u->percent <= 0)
			continue;
		if (!next || u->rank > next->rank ||
		    (u->rank == next->rank && u->percent > next->percent))
			next = u;
	}
	return next;
}

/* The unit that explains most of those that are left out and cost no more than @room; or NULL. */
static struct overhead_unit *next_in(struct overhead_unit *units, size_t n, double room)
{
	struct overhead_unit *next = NULL;

	for (size_t i = 0; i < n; i++) {
		struct overhead_unit *u = &units[i];

		if (!u->left_out || u->percent > room)
			continue;
		if (!next || u->rank < next->rank ||
		    (u->rank == next->rank && u->percent < next->percent))
			next = u;
	}
	return next;
}

double overhead_choose(struct overhead_unit *units, size_t n, double budget)
{
	struct overhead_unit *next;
	double rest = 0;

	for (size_t i = 0; i < n; i++) {
		units[i].left_out = false;
		rest += units[i].percent;
	}
	while (rest > budget && (next = next_out(units, n))) {
		next->left_out = true;
		rest -= next->percent;
	}
	/* The last one may have been so dear that there is room for others again. */
	while ((next = next_in(units, n, budget - rest))) {
		next->left_out = false;
		rest += next->percent;
	}
	return MAX(rest, 0);
}

/*
 * A hit is measured in a loop of nothing else, and all that it needs stays in the caches. A target
 * has other work between its hits, pays more for each, and for its own work besides, whose caches
 * they spoil: 2.0 to 2.8 times as much in all, says "make bench-overhead" of a guest that reads its
 * disk, of record and of top. A budget is a promise, so it counts with a little more.
 */
#define IN_TARGET 3

double overhead_percent(const struct overhead_cost *cost, double emulated, double stepped)
{
	return IN_TARGET * (emulated * cost->emulated_ns + stepped * cost->stepped_ns) / 1e7;
}
