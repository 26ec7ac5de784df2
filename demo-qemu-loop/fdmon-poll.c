/* SPDX-License-Identifier: MIT */
/*
 * The fd monitor that is always there: builds the whole set and ppoll(2)s it, each time.  QEMU:
 * util/fdmon-poll.c.  Cost grows with the number of handlers, ready or not; that is why there are
 * two others.  Under GLib it is a GPollFD for each handler, which GLib polls.
 */
#include "osdep.h"
#include "aio-posix.h"
#include "loop-trace.h"

/* --- aio_poll() --------------------------------------------------------------------------- */

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
	fdmon_epoll_retire(ctx);
	QLIST_FOREACH_RCU (node, &ctx->aio_handlers, node) {
		if (!aio_handler_deleted(node) && node->pfd.events)
			add_pollfd(node);
	}

	if (fdmon_epoll_try_upgrade(ctx, npfd)) {
		npfd = 0;
		return fdmon_epoll_ops.wait(ctx, ready_list, timeout);
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

/* --- under GLib --------------------------------------------------------------------------- */

void fdmon_poll_gsource_add(AioContext *ctx, AioHandler *node)
{
	g_source_add_poll(&ctx->source, &node->pfd);
	probe_source_add_fd(&ctx->source, node->pfd.fd, node->pfd.events);
}

void fdmon_poll_gsource_remove(AioContext *ctx, AioHandler *node)
{
	/* At the end of the GSource GLib has taken its descriptors away itself. */
	if (g_source_is_destroyed(&ctx->source))
		return;
	g_source_remove_poll(&ctx->source, &node->pfd);
	probe_source_remove_fd(&ctx->source, node->pfd.fd);
}

static void fdmon_poll_gsource_prepare(AioContext *ctx)
{
	fdmon_epoll_retire(ctx);
	qemu_lockcnt_inc(&ctx->list_lock);
	fdmon_epoll_try_upgrade(ctx, qatomic_read(&ctx->n_fds));
	qemu_lockcnt_dec(&ctx->list_lock);
}

static bool found_event(AioHandler *node)
{
	return aio_handler_wanted(node, qatomic_read(&node->pfd.revents)) &&
	       !aio_handler_deleted(node);
}

bool fdmon_poll_gsource_check(AioContext *ctx)
{
	bool pending = false;
	AioHandler *node;

	qemu_lockcnt_inc(&ctx->list_lock);
	QLIST_FOREACH_RCU (node, &ctx->aio_handlers, node) {
		if (found_event(node)) {
			pending = true;
			break;
		}
	}
	qemu_lockcnt_dec(&ctx->list_lock);
	return pending;
}

static void fdmon_poll_gsource_dispatch(AioContext *ctx, AioHandlerList *ready_list)
{
	AioHandler *node;

	QLIST_FOREACH_RCU (node, &ctx->aio_handlers, node) {
		if (found_event(node))
			aio_add_ready_handler(ready_list, node, qatomic_read(&node->pfd.revents));
	}
}

/* aio_poll() builds its set anew each time; GLib keeps one. */
static void fdmon_poll_update(AioContext *ctx, AioHandler *old_node, AioHandler *new_node)
{
	if (!ctx->era->fd_tag)
		return; /* aio_set_fd_handler() does it, for all monitors */
	if (new_node)
		fdmon_poll_gsource_add(ctx, new_node);
	if (old_node)
		fdmon_poll_gsource_remove(ctx, old_node);
}

const FDMonOps fdmon_poll_ops = {
	.update = fdmon_poll_update,
	.wait = fdmon_poll_wait,
	.need_wait = aio_poll_disabled,
	.gsource_prepare = fdmon_poll_gsource_prepare,
	.gsource_check = fdmon_poll_gsource_check,
	.gsource_dispatch = fdmon_poll_gsource_dispatch,
};
