/* SPDX-License-Identifier: MIT */
/*
 * One registered file descriptor, and what the fd monitors and aio_poll() share about it.  Private
 * to the loop (QEMU: util/aio-posix.h).
 */
#ifndef DEMO_AIO_POSIX_H
#define DEMO_AIO_POSIX_H

#include "aio.h"
#include "atomic.h"

typedef struct AioPolledEvent {
	int64_t ns; /* how long to poll busily for this handler's sake */
} AioPolledEvent;

struct AioHandler {
	GPollFD pfd; /* GLib writes revents here; others through aio_add_ready_handler() */
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
	QSLIST_ENTRY(AioHandler) node_submitted; /* on ctx->submit_list */
	QSLIST_ENTRY(AioHandler) node_rearm;	 /* on ctx->rearm_list; home */
	unsigned flags;				 /* fdmon-io_uring.c: what submit_list is to do */
	bool armed;				 /* fdmon-io_uring.c: a POLL_ADD is out; home */
	bool poll_ready;			 /* io_poll said yes */
	int64_t poll_idle_timeout; /* when to stop busy polling this one, 0 not known yet; ns */
	AioPolledEvent poll;
	CqeHandler internal_cqe_handler; /* of the POLL_ADD */
};

static inline bool aio_handler_deleted(AioHandler *node)
{
	return QLIST_IS_INSERTED(node, node_deleted);
}

/* The events for which it has a callback to give them to. */
int aio_handler_wanted(AioHandler *node, int revents);

/*
 * For the wait() of an fd monitor, and for busy polling.  The node leaves the list of an outer,
 * nested-in aio_poll(), so that an event is dispatched once.
 */
void aio_add_ready_handler(AioHandlerList *ready_list, AioHandler *node, int revents);
void aio_add_poll_ready_handler(AioHandlerList *ready_list, AioHandler *node);

/* For aio_poll(): @block_ns is how long that took until now, for busy polling to adapt to. */
bool aio_dispatch_ready_handlers(AioContext *ctx, AioHandlerList *ready_list, int64_t block_ns);
void aio_free_deleted_handlers(AioContext *ctx);

/* What aio_prepare() found goes where it is dispatched. */
void aio_take_left_ready(AioContext *ctx, AioHandlerList *ready_list);

/* --- the fd monitors ---------------------------------------------------------------------- */

extern const FDMonOps fdmon_poll_ops;
extern const FDMonOps fdmon_epoll_ops;
extern const FDMonOps fdmon_io_uring_ops;

/* Any thread may change it back to poll. */
static inline const FDMonOps *aio_fdmon(AioContext *ctx)
{
	return qatomic_read(&ctx->fdmon_ops);
}

/* Whether busy polling cannot see everything. */
bool aio_poll_disabled(AioContext *ctx);

/* A GPollFD of the handler's own in the GSource; under list_lock. */
void fdmon_poll_gsource_add(AioContext *ctx, AioHandler *node);
void fdmon_poll_gsource_remove(AioContext *ctx, AioHandler *node);

/* Whether a handler has an event that was found, and those that have: a walk over all of them. */
bool fdmon_poll_gsource_check(AioContext *ctx);

/* The rest is home's.  Those that change monitors do nothing where there is no such monitor. */
void fdmon_epoll_setup(AioContext *ctx);
void fdmon_epoll_destroy(AioContext *ctx);
/* True if it is to be epoll from here on.  As a visitor of list_lock. */
bool fdmon_epoll_try_upgrade(AioContext *ctx, unsigned npfd);
/* Closes what another thread gave up; not while waiting on it. */
void fdmon_epoll_retire(AioContext *ctx);

int fdmon_io_uring_setup(AioContext *ctx); /* 0 or -errno */
void fdmon_io_uring_destroy(AioContext *ctx);

/* --- busy polling (aio-busy-poll.c) ------------------------------------------------------- */

/* The clock of busy polling; a test may set it. */
extern int64_t (*aio_poll_clock)(void);

/*
 * Asks the handlers with an io_poll until one has something, up to *@timeout and as long as it has
 * been worth it; lowers *@timeout by that time, or to 0.  True if there was progress.
 */
bool aio_try_poll_mode(AioContext *ctx, AioHandlerList *ready_list, int64_t *timeout);

/* Before a sleep: handlers' notifications are wanted again.  True if a last look found something.
 */
bool aio_leave_poll_mode(AioContext *ctx, AioHandlerList *ready_list);

/* A node had an event, so it is polled busily from here on. */
void aio_poll_list_join(AioContext *ctx, AioHandler *node, int revents);

/* *@poll_ns becomes what would have been right for a wait of @block_ns. */
void aio_adjust_poll_ns(AioContext *ctx, int64_t *poll_ns, int64_t block_ns);

#endif
