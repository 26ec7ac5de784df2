/* SPDX-License-Identifier: MIT */
/* The kernel's names of descriptors that are no files, and what they are. */
#include "osdep.h"
#include <sys/stat.h>
#include "self-fds.h"

static const struct {
	const char *prefix;
	enum loop_fd_kind kind;
} kinds[] = {
	{ "anon_inode:[eventfd]", LOOP_FD_KIND_EVENTFD },
	{ "anon_inode:[timerfd]", LOOP_FD_KIND_TIMERFD },
	{ "anon_inode:[signalfd]", LOOP_FD_KIND_SIGNALFD },
	{ "anon_inode:[eventpoll]", LOOP_FD_KIND_EPOLL },
	{ "anon_inode:[io_uring]", LOOP_FD_KIND_IO_URING },
	{ "anon_inode:[pidfd]", LOOP_FD_KIND_PIDFD },
	{ "anon_inode:kvm", LOOP_FD_KIND_KVM },
	{ "anon_inode:inotify", LOOP_FD_KIND_INOTIFY },
	{ "socket:", LOOP_FD_KIND_SOCKET },
	{ "pipe:", LOOP_FD_KIND_PIPE },
};

enum loop_fd_kind self_fd_kind(int fd, char *target, size_t size)
{
	g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd);
	ssize_t length = readlink(path, target, size - 1);
	struct stat st;

	if (length < 0)
		return LOOP_FD_KIND_UNKNOWN;
	target[length] = 0;
	for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++)
		if (g_str_has_prefix(target, kinds[i].prefix))
			return kinds[i].kind;
	if (fstat(fd, &st))
		return LOOP_FD_KIND_UNKNOWN;
	if (S_ISFIFO(st.st_mode))
		return LOOP_FD_KIND_PIPE;
	if (S_ISCHR(st.st_mode))
		return LOOP_FD_KIND_CHARDEV;
	return S_ISREG(st.st_mode) ? LOOP_FD_KIND_FILE : LOOP_FD_KIND_OTHER;
}
