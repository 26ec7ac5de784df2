/* SPDX-License-Identifier: MIT */
/* The Unix sockets of a process's network namespace, by inode. */
#ifndef TRACER_UNIX_SOCKETS_H
#define TRACER_UNIX_SOCKETS_H

#include <glib.h>
#include <sys/types.h>

/*
 * A table of inode (as a pointer) -> text to be freed with the table: "listens on /path", "/path",
 * "@abstract", "unnamed". Empty where it cannot be read. Asked of the kernel by sock_diag(7), which
 * gives names as they are; /proc/PID/net/unix prints them into lines that a name with a newline can
 * forge, so what it says of an inode twice is left out.
 */
GHashTable *unix_sockets(pid_t pid);

#endif
