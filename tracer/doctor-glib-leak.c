// SPDX-License-Identifier: MIT
/*
 * HANDLER LEAK of a GMainContext: its sources of one callback become more and more
 * (doctor-growth.h).
 *
 * Those that are new must be known to be of no use: watched descriptors that are never ready, or
 * timeouts that have been called and stay. Timeouts that wait for their first time may all go when
 * it comes, as those of requests under way do: of them nothing is said.
 */
#include <string.h>

#include "tracer/doctor-glib.h"
#include "tracer/doctor-growth.h"

struct group {
	uint64_t gctx, called;
	struct growth growth;
	int fresh, stayed; /* those that came during the visit; of these, called and still there */
	bool has_fds;
};

struct seen {
	uint64_t addr;
	unsigned id;
	int64_t ready_ns;
	bool fresh, stayed;
	struct group *group;
};

struct glib_leak {
	GPtrArray *groups; /* struct group */
	GHashTable *seen;  /* of the last reading: address -> struct seen */
	GHashTable *fds;   /* of the sources that came during the visit */
	struct growth_readings readings;
};

struct glib_leak *glib_leak_new(void)
{
	struct glib_leak *leak = g_new0(struct glib_leak, 1);

	leak->groups = g_ptr_array_new_with_free_func(g_free);
	leak->seen = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);
	leak->fds = g_hash_table_new(NULL, NULL);
	return leak;
}

void glib_leak_free(struct glib_leak *leak)
{
	if (!leak)
		return;
	g_hash_table_destroy(leak->seen);
	g_hash_table_destroy(leak->fds);
	g_ptr_array_free(leak->groups, TRUE);
	g_free(leak);
}

/* --- readings --------------------------------------------------------------------------------- */

static struct group *group_of(struct glib_leak *leak, uint64_t gctx, uint64_t called)
{
	struct group *group;

	for (size_t i = 0; i < leak->groups->len; i++) {
		group = leak->groups->pdata[i];
		if (group->gctx == gctx && group->called == called)
			return group;
	}
	group = g_new0(struct group, 1);
	group->gctx = gctx;
	group->called = called;
	g_ptr_array_add(leak->groups, group);
	return group;
}

static void note_fds(struct glib_leak *leak, struct group *group, const GArray *fds, bool fresh)
{
	for (size_t i = 0; i < fds->len; i++) {
		int fd = g_array_index(fds, GPollFD, i).fd;

		group->has_fds = true;
		if (fresh)
			g_hash_table_add(leak->fds, GINT_TO_POINTER(fd));
	}
}

static void take_source(struct glib_leak *leak, const struct loop_gcontext *g,
			const struct loop_source *s, GHashTable *now)
{
	const struct seen *was = g_hash_table_lookup(leak->seen, &s->addr);
	struct seen *seen = g_new0(struct seen, 1);

	seen->addr = s->addr;
	seen->id = s->id;
	seen->ready_ns = s->ready_ns;
	seen->group = group_of(leak, g->addr, glib_called(s));
	if (was && was->id == s->id) {
		seen->fresh = was->fresh;
		/* A timeout's next time is set when it was called, and wants to be again. */
		seen->stayed = was->stayed || (was->ready_ns >= 0 && s->ready_ns > was->ready_ns);
	} else {
		seen->fresh = leak->readings.n > 0;
	}
	note_fds(leak, seen->group, s->fds, seen->fresh);
	note_fds(leak, seen->group, s->unix_fds, seen->fresh);
	g_hash_table_insert(now, &seen->addr, seen);
}

/* NULL if a list did not hold still. */
static GHashTable *take_all(const struct doctor *d)
{
	GHashTable *now = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);

	for (size_t i = 0; i < d->loops->gcontexts->len; i++) {
		const struct loop_gcontext *g = d->loops->gcontexts->pdata[i];

		if (g->damaged_at) {
			g_hash_table_destroy(now);
			return NULL;
		}
		for (size_t k = 0; k < g->sources->len; k++) {
			const struct loop_source *s = g->sources->pdata[k];

			if (s->flags & SOURCE_ACTIVE && !s->is_aio_context)
				take_source(d->glib_leak, g, s, now);
		}
	}
	return now;
}

static void count(const struct doctor *d, GHashTable *now, struct group *group)
{
	const struct loop_gcontext *g = loops_gcontext(d->loops, group->gctx);
	struct glib_leak *leak = d->glib_leak;
	GHashTableIter iter;
	const struct seen *s;
	int n = 0;

	group->fresh = group->stayed = 0;
	g_hash_table_iter_init(&iter, now);
	while (g_hash_table_iter_next(&iter, NULL, (void **)&s)) {
		if (s->group != group)
			continue;
		n++;
		group->fresh += s->fresh;
		group->stayed += s->fresh && s->stayed;
	}
	g_hash_table_iter_init(&iter, leak->seen);
	while (g_hash_table_iter_next(&iter, NULL, (void **)&s)) {
		const struct seen *is = g_hash_table_lookup(now, &s->addr);

		group->growth.shrank |= s->group == group && (!is || is->id != s->id);
	}
	growth_count(&group->growth, &leak->readings, n, g ? growth_turns(d, g->tid) : 0);
}

void glib_leak_sample(struct doctor *d, int64_t visit_ns)
{
	struct glib_leak *leak = d->glib_leak;
	GHashTable *seen;

	if (!glib_only(d) || !growth_is_due(&leak->readings) || doctor_read_loops(d, NULL))
		return;
	growth_tried(&leak->readings, visit_ns);
	seen = take_all(d);
	if (!seen)
		return;
	for (size_t i = 0; i < leak->groups->len; i++)
		count(d, seen, leak->groups->pdata[i]);
	g_hash_table_destroy(leak->seen);
	leak->seen = seen;
	leak->readings.n++;
}

/* --- verdict ---------------------------------------------------------------------------------- */

/* A source of the group, for its words. */
static const struct loop_source *example_of(const struct loop_gcontext *g, uint64_t called)
{
	for (size_t i = 0; i < g->sources->len; i++) {
		const struct loop_source *s = g->sources->pdata[i];

		if (glib_called(s) == called)
			return s;
	}
	return NULL;
}

static bool is_leak(const struct doctor *d, const struct group *group)
{
	if (!growth_lasts(&group->growth))
		return false;
	return group->has_fds ? !growth_some_was_ready(d, d->glib_leak->fds)
			      : 2 * group->stayed >= group->fresh;
}

bool glib_leak_is_open(const struct doctor *d)
{
	for (size_t i = 0; i < d->glib_leak->groups->len; i++) {
		const struct group *group = d->glib_leak->groups->pdata[i];

		if (growth_is_open(&group->growth))
			return true;
	}
	return false;
}

static void conclude(struct doctor *d, const struct group *group)
{
	const struct loop_gcontext *g = loops_gcontext(d->loops, group->gctx);
	struct patient *p = g ? glib_home(d, g) : NULL;
	const struct loop_source *s = p ? example_of(g, group->called) : NULL;
	struct finding *f;
	char *name, *words;

	if (!s || !is_leak(d, group))
		return;
	name = glib_source_name(d, s);
	words = glib_source_words(d, g, s);
	f = finding_new(d, "HANDLER LEAK", p);
	f->culprit = g_strdup_printf("more and more sources like %s", name);
	growth_say(d, &group->growth, f);
	if (group->has_fds)
		finding_say(f, "no poll found a descriptor of the new ones ready");
	else
		finding_say(f, "%d of the %d new ones have been called and stay", group->stayed,
			    group->fresh);
	finding_say(f, "each is %s", words);
	f->advice = "Who attaches it has to destroy it when it is of no use any more "
		    "(g_source_remove(), or G_SOURCE_REMOVE): look for the path that does not.";
	g_free(name);
	g_free(words);
}

void glib_leak_conclude(struct doctor *d)
{
	for (size_t i = 0; i < d->glib_leak->groups->len; i++)
		conclude(d, d->glib_leak->groups->pdata[i]);
}
