/* SPDX-License-Identifier: MIT */
/* Unix sockets by their path (QEMU: qemu/sockets.h). */
#ifndef DEMO_QEMU_SOCKETS_H
#define DEMO_QEMU_SOCKETS_H

#include "error.h"

/* A listening socket that does not block, its file for nobody but us; or -1 and *errp. */
int unix_listen(const char *path, Error **errp);

/* A socket connected to it, which blocks; or -1 and *errp. */
int unix_connect(const char *path, Error **errp);

#endif
