/* SPDX-License-Identifier: MIT */
/*
 * A request in flight, as its owner sees it (QEMU: block/aio.h): a handle to cancel it by, and the
 * callback that gets its result.  Home thread only.
 */
#ifndef DEMO_AIOCB_H
#define DEMO_AIOCB_H

#include <stddef.h>

typedef struct BlockAIOCB BlockAIOCB;
typedef struct BlockDriverState BlockDriverState;
typedef void BlockCompletionFunc(void *opaque, int ret);

/* What kind of request it is; the kind's own structure begins with a BlockAIOCB. */
typedef struct AIOCBInfo {
	void (*cancel_async)(BlockAIOCB *acb);
	size_t aiocb_size;
} AIOCBInfo;

struct BlockAIOCB {
	const AIOCBInfo *aiocb_info;
	BlockDriverState *bs; /* here always NULL: there is no block layer */
	BlockCompletionFunc *cb;
	void *opaque;
	int refcnt;
};

void *qemu_aio_get(const AIOCBInfo *aiocb_info, BlockDriverState *bs, BlockCompletionFunc *cb,
		   void *opaque);
void qemu_aio_ref(void *p);
void qemu_aio_unref(void *p);

/* Its callback is called in any case, with -ECANCELED if it could be stopped. */
void bdrv_aio_cancel_async(BlockAIOCB *acb);

/* The same, and waits for that. */
void bdrv_aio_cancel(BlockAIOCB *acb);

#endif
