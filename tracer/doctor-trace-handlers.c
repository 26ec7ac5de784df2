// SPDX-License-Identifier: MIT
/*
 * HANDLER LEAK and DEAD FD from a recording.
 *
 * A leak is handlers of one callback that are added all along, none of which is removed or called.
 * A dead descriptor is one that polls find closed (POLLNVAL), again and again: who removes a
 * handler while its loop polls makes that happen once.
 */
#include <inttypes.h>
#include <string.h>

#include "tracer/doctor-trace.h"
#include "tracer/report-words.h"

#define AS(type) ((const struct loop_##type *)event)

#define WINDOW_NS   (100 * 1000000ULL)
#define MIN_ADDED   6
#define MIN_WINDOWS 4
#define MIN_CLOSED  20
#define MIN_SPAN_NS (20 * 1000000ULL)

static struct trace_fd *fd_of(struct trace_doctor *d, int32_t fd)
{
	return report_map_get(&d->fds, (struct report_key){ .a = (uint32_t)fd });
}

static void add(struct trace_doctor *d, struct trace_thread *t,
		const struct loop_handler_add *event)
{
	uint64_t cb = event->io_read ? event->io_read : event->io_write;
	struct trace_handlers *group =
		report_map_get(&d->handlers, (struct report_key){ event->ctx, cb, 0, 0 });
	struct trace_fd *fd = fd_of(d, event->fd);
	uint64_t window = event->h.time_ns / WINDOW_NS;

	if (!group->added++)
		group->first_ns = event->h.time_ns;
	group->windows += group->window != window;
	group->window = window;
	group->last_ns = event->h.time_ns;
	group->kept = group->removed ? 0 : group->added;
	group->tid = t->tid;
	fd->group = group;
	fd->cb = cb;
	fd->closed = 0;
}

static void found(struct trace_doctor *d, struct trace_thread *t, const struct loop_fd_ready *event)
{
	struct trace_fd *fd;

	if (!(event->revents & LOOP_POLL_BITS_NVAL))
		return;
	fd = fd_of(d, event->fd);
	if (!fd->closed++)
		fd->first_ns = event->h.time_ns;
	fd->last_ns = event->h.time_ns;
	fd->tid = t->tid;
}

void trace_handlers_event(struct trace_doctor *d, struct trace_thread *t,
			  const struct loop_event *event)
{
	struct trace_fd *fd;

	switch (event->id) {
	case LOOP_EV_HANDLER_ADD:
		add(d, t, AS(handler_add));
		break;
	case LOOP_EV_HANDLER_REMOVE:
		fd = fd_of(d, AS(handler_remove)->fd);
		if (fd->group)
			fd->group->removed++;
		fd->group = NULL;
		break;
	case LOOP_EV_HANDLER_BEGIN:
		fd = fd_of(d, AS(handler_begin)->fd);
		if (fd->group)
			fd->group->called++;
		break;
	case LOOP_EV_FD_READY:
		found(d, t, AS(fd_ready));
		break;
	default:
		break;
	}
}

/* Who runs it: the recorder knows, or else who added the last. */
static uint32_t home_of(const struct trace_doctor *d, const struct trace_handlers *group)
{
	const struct report_context *c =
		report_map_find(&d->report->contexts, (struct report_key){ .a = group->key.a });

	return c && c->home_tid ? c->home_tid : group->tid;
}

/* A program that ends removes them all: that is after the last was added, and no more come. */
static bool is_leak(const struct trace_doctor *d, const struct trace_handlers *group)
{
	return group->kept >= MIN_ADDED && group->windows >= MIN_WINDOWS && !group->called &&
	       (!group->removed ||
		(group->last_ns - d->first_ns) * 5 >= (d->last_ns - d->first_ns) * 4) &&
	       trace_is_complete(d);
}

static void say_leak(struct trace_doctor *d, const struct trace_handlers *group)
{
	char *name = trace_name(d, "handler", group->key.b),
	     *ctx = trace_context_name(d, group->key.a),
	     *span = report_duration(group->last_ns - group->first_ns);
	struct finding *f = trace_finding(d, "HANDLER LEAK", home_of(d, group));

	f->span = g_strdup_printf("%" PRIu64 " more in %s", group->added, span);
	f->culprit =
		g_strdup_printf("%s of %s is registered for more and more descriptors", name, ctx);
	finding_say(f,
		    "%" PRIu64
		    " were added, in %d spans of %d ms; meanwhile none was removed or called",
		    group->kept, group->windows, (int)(WINDOW_NS / 1000000));
	f->advice =
		"Who registers it has to remove it when its peer is gone: look for the path that "
		"does not.";
	g_free(name);
	g_free(ctx);
	g_free(span);
}

static void say_dead(struct trace_doctor *d, const struct trace_fd *fd)
{
	char *name = fd->cb ? trace_name(d, "handler", fd->cb) : g_strdup("a handler"),
	     *ctx = fd->ctx ? trace_context_name(d, fd->ctx) : NULL,
	     *span = report_duration(fd->last_ns - fd->first_ns);
	struct finding *f = trace_finding(d, "DEAD FD", fd->tid);

	f->span = g_strdup("registered and closed");
	f->culprit = g_strdup_printf("%s%s%s is registered for fd %d, which is closed", name,
				     ctx ? " of " : "", ctx ? ctx : "", (int)fd->key.a);
	finding_say(f, "%" PRIu64 " polls found it closed (POLLNVAL), for %s", fd->closed, span);
	f->advice = DEAD_FD_ADVICE;
	g_free(name);
	g_free(ctx);
	g_free(span);
}

void trace_handlers_conclude(struct trace_doctor *d)
{
	const struct trace_handlers *group;
	const struct trace_fd *fd;

	report_each (&d->handlers, group)
		if (is_leak(d, group))
			say_leak(d, group);
	report_each (&d->fds, fd)
		if (fd->closed >= MIN_CLOSED && fd->last_ns - fd->first_ns >= MIN_SPAN_NS &&
		    !trace_has_finding(d, fd->tid, "DEAD FD"))
			say_dead(d, fd);
}
