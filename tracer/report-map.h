/* SPDX-License-Identifier: MIT */
/*
 * A hash map for what is looked up at every event: four numbers to a struct that begins with them.
 *
 *	struct report_map map = { .entry_size = sizeof(struct thing) };
 *	struct thing *thing = report_map_get(&map, (struct report_key){ addr, fd });
 *
 * Entries are made zeroed on first use, never move and go with the map. They are the only memory
 * that a report needs beside the reader's.
 */
#ifndef TRACER_REPORT_MAP_H
#define TRACER_REPORT_MAP_H

#include <stddef.h>
#include <stdint.h>

struct report_key {
	uint64_t a, b, c, d;
};

struct report_map {
	size_t entry_size;
	void **slots; /* a power of two of them, at most three quarters used */
	uint32_t n_slots, n;
};

/* The entry of @key, made if there is none. */
void *report_map_get(struct report_map *map, struct report_key key);
/* The entry of @key, or NULL. */
void *report_map_find(const struct report_map *map, struct report_key key);

/* Walk in no particular order: for (i = 0; (entry = report_map_next(map, &i));) */
void *report_map_next(const struct report_map *map, uint32_t *i);

/* Free the map and, after @release (may be NULL) has freed what they point to, its entries. */
void report_map_release(struct report_map *map, void (*release)(void *entry));

#endif
