/* SPDX-License-Identifier: MIT */
/*
 * What the file descriptors of a live process are, from /proc/PID/fd, fdinfo and net/unix.
 */
#ifndef TRACER_FDS_H
#define TRACER_FDS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct fds;

struct fd_info {
	bool open;
	char kind[16]; /* eventfd, signalfd, unix, tcp, pipe, file, chr, ...; "none" for a negative
			  one, "unknown" for a core */
	char detail[160]; /* path, listening address or peer; "" if there is none; safe to show */
};

/* For a core (@live false) every descriptor is unknown. Freed by fds_free(). */
struct fds *fds_new(pid_t pid, bool live);
void fds_free(struct fds *fds);

const struct fd_info *fds_get(struct fds *fds, int fd);

/* False once a live process has ended: what was asked since may be wrong. Always true of a core. */
bool fds_target_lives(const struct fds *fds);

/*
 * Is @fd ready for @events (poll(2)'s bits) now? Asked on a duplicate (pidfd_getfd(2)), which is
 * closed at once. Returns the ready bits, or -errno: -EPERM without the privilege, -ENOSYS on a
 * core.
 */
int fds_ready(struct fds *fds, int fd, short events);

#endif
