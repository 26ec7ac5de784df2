// SPDX-License-Identifier: MIT
/*
 * The loop's structures as QEMU had them before 5.0: a handler that was removed says so itself, all
 * bottom halves hang in one list, and what is to be done with one are members of its own. Three
 * handlers, one of them removed, and three bottom halves, of which nobody has scheduled one. Prints
 * "ready", and waits.
 */
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/eventfd.h>

typedef struct AioContext AioContext;
typedef struct AioHandler AioHandler;
typedef struct QEMUBH QEMUBH;
typedef void Callback(void *opaque);

struct AioContext {
	char source[96];
	char lock[48];
	struct {
		AioHandler *lh_first;
	} aio_handlers;
	uint32_t notify_me;
	unsigned list_lock;
	QEMUBH *first_bh;
	bool notified;
	struct {
		int rfd, wfd;
	} notifier;
	void *scheduled_coroutines, *co_schedule_bh;
};

struct AioHandler {
	struct {
		int fd;
		unsigned short events, revents;
	} pfd;
	Callback *io_read, *io_write, *io_poll, *io_poll_begin, *io_poll_end;
	int deleted;
	void *opaque;
	bool is_external;
	struct {
		AioHandler *le_next, **le_prev;
	} node;
};

struct QEMUBH {
	AioContext *ctx;
	Callback *cb;
	void *opaque;
	QEMUBH *next;
	bool scheduled, idle, deleted;
};

static AioContext context, handlers_context;
static AioContext *qemu_aio_context = &context, *iohandler_ctx = &handlers_context;

static void notified(void *opaque)
{
	(void)opaque;
}

static void read_it(void *opaque)
{
	(void)opaque;
}

static void half_bottom(void *opaque)
{
	(void)opaque;
}

static void add(AioContext *ctx, AioHandler *handler)
{
	handler->node.le_next = ctx->aio_handlers.lh_first;
	if (handler->node.le_next)
		handler->node.le_next->node.le_prev = &handler->node.le_next;
	handler->node.le_prev = &ctx->aio_handlers.lh_first;
	ctx->aio_handlers.lh_first = handler;
}

int main(void)
{
	static AioHandler own, kept = { .io_read = read_it }, removed;
	static QEMUBH bhs[3] = { { .scheduled = true }, { .idle = true, .scheduled = true }, {} };
	struct pollfd fds[2] = { { .events = POLLIN }, { .events = POLLIN } };

	for (int i = 0; i < 3; i++) {
		bhs[i].ctx = &context;
		bhs[i].cb = half_bottom;
		bhs[i].next = i < 2 ? &bhs[i + 1] : NULL;
	}
	context.first_bh = bhs;
	context.notifier.rfd = context.notifier.wfd = eventfd(0, 0);
	handlers_context.notifier.rfd = handlers_context.notifier.wfd = eventfd(0, 0);
	own.pfd.fd = context.notifier.rfd;
	own.io_read = notified;
	kept.pfd.fd = eventfd(0, 0);
	removed = kept;
	removed.deleted = 1;
	own.pfd.events = kept.pfd.events = removed.pfd.events = POLLIN;
	add(&context, &removed);
	add(&context, &kept);
	add(&context, &own);
	puts("ready");
	fflush(stdout);
	fds[0].fd = qemu_aio_context->notifier.rfd;
	fds[1].fd = kept.pfd.fd;
	return poll(fds, iohandler_ctx ? 2 : 0, -1) < 0;
}
