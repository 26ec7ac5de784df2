/* SPDX-License-Identifier: MIT */
/* The thread pool's state: for thread-pool.c, and for those who look at it. */
#ifndef DEMO_THREAD_POOL_INT_H
#define DEMO_THREAD_POOL_INT_H

#include "thread-pool.h"

/* An idle worker leaves after that time, unless it is one of the min_threads. */
#define THREAD_POOL_IDLE_MS 10000

typedef struct ThreadPoolElementAio ThreadPoolElementAio;

struct ThreadPoolAio {
	AioContext *ctx;
	QEMUBH *completion_bh;
	QemuMutex lock;
	QemuCond worker_stopped;
	QemuCond request_cond; /* there is a request, or too many workers */
	QEMUBH *new_thread_bh;

	QLIST_HEAD(, ThreadPoolElementAio) head; /* all requests that have not completed; home */

	/* The rest under lock. */
	QTAILQ_HEAD(, ThreadPoolElementAio) request_list; /* those that no worker has taken */
	int cur_threads;				  /* all of the following too */
	int idle_threads;
	int new_threads;     /* to be created */
	int pending_threads; /* created, but not running yet */
	int min_threads;
	int max_threads;

	int idle_ms;
};

#endif
