// SPDX-License-Identifier: MIT
/*
 * STARVED SOURCE: a source is ready and never dispatched, because one of higher priority always is.
 *
 * GLib dispatches only the ready sources of the highest priority among them, and does not even poll
 * for others if one is ready before the poll. In the half second in which the proof of a spin is
 * gathered: one source was dispatched in every turn; another, of the same GMainContext and lower
 * priority, in none, though before and after a descriptor of its was ready, or it was due, or it is
 * an idle source, which always has something to do.
 */
#include <string.h>

#include "tracer/clock.h"
#include "tracer/doctor-glib.h"
#include "tracer/doctor-spin.h"
#include "tracer/out.h"

/* A source that has something to do: itself, and the descriptor or the time that says so. */
struct hungry {
	uint64_t source; /* its address; of an AioContext's handler that of the context */
	int fd, priority;
	int64_t due_ns; /* fd -1: since then; -1: an idle source */
	uint64_t callback;
	const char *where; /* of d->loops; or NULL */
};

static void add(const struct doctor *d, GArray *list, const struct loop_source *s, int fd,
		short events, uint64_t callback, const char *where)
{
	struct hungry h = { s->addr, fd, s->priority, -1, callback, where };

	if (fd >= 0 && events && fds_ready(d->fds, fd, events) > 0)
		g_array_append_val(list, h);
}

/* Without a descriptor: it is due, or an idle source. */
static void add_by_itself(const struct doctor *d, GArray *list, const struct loop_source *s)
{
	struct hungry h = { s->addr, -1, s->priority, -1, glib_called(s), NULL };

	if (!(s->flags & SOURCE_ACTIVE))
		return;
	h.due_ns = glib_ready_now(d, s);
	if ((h.due_ns >= 0 && h.due_ns < now_ns()) ||
	    !g_strcmp0(loops_source_kind(d->loops, s), "idle"))
		g_array_append_val(list, h);
}

static const struct context *context_of(const struct doctor *d, uint64_t addr)
{
	for (size_t i = 0; i < d->loops->contexts->len; i++) {
		const struct context *c = d->loops->contexts->pdata[i];

		if (c->addr == addr)
			return c;
	}
	return NULL;
}

static void look_at(const struct doctor *d, const struct loop_source *s, GArray *list)
{
	const struct context *c = context_of(d, s->addr);

	for (size_t i = 0; c && i < c->handlers->len; i++) {
		const struct handler *h = &g_array_index(c->handlers, struct handler, i);

		if (!h->deleted && h->fd != c->notifier_fd)
			add(d, list, s, h->fd, (short)h->events,
			    h->io_read ? h->io_read : h->io_write, c->name);
	}
	for (size_t i = 0; !c && i < s->fds->len; i++) {
		const GPollFD *fd = &g_array_index(s->fds, GPollFD, i);

		add(d, list, s, fd->fd, (short)fd->events, s->callback, NULL);
	}
	for (size_t i = 0; !c && i < s->unix_fds->len; i++) {
		const GPollFD *fd = &g_array_index(s->unix_fds, GPollFD, i);

		add(d, list, s, fd->fd, (short)fd->events, s->callback, NULL);
	}
	if (!c)
		add_by_itself(d, list, s);
}

GArray *starved_look(const struct doctor *d)
{
	GArray *list = g_array_new(FALSE, TRUE, sizeof(struct hungry));

	for (size_t i = 0; i < d->loops->gcontexts->len; i++) {
		const struct loop_gcontext *g = d->loops->gcontexts->pdata[i];

		for (size_t k = 0; k < g->sources->len; k++)
			look_at(d, g->sources->pdata[k], list);
	}
	return list;
}

static bool was_hungry(const GArray *list, const struct hungry *h)
{
	for (size_t i = 0; i < list->len; i++) {
		const struct hungry *was = &g_array_index(list, struct hungry, i);

		if (was->source == h->source && was->fd == h->fd && was->due_ns == h->due_ns)
			return true;
	}
	return false;
}

static unsigned long long dispatched(const struct proof *proof, uint64_t source)
{
	unsigned long long n = 0;

	for (size_t i = 0; i < proof->after->sources->len; i++) {
		const struct watched_source *s =
			&g_array_index(proof->after->sources, struct watched_source, i);

		if (s->source == source)
			n += s->value.dispatched - spin_source_before(proof, s).dispatched;
	}
	return n;
}

/* The one that @p dispatches in every turn. */
static const struct loop_source *find_greedy(const struct doctor *d, const struct patient *p,
					     const struct proof *proof,
					     const struct loop_gcontext **ret_g)
{
	const struct loop_source *s;

	for (size_t i = 0; i < proof->after->sources->len; i++) {
		const struct watched_source *w =
			&g_array_index(proof->after->sources, struct watched_source, i);
		struct watch_source was = spin_source_before(proof, w);

		if (w->value.tid != (uint32_t)p->tid ||
		    !in_every_turn(proof, w->value.dispatched - was.dispatched, was.turn,
				   w->value.turn))
			continue;
		s = glib_source_at(d, w->source, ret_g);
		if (s)
			return s;
	}
	return NULL;
}

static bool is_of(const struct loop_gcontext *g, uint64_t source)
{
	for (size_t i = 0; i < g->sources->len; i++)
		if (((struct loop_source *)g->sources->pdata[i])->addr == source)
			return true;
	return false;
}

/* "fd 7 (pipe) is ready"; "it has been due for 12 s". To be freed. */
static char *why_hungry(struct doctor *d, const struct hungry *h)
{
	char *what, *text;

	if (h->fd >= 0) {
		what = doctor_describe_fd(d, h->fd);
		text = g_strdup_printf("%s is ready", what);
	} else if (h->due_ns >= 0) {
		what = out_duration(now_ns() - h->due_ns);
		text = g_strdup_printf("it has been due for %s", what);
	} else {
		return g_strdup("an idle source is always ready");
	}
	g_free(what);
	return text;
}

static void say(struct doctor *d, struct patient *p, const struct proof *proof,
		const struct loop_source *greedy, const struct hungry *h)
{
	uint64_t dispatch = 0;
	struct finding *f = spin_finding(d, p, proof);
	const struct loop_source *hungry = glib_source_at(d, h->source, NULL);
	char *who, *why = why_hungry(d, h), *by;

	target_read_u64(d->t, greedy->funcs + offsetof(GSourceFuncs, dispatch), &dispatch);
	if (!h->where && hungry)
		who = glib_source_name(d, hungry);
	else
		who = h->callback ? doctor_callback_name(d, h->callback, NULL)
				  : g_strdup("a GSource");
	by = images_name(d->images, greedy->callback ? greedy->callback : dispatch);
	f->verdict = "STARVED SOURCE";
	f->culprit = g_strdup_printf("GSource \"%s\" (%s, priority %d) leaves %s%s%s no turn",
				     greedy->name, by, greedy->priority, who,
				     h->where ? " of " : "", h->where ?: "");
	finding_say(f, "\"%s\" was dispatched %llu times in %llu turns of %.1f s", greedy->name,
		    dispatched(proof, greedy->addr), proof->turns, proof->seconds);
	finding_say(f,
		    "%s and its source, of priority %d, was dispatched 0 times: only the "
		    "highest ready priority gets a turn",
		    why, h->priority);
	f->advice =
		"A source that always has work needs the lowest priority, not a high one; or it "
		"has to stop being ready now and then.";
	g_free(who);
	g_free(by);
	g_free(why);
}

bool starved_by_source(struct doctor *d, struct patient *p, const struct proof *proof)
{
	const struct loop_gcontext *g = NULL;
	const struct loop_source *greedy = find_greedy(d, p, proof, &g);
	GArray *now = greedy ? starved_look(d) : NULL;
	bool found = false;

	for (size_t i = 0; now && !found && i < now->len; i++) {
		const struct hungry *h = &g_array_index(now, struct hungry, i);

		found = h->priority > greedy->priority && is_of(g, h->source) &&
			was_hungry(proof->hungry, h) && !dispatched(proof, h->source);
		if (found)
			say(d, p, proof, greedy, h);
	}
	if (now)
		g_array_free(now, TRUE);
	return found;
}
