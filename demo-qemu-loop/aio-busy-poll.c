/* SPDX-License-Identifier: MIT */
/*
 * Adaptive busy polling: before an aio_poll() sleeps it asks handlers, for a while, whether there
 * is something to do; they look into memory (a virtqueue, a completion ring), which costs less
 * than to be woken.  QEMU has it in util/aio-posix.c.  For IOThreads: their poll_max_ns is not 0.
 *
 * It needs handlers that have an io_poll, and a monitor that overlooks none that has not: one
 * whose need_wait() is aio_poll_disabled() makes a single handler without io_poll rule it out;
 * io_uring sees all completions in memory.  While it goes on, a handler's other side need not
 * notify: io_poll_begin and io_poll_end tell the handler so.  Poll mode lasts across aio_poll()s
 * and ends right before a wait, with a last look, as the other side may just have missed the
 * change.
 *
 * How long: as long as it would have been worth it lately.  A wait that was over within poll_max_ns
 * makes that longer, one that was not makes it shorter.
 */
#include "osdep.h"
#include "aio-posix.h"
#include "loop-trace.h"

#define POLL_FIRST_NS	      4000
#define POLL_GROW_DEFAULT     2
#define POLL_IDLE_INTERVAL_NS (7 * NANOSECONDS_PER_SECOND)

int64_t (*aio_poll_clock)(void) = get_clock;

/* Others find aio_poll_disabled() because nothing of theirs can be seen in memory. */
static bool fdmon_supports_polling(AioContext *ctx)
{
	return aio_fdmon(ctx)->need_wait != aio_poll_disabled;
}

/* --- entering and leaving poll mode ------------------------------------------------------- */

static bool poll_set_started(AioContext *ctx, AioHandlerList *ready_list, bool started)
{
	AioHandler *node, *next;
	bool progress = false;

	if (started == ctx->poll_started)
		return false;
	ctx->poll_started = started;

	QLIST_FOREACH_SAFE (node, &ctx->poll_aio_handlers, node_poll, next) {
		IOHandler *tell = started ? node->io_poll_begin : node->io_poll_end;

		if (aio_handler_deleted(node))
			continue;
		if (tell)
			tell(node->opaque);
		if (!started && node->io_poll(node->opaque)) {
			aio_add_poll_ready_handler(ready_list, node);
			progress = true;
		}
	}
	return progress;
}

bool aio_leave_poll_mode(AioContext *ctx, AioHandlerList *ready_list)
{
	return poll_set_started(ctx, ready_list, false);
}

void aio_poll_list_join(AioContext *ctx, AioHandler *node, int revents)
{
	if (probe_enabled(poll_add) && qatomic_read(&ctx->poll_max_ns))
		probe_poll_add(ctx, node, node->pfd.fd, revents);
	if (ctx->poll_started && node->io_poll_begin)
		node->io_poll_begin(node->opaque);
	QLIST_INSERT_HEAD(&ctx->poll_aio_handlers, node, node_poll);
}

/* --- polling ------------------------------------------------------------------------------ */

/* The notifier ends it, as the context is to look again, but is no progress. */
static bool run_poll_handlers_once(AioContext *ctx, AioHandlerList *ready_list, int64_t now,
				   int64_t *timeout)
{
	AioHandler *node, *next;
	bool progress = false;

	QLIST_FOREACH_SAFE (node, &ctx->poll_aio_handlers, node_poll, next) {
		/*
		 * A nested poll meets nodes that were removed by its caller and are not freed yet,
		 * with an opaque that is gone.  (QEMU since 7.0 does not ask.)
		 */
		if (aio_handler_deleted(node) || !node->io_poll(node->opaque))
			continue;
		aio_add_poll_ready_handler(ready_list, node);
		node->poll_idle_timeout = now + POLL_IDLE_INTERVAL_NS;
		*timeout = 0;
		if (node->opaque != &ctx->notifier)
			progress = true;
	}
	return progress;
}

/*
 * Those without an event for long cost time and bring nothing.  But where the monitor cannot be
 * asked in memory, whoever is not polled would have to wait until the others have nothing to do.
 */
static bool remove_idle_poll_handlers(AioContext *ctx, AioHandlerList *ready_list, int64_t now)
{
	AioHandler *node, *next;
	bool progress = false;

	if (!fdmon_supports_polling(ctx))
		return false;

	QLIST_FOREACH_SAFE (node, &ctx->poll_aio_handlers, node_poll, next) {
		if (node->poll_idle_timeout == 0) {
			node->poll_idle_timeout = now + POLL_IDLE_INTERVAL_NS;
			continue;
		}
		if (now < node->poll_idle_timeout)
			continue;
		probe_poll_remove(ctx, node, node->pfd.fd);
		node->poll_idle_timeout = 0;
		QLIST_REMOVE(node, node_poll);
		if (aio_handler_deleted(node) || !node->io_poll_end)
			continue;
		node->io_poll_end(node->opaque);
		if (node->io_poll(node->opaque)) {
			aio_add_poll_ready_handler(ready_list, node);
			progress = true;
		}
	}
	return progress;
}

static bool run_poll_handlers(AioContext *ctx, AioHandlerList *ready_list, int64_t max_ns,
			      int64_t *timeout)
{
	int64_t start = aio_poll_clock(), elapsed;
	bool progress;

	probe_run_poll_handlers_begin(ctx, max_ns, *timeout);
	do {
		progress = run_poll_handlers_once(ctx, ready_list, start, timeout);
		elapsed = aio_poll_clock() - start;
		max_ns = qemu_soonest_timeout(*timeout, max_ns);
	} while (elapsed < max_ns && !aio_fdmon(ctx)->need_wait(ctx));

	if (remove_idle_poll_handlers(ctx, ready_list, start + elapsed)) {
		*timeout = 0;
		progress = true;
	}

	/* The sleep that follows ends when it would have ended. */
	if (*timeout > 0)
		*timeout -= MIN(*timeout, elapsed);
	probe_run_poll_handlers_end(ctx, progress, *timeout);
	return progress;
}

/* The longest that one of them wants. */
static int64_t wanted_poll_ns(AioContext *ctx)
{
	AioHandler *node;
	int64_t max_ns = 0;

	if (!ctx->era->poll_per_handler)
		return qatomic_read(&ctx->poll_ns);
	QLIST_FOREACH (node, &ctx->poll_aio_handlers, node_poll)
		max_ns = MAX(max_ns, qatomic_read(&node->poll.ns));
	return max_ns;
}

/*
 * False: there is something that only the monitor's wait() can see to.  What a ring has not
 * submitted yet is no such thing: that is done here, at once.  (QEMU goes to sleep instead; as each
 * event leaves something to submit, it hardly ever polls busily with io_uring.)
 */
static bool nothing_to_wait_for(AioContext *ctx, AioHandlerList *ready_list, int64_t *timeout)
{
	const FDMonOps *fdmon = aio_fdmon(ctx);

	if (!fdmon->need_wait(ctx))
		return true;
	if (fdmon->need_wait == aio_poll_disabled)
		return false;
	if (fdmon->wait(ctx, ready_list, 0) == 0)
		return true;
	*timeout = 0;
	return false;
}

bool aio_try_poll_mode(AioContext *ctx, AioHandlerList *ready_list, int64_t *timeout)
{
	int64_t max_ns;

	if (QLIST_EMPTY(&ctx->poll_aio_handlers))
		return false;
	max_ns = qemu_soonest_timeout(*timeout, wanted_poll_ns(ctx));
	if (max_ns == 0 || !nothing_to_wait_for(ctx, ready_list, timeout))
		return false;
	poll_set_started(ctx, ready_list, true);
	return run_poll_handlers(ctx, ready_list, max_ns, timeout);
}

/* --- for how long ------------------------------------------------------------------------- */

void aio_adjust_poll_ns(AioContext *ctx, int64_t *poll_ns, int64_t block_ns)
{
	int64_t max_ns = qatomic_read(&ctx->poll_max_ns);
	int64_t old_ns = qatomic_read(poll_ns), new_ns = old_ns;
	int64_t factor;

	if (max_ns == 0 || block_ns <= old_ns)
		return;
	if (block_ns > max_ns) {
		factor = qatomic_read(&ctx->poll_shrink);
		new_ns = factor ? old_ns / factor : 0;
	} else if (old_ns < max_ns && block_ns < max_ns) {
		factor = qatomic_read(&ctx->poll_grow) ?: POLL_GROW_DEFAULT;
		new_ns = old_ns ? old_ns * factor : POLL_FIRST_NS;
		new_ns = MIN(new_ns, max_ns);
	}
	if (new_ns == old_ns)
		return;
	qatomic_set(poll_ns, new_ns);
	if (new_ns > old_ns)
		probe_poll_grow(ctx, old_ns, new_ns);
	else
		probe_poll_shrink(ctx, old_ns, new_ns);
}

/* Any thread: a wrong value, used once, does no harm. */
void aio_context_set_poll_params(AioContext *ctx, int64_t max_ns, int64_t grow, int64_t shrink,
				 Error **errp)
{
	AioHandler *node;

	if (max_ns < 0 || grow < 0 || shrink < 0) {
		error_setg(errp, "poll parameters must not be negative");
		return;
	}

	qemu_lockcnt_inc(&ctx->list_lock);
	QLIST_FOREACH_RCU (node, &ctx->aio_handlers, node)
		qatomic_set(&node->poll.ns, 0);
	qemu_lockcnt_dec(&ctx->list_lock);
	qatomic_set(&ctx->poll_max_ns, max_ns);
	qatomic_set(&ctx->poll_ns, 0);
	qatomic_set(&ctx->poll_grow, grow);
	qatomic_set(&ctx->poll_shrink, shrink);
	aio_notify(ctx);
}
