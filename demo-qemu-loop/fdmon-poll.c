/* SPDX-License-Identifier: MIT */
/*
 * The fd monitor that is always there: builds the whole set and ppoll(2)s it, each time.  QEMU:
 * util/fdmon-poll.c.  Cost grows with the number of handlers, ready or not; that is why QEMU has
 * two others.
 */
#include "osdep.h"
#include "aio-posix.h"
#include "loop-trace.h"

/* Kept from call to call, one per thread; empty (npfd == 0) except inside fdmon_poll_wait(). */
static __thread GPollFD *pollfds;
static __thread AioHandler **nodes; /* nodes[i] is pollfds[i]'s */
static __thread unsigned npfd, nalloc;
static __thread Notifier pollfds_cleanup_notifier;

static void pollfds_cleanup(Notifier *n G_GNUC_UNUSED, void *unused G_GNUC_UNUSED)
{
	assert(npfd == 0);
	g_free(pollfds);
	g_free(nodes);
	nalloc = 0;
}

static void add_pollfd(AioHandler *node)
{
	if (npfd == nalloc) {
		if (nalloc == 0) {
			pollfds_cleanup_notifier.notify = pollfds_cleanup;
			qemu_thread_atexit_add(&pollfds_cleanup_notifier);
		}
		nalloc = nalloc ? nalloc * 2 : 8;
		pollfds = g_renew(GPollFD, pollfds, nalloc);
		nodes = g_renew(AioHandler *, nodes, nalloc);
	}
	nodes[npfd] = node;
	pollfds[npfd] = (GPollFD){ .fd = node->pfd.fd, .events = node->pfd.events };
	npfd++;
}

static int fdmon_poll_wait(AioContext *ctx, AioHandlerList *ready_list, int64_t timeout)
{
	AioHandler *node;
	int ret;

	assert(npfd == 0);
	QLIST_FOREACH_RCU (node, &ctx->aio_handlers, node) {
		if (!aio_handler_deleted(node) && node->pfd.events)
			add_pollfd(node);
	}

	probe_poll_enter(ctx, npfd, timeout, LOOP_FDMON_POLL, loop_depth, loop_bql());
	ret = qemu_poll_ns(pollfds, npfd, timeout);
	if (ret < 0)
		ret = -errno;
	probe_poll_exit(ctx, ret);
	if (ret > 0 && probe_enabled(fd_ready))
		loop_trace_ready_fds(ctx, pollfds, npfd);

	for (unsigned i = 0; ret > 0 && i < npfd; i++) {
		if (pollfds[i].revents)
			aio_add_ready_handler(ready_list, nodes[i], pollfds[i].revents);
	}
	npfd = 0;
	return ret;
}

/* Nothing to keep up to date: the set is built anew each time. */
static void fdmon_poll_update(AioContext *ctx G_GNUC_UNUSED, AioHandler *old_node G_GNUC_UNUSED,
			      AioHandler *new_node G_GNUC_UNUSED)
{
}

static bool fdmon_poll_need_wait(AioContext *ctx)
{
	return aio_poll_disabled(ctx);
}

const FDMonOps fdmon_poll_ops = {
	.update = fdmon_poll_update,
	.wait = fdmon_poll_wait,
	.need_wait = fdmon_poll_need_wait,
};
