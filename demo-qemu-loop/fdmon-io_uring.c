/* SPDX-License-Identifier: MIT */
/*
 * The fd monitor that QEMU has used by default since 10.2: a POLL_ADD request to io_uring(7) for
 * each handler.  QEMU: util/fdmon-io_uring.c.  One system call submits what has changed and waits;
 * completions are seen in memory, so that busy polling notices any fd.
 *
 * The ring belongs to the home thread.  Others leave what they want done on submit_list, and
 * notify:
 *
 *   any thread                            home, before it waits
 *   flags |= PENDING | ADD or REMOVE      flags &= ~(PENDING | ADD)
 *   push, if it was not PENDING           ADD: POLL_ADD, the node is armed
 *                                         REMOVE: POLL_REMOVE if armed, else it can be freed
 *
 * A POLL_ADD completes once.  If that is by an event, the node is ready and is to be armed again
 * before the next wait: after the callbacks, so that an fd which they did not drain completes
 * again, as it would with the other monitors, and no other does.
 *
 * The kernel knows an armed node by its address.  So a removed one must wait for its completion,
 * and only then go to deleted_aio_handlers.  Until then it is marked as deleted by a node_deleted
 * that points to itself, for that is where everybody looks.
 */
#include "osdep.h"
#include "aio-posix.h"
#include "loop-trace.h"

enum {
	FDMON_IO_URING_ENTRIES = 128, /* submitted at once at most */

	/* AioHandler.flags */
	FDMON_IO_URING_PENDING = (1 << 0), /* on submit_list */
	FDMON_IO_URING_ADD = (1 << 1),
	FDMON_IO_URING_REMOVE = (1 << 2), /* stays */
};

/* --- any thread --------------------------------------------------------------------------- */

static void enqueue(AioContext *ctx, AioHandler *node, unsigned flags)
{
	unsigned old_flags = qatomic_fetch_or(&node->flags, FDMON_IO_URING_PENDING | flags);

	if (!(old_flags & FDMON_IO_URING_PENDING))
		QSLIST_INSERT_HEAD_ATOMIC(&ctx->submit_list, node, node_submitted);
}

/* The caller notifies. */
static void fdmon_io_uring_update(AioContext *ctx, AioHandler *old_node, AioHandler *new_node)
{
	if (new_node)
		enqueue(ctx, new_node, FDMON_IO_URING_ADD);
	if (old_node) {
		qatomic_set(&old_node->node_deleted.le_prev, &old_node->node_deleted.le_next);
		enqueue(ctx, old_node, FDMON_IO_URING_REMOVE);
	}
}

/* --- home: submitting --------------------------------------------------------------------- */

static int submit(AioContext *ctx)
{
	int ret;

	do {
		ret = io_uring_submit(&ctx->fdmon_io_uring);
	} while (ret == -EINTR);
	return ret;
}

static struct io_uring_sqe *get_sqe(AioContext *ctx)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ctx->fdmon_io_uring);
	int ret;

	while (!sqe) {
		ret = submit(ctx);
		/* Short of memory; without this request the loop would sleep over an event. */
		if (ret < 0 && ret != -EAGAIN && ret != -EBUSY)
			g_error("io_uring_enter: %s", g_strerror(-ret));
		sqe = io_uring_get_sqe(&ctx->fdmon_io_uring);
	}
	return sqe;
}

static void arm(AioContext *ctx, AioHandler *node)
{
	struct io_uring_sqe *sqe;

	if (!node->pfd.events) /* only polled busily */
		return;
	sqe = get_sqe(ctx);
	io_uring_prep_poll_add(sqe, node->pfd.fd, node->pfd.events);
	io_uring_sqe_set_data(sqe, &node->internal_cqe_handler);
	node->armed = true;
}

/* Its own completion says nothing; that of the POLL_ADD comes in any case. */
static void disarm(AioContext *ctx, AioHandler *node)
{
	struct io_uring_sqe *sqe = get_sqe(ctx);

	io_uring_prep_poll_remove(sqe, (uintptr_t)&node->internal_cqe_handler);
	io_uring_sqe_set_data(sqe, NULL);
}

/* Nobody in the kernel knows it any more.  Only home inserts here while this is the monitor. */
static void bury(AioContext *ctx, AioHandler *node)
{
	QLIST_INSERT_HEAD_RCU(&ctx->deleted_aio_handlers, node, node_deleted);
}

static void fill_sq_ring(AioContext *ctx)
{
	AioHandlerSList submit_list;
	AioHandler *node;

	/* First: none of these is freed before its removal, in submit_list, is seen to. */
	while ((node = QSLIST_FIRST(&ctx->rearm_list))) {
		QSLIST_REMOVE_HEAD(&ctx->rearm_list, node_rearm);
		if (!(qatomic_read(&node->flags) & FDMON_IO_URING_REMOVE))
			arm(ctx, node);
	}

	if (!QSLIST_FIRST_RCU(&ctx->submit_list))
		return;
	QSLIST_MOVE_ATOMIC(&submit_list, &ctx->submit_list);
	while ((node = QSLIST_FIRST(&submit_list))) {
		unsigned flags;

		/* Off the list before the flag says so, and allows it on again. */
		QSLIST_REMOVE_HEAD(&submit_list, node_submitted);
		flags = qatomic_fetch_and(&node->flags,
					  ~(FDMON_IO_URING_PENDING | FDMON_IO_URING_ADD));
		if (!(flags & FDMON_IO_URING_REMOVE))
			arm(ctx, node);
		else if (node->armed)
			disarm(ctx, node);
		else
			bury(ctx, node);
	}
}

/* --- home: completions -------------------------------------------------------------------- */

/* True if the handler is ready. */
static bool poll_add_complete(AioContext *ctx, AioHandlerList *ready_list, AioHandler *node,
			      int res)
{
	unsigned flags = qatomic_read(&node->flags);

	node->armed = false;
	if (flags & FDMON_IO_URING_PENDING) /* to be removed, which fill_sq_ring() does */
		return false;
	if (flags & FDMON_IO_URING_REMOVE) {
		bury(ctx, node);
		return false;
	}

	/* The thread that submitted it has ended (a vCPU's, say): the kernel takes them back. */
	if (res == -ECANCELED) {
		QSLIST_INSERT_HEAD(&ctx->rearm_list, node, node_rearm);
		return false;
	}
	if (res < 0) /* not an fd any more: there will be no events */
		return false;

	probe_fd_ready(ctx, node->pfd.fd, node->pfd.events, res);
	aio_add_ready_handler(ready_list, node, res);
	QSLIST_INSERT_HEAD(&ctx->rearm_list, node, node_rearm);
	return true;
}

static bool process_cqe(AioContext *ctx, AioHandlerList *ready_list, struct io_uring_cqe *cqe)
{
	CqeHandler *handler = io_uring_cqe_get_data(cqe);

	if (!handler)
		return false;
	if (!handler->cb)
		return poll_add_complete(ctx, ready_list,
					 container_of(handler, AioHandler, internal_cqe_handler),
					 cqe->res);

	handler->cqe = *cqe;
	QSIMPLEQ_INSERT_TAIL(&ctx->cqe_handler_ready_list, handler, next);
	return true;
}

/* Returns how many of them are of interest.  Makes no system call unless the rings are full. */
static int process_cq_ring(AioContext *ctx, AioHandlerList *ready_list)
{
	struct io_uring *ring = &ctx->fdmon_io_uring;
	struct io_uring_cqe *cqe;
	unsigned n_ready = 0, n = io_uring_cq_ready(ring);

	/* Each is given back before it is acted on: that may submit, and need room for more. */
	while (n-- > 0 && io_uring_peek_cqe(ring, &cqe) == 0) {
		struct io_uring_cqe copy = *cqe;

		io_uring_cqe_seen(ring, cqe);
		n_ready += process_cqe(ctx, ready_list, &copy);
	}
	return n_ready;
}

/* --- as a monitor ------------------------------------------------------------------------- */

static bool fdmon_io_uring_need_wait(AioContext *ctx)
{
	struct io_uring *ring = &ctx->fdmon_io_uring;

	return io_uring_cq_ready(ring) || io_uring_sq_ready(ring) ||
	       io_uring_cq_has_overflow(ring) || !QSLIST_EMPTY(&ctx->rearm_list) ||
	       QSLIST_FIRST_RCU(&ctx->submit_list);
}

static int submit_and_wait(AioContext *ctx, int64_t timeout)
{
	struct io_uring *ring = &ctx->fdmon_io_uring;
	struct __kernel_timespec ts = {
		.tv_sec = timeout / NANOSECONDS_PER_SECOND,
		.tv_nsec = timeout % NANOSECONDS_PER_SECOND,
	};
	struct io_uring_cqe *cqe;

	if (timeout < 0)
		return io_uring_submit_and_wait(ring, 1);
	if (timeout > 0)
		return io_uring_submit_and_wait_timeout(ring, &cqe, 1, &ts, NULL);
	if (io_uring_sq_ready(ring) || io_uring_cq_has_overflow(ring))
		return io_uring_submit(ring);
	return 0;
}

static int fdmon_io_uring_wait(AioContext *ctx, AioHandlerList *ready_list, int64_t timeout)
{
	int ret, n_ready;

	fill_sq_ring(ctx);
	probe_poll_enter(ctx, qatomic_read(&ctx->n_fds), timeout, LOOP_FDMON_IO_URING, loop_depth,
			 loop_bql());
	/* What the ring has already is no reason to sleep, nor to ask the kernel. */
	n_ready = process_cq_ring(ctx, ready_list);
	ret = submit_and_wait(ctx, n_ready ? 0 : timeout);
	n_ready += process_cq_ring(ctx, ready_list);
	if (n_ready == 0 && ret < 0 && ret != -ETIME)
		n_ready = ret;
	probe_poll_exit(ctx, n_ready);
	return n_ready;
}

/* In order of completion. */
static bool fdmon_io_uring_dispatch(AioContext *ctx)
{
	CqeHandler *handler;
	bool progress = false;

	while ((handler = QSIMPLEQ_FIRST(&ctx->cqe_handler_ready_list))) {
		QSIMPLEQ_REMOVE_HEAD(&ctx->cqe_handler_ready_list, next);
		handler->cb(handler);
		progress = true;
	}
	return progress;
}

/* GLib polls the ring's fd, which is readable when there are completions. */
static void fdmon_io_uring_gsource_prepare(AioContext *ctx)
{
	fill_sq_ring(ctx);
	if (io_uring_sq_ready(&ctx->fdmon_io_uring))
		submit(ctx);
}

static bool fdmon_io_uring_gsource_check(AioContext *ctx)
{
	return io_uring_cq_ready(&ctx->fdmon_io_uring) ||
	       io_uring_cq_has_overflow(&ctx->fdmon_io_uring);
}

static void fdmon_io_uring_gsource_dispatch(AioContext *ctx, AioHandlerList *ready_list)
{
	if (io_uring_cq_has_overflow(&ctx->fdmon_io_uring))
		io_uring_get_events(&ctx->fdmon_io_uring);
	process_cq_ring(ctx, ready_list);
}

static void fdmon_io_uring_add_sqe(AioContext *ctx,
				   void (*prep_sqe)(struct io_uring_sqe *sqe, void *opaque),
				   void *opaque, CqeHandler *cqe_handler)
{
	struct io_uring_sqe *sqe = get_sqe(ctx);

	assert(cqe_handler->cb);
	prep_sqe(sqe, opaque);
	io_uring_sqe_set_data(sqe, cqe_handler);
}

const FDMonOps fdmon_io_uring_ops = {
	.update = fdmon_io_uring_update,
	.wait = fdmon_io_uring_wait,
	.need_wait = fdmon_io_uring_need_wait,
	.dispatch = fdmon_io_uring_dispatch,
	.gsource_prepare = fdmon_io_uring_gsource_prepare,
	.gsource_check = fdmon_io_uring_gsource_check,
	.gsource_dispatch = fdmon_io_uring_gsource_dispatch,
	.add_sqe = fdmon_io_uring_add_sqe,
};

bool aio_has_io_uring(void)
{
	AioContext *ctx = qemu_get_current_aio_context();

	return ctx && aio_fdmon(ctx)->add_sqe;
}

void aio_add_sqe(void (*prep_sqe)(struct io_uring_sqe *sqe, void *opaque), void *opaque,
		 CqeHandler *cqe_handler)
{
	AioContext *ctx = qemu_get_current_aio_context();

	aio_fdmon(ctx)->add_sqe(ctx, prep_sqe, opaque, cqe_handler);
}

int fdmon_io_uring_setup(AioContext *ctx)
{
	struct io_uring *ring = &ctx->fdmon_io_uring;
	struct io_uring_params params = {};
	int ret;

	ret = io_uring_queue_init_params(FDMON_IO_URING_ENTRIES, ring, &params);
	if (ret < 0)
		return ret;
	/* Without: no timeout with the wait (5.11), completions lost if there are many (5.5). */
	if (!(params.features & IORING_FEAT_EXT_ARG) || !(params.features & IORING_FEAT_NODROP)) {
		io_uring_queue_exit(ring);
		return -ENOSYS;
	}

	if (ctx->era->fd_tag) {
		ctx->io_uring_fd_tag = g_source_add_unix_fd(&ctx->source, ring->ring_fd, G_IO_IN);
		probe_source_add_fd(&ctx->source, ring->ring_fd, G_IO_IN);
	}
	ctx->fdmon_ops = &fdmon_io_uring_ops;
	return 0;
}

/* With the ring gone, no node is armed. */
void fdmon_io_uring_destroy(AioContext *ctx)
{
	AioHandler *node;

	if (ctx->fdmon_ops != &fdmon_io_uring_ops)
		return;
	/* GLib has let go of it, at the end of the GSource. */
	io_uring_queue_exit(&ctx->fdmon_io_uring);
	QSLIST_INIT(&ctx->submit_list);
	QSLIST_INIT(&ctx->rearm_list);
	QLIST_FOREACH (node, &ctx->aio_handlers, node) {
		/* Those that point to themselves are on no list yet. */
		if (node->node_deleted.le_prev == &node->node_deleted.le_next)
			bury(ctx, node);
		node->flags = 0;
		node->armed = false;
	}
	ctx->fdmon_ops = &fdmon_poll_ops;
}
