// SPDX-License-Identifier: MIT
/* Who runs a GMainContext, and what its sources are called. See doctor-glib.h. */
#include <inttypes.h>
#include <string.h>

#include "tracer/doctor-glib.h"

#define HOME_TRIES 5 /* of 100 ms: an iteration may take longer than one */

bool glib_only(const struct doctor *d)
{
	return !loops_main(d->loops);
}

void glib_note_homes(struct doctor *d)
{
	for (size_t i = 0; i < d->loops->gcontexts->len; i++) {
		const struct loop_gcontext *g = d->loops->gcontexts->pdata[i];
		uint64_t *key;

		if (!g->tid)
			continue;
		key = g_new(uint64_t, 1);
		*key = g->addr;
		g_hash_table_insert(d->glib_homes, key, GINT_TO_POINTER(g->tid));
	}
}

/* Is there a context that some thread may iterate, and none was seen to poll? */
static bool is_open(struct doctor *d, bool first)
{
	for (size_t i = 0; i < d->loops->gcontexts->len; i++) {
		const struct loop_gcontext *g = d->loops->gcontexts->pdata[i];

		if ((g->owned || first) && !glib_home(d, g))
			return true;
	}
	return false;
}

void glib_find_homes(struct doctor *d)
{
	/* What fails here costs verdicts on that context, and makes none. */
	for (int i = 0; glib_only(d) && i < HOME_TRIES && is_open(d, !i); i++)
		if (doctor_read_busy_loops(d, NULL))
			return;
}

struct patient *glib_home(struct doctor *d, const struct loop_gcontext *g)
{
	pid_t tid = g->tid;

	if (!tid)
		tid = GPOINTER_TO_INT(g_hash_table_lookup(d->glib_homes, &g->addr));
	return tid ? doctor_patient(d, tid) : NULL;
}

uint64_t glib_called(const struct loop_source *s)
{
	return s->callback ? s->callback : s->dispatch;
}

const struct loop_source *glib_source_at(const struct doctor *d, uint64_t addr,
					 const struct loop_gcontext **ret_g)
{
	for (size_t i = 0; i < d->loops->gcontexts->len; i++) {
		const struct loop_gcontext *g = d->loops->gcontexts->pdata[i];

		for (size_t k = 0; k < g->sources->len; k++) {
			const struct loop_source *s = g->sources->pdata[k];

			if (s->addr != addr)
				continue;
			if (ret_g)
				*ret_g = g;
			return s;
		}
	}
	return NULL;
}

const struct loop_source *glib_source_called(const struct doctor *d, uint64_t function,
					     const struct loop_gcontext **ret_g)
{
	const struct loop_source *found = NULL;
	int n = 0;

	for (size_t i = 0; i < d->loops->gcontexts->len; i++) {
		const struct loop_gcontext *g = d->loops->gcontexts->pdata[i];

		for (size_t k = 0; k < g->sources->len; k++) {
			const struct loop_source *s = g->sources->pdata[k];

			if (s->is_aio_context ||
			    (s->callback != function && s->dispatch != function))
				continue;
			n++;
			found = s;
			*ret_g = g;
			if (s->flags & (SOURCE_IN_CALL | SOURCE_BLOCKED))
				return s;
		}
	}
	return n == 1 ? found : NULL;
}

int64_t glib_ready_now(const struct doctor *d, const struct loop_source *s)
{
	int32_t off = d->l->off[PRIV_READY_TIME];
	GSource now;
	int64_t us;

	if (off < 0 || target_read(d->t, s->addr, &now, sizeof(now)) || now.source_id != s->id ||
	    !(now.flags & SOURCE_ACTIVE) || !now.priv ||
	    target_read(d->t, (uintptr_t)now.priv + off, &us, sizeof(us)) || us > INT64_MAX / 1000)
		return READY_UNKNOWN;
	return us < 0 ? READY_NEVER : us * 1000;
}

/* --- words ---------------------------------------------------------------------------------- */

char *glib_source_name(const struct doctor *d, const struct loop_source *s)
{
	char *function = images_name(d->images, glib_called(s)), *text;

	text = s->name[0] ? g_strdup_printf("GSource \"%s\" (%s)", s->name, function)
			  : g_strdup_printf("GSource %u (%s)", s->id, function);
	g_free(function);
	return text;
}

char *glib_context_name(const struct loop_gcontext *g)
{
	return g->is_default ? g_strdup("the default GMainContext")
			     : g_strdup_printf("GMainContext 0x%" PRIx64, g->addr);
}

const char *glib_kind_words(const struct doctor *d, const struct loop_source *s)
{
	static const struct {
		const char *kind, *words;
	} kinds[] = {
		{ "timeout", "a timeout" },	    { "idle", "an idle source" },
		{ "child watch", "a child watch" }, { "channel watch", "a watch of a channel" },
		{ "signal", "a signal's source" },  { "fd", "a source of an fd" },
		{ "AioContext", "an AioContext" }
	};
	const char *kind = loops_source_kind(d->loops, s);

	for (size_t i = 0; kind && i < G_N_ELEMENTS(kinds); i++)
		if (!strcmp(kinds[i].kind, kind))
			return kinds[i].words;
	return "a source with functions of its own";
}

char *glib_source_words(const struct doctor *d, const struct loop_gcontext *g,
			const struct loop_source *s)
{
	char *context = glib_context_name(g), *function = images_name(d->images, glib_called(s));
	char *text;

	text = g_strdup_printf("%s (id %u, priority %d) of %s, %s %s", glib_kind_words(d, s), s->id,
			       s->priority, context, s->callback ? "callback" : "dispatch function",
			       function);
	g_free(context);
	g_free(function);
	return text;
}
