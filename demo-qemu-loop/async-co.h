/* SPDX-License-Identifier: MIT */
/* What the context asks of its coroutines (async-co.c); private to the loop. */
#ifndef DEMO_ASYNC_CO_H
#define DEMO_ASYNC_CO_H

#include "aio.h"

void aio_co_init(AioContext *ctx);
void aio_co_cleanup(AioContext *ctx); /* before the bottom halves go */

#endif
