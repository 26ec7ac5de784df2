/* SPDX-License-Identifier: MIT */
/*
 * The kernel's AIO as a context uses it (QEMU: block/raw-aio.h): requests are handed in by
 * io_submit(2), their completion makes an eventfd of the context readable.
 */
#ifndef DEMO_LINUX_AIO_H
#define DEMO_LINUX_AIO_H

#include <sys/uio.h>
#include "aio.h"
#include "coroutine.h"

#define QEMU_AIO_READ  0x0001
#define QEMU_AIO_WRITE 0x0002

/* Memory of a request (QEMU: qemu/iov.h). */
typedef struct QEMUIOVector {
	struct iovec *iov;
	int niov;
	size_t size; /* of all */
} QEMUIOVector;

/* NULL with *errp set where the kernel has none. */
LinuxAioState *laio_init(Error **errp);
void laio_cleanup(LinuxAioState *s); /* nothing is in flight */

void laio_attach_aio_context(LinuxAioState *s, AioContext *new_context);
void laio_detach_aio_context(LinuxAioState *s, AioContext *old_context);

/* In the home thread of the current context, which has one: 0, or -errno. */
int coroutine_fn laio_co_submit(int fd, uint64_t offset, QEMUIOVector *qiov, int type,
				uint64_t dev_max_batch);

#endif
