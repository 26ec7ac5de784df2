/* SPDX-License-Identifier: MIT */
/*
 * A monitor: a Unix socket by which a running loop is looked at and poked, a line at a time.
 *
 *   $ build/demo-qemu-loop --scenario five-sources --monitor /tmp/mon &
 *   $ socat - UNIX:/tmp/mon
 *   demo-qemu-loop, pid 4188: help lists the commands
 *   kick io0
 *   ok
 *
 * The answer to a line ends with "ok" or is "error: " and what to type instead.  As QEMU's, the
 * monitor is itself a handler of the loop, in iohandler_ctx: while the loop is blocked it is
 * silent.
 */
#ifndef DEMO_MONITOR_H
#define DEMO_MONITOR_H

#include "main-loop.h"

typedef struct Monitor Monitor;

/*
 * Main thread, after qemu_init_main_loop().  The socket is the user's alone (mode 0600).  @quit is
 * called by the command of that name.  NULL and *@errp on failure.
 */
Monitor *monitor_open(const char *path, void (*quit)(void), Error **errp);

/* Before the IOThreads go: it may have descriptors in their contexts. */
void monitor_close(Monitor *mon); /* NULL is allowed */

#endif
