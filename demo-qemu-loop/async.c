/* SPDX-License-Identifier: MIT */
/*
 * The AioContext as an object and as a GSource, and the protocol that wakes it (QEMU:
 * util/async.c).
 *
 * Waking.  A writer publishes something (a bottom half, a timer, a handler) and calls
 * aio_notify(); the sleeper raises notify_me, looks for work, sleeps:
 *
 *   writer                          sleeper
 *   publish                         notify_me += 2            (or |= 1, as a GSource)
 *   notified = true                 smp_mb()
 *   smp_mb()                        work? notified?  then timeout = 0
 *   if (notify_me)                  sleep on the notifier and the rest
 *           write the notifier      notify_me -= 2
 *                                   notified = false, smp_mb(), look for work
 *
 * Each side writes its flag before it reads the other's, with a full barrier between: so at least
 * one of them sees the other.  Either the sleeper finds the work, or the writer finds the sleeper
 * and pays for the system call.  While nobody sleeps, a notification is a store and a barrier.
 */
#include "osdep.h"
#include "aio-bh.h"
#include "aio-posix.h"
#include "async-co.h"
#include "atomic.h"
#include "linux-aio.h"
#include "loop-trace.h"
#include "main-loop.h"
#include "mutants.h"
#include "thread-pool.h"

/* --- waking ------------------------------------------------------------------------------- */

/* Not inlined into its callers here: whoever probes the function sees all calls. */
__attribute__((noinline)) void aio_notify(AioContext *ctx)
{
	uint32_t notify_me;

	/* What the caller published comes before the flag. */
	smp_wmb();

	/* The barrier pairs with those of aio_ctx_prepare() and aio_poll(). */
	qatomic_set_mb(&ctx->notified, true);
	notify_me = mutant_read_notify_me(ctx);
	probe_notify(ctx, notify_me, notify_me != 0, loop_caller());
	if (notify_me)
		event_notifier_set(&ctx->notifier);
}

void aio_notify_accept(AioContext *ctx)
{
	probe_notify_accept(ctx, qatomic_read(&ctx->notified), ctx->notify_me);
	/* Clear first, look for work after: what is published in between notifies anew. */
	qatomic_set_mb(&ctx->notified, false);
}

/* Empties the counter.  That is all: what the notification was about, its owner knows. */
static void aio_context_notifier_cb(EventNotifier *e)
{
	event_notifier_test_and_clear(e);
}

/* Busy polling sees a notification in memory and needs no system call for it. */
static bool aio_context_notifier_poll(void *opaque)
{
	AioContext *ctx = container_of((EventNotifier *)opaque, AioContext, notifier);

	return qatomic_read(&ctx->notified);
}

static void aio_context_notifier_poll_ready(EventNotifier *e G_GNUC_UNUSED)
{
}

static void aio_timerlist_notify(void *opaque, QEMUClockType type G_GNUC_UNUSED)
{
	aio_notify(opaque);
}

/* --- how long to sleep -------------------------------------------------------------------- */

int64_t aio_compute_timeout(AioContext *ctx)
{
	int64_t timeout = aio_bh_timeout_ns(ctx);

	if (timeout == 0)
		return 0;
	return qemu_soonest_timeout(timeout, timerlistgroup_deadline_ns(&ctx->tlg));
}

/* --- the GSource -------------------------------------------------------------------------- */

static gboolean aio_ctx_prepare(GSource *source, gint *timeout)
{
	AioContext *ctx = (AioContext *)source;

	qatomic_set(&ctx->notify_me, qatomic_read(&ctx->notify_me) | 1);
	smp_mb(); /* pairs with aio_notify() */
	probe_notify_me(ctx, ctx->notify_me);

	/* GLib counts in milliseconds; rounded up, or it would spin through the last one. */
	*timeout = qemu_timeout_ns_to_ms(aio_compute_timeout(ctx));
	if (aio_prepare(ctx))
		*timeout = 0;
	loop_source_prepared(source, ctx, *timeout == 0, *timeout);
	return *timeout == 0;
}

static gboolean aio_ctx_check(GSource *source)
{
	AioContext *ctx = (AioContext *)source;
	bool ready;

	/*
	 * Sleep is over before we look; nobody needs to wake us from here on.  GLib asks only those
	 * whose prepare said "not ready": otherwise bit 0 and notified stay up until the next time,
	 * at the price of a write too many.
	 */
	qatomic_store_release(&ctx->notify_me, qatomic_read(&ctx->notify_me) & ~1u);
	probe_notify_me(ctx, ctx->notify_me);
	aio_notify_accept(ctx);

	ready = aio_bh_pending(ctx) || aio_pending(ctx) ||
		timerlistgroup_deadline_ns(&ctx->tlg) == 0;
	loop_source_checked(source, ready);
	return ready;
}

static gboolean aio_ctx_dispatch(GSource *source, GSourceFunc callback,
				 gpointer user_data G_GNUC_UNUSED)
{
	AioContext *ctx = (AioContext *)source;

	/* A context is called for what is in it; it has no callback of its own. */
	assert(callback == NULL);
	loop_source_dispatching(source, aio_ctx_dispatch, NULL);
	aio_dispatch(ctx);
	loop_source_dispatched(source, G_SOURCE_CONTINUE);
	return G_SOURCE_CONTINUE;
}

static void aio_ctx_finalize(GSource *source)
{
	AioContext *ctx = (AioContext *)source;

	if (!ctx->notifier.initialized) /* aio_context_new() failed */
		return;

	thread_pool_free_aio(ctx->thread_pool);
	if (ctx->linux_aio) {
		laio_detach_aio_context(ctx->linux_aio, ctx);
		laio_cleanup(ctx->linux_aio);
	}
	aio_co_cleanup(ctx);
	aio_bh_free_deleted(ctx);
	aio_set_event_notifier(ctx, &ctx->notifier, NULL, NULL, NULL);
	aio_context_destroy(ctx);
	assert(QLIST_EMPTY(&ctx->aio_handlers));
	event_notifier_cleanup(&ctx->notifier);
	qemu_rec_mutex_destroy(&ctx->lock);
	qemu_lockcnt_destroy(&ctx->list_lock);
	timerlistgroup_deinit(&ctx->tlg);
	probe_context_free(ctx);
}

static GSourceFuncs aio_source_funcs = {
	.prepare = aio_ctx_prepare,
	.check = aio_ctx_check,
	.dispatch = aio_ctx_dispatch,
	.finalize = aio_ctx_finalize,
};

GSource *aio_get_g_source(AioContext *ctx)
{
	aio_context_use_g_source(ctx);
	return g_source_ref(&ctx->source);
}

/* --- the object --------------------------------------------------------------------------- */

AioContext *aio_context_new(Error **errp)
{
	AioContext *ctx = (AioContext *)g_source_new(&aio_source_funcs, sizeof(AioContext));
	int ret;

	QLIST_INIT(&ctx->aio_handlers);
	QLIST_INIT(&ctx->deleted_aio_handlers);
	QLIST_INIT(&ctx->poll_aio_handlers);
	QSLIST_INIT(&ctx->bh_list);
	QSIMPLEQ_INIT(&ctx->bh_slice_list);
	QLIST_INIT(&ctx->left_ready);
	QSLIST_INIT(&ctx->submit_list);
	QSLIST_INIT(&ctx->rearm_list);
	QSIMPLEQ_INIT(&ctx->cqe_handler_ready_list);
	ctx->era = loop_settings.era ?: loop_era_today();
	ctx->fdmon_ops = &fdmon_poll_ops;

	ret = event_notifier_init(&ctx->notifier, false);
	if (ret < 0) {
		error_setg_errno(errp, -ret, "Failed to initialize event notifier");
		g_source_unref(&ctx->source);
		return NULL;
	}

	probe_context_new(ctx, loop_caller());

	/* A callback may iterate GLib's loop, and that must reach this context again. */
	g_source_set_can_recurse(&ctx->source, TRUE);
	qemu_rec_mutex_init(&ctx->lock);
	qemu_lockcnt_init(&ctx->list_lock);
	timerlistgroup_init(&ctx->tlg, aio_timerlist_notify, ctx);
	ctx->thread_pool_max = THREAD_POOL_MAX_THREADS_DEFAULT;
	aio_co_init(ctx);
	aio_context_setup(ctx);
	aio_set_event_notifier(ctx, &ctx->notifier, aio_context_notifier_cb,
			       aio_context_notifier_poll, aio_context_notifier_poll_ready);
	return ctx;
}

void aio_context_ref(AioContext *ctx)
{
	g_source_ref(&ctx->source);
}

void aio_context_unref(AioContext *ctx)
{
	g_source_unref(&ctx->source);
}

void aio_context_acquire(AioContext *ctx)
{
	qemu_rec_mutex_lock(&ctx->lock);
}

void aio_context_release(AioContext *ctx)
{
	qemu_rec_mutex_unlock(&ctx->lock);
}

/* --- whose home is this thread? ----------------------------------------------------------- */

static __thread AioContext *co_tls_my_aiocontext;

AioContext *qemu_get_current_aio_context(void)
{
	if (co_tls_my_aiocontext)
		return co_tls_my_aiocontext;
	/* A vCPU thread that holds the BQL stands in for the main thread. */
	return bql_locked() ? qemu_get_aio_context() : NULL;
}

void qemu_set_current_aio_context(AioContext *ctx)
{
	assert(!co_tls_my_aiocontext);
	co_tls_my_aiocontext = ctx;
}
