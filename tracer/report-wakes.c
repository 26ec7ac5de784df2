// SPDX-License-Identifier: MIT
/*
 * Who woke whom. Whoever wants a sleeping loop's attention writes to an eventfd: aio_notify to its
 * context's notifier, others by event_notifier_set or g_main_context_wakeup. The writes are kept
 * until their fd is found ready.
 *
 * aio_notify knows the context, event_notifier_set the fd. A thread does one right after the other,
 * and that is how the notifier's fd is learnt.
 */
#include "tracer/report-model.h"

static void learn_notifier(struct report_context *context, struct report_fd *fd, uint64_t ctx)
{
	context->fd = fd->fd;
	context->fd_known = true;
	fd->notifies = ctx;
}

/* The callback that runs in the thread: a BH that a handler's nested aio_poll runs, say. */
static const struct report_callback *innermost(const struct report_thread *thread)
{
	for (uint32_t i = thread->depth; i-- > 0;)
		if (thread->stack[i].kind <= REPORT_NOTIFIER)
			return thread->stack[i].entry;
	return NULL;
}

static void tell_wakes(const struct report_thread *thread, const struct report_wake *wake)
{
	if (thread->watcher && thread->watcher->wakes)
		thread->watcher->wakes(thread->watcher->data, thread, wake);
}

void report_notify(struct report *report, struct report_thread *thread, uint64_t ctx, uint64_t site)
{
	struct report_context *context = report_context(report, ctx);
	struct report_wake wake = {
		true, ++report->wakes, thread->tid, site, ctx, innermost(thread)
	};

	if (thread->last_id == LOOP_EV_EVENT_NOTIFIER_SET) {
		struct report_fd *fd = report_fd(report, thread->set_fd);

		learn_notifier(context, fd, ctx);
		wake.number = fd->wake.number; /* the write that was told before */
	}
	context->wake = wake;
	if (context->fd_known)
		report_fd(report, context->fd)->wake = wake;
	thread->notify_ctx = ctx;
	thread->notify_site = site;
	tell_wakes(thread, &wake);
}

void report_notifier_set(struct report *report, struct report_thread *thread, int32_t number,
			 uint64_t site)
{
	struct report_fd *fd = report_fd(report, number);

	fd->wake = (struct report_wake){ true, ++report->wakes,	 thread->tid, site,
					 0,    innermost(thread) };
	if (thread->last_id == LOOP_EV_NOTIFY && thread->notify_ctx) {
		struct report_context *context = report_context(report, thread->notify_ctx);

		learn_notifier(context, fd, thread->notify_ctx);
		fd->wake.number = context->wake.number;
		fd->wake.site = thread->notify_site;
		fd->wake.ctx = thread->notify_ctx;
	}
	thread->set_fd = number;
	tell_wakes(thread, &fd->wake);
}

void report_notifier_clear(struct report *report, int32_t number)
{
	struct report_fd *fd = report_fd(report, number);

	fd->wake.pending = false;
	if (fd->notifies)
		report_context(report, fd->notifies)->wake.pending = false;
}

struct report_wake *report_take_wake(struct report *report, uint64_t polled_ctx,
				     struct report_fd *fd)
{
	struct report_context *context = NULL;

	if (fd->wake.pending) {
		fd->wake.pending = false;
		if (fd->notifies)
			report_context(report, fd->notifies)->wake.pending = false;
		return &fd->wake;
	}
	/* An fd that is nobody's handler or source is the polled context's own. */
	if (fd->notifies)
		context = report_context(report, fd->notifies);
	else if (!fd->owned)
		context = report_context(report, polled_ctx);
	if (!context || !context->wake.pending)
		return NULL;
	context->wake.pending = false;
	fd->notifies = context->key.a;
	return &context->wake;
}

static bool other(uint64_t known, uint64_t now)
{
	return known && known != now;
}

void report_fd_owned(struct report_fd *fd, uint64_t io_read, uint64_t io_write, uint64_t source)
{
	fd->owner += other(fd->io_read, io_read) || other(fd->io_write, io_write) ||
		     other(fd->source, source);
	fd->owned = true;
	fd->io_read = io_read;
	fd->io_write = io_write;
	fd->source = source;
}

void report_fd_given_up(struct report_fd *fd)
{
	fd->owner += fd->owned;
	fd->owned = false;
	fd->io_read = fd->io_write = fd->source = 0;
}
