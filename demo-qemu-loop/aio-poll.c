/* SPDX-License-Identifier: MIT */
/*
 * aio_poll(): one turn of one context, by hand.  QEMU has it in util/aio-posix.c.
 *
 *   compute the timeout -> [busy poll] -> raise notify_me -> wait -> lower it -> accept
 *       -> bottom halves -> ready handlers -> free removed ones -> timers
 *
 * It nests: a callback that must wait for something of its context calls it in a loop.  The inner
 * turn knows the fds of this context only, and it keeps the BQL: whoever waits for that lock waits
 * until the nested poll is over.  That is why handlers which must not run in the middle of a
 * device's code live in another context, iohandler_ctx.
 */
#include "osdep.h"
#include "aio-posix.h"
#include "loop-trace.h"
#include "main-loop.h"

/* Inside another loop of the same thread it is no iteration of its own. */
static void trace_begin(AioContext *ctx, bool blocking, const void *site)
{
	if (loop_depth == 1)
		probe_iteration_begin(ctx, LOOP_LOOP_KIND_AIO_POLL, blocking);
	else
		probe_aio_poll_enter(ctx, blocking, loop_depth, site);
}

static void trace_end(AioContext *ctx, bool progress)
{
	if (loop_depth == 1)
		probe_iteration_end(ctx, LOOP_LOOP_KIND_AIO_POLL, progress);
	else
		probe_aio_poll_exit(ctx, progress, loop_depth);
}

bool aio_poll(AioContext *ctx, bool blocking)
{
	AioHandlerList ready_list = QLIST_HEAD_INITIALIZER(ready_list);
	int64_t computed, timeout;
	bool may_sleep, progress;

	/* The main thread is home to two contexts, and its "current" one is the main one. */
	assert(in_aio_context_home_thread(
		ctx == iohandler_get_aio_context() ? qemu_get_aio_context() : ctx));

	loop_depth++;
	if (probe_enabled(iteration_begin) || probe_enabled(aio_poll_enter))
		trace_begin(ctx, blocking, loop_caller());

	qemu_lockcnt_inc(&ctx->list_lock);

	computed = blocking ? aio_compute_timeout(ctx) : 0;
	timeout = computed;

	/*
	 * A notification from before this point set only the flag; from here on it also writes the
	 * notifier.  Home alone writes notify_me, so this needs no locked instruction, only the
	 * barrier that pairs with aio_notify()'s.
	 */
	may_sleep = timeout != 0;
	if (may_sleep) {
		qatomic_set(&ctx->notify_me, qatomic_read(&ctx->notify_me) + 2);
		smp_mb();
		probe_notify_me(ctx, ctx->notify_me);
		if (qatomic_read(&ctx->notified))
			timeout = 0;
	}
	if (probe_enabled(timeout_chosen))
		loop_trace_aio_timeout(ctx, blocking, computed, timeout);

	if (timeout || ctx->fdmon_ops->need_wait(ctx))
		ctx->fdmon_ops->wait(ctx, &ready_list, timeout);

	if (may_sleep) {
		qatomic_store_release(&ctx->notify_me, qatomic_read(&ctx->notify_me) - 2);
		probe_notify_me(ctx, ctx->notify_me);
	}
	aio_notify_accept(ctx);

	probe_dispatch_begin(ctx);
	progress = aio_bh_poll(ctx);
	progress |= aio_dispatch_ready_handlers(ctx, &ready_list);

	aio_free_deleted_handlers(ctx);
	qemu_lockcnt_dec(&ctx->list_lock);

	progress |= timerlistgroup_run_timers(&ctx->tlg);
	probe_dispatch_end(ctx, progress);

	if (probe_enabled(iteration_end) || probe_enabled(aio_poll_exit))
		trace_end(ctx, progress);
	loop_depth--;
	return progress;
}

/* Takes effect with busy polling; until then it is what a debugger reads. */
void aio_context_set_poll_params(AioContext *ctx, int64_t max_ns, int64_t grow, int64_t shrink,
				 Error **errp)
{
	if (max_ns < 0 || grow < 0 || shrink < 0) {
		error_setg(errp, "poll parameters must not be negative");
		return;
	}

	ctx->poll_max_ns = max_ns;
	ctx->poll_ns = 0;
	ctx->poll_grow = grow;
	ctx->poll_shrink = shrink;
	aio_notify(ctx);
}
