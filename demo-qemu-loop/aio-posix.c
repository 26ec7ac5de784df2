/* SPDX-License-Identifier: MIT */
/*
 * File descriptor handlers: registering, removing, dispatching.  QEMU: util/aio-posix.c, which
 * also has aio_poll() (here in aio-poll.c).
 *
 * The list is walked without a lock and from callbacks, which may register and remove whatever
 * they like, even poll again.  So a node is never changed while it is on the list: a modification
 * inserts a new node at the head, where a walk in progress will not meet it, and removes the old.
 * And a removed node stays linked, marked by being on deleted_aio_handlers too, until the last
 * walker (list_lock, see lockcnt.h) has gone.
 */
#include "osdep.h"
#include "aio-bh.h"
#include "aio-posix.h"
#include "loop-trace.h"
#include "mutants.h"

/* --- registering -------------------------------------------------------------------------- */

bool aio_poll_disabled(AioContext *ctx)
{
	return qatomic_read(&ctx->poll_disable_cnt) > 0;
}

/* Under list_lock, or as a visitor. */
static AioHandler *find_aio_handler(AioContext *ctx, int fd)
{
	AioHandler *node;

	QLIST_FOREACH_RCU (node, &ctx->aio_handlers, node) {
		if (node->pfd.fd == fd && !aio_handler_deleted(node))
			return node;
	}
	return NULL;
}

/* Under list_lock, nobody walks. */
static void aio_unlink_handler(AioHandler *node)
{
	QLIST_SAFE_REMOVE(node, node_ready);
	QLIST_SAFE_REMOVE(node, node_poll);
	QLIST_REMOVE(node, node);
}

/* Under list_lock.  True if nobody walks the list, so that the caller can free it. */
static bool aio_remove_fd_handler(AioContext *ctx, AioHandler *node)
{
	/* No callback starts from here on, even if an event was found already. */
	qatomic_set(&node->pfd.revents, 0);
	qatomic_set(&node->poll_ready, false);

	/* The fd monitor has marked it, and will hand it over when the kernel has let go of it. */
	if (aio_handler_deleted(node))
		return false;

	if (qemu_lockcnt_count(&ctx->list_lock) > 0) {
		QLIST_INSERT_HEAD_RCU(&ctx->deleted_aio_handlers, node, node_deleted);
		return false;
	}
	aio_unlink_handler(node);
	return true;
}

/* GLib polls each handler itself, whatever the monitor of aio_poll() is. */
static void update_gsource(AioContext *ctx, AioHandler *old_node, AioHandler *new_node)
{
	if (new_node)
		fdmon_poll_gsource_add(ctx, new_node);
	if (old_node)
		fdmon_poll_gsource_remove(ctx, old_node);
}

static void trace_change(AioContext *ctx, AioHandler *old_node, AioHandler *new_node, bool deferred)
{
	if (!new_node)
		probe_handler_remove(ctx, old_node, old_node->pfd.fd, deferred);
	else if (old_node)
		probe_handler_modify(ctx, new_node, new_node->pfd.fd, new_node->io_read,
				     new_node->io_write, new_node->opaque);
	else
		probe_handler_add(ctx, new_node, new_node->pfd.fd, new_node->io_read,
				  new_node->io_write, new_node->opaque);
}

void aio_set_fd_handler(AioContext *ctx, int fd, IOHandler *io_read, IOHandler *io_write,
			AioPollFn *io_poll, IOHandler *io_poll_ready, void *opaque)
{
	AioHandler *old_node, *new_node = NULL;
	bool free_old = false;
	int poll_disable_change = 0;

	probe_handler_set(ctx, fd, io_poll, io_poll_ready, loop_caller());

	if (!io_poll_ready)
		io_poll = NULL; /* nobody would hear its answer */

	qemu_lockcnt_lock(&ctx->list_lock);
	old_node = find_aio_handler(ctx, fd);

	if (io_read || io_write || io_poll) {
		new_node = g_new0(AioHandler, 1);
		new_node->pfd.fd = fd;
		/* An event that was found for the old node is not lost. */
		if (old_node)
			new_node->pfd.revents = qatomic_read(&old_node->pfd.revents);
		new_node->pfd.events = (io_read ? G_IO_IN | G_IO_HUP | G_IO_ERR : 0) |
				       (io_write ? G_IO_OUT | G_IO_ERR : 0);
		new_node->io_read = io_read;
		new_node->io_write = io_write;
		new_node->io_poll = io_poll;
		new_node->io_poll_ready = io_poll_ready;
		new_node->opaque = opaque;

		QLIST_INSERT_HEAD_RCU(&ctx->aio_handlers, new_node, node);
		poll_disable_change += !io_poll;
	} else if (!old_node) {
		qemu_lockcnt_unlock(&ctx->list_lock);
		return;
	}

	if (old_node)
		poll_disable_change -= !old_node->io_poll;
	qatomic_set(&ctx->poll_disable_cnt, ctx->poll_disable_cnt + poll_disable_change);
	qatomic_store_release(&ctx->n_fds, ctx->n_fds + !!new_node - !!old_node);

	if (!ctx->era->fd_tag)
		update_gsource(ctx, old_node, new_node);
	aio_fdmon(ctx)->update(ctx, old_node, new_node);
	if (old_node)
		free_old = aio_remove_fd_handler(ctx, old_node);
	if (probe_enabled(handler_add) || probe_enabled(handler_modify) ||
	    probe_enabled(handler_remove))
		trace_change(ctx, old_node, new_node, !free_old);
	qemu_lockcnt_unlock(&ctx->list_lock);

	/* A sleeper waits on the old set of descriptors. */
	aio_notify(ctx);
	if (free_old)
		g_free(old_node);
}

void aio_set_event_notifier(AioContext *ctx, EventNotifier *notifier, EventNotifierHandler *io_read,
			    AioPollFn *io_poll, EventNotifierHandler *io_poll_ready)
{
	aio_set_fd_handler(ctx, event_notifier_get_fd(notifier), (IOHandler *)io_read, NULL,
			   io_poll, (IOHandler *)io_poll_ready, notifier);
}

void aio_set_event_notifier_poll(AioContext *ctx, EventNotifier *notifier,
				 EventNotifierHandler *io_poll_begin,
				 EventNotifierHandler *io_poll_end)
{
	AioHandler *node;

	qemu_lockcnt_lock(&ctx->list_lock);
	node = find_aio_handler(ctx, event_notifier_get_fd(notifier));
	if (node) {
		node->io_poll_begin = (IOHandler *)io_poll_begin;
		node->io_poll_end = (IOHandler *)io_poll_end;
	}
	qemu_lockcnt_unlock(&ctx->list_lock);
}

/* The outermost walker frees; an inner one, or one beside another thread, leaves it to the last. */
void aio_free_deleted_handlers(AioContext *ctx)
{
	AioHandler *node, *next;

	if (QLIST_EMPTY_RCU(&ctx->deleted_aio_handlers))
		return;
	if (!qemu_lockcnt_dec_if_lock(&ctx->list_lock))
		return;

	QLIST_FOREACH_SAFE (node, &ctx->deleted_aio_handlers, node_deleted, next) {
		aio_unlink_handler(node);
		QLIST_REMOVE(node, node_deleted);
		probe_handler_free(ctx, node, node->pfd.fd);
		g_free(node);
	}
	qemu_lockcnt_inc_and_unlock(&ctx->list_lock);
}

/* A ring hands over nodes also when nothing is to be dispatched. */
static void free_deleted_handlers_unvisited(AioContext *ctx)
{
	if (QLIST_EMPTY_RCU(&ctx->deleted_aio_handlers))
		return;
	qemu_lockcnt_inc(&ctx->list_lock);
	aio_free_deleted_handlers(ctx);
	qemu_lockcnt_dec(&ctx->list_lock);
}

/* --- dispatching; home thread, as a visitor ----------------------------------------------- */

int aio_handler_wanted(AioHandler *node, int revents)
{
	int wanted = 0;

	if (node->io_read)
		wanted |= G_IO_IN | G_IO_HUP | G_IO_ERR;
	if (node->io_write)
		wanted |= G_IO_OUT | G_IO_ERR;
	return revents & node->pfd.events & wanted;
}

/* Busy polling found it: the owner looks into memory, no fd was ready. */
static bool dispatch_poll_ready(AioContext *ctx, AioHandler *node)
{
	/*
	 * Off the list meanwhile: a nested aio_poll() would find what is not consumed yet again,
	 * and call it again, until the stack is full (QEMU 6d740fb01b).
	 */
	if (!mutant_stays_on_poll_list)
		QLIST_SAFE_REMOVE(node, node_poll);
	probe_handler_begin(ctx, node, node->pfd.fd, LOOP_HANDLER_OP_POLL_READY,
			    node->io_poll_ready, node->opaque);
	node->io_poll_ready(node->opaque);
	probe_handler_end(ctx, node, node->pfd.fd, LOOP_HANDLER_OP_POLL_READY, node->io_poll_ready);
	if (!aio_handler_deleted(node) && !QLIST_IS_INSERTED(node, node_poll))
		QLIST_INSERT_HEAD(&ctx->poll_aio_handlers, node, node_poll);
	return node->opaque != &ctx->notifier;
}

/* One handler's callbacks: read before write.  The notifier's own is not progress. */
static bool aio_dispatch_handler(AioContext *ctx, AioHandler *node)
{
	int revents = qatomic_read(&node->pfd.revents) & node->pfd.events;
	bool poll_ready = qatomic_read(&node->poll_ready);
	bool progress = false;

	/* Cleared before the callbacks: a nested poll may find, and dispatch, a new event. */
	qatomic_set(&node->pfd.revents, 0);
	qatomic_set(&node->poll_ready, false);

	/* An event is the sign that busy polling it may be worth while. */
	if (node->io_poll && !aio_handler_deleted(node) && !QLIST_IS_INSERTED(node, node_poll))
		aio_poll_list_join(ctx, node, revents);

	if (!aio_handler_deleted(node) && poll_ready && revents == 0)
		return dispatch_poll_ready(ctx, node);

	if (!aio_handler_deleted(node) && node->io_read &&
	    (revents & (G_IO_IN | G_IO_HUP | G_IO_ERR))) {
		probe_handler_begin(ctx, node, node->pfd.fd, LOOP_HANDLER_OP_READ, node->io_read,
				    node->opaque);
		node->io_read(node->opaque);
		probe_handler_end(ctx, node, node->pfd.fd, LOOP_HANDLER_OP_READ, node->io_read);
		progress = node->opaque != &ctx->notifier;
	}
	/* Its own read callback may have removed it. */
	if (!aio_handler_deleted(node) && node->io_write && (revents & (G_IO_OUT | G_IO_ERR))) {
		probe_handler_begin(ctx, node, node->pfd.fd, LOOP_HANDLER_OP_WRITE, node->io_write,
				    node->opaque);
		node->io_write(node->opaque);
		probe_handler_end(ctx, node, node->pfd.fd, LOOP_HANDLER_OP_WRITE, node->io_write);
		progress = true;
	}
	return progress;
}

void aio_add_ready_handler(AioHandlerList *ready_list, AioHandler *node, int revents)
{
	QLIST_SAFE_REMOVE(node, node_ready);
	qatomic_set(&node->pfd.revents, revents);
	QLIST_INSERT_HEAD(ready_list, node, node_ready);
}

void aio_add_poll_ready_handler(AioHandlerList *ready_list, AioHandler *node)
{
	QLIST_SAFE_REMOVE(node, node_ready);
	qatomic_set(&node->poll_ready, true);
	QLIST_INSERT_HEAD(ready_list, node, node_ready);
}

bool aio_dispatch_ready_handlers(AioContext *ctx, AioHandlerList *ready_list, int64_t block_ns)
{
	bool progress = false;
	AioHandler *node;

	/* From the head each time: a nested poll may have taken any of them over. */
	while ((node = QLIST_FIRST(ready_list))) {
		QLIST_REMOVE(node, node_ready);
		progress |= aio_dispatch_handler(ctx, node);
		if (ctx->era->poll_per_handler && QLIST_IS_INSERTED(node, node_poll))
			aio_adjust_poll_ns(ctx, &node->poll.ns, block_ns);
	}
	return progress;
}

/* --- as a GSource ------------------------------------------------------------------------- */

/*
 * Under GLib there is no busy polling.  A context that comes from there leaves it here, and what
 * its last look finds is kept for the dispatch (QEMU throws it away).
 */
bool aio_prepare(AioContext *ctx)
{
	if (ctx->poll_started) {
		qemu_lockcnt_inc(&ctx->list_lock);
		aio_leave_poll_mode(ctx, &ctx->left_ready);
		qemu_lockcnt_dec(&ctx->list_lock);
	}
	if (ctx->era->fd_tag) {
		aio_fdmon(ctx)->gsource_prepare(ctx);
		free_deleted_handlers_unvisited(ctx);
	}
	return !QLIST_EMPTY_RCU(&ctx->left_ready);
}

void aio_take_left_ready(AioContext *ctx, AioHandlerList *ready_list)
{
	AioHandler *node;

	while ((node = QLIST_FIRST(&ctx->left_ready)))
		aio_add_poll_ready_handler(ready_list, node);
}

bool aio_pending(AioContext *ctx)
{
	if (!QLIST_EMPTY_RCU(&ctx->left_ready))
		return true;
	return ctx->era->fd_tag ? aio_fdmon(ctx)->gsource_check(ctx)
				: fdmon_poll_gsource_check(ctx);
}

/* No ready list: all handlers are looked at. */
static bool aio_dispatch_handlers(AioContext *ctx)
{
	bool progress = false;
	AioHandler *node;

	QLIST_FOREACH_RCU (node, &ctx->aio_handlers, node)
		progress |= aio_dispatch_handler(ctx, node);
	return progress;
}

void aio_dispatch(AioContext *ctx)
{
	AioHandlerList ready_list = QLIST_HEAD_INITIALIZER(ready_list);
	const FDMonOps *fdmon;
	bool progress;

	qemu_lockcnt_inc(&ctx->list_lock);
	progress = aio_bh_poll(ctx);
	aio_take_left_ready(ctx, &ready_list);
	fdmon = aio_fdmon(ctx);
	if (ctx->era->fd_tag)
		fdmon->gsource_dispatch(ctx, &ready_list);
	else
		progress |= aio_dispatch_handlers(ctx);
	if (fdmon->dispatch)
		progress |= fdmon->dispatch(ctx);
	progress |= aio_dispatch_ready_handlers(ctx, &ready_list, 0);
	aio_free_deleted_handlers(ctx);
	qemu_lockcnt_dec(&ctx->list_lock);

	progress |= timerlistgroup_run_timers(&ctx->tlg);
	loop_progress |= progress;
}

/* --- the context's own part --------------------------------------------------------------- */

void aio_context_setup(AioContext *ctx)
{
	enum loop_fdmon wanted = loop_settings.fdmon;
	int err = 0;

	ctx->epollfd = -1;
	ctx->epollfd_retired = -1;
	if (wanted == LOOP_FDMON_UNKNOWN && ctx->era->io_uring_default)
		wanted = LOOP_FDMON_IO_URING;

	if (wanted == LOOP_FDMON_IO_URING) {
		err = fdmon_io_uring_setup(ctx);
		if (err == 0) {
			probe_fdmon_change(ctx, LOOP_FDMON_POLL, LOOP_FDMON_IO_URING, 0, 0);
			return;
		}
		probe_fdmon_change(ctx, LOOP_FDMON_IO_URING, LOOP_FDMON_POLL, 0, err);
	}
	if (wanted != LOOP_FDMON_POLL)
		fdmon_epoll_setup(ctx);
}

void aio_context_destroy(AioContext *ctx)
{
	fdmon_io_uring_destroy(ctx);
	fdmon_epoll_destroy(ctx);
	free_deleted_handlers_unvisited(ctx);
}

/*
 * A ring that nobody submits to piles up what it was asked to do, and GLib calls no fd monitor
 * unless it has a tag for it.
 */
void aio_context_use_g_source(AioContext *ctx)
{
	if (ctx->era->fd_tag)
		return;
	fdmon_io_uring_destroy(ctx);
	free_deleted_handlers_unvisited(ctx);
}

void aio_context_set_aio_params(AioContext *ctx, int64_t max_batch)
{
	/* No thread reads it while another writes: a context is set up by its owner. */
	ctx->aio_max_batch = max_batch;
	aio_notify(ctx);
}
