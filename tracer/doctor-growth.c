// SPDX-License-Identifier: MIT
/* See doctor-growth.h. */
#include "tracer/clock.h"
#include "tracer/doctor-growth.h"

#define READINGS     8
#define MIN_READINGS 5
#define MIN_GROWTH   6

bool growth_is_due(const struct growth_readings *readings)
{
	return now_ns() >= readings->next_ns && readings->n < READINGS;
}

void growth_tried(struct growth_readings *readings, int64_t visit_ns)
{
	readings->next_ns = now_ns() + visit_ns / (READINGS + 1);
}

void growth_count(struct growth *g, const struct growth_readings *readings, int n)
{
	if (!readings->n)
		g->first = n;
	else
		g->more += n > g->last;
	g->last = n;
}

bool growth_lasts(const struct growth *g, const struct growth_readings *readings)
{
	return readings->n >= MIN_READINGS && !g->shrank && g->last - g->first >= MIN_GROWTH &&
	       g->more + 2 >= readings->n;
}

bool growth_some_was_ready(const struct doctor *d, GHashTable *fds)
{
	GArray *watched = watch_read_fds(d->watch);
	bool ready = false;

	for (size_t i = 0; i < watched->len && !ready; i++) {
		const struct watched_fd *w = &g_array_index(watched, struct watched_fd, i);

		ready = w->value.ready && g_hash_table_contains(fds, GINT_TO_POINTER(w->key.fd));
	}
	g_array_free(watched, TRUE);
	return ready;
}

void growth_say(const struct doctor *d, const struct growth *g,
		const struct growth_readings *readings, struct finding *f)
{
	f->span = g_strdup_printf("%d more in %.1f s", g->last - g->first,
				  (double)(now_ns() - d->start_ns) / 1e9);
	finding_say(f, "%d at first, %d at last; more at %d of %d readings, and none went",
		    g->first, g->last, g->more, readings->n - 1);
}
