// SPDX-License-Identifier: MIT
/* See fd-look.h. */
#include <arpa/inet.h>
#include <glib.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tracer/fd-look.h"
#include "tracer/text.h"

/* To be closed; or -1. */
static int duplicate(pid_t pid, int fd)
{
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	int copy = pidfd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);

	if (pidfd >= 0)
		close(pidfd);
	return copy;
}

static int64_t eventfd_count(pid_t pid, int fd)
{
	char path[64], line[128];
	int64_t count = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", pid, fd);
	f = fopen(path, "re");
	while (f && count < 0 && fgets(line, sizeof(line), f))
		if (sscanf(line, "eventfd-count: %" SCNx64, (uint64_t *)&count) != 1)
			count = -1;
	if (f)
		fclose(f);
	return count;
}

int64_t fd_level(pid_t pid, int fd, bool is_eventfd)
{
	int copy, bytes = -1;

	if (is_eventfd)
		return eventfd_count(pid, fd);
	copy = duplicate(pid, fd);
	if (copy >= 0 && ioctl(copy, FIONREAD, &bytes))
		bytes = -1;
	if (copy >= 0)
		close(copy);
	return bytes;
}

static int option(int fd, int name)
{
	socklen_t size = sizeof(int);
	int value = -1;

	return getsockopt(fd, SOL_SOCKET, name, &value, &size) ? -1 : value;
}

/* The kernel keeps the pid of whoever made the connection, as our namespace knows it. */
static char *unix_peer(int fd)
{
	struct ucred peer = { 0 };
	socklen_t size = sizeof(peer);
	char path[64], comm[64] = "";
	FILE *f;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) || peer.pid <= 0)
		return g_strdup("a process that is not seen from here");
	snprintf(path, sizeof(path), "/proc/%d/comm", peer.pid);
	f = fopen(path, "re");
	if (!f || !fgets(comm, sizeof(comm), f))
		snprintf(comm, sizeof(comm), "gone");
	if (f)
		fclose(f);
	text_make_safe(g_strchomp(comm));
	return g_strdup_printf("process %d (%s)", peer.pid, comm);
}

static char *inet_peer(int fd)
{
	struct sockaddr_storage at = { 0 };
	socklen_t size = sizeof(at);
	char text[INET6_ADDRSTRLEN] = "";

	if (getpeername(fd, (struct sockaddr *)&at, &size))
		return NULL;
	if (at.ss_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)&at;

		inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text));
		return g_strdup_printf("%s:%u", text, ntohs(in->sin_port));
	}
	if (at.ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&at;

		inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof(text));
		return g_strdup_printf("[%s]:%u", text, ntohs(in6->sin6_port));
	}
	return NULL;
}

char *fd_stream_peer(pid_t pid, int fd)
{
	int copy = duplicate(pid, fd);
	char *peer = NULL;

	if (copy >= 0 && option(copy, SO_TYPE) == SOCK_STREAM && option(copy, SO_ACCEPTCONN) == 0)
		peer = option(copy, SO_DOMAIN) == AF_UNIX ? unix_peer(copy) : inet_peer(copy);
	if (copy >= 0)
		close(copy);
	return peer;
}
