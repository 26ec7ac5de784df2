// SPDX-License-Identifier: MIT
/*
 * WRONG CONTEXT: a source has work to do, and no thread runs the GMainContext that it is attached
 * to. It was attached to the default context of a program that runs another one, or to the
 * thread-default one of a thread that has no loop.
 *
 * Who iterates a context owns it meanwhile. So a context that nobody owned at any look of the visit
 * was not run, but for what fits between two looks; that is excluded by what it has to do: a source
 * that was due at the first look is due at the last, for the same time.
 */
#include <inttypes.h>
#include <string.h>

#include "tracer/clock.h"
#include "tracer/doctor-glib.h"
#include "tracer/out.h"

#define MIN_LOOKS 20
#define MAX_SAID  4 /* sources */

/* Work of a source: it is due, or its descriptor is ready, or it is an idle source. */
struct work {
	uint64_t source;
	unsigned id;
	int64_t due_ns; /* -1: not a matter of time */
	int fd;		/* -1: not of a descriptor */
};

struct idle_context {
	uint64_t gctx;
	bool was_owned;
	int looks;
	int64_t since_ns;
	GArray *work; /* struct work, when it was first seen */
};

struct glib_idle_contexts {
	GPtrArray *list; /* struct idle_context */
};

static void context_free(void *data)
{
	struct idle_context *c = data;

	g_array_free(c->work, TRUE);
	g_free(c);
}

struct glib_idle_contexts *glib_contexts_new(void)
{
	struct glib_idle_contexts *all = g_new0(struct glib_idle_contexts, 1);

	all->list = g_ptr_array_new_with_free_func(context_free);
	return all;
}

void glib_contexts_free(struct glib_idle_contexts *all)
{
	if (all)
		g_ptr_array_free(all->list, TRUE);
	g_free(all);
}

/* --- looking ---------------------------------------------------------------------------------- */

static void find_work(const struct doctor *d, const struct loop_source *s, GArray *list)
{
	const GArray *fds[] = { s->fds, s->unix_fds };
	struct work work = { s->addr, s->id, -1, -1 };
	const char *kind = loops_source_kind(d->loops, s);

	if (!(s->flags & SOURCE_ACTIVE) || s->is_aio_context)
		return;
	if (s->ready_ns >= 0 && s->ready_ns < now_ns())
		work.due_ns = s->ready_ns;
	for (size_t k = 0; k < G_N_ELEMENTS(fds); k++)
		for (size_t i = 0; i < fds[k]->len && work.fd < 0; i++) {
			const GPollFD *fd = &g_array_index(fds[k], GPollFD, i);

			if (fd->events && fds_ready(d->fds, fd->fd, (short)fd->events) > 0)
				work.fd = fd->fd;
		}
	if (work.due_ns >= 0 || work.fd >= 0 || !g_strcmp0(kind, "idle"))
		g_array_append_val(list, work);
}

static GArray *work_of(const struct doctor *d, const struct loop_gcontext *g)
{
	GArray *list = g_array_new(FALSE, FALSE, sizeof(struct work));

	for (size_t i = 0; i < g->sources->len; i++)
		find_work(d, g->sources->pdata[i], list);
	return list;
}

static struct idle_context *find(const struct doctor *d, uint64_t gctx)
{
	for (size_t i = 0; i < d->glib_idle->list->len; i++) {
		struct idle_context *c = d->glib_idle->list->pdata[i];

		if (c->gctx == gctx)
			return c;
	}
	return NULL;
}

static void look_at(const struct doctor *d, const struct loop_gcontext *g)
{
	struct idle_context *c = find(d, g->addr);
	uint64_t owner = 0;

	if (!c) {
		c = g_new0(struct idle_context, 1);
		c->gctx = g->addr;
		c->since_ns = now_ns();
		c->was_owned = g->owned != 0 || g->tid;
		c->work = work_of(d, g);
		g_ptr_array_add(d->glib_idle->list, c);
	}
	if (c->was_owned)
		return;
	c->looks++;
	c->was_owned = target_read_u64(d->t, g->addr + d->l->off[GCTX_OWNER], &owner) || owner;
}

/* One word of each context at each look; nothing is known where GLib's layout is not proven. */
void glib_contexts_sample(struct doctor *d)
{
	if (!glib_only(d) || d->l->off[GCTX_OWNER] < 0)
		return;
	for (size_t i = 0; i < d->loops->gcontexts->len; i++)
		look_at(d, d->loops->gcontexts->pdata[i]);
}

/* --- verdict ---------------------------------------------------------------------------------- */

static bool still_there(const GArray *now, const struct work *was)
{
	for (size_t i = 0; i < now->len; i++) {
		const struct work *w = &g_array_index(now, struct work, i);

		if (w->source == was->source && w->id == was->id && w->due_ns == was->due_ns &&
		    w->fd == was->fd)
			return true;
	}
	return false;
}

static void say_work(struct doctor *d, struct finding *f, const struct work *work)
{
	const struct loop_gcontext *g;
	const struct loop_source *s = glib_source_at(d, work->source, &g);
	char *words = glib_source_words(d, g, s), *what;

	if (work->due_ns >= 0) {
		char *late = out_duration(now_ns() - work->due_ns);

		what = g_strdup_printf("has been due for %s", late);
		g_free(late);
	} else if (work->fd >= 0) {
		char *fd = doctor_describe_fd(d, work->fd);

		what = g_strdup_printf("has %s, which is ready", fd);
		g_free(fd);
	} else {
		what = g_strdup("has its turn whenever nothing else is ready");
	}
	finding_say(f, "%s%s%s%s %s", s->name[0] ? "\"" : "", s->name, s->name[0] ? "\", " : "",
		    words, what);
	g_free(words);
	g_free(what);
}

static void conclude(struct doctor *d, const struct loop_gcontext *g)
{
	const struct idle_context *c = find(d, g->addr);
	struct patient *p = doctor_patient(d, d->t->pid);
	GArray *now;
	struct finding *f = NULL;
	int n = 0;

	if (!p || !c || c->was_owned || g->owned != 0 || g->tid || c->looks < MIN_LOOKS)
		return;
	now = work_of(d, g);
	for (size_t i = 0; i < c->work->len; i++) {
		const struct work *work = &g_array_index(c->work, struct work, i);
		char *name, *context;

		if (!still_there(now, work) || n++ >= MAX_SAID)
			continue;
		if (!f) {
			name = glib_source_name(d, glib_source_at(d, work->source, NULL));
			context = glib_context_name(g);
			f = finding_without_thread(d, p, name, context, c->since_ns);
			finding_say(f, "no thread owned it at any of %d looks, and none polls it",
				    c->looks);
			f->advice = "Attach it to a context that a thread runs, or run this one: "
				    "g_main_loop_run() in a thread that it is the default of.";
			g_free(name);
			g_free(context);
		}
		say_work(d, f, work);
	}
	if (n > MAX_SAID)
		finding_say(f, "%d such sources in all", n);
	g_array_free(now, TRUE);
}

void glib_contexts_conclude(struct doctor *d)
{
	for (size_t i = 0; i < d->loops->gcontexts->len; i++)
		conclude(d, d->loops->gcontexts->pdata[i]);
}
