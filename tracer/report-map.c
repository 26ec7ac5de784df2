// SPDX-License-Identifier: MIT
/* See report-map.h: open addressing, linear probing, nothing is ever removed. */
#include <glib.h>
#include <stdbool.h>

#include "tracer/report-map.h"

#define FIRST_SLOTS 16

static uint32_t hash(const struct report_key *key)
{
	uint64_t h = key->a * 0x9e3779b97f4a7c15ULL;

	h = (h ^ (h >> 32) ^ key->b) * 0xbf58476d1ce4e5b9ULL;
	h = (h ^ (h >> 32) ^ key->c) * 0x94d049bb133111ebULL;
	h = (h ^ (h >> 32) ^ key->d) * 0x9e3779b97f4a7c15ULL;
	return h >> 32;
}

static bool equal(const struct report_key *a, const struct report_key *b)
{
	return a->a == b->a && a->b == b->b && a->c == b->c && a->d == b->d;
}

/* Where the key is, or where it belongs. */
static void **slot_of(const struct report_map *map, const struct report_key *key)
{
	uint32_t mask = map->n_slots - 1, i = hash(key) & mask;

	while (map->slots[i] && !equal(map->slots[i], key))
		i = (i + 1) & mask;
	return &map->slots[i];
}

static void grow(struct report_map *map)
{
	struct report_map old = *map;
	void *entry;

	map->n_slots = old.n_slots ? old.n_slots * 2 : FIRST_SLOTS;
	map->slots = g_new0(void *, map->n_slots);
	for (uint32_t i = 0; (entry = report_map_next(&old, &i));)
		*slot_of(map, entry) = entry;
	g_free(old.slots);
}

void *report_map_find(const struct report_map *map, struct report_key key)
{
	return map->n_slots ? *slot_of(map, &key) : NULL;
}

void *report_map_get(struct report_map *map, struct report_key key)
{
	void **slot;

	if (map->n >= map->n_slots / 4 * 3)
		grow(map);
	slot = slot_of(map, &key);
	if (!*slot) {
		*slot = g_malloc0(map->entry_size);
		*(struct report_key *)*slot = key;
		map->n++;
	}
	return *slot;
}

void *report_map_next(const struct report_map *map, uint32_t *i)
{
	while (*i < map->n_slots) {
		void *entry = map->slots[(*i)++];

		if (entry)
			return entry;
	}
	return NULL;
}

void report_map_release(struct report_map *map, void (*release)(void *entry))
{
	void *entry;

	for (uint32_t i = 0; (entry = report_map_next(map, &i));) {
		if (release)
			release(entry);
		g_free(entry);
	}
	g_free(map->slots);
	*map = (struct report_map){ .entry_size = map->entry_size };
}
