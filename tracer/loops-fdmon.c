// SPDX-License-Identifier: MIT
/*
 * Who polls which context, and through what. A thread that polls a loop's own descriptor is the one
 * that runs the loop: a context's notifier, GLib's wake-up. It may do so through an epoll instance
 * or an io_uring, which then is all that the system call, or GLib's poll set, shows.
 */
#include <stdio.h>
#include <string.h>

#include <linux/types.h>
#include "bpf/tables.h"
#include "tracer/loops.h"

static struct context *context_at(const struct loops *loops, size_t i)
{
	return loops->contexts->pdata[i];
}

static struct poll_set *set_at(const struct loops *loops, size_t i)
{
	return &g_array_index(loops->tables->sets, struct poll_set, i);
}

/* What an epoll descriptor of a live target watches is in its fdinfo: "tfd: 5 events: 19 ...". */
static void read_epoll(const struct loops *loops, int epfd, GArray *fds)
{
	char path[64], line[256];
	GPollFD fd = { 0 };
	unsigned events;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", loops->t->pid, epfd);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "tfd: %d events: %x", &fd.fd, &events) != 2)
			continue;
		fd.events = events & 0x3f; /* the EPOLL bits of poll(2)'s meaning are the same */
		g_array_append_val(fds, fd);
	}
	if (f)
		fclose(f);
}

static bool holds(const GArray *fds, int fd)
{
	for (size_t i = 0; i < fds->len; i++)
		if (g_array_index(fds, GPollFD, i).fd == fd)
			return true;
	return false;
}

static pid_t poller_of(const struct loops *loops, int fd)
{
	for (size_t i = 0; fd >= 0 && i < loops->tables->sets->len; i++) {
		const struct poll_set *set = set_at(loops, i);

		if (set->epfd == fd || holds(set->fds, fd))
			return set->tid;
	}
	return 0;
}

/* A nanosecond timeout is ppoll's: it polls the epoll instance, and nothing else. */
static void find_in_ppoll(struct loops *loops, const struct poll_set *set)
{
	GArray *watched;
	int epfd;

	if (set->fds->len != 1)
		return;
	epfd = g_array_index(set->fds, GPollFD, 0).fd;
	watched = g_array_new(FALSE, FALSE, sizeof(GPollFD));
	read_epoll(loops, epfd, watched);
	for (size_t i = 0; i < loops->contexts->len; i++) {
		struct context *c = context_at(loops, i);

		if (c->fdmon_fd < 0 && holds(watched, c->notifier_fd))
			c->fdmon_fd = epfd;
	}
	g_array_free(watched, TRUE);
}

/* The kernel does not tell what a ring polls; the context's list of handlers does. */
static void fill_ring(const struct loops *loops, struct poll_set *set)
{
	for (size_t i = 0; i < loops->contexts->len; i++) {
		const struct context *c = context_at(loops, i);

		for (size_t k = 0; c->fdmon_fd == set->epfd && k < c->handlers->len; k++) {
			const struct handler *h = &g_array_index(c->handlers, struct handler, k);
			GPollFD fd = { h->fd, h->events, 0 };

			if (!h->deleted && h->events)
				g_array_append_val(set->fds, fd);
		}
	}
}

/* Where the monitor's table has no name: by what kind its descriptor is, of a live target. */
static void name_monitor(const struct loops *loops, struct context *c)
{
	const char *kind = c->fdmon_fd >= 0 ? fds_get(loops->fds, c->fdmon_fd)->kind : "";

	if (!c->fdmon[0] && (!strcmp(kind, "io_uring") || !strcmp(kind, "epoll")))
		snprintf(c->fdmon, sizeof(c->fdmon), "%s", kind);
}

void loops_find_monitors(struct loops *loops)
{
	for (size_t i = 0; i < loops->contexts->len; i++)
		context_at(loops, i)->fdmon_fd = loops_unix_fd(loops, context_at(loops, i)->addr);
	for (size_t i = 0; i < loops->tables->sets->len; i++) {
		struct poll_set *set = set_at(loops, i);

		if (set->nr == NR_IO_URING_ENTER)
			fill_ring(loops, set);
		else if (set->epfd >= 0 && loops->t->live)
			read_epoll(loops, set->epfd, set->fds);
		else if (loops->t->live)
			find_in_ppoll(loops, set);
	}
	for (size_t i = 0; i < loops->contexts->len; i++) {
		struct context *c = context_at(loops, i);

		c->tid = poller_of(loops, c->notifier_fd);
		if (!c->tid)
			c->tid = poller_of(loops, c->fdmon_fd);
		name_monitor(loops, c);
	}
	for (size_t i = 0; i < loops->gcontexts->len; i++) {
		struct loop_gcontext *g = loops->gcontexts->pdata[i];

		g->tid = poller_of(loops, g->wakeup_fd);
	}
}
