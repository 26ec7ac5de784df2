// SPDX-License-Identifier: MIT
/*
 * DEAD FD: a handler, or a GSource, whose descriptor is closed.
 *
 * poll() answers POLLNVAL at once, for which no handler is called, so the loop turns for nothing;
 * epoll forgets the descriptor, and the handler waits for ever. Who removes a handler closes the
 * descriptor next, so a list read a moment ago may name a closed one: the same handler has to be on
 * the list in two readings, and its number closed at every look in between. The same of the sources
 * of a GMainContext. (A descriptor that is open and whose other end is gone makes its loop spin:
 * doctor-spin-fd.c.)
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "tracer/doctor-glib.h"

#define LOOKS	6
#define LOOK_US 10000

struct suspect {
	uint64_t ctx, node, callback; /* node: an AioHandler, or a GSource */
	int fd;
};

static bool is_closed(const struct doctor *d, int fd)
{
	return fds_ready(d->fds, fd, 0) == -EBADF;
}

static void find_in(const struct doctor *d, const struct context *c, GArray *list)
{
	for (size_t i = 0; i < c->handlers->len; i++) {
		const struct handler *h = &g_array_index(c->handlers, struct handler, i);
		struct suspect s = { c->addr, h->addr, h->io_read ? h->io_read : h->io_write,
				     h->fd };

		if (!h->deleted && h->fd >= 0 && is_closed(d, h->fd))
			g_array_append_val(list, s);
	}
}

static void find_in_source(const struct doctor *d, const struct loop_gcontext *g,
			   const struct loop_source *s, const GArray *fds, GArray *list)
{
	for (size_t i = 0; i < fds->len; i++) {
		const GPollFD *fd = &g_array_index(fds, GPollFD, i);
		struct suspect suspect = { g->addr, s->addr, glib_called(s), fd->fd };

		if (fd->events && fd->fd >= 0 && is_closed(d, fd->fd))
			g_array_append_val(list, suspect);
	}
}

static void find_in_sources(const struct doctor *d, const struct loop_gcontext *g, GArray *list)
{
	for (size_t i = 0; i < g->sources->len; i++) {
		const struct loop_source *s = g->sources->pdata[i];

		if (s->is_aio_context || !(s->flags & SOURCE_ACTIVE))
			continue;
		find_in_source(d, g, s, s->fds, list);
		find_in_source(d, g, s, s->unix_fds, list);
	}
}

static GArray *find(const struct doctor *d)
{
	GArray *list = g_array_new(FALSE, FALSE, sizeof(struct suspect));

	for (size_t i = 0; i < d->loops->contexts->len; i++)
		find_in(d, d->loops->contexts->pdata[i], list);
	for (size_t i = 0; i < d->loops->gcontexts->len; i++)
		find_in_sources(d, d->loops->gcontexts->pdata[i], list);
	return list;
}

/* Only those stay that are closed now. */
static void sieve(const struct doctor *d, GArray *list)
{
	for (size_t i = list->len; i-- > 0;)
		if (!is_closed(d, g_array_index(list, struct suspect, i).fd))
			g_array_remove_index_fast(list, i);
}

static bool holds(const GArray *list, const struct suspect *s)
{
	for (size_t i = 0; i < list->len; i++)
		if (g_array_index(list, struct suspect, i).node == s->node &&
		    g_array_index(list, struct suspect, i).fd == s->fd)
			return true;
	return false;
}

struct finding *finding_dead(struct doctor *d, struct patient *p, const char *name,
			     const struct context *c, int fd)
{
	struct finding *f = finding_new(d, "DEAD FD", p);

	f->span = g_strdup("registered and closed");
	f->culprit = g_strdup_printf("%s of %s is registered for fd %d, which is closed", name,
				     c->name, fd);
	f->advice = DEAD_FD_ADVICE;
	return f;
}

static void conclude(struct doctor *d, const struct context *c, const GArray *first,
		     const GArray *second)
{
	struct patient *p = doctor_home(d, c);
	struct finding *f = NULL;
	int n = 0;

	for (size_t i = 0; p && i < second->len; i++) {
		const struct suspect *s = &g_array_index(second, struct suspect, i);
		char *name;

		if (s->ctx != c->addr || !holds(first, s) || n++ >= 8)
			continue;
		name = doctor_callback_name(d, s->callback, NULL);
		f = f ?: finding_dead(d, p, name, c, s->fd);
		finding_say(f,
			    "%s (AioHandler at 0x%" PRIx64
			    ") was on the list of %s in two readings, "
			    "and fd %d closed at %d looks between them",
			    name, s->node, c->name, s->fd, LOOKS);
		g_free(name);
	}
	if (f && n > 1)
		finding_say(f, "%d such handlers in all", n);
}

/* How many polls answered that it is closed. */
static unsigned long long polls_of(const struct doctor *d, pid_t tid, int fd)
{
	GArray *fds = watch_read_fds(d->watch);
	unsigned long long n = 0;

	for (size_t i = 0; i < fds->len; i++) {
		const struct watched_fd *w = &g_array_index(fds, struct watched_fd, i);

		if (w->key.tid == (uint32_t)tid && w->key.fd == fd && w->value.revents & G_IO_NVAL)
			n = w->value.ready;
	}
	g_array_free(fds, TRUE);
	return n;
}

static void conclude_source(struct doctor *d, const struct suspect *dead)
{
	const struct loop_gcontext *g;
	const struct loop_source *s = glib_source_at(d, dead->node, &g);
	struct patient *p = s ? glib_home(d, g) : NULL;
	unsigned long long polls;
	char *name, *words;
	struct finding *f;

	if (!p || doctor_has_finding(d, p->tid, "DEAD FD"))
		return;
	name = glib_source_name(d, s);
	words = glib_source_words(d, g, s);
	polls = polls_of(d, p->tid, dead->fd);
	f = finding_new(d, "DEAD FD", p);
	f->span = g_strdup("attached and closed");
	f->culprit = g_strdup_printf("%s polls fd %d, which is closed", name, dead->fd);
	finding_say(f, "it is %s", words);
	finding_say(f,
		    "it was on the list of its context in two readings, and fd %d closed at %d "
		    "looks between them",
		    dead->fd, LOOKS);
	if (polls)
		finding_say(f, "%llu polls answered POLLNVAL at once: the loop cannot sleep",
			    polls);
	f->advice = "Who closes a descriptor has to destroy its source first: g_source_destroy(), "
		    "or g_source_remove() of its id.";
	g_free(name);
	g_free(words);
}

/* Once is enough: what is dead stays so. */
static bool is_said(const struct doctor *d)
{
	for (size_t i = 0; i < d->findings->len; i++)
		if (!strcmp(((struct finding *)d->findings->pdata[i])->verdict, "DEAD FD"))
			return true;
	return false;
}

int dead_check(struct doctor *d, struct failure *why)
{
	GArray *first = is_said(d) ? NULL : find(d), *second;
	int err = 0;

	for (int i = 0; first && first->len && i < LOOKS; i++) {
		sieve(d, first);
		usleep(LOOK_US);
	}
	if (first && first->len)
		err = doctor_read_loops(d, why);
	if (!err && first && first->len) {
		second = find(d);
		for (size_t i = 0; i < d->loops->contexts->len; i++)
			conclude(d, d->loops->contexts->pdata[i], first, second);
		for (size_t i = 0; i < second->len; i++)
			if (holds(first, &g_array_index(second, struct suspect, i)))
				conclude_source(d, &g_array_index(second, struct suspect, i));
		g_array_free(second, TRUE);
	}
	if (first)
		g_array_free(first, TRUE);
	return err;
}
