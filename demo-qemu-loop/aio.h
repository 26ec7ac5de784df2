/* SPDX-License-Identifier: MIT */
/*
 * AioContext: file descriptor handlers, bottom halves and timers that belong together and are run
 * by one thread, their home (QEMU: block/aio.h, qemu/aio.h since 11.0).
 *
 * It can be run in two ways.  As a GSource, by whoever iterates the GMainContext that it is
 * attached to: so the main loop does.  Or by aio_poll(), which polls this context and nothing
 * else: so an IOThread does, and code that must wait for I/O of this context before it goes on.
 *
 * From any thread: aio_notify(), the qemu_bh_*() and aio_bh_*() functions, timers,
 * aio_set_fd_handler().  From home only: aio_poll(), aio_dispatch(), aio_bh_poll().
 */
#ifndef DEMO_AIO_H
#define DEMO_AIO_H

#include <liburing.h>
#include "aiocb.h"
#include "era.h"
#include "error.h"
#include "event_notifier.h"
#include "queue.h"
#include "thread.h"
#include "timer.h"

typedef struct AioContext AioContext;
typedef struct AioHandler AioHandler;
typedef struct QEMUBH QEMUBH;
typedef struct Coroutine Coroutine;
typedef struct ThreadPoolAio ThreadPoolAio;
typedef struct LinuxAioState LinuxAioState;

typedef void QEMUBHFunc(void *opaque);
typedef bool AioPollFn(void *opaque);
typedef void IOHandler(void *opaque);

typedef QLIST_HEAD(, AioHandler) AioHandlerList;
typedef QSLIST_HEAD(, AioHandler) AioHandlerSList;
typedef QSLIST_HEAD(, QEMUBH) BHList;
typedef struct BHListSlice BHListSlice;

/* Who is told that a request of io_uring's is complete: see aio_add_sqe(). */
typedef struct CqeHandler CqeHandler;
struct CqeHandler {
	void (*cb)(CqeHandler *handler);
	QSIMPLEQ_ENTRY(CqeHandler) next; /* on ctx->cqe_handler_ready_list; home */
	struct io_uring_cqe cqe;	 /* valid in cb() */
};
typedef QSIMPLEQ_HEAD(, CqeHandler) CqeHandlerSimpleQ;

/* A device's mark that it is inside one of its own callbacks (QEMU: hw/qdev-core.h). */
typedef struct MemReentrancyGuard {
	bool engaged_in_io;
} MemReentrancyGuard;

/* How a context waits for its descriptors. */
typedef struct FDMonOps {
	/*
	 * @old_node gives way to @new_node; NULL for either: a handler is added, or removed.
	 * Called with list_lock held.
	 */
	void (*update)(AioContext *ctx, AioHandler *old_node, AioHandler *new_node);

	/*
	 * Sleeps up to @timeout ns and puts the handlers that became ready on @ready_list.
	 * Returns how many, or -errno.  Home thread, visitor count raised.
	 */
	int (*wait)(AioContext *ctx, AioHandlerList *ready_list, int64_t timeout);

	/* Whether descriptors must be looked at even by a poll that does not sleep. */
	bool (*need_wait)(AioContext *ctx);

	/*
	 * May be NULL: calls those whose requests are complete.  True if there were any.  Home
	 * thread, visitor count raised.
	 */
	bool (*dispatch)(AioContext *ctx);

	/*
	 * Where GLib does the waiting: before it sleeps; whether a handler is ready after that;
	 * and those that are, put on @ready_list.  Home thread.
	 */
	void (*gsource_prepare)(AioContext *ctx);
	bool (*gsource_check)(AioContext *ctx);
	void (*gsource_dispatch)(AioContext *ctx, AioHandlerList *ready_list);

	/* May be NULL: see aio_add_sqe(). */
	void (*add_sqe)(AioContext *ctx, void (*prep_sqe)(struct io_uring_sqe *sqe, void *opaque),
			void *opaque, CqeHandler *cqe_handler);
} FDMonOps;

struct AioContext {
	GSource source; /* first: a GSource with these source_funcs is an AioContext */

	QemuRecMutex lock; /* of no use any more; see aio_context_acquire() */

	/* Walked by visitors of list_lock, changed under it.  The dead are on both lists. */
	AioHandlerList aio_handlers;
	AioHandlerList deleted_aio_handlers;

	/*
	 * Who must be woken: bit 0 says that GLib is between our prepare and check, the rest, in
	 * steps of 2, counts aio_poll()s that may sleep.  Written at home, read by anybody.
	 */
	uint32_t notify_me;

	QemuLockCnt list_lock;

	BHList bh_list;				    /* anybody pushes, home takes the whole */
	QSIMPLEQ_HEAD(, BHListSlice) bh_slice_list; /* of the aio_bh_poll()s now active; home */

	/*
	 * Set by aio_notify(), cleared by aio_notify_accept(): something was published since.  It
	 * may be set with the notifier's counter 0, or the counter may be left over from an earlier
	 * notification; a wake-up too many is harmless, one too few is a hang.
	 */
	bool notified;
	EventNotifier notifier;

	/* Coroutines to be entered by co_schedule_bh: anybody pushes, home takes the whole. */
	QSLIST_HEAD(, Coroutine) scheduled_coroutines;
	QEMUBH *co_schedule_bh;

	int thread_pool_min, thread_pool_max; /* threads, of the pool below */
	ThreadPoolAio *thread_pool;	      /* NULL until the first aio_get_thread_pool() */
	LinuxAioState *linux_aio;	      /* NULL until aio_setup_linux_aio() */
	/* With the io_uring monitor (fdmon-io_uring.c); the ring is home's alone. */
	struct io_uring fdmon_io_uring;
	AioHandlerSList submit_list;		  /* anybody pushes, home takes the whole */
	gpointer io_uring_fd_tag;		  /* the ring's fd in the GSource, or NULL */
	CqeHandlerSimpleQ cqe_handler_ready_list; /* complete, not called yet; home */

	QEMUTimerListGroup tlg;

	int poll_disable_cnt; /* handlers without io_poll: one is enough to rule out busy polling */

	/*
	 * Busy polling: how long now (unless each handler has its own), how long at most, and by
	 * what factors that changes.
	 */
	int64_t poll_ns;
	int64_t poll_max_ns;
	int64_t poll_grow;
	int64_t poll_shrink;

	int64_t aio_max_batch;

	AioHandlerList poll_aio_handlers; /* those busy polling asks; home */
	bool poll_started;		  /* between their io_poll_begin and io_poll_end */

	int epollfd;	      /* -1: none */
	gpointer epollfd_tag; /* that in the GSource, or NULL */
	const FDMonOps *fdmon_ops;

	/* What QEMU does not have. */
	const LoopEra *era;
	unsigned n_fds;		    /* handlers; changed under list_lock */
	unsigned epoll_threshold;   /* handlers from which on it is epoll */
	int epollfd_retired;	    /* given up by whoever had to, for home to close; or -1 */
	AioHandlerSList rearm_list; /* fdmon-io_uring.c: had an event; home */
	AioHandlerList left_ready;  /* found by the last look of busy polling, outside aio_poll() */
};

/* --- the context -------------------------------------------------------------------------- */

AioContext *aio_context_new(Error **errp);
void aio_context_ref(AioContext *ctx);
void aio_context_unref(AioContext *ctx);

/* The context as a GSource, with a reference for the caller. */
GSource *aio_get_g_source(AioContext *ctx);

/* QEMU gave these up in 9.0: a context is left to its home thread instead. */
void aio_context_acquire(AioContext *ctx);
void aio_context_release(AioContext *ctx);

/* The context whose home is the calling thread; the main one for whoever holds the BQL. */
AioContext *qemu_get_current_aio_context(void);
void qemu_set_current_aio_context(AioContext *ctx);

static inline bool in_aio_context_home_thread(AioContext *ctx)
{
	return ctx == qemu_get_current_aio_context();
}

/* Its fd monitor: the one that the era and the host allow, and its end. */
void aio_context_setup(AioContext *ctx);
void aio_context_destroy(AioContext *ctx);

/* It is to be run by GLib.  In older eras that is the end of a ring. */
void aio_context_use_g_source(AioContext *ctx);

void aio_context_set_poll_params(AioContext *ctx, int64_t max_ns, int64_t grow, int64_t shrink,
				 Error **errp);
void aio_context_set_aio_params(AioContext *ctx, int64_t max_batch);

/* --- running it --------------------------------------------------------------------------- */

/*
 * Runs what is ready; if @blocking, waits for the first such thing.  True if something was done,
 * for which idle bottom halves and the notifier itself do not count.
 */
bool aio_poll(AioContext *ctx, bool blocking);

/* Makes a sleeping context look again. */
void aio_notify(AioContext *ctx);
void aio_notify_accept(AioContext *ctx);

/* The parts that its GSource is made of. */
bool aio_prepare(AioContext *ctx);
bool aio_pending(AioContext *ctx);
void aio_dispatch(AioContext *ctx);

/* How long it may sleep: ns, 0 not at all, -1 for ever. */
int64_t aio_compute_timeout(AioContext *ctx);

/* --- file descriptors --------------------------------------------------------------------- */

/*
 * Replaces whatever the context had for @fd; all callbacks NULL: removes it.  After a removal, by
 * the home thread, no callback for that fd starts any more.  @io_poll is asked by busy polling and
 * needs @io_poll_ready, which is called when it said yes.
 */
void aio_set_fd_handler(AioContext *ctx, int fd, IOHandler *io_read, IOHandler *io_write,
			AioPollFn *io_poll, IOHandler *io_poll_ready, void *opaque);

/* The same for the read end of a notifier; @io_poll gets the notifier as its opaque. */
void aio_set_event_notifier(AioContext *ctx, EventNotifier *notifier, EventNotifierHandler *io_read,
			    AioPollFn *io_poll, EventNotifierHandler *io_poll_ready);
void aio_set_event_notifier_poll(AioContext *ctx, EventNotifier *notifier,
				 EventNotifierHandler *io_poll_begin,
				 EventNotifierHandler *io_poll_end);

/* --- requests to io_uring ----------------------------------------------------------------- */

/* Whether the current thread's context has a ring. */
bool aio_has_io_uring(void);

/*
 * A request to that ring: @prep_sqe fills it in, at once; it is submitted with the next wait, and
 * @cqe_handler, which must live until then, is called when it is complete, in order of completion.
 * Home thread.
 */
void aio_add_sqe(void (*prep_sqe)(struct io_uring_sqe *sqe, void *opaque), void *opaque,
		 CqeHandler *cqe_handler);

/* --- bottom halves ------------------------------------------------------------------------ */

/* Last scheduled, first run.  @name is for people; the macros make it of the callback's. */
QEMUBH *aio_bh_new_full(AioContext *ctx, QEMUBHFunc *cb, void *opaque, const char *name,
			MemReentrancyGuard *reentrancy_guard);
#define aio_bh_new(ctx, cb, opaque) aio_bh_new_full((ctx), (cb), (opaque), (stringify(cb)), NULL)
#define aio_bh_new_guarded(ctx, cb, opaque, guard)                                                 \
	aio_bh_new_full((ctx), (cb), (opaque), (stringify(cb)), guard)

void aio_bh_schedule_oneshot_full(AioContext *ctx, QEMUBHFunc *cb, void *opaque, const char *name);
#define aio_bh_schedule_oneshot(ctx, cb, opaque)                                                   \
	aio_bh_schedule_oneshot_full((ctx), (cb), (opaque), (stringify(cb)))

void qemu_bh_schedule(QEMUBH *bh);
/* As above, but lets the loop sleep up to 10 ms first. */
void qemu_bh_schedule_idle(QEMUBH *bh);
/* It will not run, unless it is scheduled again.  Does not wait for a run in progress. */
void qemu_bh_cancel(QEMUBH *bh);
/* The loop frees it, later. */
void qemu_bh_delete(QEMUBH *bh);

void aio_bh_call(QEMUBH *bh);
int aio_bh_poll(AioContext *ctx);

/* --- coroutines (coroutine.h) --------------------------------------------------------------- */

/* @ctx's loop enters @co, which must not run now, once.  Any thread. */
void aio_co_schedule(AioContext *ctx, Coroutine *co);

/* @co goes on in the context it was last entered in.  At home: at once, or when we yield. */
void aio_co_wake(Coroutine *co);
void aio_co_enter(AioContext *ctx, Coroutine *co);

/*
 * The calling coroutine goes on in @new_ctx.  For contexts of different threads: "where are we" is
 * the thread's current context, so in the main thread a move between the main context and
 * iohandler_ctx is taken for none.  There it is aio_co_schedule(), then qemu_coroutine_yield().
 */
void aio_co_reschedule_self(AioContext *new_ctx);

/* --- blocking work (thread-pool.h), the kernel's AIO (linux-aio.h) ---------------------------- */

ThreadPoolAio *aio_get_thread_pool(AioContext *ctx);
void aio_context_set_thread_pool_params(AioContext *ctx, int64_t min, int64_t max, Error **errp);

LinuxAioState *aio_setup_linux_aio(AioContext *ctx, Error **errp); /* or NULL */
LinuxAioState *aio_get_linux_aio(AioContext *ctx);		   /* after that */

/* --- timers of the context ---------------------------------------------------------------- */

static inline QEMUTimer *aio_timer_new_with_attrs(AioContext *ctx, QEMUClockType type, int scale,
						  int attributes, QEMUTimerCB *cb, void *opaque)
{
	return timer_new_full(&ctx->tlg, type, scale, attributes, cb, opaque);
}

static inline QEMUTimer *aio_timer_new(AioContext *ctx, QEMUClockType type, int scale,
				       QEMUTimerCB *cb, void *opaque)
{
	return timer_new_full(&ctx->tlg, type, scale, 0, cb, opaque);
}

static inline void aio_timer_init_with_attrs(AioContext *ctx, QEMUTimer *ts, QEMUClockType type,
					     int scale, int attributes, QEMUTimerCB *cb,
					     void *opaque)
{
	timer_init_full(ts, &ctx->tlg, type, scale, attributes, cb, opaque);
}

static inline void aio_timer_init(AioContext *ctx, QEMUTimer *ts, QEMUClockType type, int scale,
				  QEMUTimerCB *cb, void *opaque)
{
	timer_init_full(ts, &ctx->tlg, type, scale, 0, cb, opaque);
}

#endif
