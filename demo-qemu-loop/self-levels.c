/* SPDX-License-Identifier: MIT */
/* Taken from duplicates of the program's descriptors, which are closed at once. */
#include "osdep.h"
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include "self-fds.h"
#include "self-levels.h"

#define FDS	  16 /* that are looked at in a look */
#define MIN_READY 2
#define LOOK_NS	  20000000ULL

static struct {
	uint64_t looked_ns;
	struct {
		uint32_t tid;
		int fd;
		unsigned ready;
	} seen[FDS];
	int n, next;
} levels;

void self_level_note(uint32_t tid, int fd)
{
	int i = 0;

	while (i < levels.n && (levels.seen[i].fd != fd || levels.seen[i].tid != tid))
		i++;
	if (i == FDS)
		return;
	if (i == levels.n) {
		levels.seen[i].tid = tid;
		levels.seen[i].fd = fd;
		levels.seen[i].ready = 0;
		levels.n++;
	}
	levels.seen[i].ready++;
}

static int64_t eventfd_count(int fd)
{
	g_autofree char *path = g_strdup_printf("/proc/self/fdinfo/%d", fd);
	g_autofree char *info = NULL;
	const char *count;

	if (!g_file_get_contents(path, &info, NULL, NULL))
		return -1;
	count = strstr(info, "eventfd-count:");
	return count ? (int64_t)g_ascii_strtoull(count + strlen("eventfd-count:"), NULL, 16) : -1;
}

/* Of a stream socket that is connected. */
static int64_t socket_bytes(int fd)
{
	int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0), type = 0, listens = 1, bytes = -1;
	int copy = pidfd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);
	socklen_t size = sizeof(int);

	if (copy >= 0 && (getsockopt(copy, SOL_SOCKET, SO_TYPE, &type, &size) ||
			  getsockopt(copy, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) ||
			  type != SOCK_STREAM || listens || ioctl(copy, FIONREAD, &bytes)))
		bytes = -1;
	if (copy >= 0)
		close(copy);
	if (pidfd >= 0)
		close(pidfd);
	return bytes;
}

static bool look_at(uint32_t tid, int fd, uint64_t now_ns, struct loop_fd_level *ret)
{
	char target[128];
	enum loop_fd_kind kind = self_fd_kind(fd, target, sizeof(target));
	int64_t level = kind == LOOP_FD_KIND_EVENTFD  ? eventfd_count(fd)
			: kind == LOOP_FD_KIND_SOCKET ? socket_bytes(fd)
						      : -1;

	if (level < 0)
		return false;
	*ret = (struct loop_fd_level){
		.h = { .id = LOOP_EV_FD_LEVEL, .time_ns = now_ns },
		.of_tid = tid,
		.fd = fd,
		.kind = kind,
		.level = level,
	};
	return true;
}

bool self_level_next(uint64_t now_ns, struct loop_fd_level *ret)
{
	if (now_ns - levels.looked_ns < LOOK_NS)
		return false;
	while (levels.next < levels.n) {
		int i = levels.next++;

		if (levels.seen[i].ready >= MIN_READY &&
		    look_at(levels.seen[i].tid, levels.seen[i].fd, now_ns, ret))
			return true;
	}
	levels.n = levels.next = 0;
	levels.looked_ns = now_ns;
	return false;
}
