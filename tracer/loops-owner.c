// SPDX-License-Identifier: MIT
/*
 * Whose is a polled descriptor? A context's notifier or fd monitor, a handler of a context, GLib's
 * own wake-up, or a GSource: of those that the polling thread drives, and only where one of them
 * really holds it.
 */
#include "tracer/loops.h"

static bool holds(const GArray *fds, int fd)
{
	for (size_t i = 0; i < fds->len; i++)
		if (g_array_index(fds, GPollFD, i).fd == fd)
			return true;
	return false;
}

static bool find_handler(const struct context *c, int fd, struct owner *ret)
{
	for (size_t i = 0; i < c->handlers->len; i++) {
		const struct handler *h = &g_array_index(c->handlers, struct handler, i);

		if (fd < 0 || h->fd != fd || h->deleted)
			continue;
		ret->kind = fd == c->notifier_fd ? OWNER_NOTIFIER : OWNER_HANDLER;
		ret->context = c;
		ret->handler = h;
		return true;
	}
	return false;
}

static bool find_source(const struct loop_gcontext *g, int fd, struct owner *ret)
{
	for (size_t i = 0; i < g->sources->len; i++) {
		const struct loop_source *s = g->sources->pdata[i];

		if (s->is_aio_context || (!holds(s->fds, fd) && !holds(s->unix_fds, fd)))
			continue;
		ret->kind = OWNER_SOURCE;
		ret->gcontext = g;
		ret->source = s;
		return true;
	}
	return false;
}

void loops_owner(const struct loops *loops, pid_t tid, int fd, struct owner *ret)
{
	*ret = (struct owner){ OWNER_UNKNOWN, NULL, NULL, NULL, NULL };
	for (size_t i = 0; i < loops->contexts->len; i++) {
		const struct context *c = loops->contexts->pdata[i];

		if (c->tid != tid)
			continue;
		if (find_handler(c, fd, ret))
			return;
		if (fd >= 0 && fd == c->fdmon_fd) {
			ret->kind = OWNER_FDMON;
			ret->context = c;
			return;
		}
	}
	for (size_t i = 0; i < loops->gcontexts->len; i++) {
		const struct loop_gcontext *g = loops->gcontexts->pdata[i];

		if (g->tid != tid)
			continue;
		if (fd >= 0 && fd == g->wakeup_fd) {
			ret->kind = OWNER_WAKEUP;
			ret->gcontext = g;
			return;
		}
		if (find_source(g, fd, ret))
			return;
	}
}
