/* SPDX-License-Identifier: MIT */
/*
 * The kernel's AIO; the header says how it is used.  QEMU: block/linux-aio.c, over libaio; here it
 * is the system calls themselves.
 *
 * The kernel writes completions into a ring in our memory, so they can be seen, and taken, without
 * a system call: the eventfd is for the sleep only, and busy polling asks the ring.
 *
 * A callback may poll for other completions of the same ring.  The eventfd has been cleared by
 * then, so completion_bh is scheduled before the walk, for a nested poll to go on with it, and
 * cancelled after.
 */
#include "osdep.h"
#include <linux/aio_abi.h>
#include <sys/syscall.h>
#include "atomic.h"
#include "linux-aio.h"

#define MAX_EVENTS 1024 /* in flight; the others wait in io_q */

typedef struct LinuxAioRequest LinuxAioRequest;

struct LinuxAioRequest {
	Coroutine *co;
	LinuxAioState *s;
	struct iocb iocb;
	int ret; /* -EINPROGRESS until it has completed */
	size_t nbytes;
	bool is_read;
	QEMUIOVector *qiov;
	QSIMPLEQ_ENTRY(LinuxAioRequest) next;
};

/* What the kernel maps at the address that is the aio_context_t. */
typedef struct Ring {
	unsigned id, nr;
	unsigned head; /* ours: the next to take */
	unsigned tail; /* the kernel's: the next it will write */
	unsigned magic, compat_features, incompat_features;
	unsigned header_length;
	struct io_event events[];
} Ring;

#define RING_MAGIC 0xa10a10a1

struct LinuxAioState {
	AioContext *aio_context;
	aio_context_t ctx;
	EventNotifier e;

	QSIMPLEQ_HEAD(, LinuxAioRequest) io_q; /* not handed to the kernel yet */
	unsigned in_flight;

	QEMUBH *completion_bh;
};

/* --- completions; home thread ----------------------------------------------------------------- */

/* The part of the ring that is there to be read without wrapping: how many, from *@events. */
static unsigned io_getevents_peek(LinuxAioState *s, struct io_event **events)
{
	Ring *ring = (Ring *)s->ctx;
	unsigned tail = qatomic_load_acquire(&ring->tail); /* then the events below it */

	*events = ring->events + ring->head;
	return (tail >= ring->head ? tail : ring->nr) - ring->head;
}

/* Whole, or an error: a read beyond the end of the file is zeroes. */
static int request_result(LinuxAioRequest *req, int64_t res)
{
	size_t skip = res;

	if (res < 0)
		return res;
	if (skip == req->nbytes)
		return 0;
	if (!req->is_read)
		return -ENOSPC;
	for (int i = 0; i < req->qiov->niov; i++) {
		struct iovec *iov = &req->qiov->iov[i];

		if (skip < iov->iov_len)
			memset((char *)iov->iov_base + skip, 0, iov->iov_len - skip);
		skip -= MIN(skip, iov->iov_len);
	}
	return 0;
}

static void ioq_submit(LinuxAioState *s);

static void process_completions(LinuxAioState *s)
{
	struct io_event *events;

	qemu_bh_schedule(s->completion_bh);
	while (io_getevents_peek(s, &events) > 0) {
		Ring *ring = (Ring *)s->ctx;
		LinuxAioRequest *req = (LinuxAioRequest *)(uintptr_t)events->data;
		int64_t res = events->res;

		/* Ours is done with, before anything else can poll: the kernel may reuse it. */
		qatomic_store_release(&ring->head, (ring->head + 1) % ring->nr);
		s->in_flight--;

		/* One that was done at once: its coroutine has not left, and will see it. */
		req->ret = request_result(req, res);
		if (!qemu_coroutine_entered(req->co))
			aio_co_wake(req->co);
	}
	qemu_bh_cancel(s->completion_bh);
}

static void process_completions_and_submit(LinuxAioState *s)
{
	process_completions(s);
	ioq_submit(s);
}

static void qemu_laio_completion_bh(void *opaque)
{
	process_completions_and_submit(opaque);
}

static void qemu_laio_completion_cb(EventNotifier *e)
{
	LinuxAioState *s = container_of(e, LinuxAioState, e);

	if (event_notifier_test_and_clear(e))
		process_completions_and_submit(s);
}

static bool qemu_laio_poll_cb(void *opaque)
{
	LinuxAioState *s = container_of((EventNotifier *)opaque, LinuxAioState, e);
	struct io_event *events;

	return io_getevents_peek(s, &events) > 0;
}

static void qemu_laio_poll_ready(EventNotifier *e)
{
	process_completions_and_submit(container_of(e, LinuxAioState, e));
}

/* --- submission ------------------------------------------------------------------------------- */

static void ioq_submit(LinuxAioState *s)
{
	LinuxAioRequest *req;

	while ((req = QSIMPLEQ_FIRST(&s->io_q)) && s->in_flight < MAX_EVENTS) {
		struct iocb *iocb = &req->iocb;
		long ret = syscall(SYS_io_submit, s->ctx, 1L, &iocb);

		/* The kernel is full, so completions will come, and then we are back. */
		if (ret < 0 && errno == EAGAIN && s->in_flight > 0)
			return;
		QSIMPLEQ_REMOVE_HEAD(&s->io_q, next);
		if (ret == 1) {
			s->in_flight++;
			continue;
		}
		req->ret = ret < 0 ? -errno : -EIO;
		if (!qemu_coroutine_entered(req->co))
			aio_co_wake(req->co);
	}
}

int coroutine_fn laio_co_submit(int fd, uint64_t offset, QEMUIOVector *qiov, int type,
				uint64_t dev_max_batch G_GNUC_UNUSED)
{
	LinuxAioState *s = aio_get_linux_aio(qemu_get_current_aio_context());
	bool is_read = type == QEMU_AIO_READ;
	LinuxAioRequest req = {
		.co = qemu_coroutine_self(),
		.s = s,
		.iocb = {
			.aio_data = (uintptr_t)&req,
			.aio_lio_opcode = is_read ? IOCB_CMD_PREADV : IOCB_CMD_PWRITEV,
			.aio_fildes = fd,
			.aio_buf = (uintptr_t)qiov->iov,
			.aio_nbytes = qiov->niov,
			.aio_offset = offset,
			.aio_flags = IOCB_FLAG_RESFD,
			.aio_resfd = event_notifier_get_wfd(&s->e),
		},
		.ret = -EINPROGRESS,
		.nbytes = qiov->size,
		.is_read = is_read,
		.qiov = qiov,
	};

	assert(qemu_in_coroutine());
	QSIMPLEQ_INSERT_TAIL(&s->io_q, &req, next);
	ioq_submit(s);
	while (req.ret == -EINPROGRESS)
		qemu_coroutine_yield();
	return req.ret;
}

/* --- the state -------------------------------------------------------------------------------- */

void laio_detach_aio_context(LinuxAioState *s, AioContext *old_context)
{
	aio_set_event_notifier(old_context, &s->e, NULL, NULL, NULL);
	qemu_bh_delete(s->completion_bh);
	s->aio_context = NULL;
}

void laio_attach_aio_context(LinuxAioState *s, AioContext *new_context)
{
	s->aio_context = new_context;
	s->completion_bh = aio_bh_new(new_context, qemu_laio_completion_bh, s);
	aio_set_event_notifier(new_context, &s->e, qemu_laio_completion_cb, qemu_laio_poll_cb,
			       qemu_laio_poll_ready);
}

LinuxAioState *laio_init(Error **errp)
{
	LinuxAioState *s = g_new0(LinuxAioState, 1);
	int ret = event_notifier_init(&s->e, false);

	if (ret < 0) {
		error_setg_errno(errp, -ret, "failed to initialize event notifier");
		goto fail;
	}
	if (syscall(SYS_io_setup, MAX_EVENTS, &s->ctx) < 0) {
		ret = -errno;
		error_setg_errno(errp, -ret, "failed to create linux AIO context");
		goto fail_notifier;
	}
	if (((Ring *)s->ctx)->magic != RING_MAGIC || ((Ring *)s->ctx)->incompat_features) {
		error_setg(errp, "the ring of linux AIO has a layout that is not known");
		goto fail_context;
	}
	QSIMPLEQ_INIT(&s->io_q);
	return s;

fail_context:
	syscall(SYS_io_destroy, s->ctx);
fail_notifier:
	event_notifier_cleanup(&s->e);
fail:
	g_free(s);
	return NULL;
}

void laio_cleanup(LinuxAioState *s)
{
	assert(s->in_flight == 0);
	syscall(SYS_io_destroy, s->ctx);
	event_notifier_cleanup(&s->e);
	g_free(s);
}

LinuxAioState *aio_setup_linux_aio(AioContext *ctx, Error **errp)
{
	if (!ctx->linux_aio) {
		ctx->linux_aio = laio_init(errp);
		if (ctx->linux_aio)
			laio_attach_aio_context(ctx->linux_aio, ctx);
	}
	return ctx->linux_aio;
}

LinuxAioState *aio_get_linux_aio(AioContext *ctx)
{
	assert(ctx->linux_aio);
	return ctx->linux_aio;
}
