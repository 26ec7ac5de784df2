/* SPDX-License-Identifier: MIT */
/* What a descriptor of this process is, for its own recording. */
#ifndef SELF_FDS_H
#define SELF_FDS_H

#include "trace/loop_events.h"

/* The text of its link in /proc, shortened to @size; LOOP_FD_KIND_UNKNOWN if it is closed. */
enum loop_fd_kind self_fd_kind(int fd, char *target, size_t size);

#endif
