/* SPDX-License-Identifier: MIT */
/*
 * The fd monitor for many descriptors: the kernel keeps the set, so that a wait costs what is
 * ready, not what is watched.  QEMU: util/fdmon-epoll.c.
 *
 * A context begins with poll and is upgraded when it has EPOLL_ENABLE_THRESHOLD handlers, by its
 * home, and only while nobody else walks them: a handler that was added in the middle would be in
 * neither set (QEMU e62da98527).  Whatever epoll_ctl(2) refuses, a regular file say, sends the
 * context back to poll, for ever.
 */
#include "osdep.h"
#include <sys/epoll.h>
#include "aio-posix.h"
#include "loop-trace.h"
#include "mutants.h"

#define EPOLL_ENABLE_THRESHOLD 64

#define EPOLL_BATCH 128

/* epoll's bits are poll's. */
G_STATIC_ASSERT((int)EPOLLIN == (int)G_IO_IN && (int)EPOLLOUT == (int)G_IO_OUT);
G_STATIC_ASSERT((int)EPOLLERR == (int)G_IO_ERR && (int)EPOLLHUP == (int)G_IO_HUP);

/* Under list_lock; @node's GPollFD will not be needed. */
static void give_up(AioContext *ctx, AioHandler *leaving, int err)
{
	AioHandler *node;

	if (ctx->fdmon_ops == &fdmon_epoll_ops) {
		qatomic_set(&ctx->fdmon_ops, &fdmon_poll_ops);
		QLIST_FOREACH (node, &ctx->aio_handlers, node) {
			if (ctx->era->fd_tag && node != leaving && !aio_handler_deleted(node))
				fdmon_poll_gsource_add(ctx, node);
		}
	}
	probe_fdmon_change(ctx, LOOP_FDMON_EPOLL, LOOP_FDMON_POLL, ctx->n_fds, err);

	/* Home may sleep on it at this moment. */
	qatomic_set(&ctx->epollfd_retired, ctx->epollfd);
	qatomic_set(&ctx->epollfd, -1);
}

void fdmon_epoll_retire(AioContext *ctx)
{
	int epollfd = qatomic_read(&ctx->epollfd_retired);

	if (G_LIKELY(epollfd < 0))
		return;
	if (ctx->epollfd_tag && !g_source_is_destroyed(&ctx->source)) {
		g_source_remove_unix_fd(&ctx->source, ctx->epollfd_tag);
		probe_source_remove_fd(&ctx->source, epollfd);
	}
	ctx->epollfd_tag = NULL;
	close(epollfd);
	qatomic_set(&ctx->epollfd_retired, -1);
}

static int epoll_control(AioContext *ctx, int op, AioHandler *node)
{
	struct epoll_event event = {
		.events = node->pfd.events,
		.data.ptr = node,
	};

	return epoll_ctl(ctx->epollfd, op, node->pfd.fd, &event) < 0 ? -errno : 0;
}

/* A handler that is only polled busily has no events. */
static void fdmon_epoll_update(AioContext *ctx, AioHandler *old_node, AioHandler *new_node)
{
	bool was_in = old_node && old_node->pfd.events;
	bool will_be_in = new_node && new_node->pfd.events;
	int ret = 0;

	if (will_be_in)
		ret = epoll_control(ctx, was_in ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, new_node);
	else if (was_in)
		ret = epoll_control(ctx, EPOLL_CTL_DEL, old_node);
	if (ret < 0)
		give_up(ctx, old_node, ret);
}

static bool fill_epoll(AioContext *ctx)
{
	AioHandler *node;
	int ret;

	QLIST_FOREACH (node, &ctx->aio_handlers, node) {
		if (aio_handler_deleted(node) || !node->pfd.events)
			continue;
		ret = epoll_control(ctx, EPOLL_CTL_ADD, node);
		if (ret < 0) {
			give_up(ctx, NULL, ret);
			return false;
		}
	}
	return true;
}

/* GLib polls the epoll instance instead of each handler. */
static void move_gsource(AioContext *ctx)
{
	AioHandler *node;

	QLIST_FOREACH (node, &ctx->aio_handlers, node) {
		if (!aio_handler_deleted(node))
			fdmon_poll_gsource_remove(ctx, node);
	}
	ctx->epollfd_tag = g_source_add_unix_fd(&ctx->source, ctx->epollfd, G_IO_IN);
	probe_source_add_fd(&ctx->source, ctx->epollfd, G_IO_IN);
}

bool fdmon_epoll_try_upgrade(AioContext *ctx, unsigned npfd)
{
	bool unlocked = mutant_unlocked_upgrade != NULL, filled;

	if (npfd < ctx->epoll_threshold || qatomic_read(&ctx->epollfd) < 0)
		return false;

	/* Nobody walks, hence nobody adds one meanwhile. */
	if (!unlocked && !qemu_lockcnt_dec_if_lock(&ctx->list_lock))
		return false;
	filled = ctx->epollfd >= 0 && fill_epoll(ctx);
	if (unlocked)
		mutant_unlocked_upgrade(ctx);
	if (filled) {
		if (ctx->era->fd_tag)
			move_gsource(ctx);
		qatomic_set(&ctx->fdmon_ops, &fdmon_epoll_ops);
		probe_fdmon_change(ctx, LOOP_FDMON_POLL, LOOP_FDMON_EPOLL, npfd, 0);
	}
	if (!unlocked)
		qemu_lockcnt_inc_and_unlock(&ctx->list_lock);
	return filled;
}

static int ready_handlers(AioContext *ctx, AioHandlerList *ready_list,
			  const struct epoll_event *events, int n)
{
	/*
	 * A node that another thread has given to the kernel is complete, which only the kernel
	 * knows: this acquires what that thread did before n_fds.
	 */
	(void)qatomic_load_acquire(&ctx->n_fds);
	for (int i = 0; i < n; i++) {
		AioHandler *node = events[i].data.ptr;
		int revents = events[i].events;

		probe_fd_ready(ctx, node->pfd.fd, node->pfd.events, revents);
		aio_add_ready_handler(ready_list, node, revents);
	}
	return n;
}

/* Nanoseconds are ppoll's: it waits for the instance, which then is asked what is ready. */
static int fdmon_epoll_wait(AioContext *ctx, AioHandlerList *ready_list, int64_t timeout)
{
	GPollFD pfd = { .fd = qatomic_read(&ctx->epollfd), .events = G_IO_IN };
	struct epoll_event events[EPOLL_BATCH];
	int ret = 1;

	if (pfd.fd < 0) /* given up since we looked: whoever did that notifies */
		return 0;

	probe_poll_enter(ctx, qatomic_read(&ctx->n_fds), timeout, LOOP_FDMON_EPOLL, loop_depth,
			 loop_bql());
	if (timeout > 0)
		ret = qemu_poll_ns(&pfd, 1, timeout);
	if (ret > 0)
		ret = epoll_wait(pfd.fd, events, EPOLL_BATCH, timeout < 0 ? -1 : 0);
	if (ret < 0)
		ret = -errno;
	probe_poll_exit(ctx, ret);
	return ready_handlers(ctx, ready_list, events, ret);
}

static void fdmon_epoll_gsource_prepare(AioContext *ctx G_GNUC_UNUSED)
{
}

static bool fdmon_epoll_gsource_check(AioContext *ctx)
{
	return g_source_query_unix_fd(&ctx->source, ctx->epollfd_tag) & G_IO_IN;
}

static void fdmon_epoll_gsource_dispatch(AioContext *ctx, AioHandlerList *ready_list)
{
	struct epoll_event events[EPOLL_BATCH];
	int epollfd = qatomic_read(&ctx->epollfd);
	int n;

	if (epollfd < 0 || !fdmon_epoll_gsource_check(ctx))
		return;
	n = epoll_wait(epollfd, events, EPOLL_BATCH, 0);
	ready_handlers(ctx, ready_list, events, n);
}

const FDMonOps fdmon_epoll_ops = {
	.update = fdmon_epoll_update,
	.wait = fdmon_epoll_wait,
	.need_wait = aio_poll_disabled,
	.gsource_prepare = fdmon_epoll_gsource_prepare,
	.gsource_check = fdmon_epoll_gsource_check,
	.gsource_dispatch = fdmon_epoll_gsource_dispatch,
};

/* Who asked for epoll gets it at once. */
void fdmon_epoll_setup(AioContext *ctx)
{
	ctx->epoll_threshold = loop_settings.fdmon == LOOP_FDMON_EPOLL ? 0 : EPOLL_ENABLE_THRESHOLD;
	ctx->epollfd = epoll_create1(EPOLL_CLOEXEC);
	if (ctx->epollfd < 0) {
		probe_fdmon_change(ctx, LOOP_FDMON_EPOLL, LOOP_FDMON_POLL, 0, -errno);
		ctx->epollfd = -1;
	}
}

/* GLib has let go of the GSource's fds before it is finalized. */
void fdmon_epoll_destroy(AioContext *ctx)
{
	qatomic_set(&ctx->fdmon_ops, &fdmon_poll_ops);
	if (ctx->epollfd_retired >= 0)
		close(ctx->epollfd_retired);
	if (ctx->epollfd >= 0)
		close(ctx->epollfd);
	ctx->epollfd = -1;
	ctx->epollfd_retired = -1;
}
