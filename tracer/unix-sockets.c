// SPDX-License-Identifier: MIT
/* See unix-sockets.h. */
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tracer/unix-sockets.h"

#define TCP_LISTEN 10 /* the state of a listening socket, of every family */

static void add(GHashTable *table, unsigned long inode, bool listens, const char *name)
{
	g_hash_table_insert(
		table, (void *)inode,
		g_strdup_printf("%s%s", listens ? "listens on " : "", name[0] ? name : "unnamed"));
}

/* One unix_diag_msg with its attributes; an abstract name begins with a NUL and is shown with '@'.
 */
static void take_message(GHashTable *table, const struct nlmsghdr *h)
{
	const struct unix_diag_msg *msg = NLMSG_DATA(h);
	unsigned len = h->nlmsg_len - NLMSG_LENGTH(sizeof(*msg));
	char name[128] = "";

	if (h->nlmsg_len < NLMSG_LENGTH(sizeof(*msg)))
		return;
	for (const struct rtattr *a = (const struct rtattr *)(msg + 1); RTA_OK(a, len);
	     a = RTA_NEXT(a, len)) {
		size_t size = MIN(RTA_PAYLOAD(a), sizeof(name) - 1);

		if (a->rta_type != UNIX_DIAG_NAME || !size)
			continue;
		memcpy(name, RTA_DATA(a), size);
		name[size] = 0;
		if (!name[0])
			name[0] = '@';
	}
	add(table, msg->udiag_ino, msg->udiag_state == TCP_LISTEN, name);
}

static bool dump(int fd, GHashTable *table)
{
	struct {
		struct nlmsghdr h;
		struct unix_diag_req req;
	} request = {
		.h = { .nlmsg_len = sizeof(request),
		       .nlmsg_type = SOCK_DIAG_BY_FAMILY,
		       .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
		.req = { .sdiag_family = AF_UNIX,
			 .udiag_states = ~0U,
			 .udiag_show = UDIAG_SHOW_NAME },
	};
	char buf[16384] __attribute__((aligned(NLMSG_ALIGNTO)));

	if (send(fd, &request, sizeof(request), 0) < 0)
		return false;
	for (;;) {
		ssize_t n = recv(fd, buf, sizeof(buf), 0);
		unsigned left = (unsigned)n;

		if (n <= 0)
			return false;
		for (struct nlmsghdr *h = (struct nlmsghdr *)buf; NLMSG_OK(h, left);
		     h = NLMSG_NEXT(h, left)) {
			if (h->nlmsg_type == NLMSG_DONE)
				return true;
			if (h->nlmsg_type != SOCK_DIAG_BY_FAMILY)
				return false;
			take_message(table, h);
		}
	}
}

/* A netlink socket in the target's network namespace, which may not be ours; or -1. */
static int open_diag(pid_t pid)
{
	int own = -1, other = -1, fd = -1;
	struct stat a, b;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/ns/net", pid);
	if (stat("/proc/self/ns/net", &a) || stat(path, &b))
		return -1;
	if (a.st_ino == b.st_ino)
		return socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	other = open(path, O_RDONLY | O_CLOEXEC);
	if (own >= 0 && other >= 0 && !setns(other, CLONE_NEWNET)) {
		fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
		if (setns(own, CLONE_NEWNET)) {
			close(fd);
			fd = -1;
		}
	}
	if (own >= 0)
		close(own);
	if (other >= 0)
		close(other);
	return fd;
}

/* "Num: RefCount Protocol Flags Type St Inode [Path]"; the flag 0x10000 is of one that listens. */
static void read_proc(pid_t pid, GHashTable *table)
{
	GHashTable *twice = g_hash_table_new(NULL, NULL);
	char path[64], *line = NULL;
	GHashTableIter iter;
	size_t size = 0;
	void *inode;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/net/unix", pid);
	f = fopen(path, "re");
	while (f && getline(&line, &size, f) > 0) {
		unsigned long number, flags;
		int at = 0;

		if (sscanf(line, "%*[^:]: %*x %*x %lx %*x %*x %lu %n", &flags, &number, &at) < 2 ||
		    !at)
			continue;
		if (g_hash_table_contains(table, (void *)number))
			g_hash_table_add(twice, (void *)number);
		add(table, number, flags & 0x10000, g_strchomp(line + at));
	}
	g_hash_table_iter_init(&iter, twice);
	while (g_hash_table_iter_next(&iter, &inode, NULL))
		g_hash_table_insert(table, inode, g_strdup(""));
	g_hash_table_destroy(twice);
	free(line);
	if (f)
		fclose(f);
}

GHashTable *unix_sockets(pid_t pid)
{
	GHashTable *table = g_hash_table_new_full(NULL, NULL, NULL, g_free);
	int fd = open_diag(pid);
	bool done = fd >= 0 && dump(fd, table);

	if (fd >= 0)
		close(fd);
	if (!done) {
		g_hash_table_remove_all(table);
		read_proc(pid, table);
	}
	return table;
}
