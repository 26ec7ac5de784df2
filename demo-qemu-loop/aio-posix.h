/* SPDX-License-Identifier: MIT */
/*
 * One registered file descriptor, and what the fd monitors and aio_poll() share about it.  Private
 * to the loop (QEMU: util/aio-posix.h).
 */
#ifndef DEMO_AIO_POSIX_H
#define DEMO_AIO_POSIX_H

#include "aio.h"
#include "atomic.h"

struct AioHandler {
	GPollFD pfd; /* GLib writes revents here; aio_poll() through aio_add_ready_handler() */
	IOHandler *io_read;
	IOHandler *io_write;
	AioPollFn *io_poll;
	IOHandler *io_poll_ready;
	IOHandler *io_poll_begin;
	IOHandler *io_poll_end;
	void *opaque;
	QLIST_ENTRY(AioHandler) node;	      /* on ctx->aio_handlers */
	QLIST_ENTRY(AioHandler) node_ready;   /* on the ready list of one aio_poll(); home */
	QLIST_ENTRY(AioHandler) node_deleted; /* on ctx->deleted_aio_handlers: removed, not freed */
	QLIST_ENTRY(AioHandler) node_poll;    /* on ctx->poll_aio_handlers; home */
	int64_t poll_idle_timeout;	      /* when to stop busy polling this one; ns */
	bool poll_ready;		      /* io_poll said yes */
};

static inline bool aio_handler_deleted(AioHandler *node)
{
	return QLIST_IS_INSERTED(node, node_deleted);
}

/* The events for which it has a callback to give them to. */
int aio_handler_wanted(AioHandler *node, int revents);

/*
 * For the wait() of an fd monitor.  The node leaves the list of an outer, nested-in aio_poll(), so
 * that an event is dispatched once.
 */
void aio_add_ready_handler(AioHandlerList *ready_list, AioHandler *node, int revents);

/* For aio_poll(). */
bool aio_dispatch_ready_handlers(AioContext *ctx, AioHandlerList *ready_list);
void aio_free_deleted_handlers(AioContext *ctx);

/* Whether busy polling cannot see everything. */
bool aio_poll_disabled(AioContext *ctx);

extern const FDMonOps fdmon_poll_ops;

#endif
