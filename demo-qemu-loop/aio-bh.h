/* SPDX-License-Identifier: MIT */
/* What the context asks of its bottom halves (async-bh.c); private to the loop. */
#ifndef DEMO_AIO_BH_H
#define DEMO_AIO_BH_H

#include "loop-trace.h"

/* How long they let the context sleep: ns, -1 for ever. */
int64_t aio_bh_timeout_ns(AioContext *ctx);

/* For a probe: who among them; those that allow no sleep only @if_now. */
void aio_bh_choice(AioContext *ctx, bool if_now, LoopChoice *choice);

/* Whether one wants to run. */
bool aio_bh_pending(AioContext *ctx);

/* One that waits in a list, as it is now. */
typedef struct AioBHState {
	const QEMUBH *bh;
	const char *name;
	QEMUBHFunc *cb;
	void *opaque;
	bool scheduled, deleted, idle;
} AioBHState;

/* All that are in the context's list.  Home thread. */
void aio_bh_visit(AioContext *ctx, void (*visit)(const AioBHState *bh, void *opaque), void *opaque);

/* At the context's end: frees what was deleted, aborts on what was not. */
void aio_bh_free_deleted(AioContext *ctx);

#endif
