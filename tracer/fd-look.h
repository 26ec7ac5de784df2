/* SPDX-License-Identifier: MIT */
/*
 * What a descriptor of a live process holds, and who is at its other end. Asked on a duplicate
 * (pidfd_getfd(2)), which is closed at once: nothing is taken from it.
 */
#ifndef TRACER_FD_LOOK_H
#define TRACER_FD_LOOK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* The bytes that wait in it to be read, or what an eventfd counts; -1: unknown. */
int64_t fd_level(pid_t pid, int fd, bool is_eventfd);

/*
 * Who is at the other end of a connected stream socket: "process 12 (python3)", who connected it or
 * made the pair, of a Unix socket; "127.0.0.1:5900" of a TCP one. NULL if it is none. To be freed.
 */
char *fd_stream_peer(pid_t pid, int fd);

#endif
