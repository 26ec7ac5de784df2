// SPDX-License-Identifier: MIT
/* See doctor-growth.h. */
#include "tracer/clock.h"
#include "tracer/doctor-growth.h"

#define READINGS     8 /* of a visit; it stays longer for what is open: */
#define MAX_READINGS 24
#define MIN_READINGS 5
#define MIN_GROWTH   6
#define MIN_TURNS    2 /* between two that count */

bool growth_is_due(const struct growth_readings *readings)
{
	return now_ns() >= readings->next_ns && readings->n < MAX_READINGS;
}

void growth_tried(struct growth_readings *readings, int64_t visit_ns)
{
	readings->next_ns = now_ns() + visit_ns / (READINGS + 1);
}

void growth_count(struct growth *g, const struct growth_readings *readings, int n, uint64_t turns)
{
	/* Of a loop that is not known to turn (turns 0) all count. */
	if (g->n && turns && turns < g->turns + MIN_TURNS && n <= g->last)
		return;
	if (!readings->n)
		g->first = n;
	else
		g->more += n > g->last;
	g->n += g->n ? 1 : readings->n + 1; /* what comes later was none in all before */
	g->last = n;
	g->turns = turns;
}

static bool grows(const struct growth *g)
{
	return !g->shrank && g->more && g->more + 2 >= g->n;
}

bool growth_lasts(const struct growth *g)
{
	return grows(g) && g->n >= MIN_READINGS && g->last - g->first >= MIN_GROWTH;
}

bool growth_is_open(const struct growth *g)
{
	return grows(g) && g->more > 1 && !growth_lasts(g);
}

uint64_t growth_turns(const struct doctor *d, pid_t tid)
{
	struct watch_thread w = { 0 };

	return tid && watch_read_thread(d->watch, tid, &w) ? w.turns : 0;
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

void growth_say(const struct doctor *d, const struct growth *g, struct finding *f)
{
	f->span = g_strdup_printf("%d more in %.1f s", g->last - g->first,
				  (double)(now_ns() - d->start_ns) / 1e9);
	finding_say(f, "%d at first, %d at last; more at %d of %d readings, and none went",
		    g->first, g->last, g->more, g->n - 1);
}
