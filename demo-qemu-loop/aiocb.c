/* SPDX-License-Identifier: MIT */
/* Requests in flight; the header says how they are used.  QEMU: util/aiocb.c, block/io.c. */
#include "osdep.h"
#include "aio-wait.h"

void *qemu_aio_get(const AIOCBInfo *aiocb_info, BlockDriverState *bs, BlockCompletionFunc *cb,
		   void *opaque)
{
	BlockAIOCB *acb = g_malloc(aiocb_info->aiocb_size);

	*acb = (BlockAIOCB){
		.aiocb_info = aiocb_info,
		.bs = bs,
		.cb = cb,
		.opaque = opaque,
		.refcnt = 1,
	};
	return acb;
}

void qemu_aio_ref(void *p)
{
	BlockAIOCB *acb = p;

	acb->refcnt++;
}

void qemu_aio_unref(void *p)
{
	BlockAIOCB *acb = p;

	assert(acb->refcnt > 0);
	if (--acb->refcnt == 0)
		g_free(acb);
}

void bdrv_aio_cancel_async(BlockAIOCB *acb)
{
	if (acb->aiocb_info->cancel_async)
		acb->aiocb_info->cancel_async(acb);
}

void bdrv_aio_cancel(BlockAIOCB *acb)
{
	qemu_aio_ref(acb);
	bdrv_aio_cancel_async(acb);
	AIO_WAIT_WHILE_UNLOCKED(qemu_get_current_aio_context(), acb->refcnt > 1);
	qemu_aio_unref(acb);
}
