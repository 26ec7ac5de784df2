/* SPDX-License-Identifier: MIT */
/*
 * A server like that of network block devices (QEMU: blockdev-nbd.c, nbd/server.c), on a Unix
 * socket: each connection is a coroutine that reads a request and answers it, until the end.
 *
 * The protocol: the server sends NBD_GREETING; a request is a number of 4 bytes, its answer is the
 * same number.  Numbers above NBD_SLOW take blocking work, which the thread pool does.
 */
#ifndef DEMO_NBD_SERVER_H
#define DEMO_NBD_SERVER_H

#include "thread-pool.h"

#define NBD_GREETING "DEMO-NBD"
#define NBD_SLOW     1000000u

typedef struct NBDServerData NBDServerData;

/* Or NULL.  @path must not exist.  @slow is called in a worker for each slow request. */
NBDServerData *nbd_server_start(const char *path, ThreadPoolFunc *slow, Error **errp);

/*
 * Hangs up, and waits until no connection is left: requests in flight are answered first, or rather
 * their answers get nowhere.  A nested poll of the main context.
 */
void nbd_server_free(NBDServerData *server);

typedef struct NBDStats {
	unsigned accepted, answered, waits;
} NBDStats;

/* Of all servers. */
extern NBDStats nbd_stats;

#endif
