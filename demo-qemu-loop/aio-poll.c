/* SPDX-License-Identifier: MIT */
/*
 * aio_poll(): one turn of one context, by hand.  QEMU has it in util/aio-posix.c.
 *
 *   compute the timeout -> [busy poll] -> raise notify_me -> wait -> lower it -> accept
 *       -> completions -> bottom halves -> ready handlers -> free removed ones -> timers
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
#include "mutants.h"

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
	const FDMonOps *fdmon;
	int64_t start = 0, block_ns = 0, computed, timeout;
	bool adaptive, may_sleep, progress;

	/* The main thread is home to two contexts, and its "current" one is the main one. */
	assert(in_aio_context_home_thread(ctx) ||
	       (ctx == iohandler_get_aio_context() &&
		in_aio_context_home_thread(qemu_get_aio_context())) ||
	       mutant_poll_abroad);

	loop_depth++;
	if (probe_enabled(iteration_begin) || probe_enabled(aio_poll_enter))
		trace_begin(ctx, blocking, loop_caller());

	qemu_lockcnt_inc(&ctx->list_lock);

	adaptive = qatomic_read(&ctx->poll_max_ns) != 0;
	if (adaptive)
		start = aio_poll_clock();

	computed = blocking ? aio_compute_timeout(ctx) : 0;
	timeout = computed;

	/* What GLib's side of the context found and left. */
	aio_take_left_ready(ctx, &ready_list);
	if (!QLIST_EMPTY(&ready_list))
		timeout = 0;

	/*
	 * While it polls busily it looks at everything again before it sleeps: nobody needs to
	 * write the notifier for that.
	 */
	progress = adaptive && aio_try_poll_mode(ctx, &ready_list, &timeout);
	assert(!(timeout && progress));

	/*
	 * A notification from before this point set only the flag; from here on it also writes the
	 * notifier.  Home alone writes notify_me, so this needs no locked instruction, only the
	 * barrier that pairs with aio_notify()'s.
	 */
	may_sleep = timeout != 0;
	if (may_sleep) {
		mutant_before_notify_me(ctx);
		qatomic_set(&ctx->notify_me, qatomic_read(&ctx->notify_me) + 2);
		smp_mb();
		probe_notify_me(ctx, ctx->notify_me);
		if (mutant_read_notified(ctx))
			timeout = 0;
	}

	fdmon = aio_fdmon(ctx);
	if (timeout || fdmon->need_wait(ctx)) {
		if (ctx->poll_started && aio_leave_poll_mode(ctx, &ready_list)) {
			timeout = 0;
			progress = true;
		}
		if (probe_enabled(timeout_chosen))
			loop_trace_aio_timeout(ctx, blocking, computed, timeout,
					       !QLIST_EMPTY(&ready_list));
		fdmon->wait(ctx, &ready_list, timeout);
	} else if (probe_enabled(timeout_chosen)) {
		loop_trace_aio_timeout(ctx, blocking, computed, timeout, !QLIST_EMPTY(&ready_list));
	}

	if (may_sleep) {
		qatomic_store_release(&ctx->notify_me, qatomic_read(&ctx->notify_me) - 2);
		probe_notify_me(ctx, ctx->notify_me);
	}
	aio_notify_accept(ctx);

	/* It is the sleep, or what polling would have saved of it. */
	if (adaptive) {
		block_ns = aio_poll_clock() - start;
		if (!ctx->era->poll_per_handler)
			aio_adjust_poll_ns(ctx, &ctx->poll_ns, block_ns);
	}

	probe_dispatch_begin(ctx);
	if (fdmon->dispatch)
		progress |= fdmon->dispatch(ctx);
	progress |= aio_bh_poll(ctx);
	progress |= aio_dispatch_ready_handlers(ctx, &ready_list, block_ns);

	aio_free_deleted_handlers(ctx);
	qemu_lockcnt_dec(&ctx->list_lock);

	progress |= timerlistgroup_run_timers(&ctx->tlg);
	probe_dispatch_end(ctx, progress);

	if (probe_enabled(iteration_end) || probe_enabled(aio_poll_exit))
		trace_end(ctx, progress);
	loop_depth--;
	return progress;
}
