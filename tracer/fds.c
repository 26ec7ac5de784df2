// SPDX-License-Identifier: MIT
/* See fds.h. */
#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tracer/fds.h"
#include "tracer/text.h"
#include "tracer/unix-sockets.h"

struct fds {
	pid_t pid;
	bool live;
	int pidfd;
	GHashTable *known;	  /* fd -> struct fd_info */
	GHashTable *unix_sockets; /* inode -> path, of the target's network namespace; read late */
};

struct fds *fds_new(pid_t pid, bool live)
{
	struct fds *fds = g_new0(struct fds, 1);

	fds->pid = pid;
	fds->live = live;
	fds->pidfd = live ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
	fds->known = g_hash_table_new_full(NULL, NULL, NULL, g_free);
	return fds;
}

void fds_free(struct fds *fds)
{
	if (!fds)
		return;
	if (fds->pidfd >= 0)
		close(fds->pidfd);
	g_hash_table_destroy(fds->known);
	if (fds->unix_sockets)
		g_hash_table_destroy(fds->unix_sockets);
	g_free(fds);
}

/* Is the socket @inode listed in /proc/PID/net/@table? Its local and remote address go to @info. */
static bool in_inet_table(struct fds *fds, const char *table, unsigned long inode,
			  struct fd_info *info)
{
	char path[64], *line = NULL;
	size_t size = 0;
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/net/%s", fds->pid, table);
	f = fopen(path, "re");
	if (!f)
		return false;
	while (!found && getline(&line, &size, f) > 0) {
		unsigned local_port, remote_port, state;
		unsigned long row;

		if (sscanf(line, " %*d: %*[0-9A-F]:%x %*[0-9A-F]:%x %x %*s %*s %*s %*d %*d %lu",
			   &local_port, &remote_port, &state, &row) != 4 ||
		    row != inode)
			continue;
		found = true;
		if (state == 0x0a) /* TCP_LISTEN */
			snprintf(info->detail, sizeof(info->detail), "listens on port %u",
				 local_port);
		else
			snprintf(info->detail, sizeof(info->detail), "port %u, peer port %u",
				 local_port, remote_port);
	}
	free(line);
	fclose(f);
	return found;
}

static void describe_socket(struct fds *fds, unsigned long inode, struct fd_info *info)
{
	static const char *const tables[] = { "tcp", "tcp6", "udp", "udp6" };
	const char *path;

	if (!fds->unix_sockets)
		fds->unix_sockets = unix_sockets(fds->pid);
	path = g_hash_table_lookup(fds->unix_sockets, (void *)inode);
	if (path) {
		snprintf(info->kind, sizeof(info->kind), "unix");
		snprintf(info->detail, sizeof(info->detail), "%s", path);
		return;
	}
	snprintf(info->kind, sizeof(info->kind), "socket");
	for (size_t i = 0; i < G_N_ELEMENTS(tables); i++)
		if (in_inet_table(fds, tables[i], inode, info))
			snprintf(info->kind, sizeof(info->kind), "%.3s", tables[i]);
}

static void describe_path(const char *proc_path, const char *target, struct fd_info *info)
{
	const char *kind = "file";
	struct stat st;

	if (!stat(proc_path, &st)) {
		if (S_ISCHR(st.st_mode))
			kind = "chr";
		else if (S_ISBLK(st.st_mode))
			kind = "blk";
		else if (S_ISDIR(st.st_mode))
			kind = "dir";
		else if (S_ISFIFO(st.st_mode))
			kind = "fifo";
	}
	snprintf(info->kind, sizeof(info->kind), "%s", kind);
	snprintf(info->detail, sizeof(info->detail), "%s", target);
}

static void describe(struct fds *fds, int fd, struct fd_info *info)
{
	char path[64], target[sizeof(info->detail)];
	unsigned long inode;
	ssize_t n;

	snprintf(info->kind, sizeof(info->kind), fd < 0 ? "none" : "unknown");
	if (fd < 0)
		snprintf(info->detail, sizeof(info->detail),
			 "no descriptor: poll() passes over it");
	if (!fds->live || fd < 0)
		return;
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", fds->pid, fd);
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return;
	target[n] = 0;
	info->open = true;
	if (sscanf(target, "socket:[%lu]", &inode) == 1)
		describe_socket(fds, inode, info);
	else if (sscanf(target, "pipe:[%lu]", &inode) == 1)
		snprintf(info->kind, sizeof(info->kind), "pipe");
	else if (sscanf(target, "anon_inode:[%15[^]]]", info->kind) != 1 &&
		 sscanf(target, "anon_inode:%15s", info->kind) != 1)
		describe_path(path, target, info);
	if (!strcmp(info->kind, "eventpoll"))
		snprintf(info->kind, sizeof(info->kind), "epoll");
	text_make_safe(info->kind);
	text_make_safe(info->detail);
}

bool fds_target_lives(const struct fds *fds)
{
	struct pollfd p = { .fd = fds->pidfd, .events = POLLIN };

	return !fds->live || (fds->pidfd >= 0 && poll(&p, 1, 0) == 0);
}

const struct fd_info *fds_get(struct fds *fds, int fd)
{
	struct fd_info *info = g_hash_table_lookup(fds->known, GINT_TO_POINTER(fd));

	if (!info) {
		info = g_new0(struct fd_info, 1);
		g_hash_table_insert(fds->known, GINT_TO_POINTER(fd), info);
	} else if (!fds->live || info->open) {
		return info;
	}
	/* One that was closed may be open by now; callers keep the pointer, so it stays. */
	memset(info, 0, sizeof(*info));
	describe(fds, fd, info);
	return info;
}

/* The hexadecimal number after @key in a file of the target's /proc; false without one. */
static bool read_mask(pid_t pid, const char *file, const char *key, uint64_t *ret)
{
	char path[64], line[256];
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
	f = fopen(path, "re");
	while (f && !found && fgets(line, sizeof(line), f))
		if (g_str_has_prefix(line, key))
			found = sscanf(line + strlen(key), "%" SCNx64, ret) == 1;
	if (f)
		fclose(f);
	return found;
}

/*
 * A signalfd looks at the signals of whoever asks, so a duplicate of ours would see ours: held
 * against the target's pending signals instead, those of the process and of its main thread.
 */
static int signalfd_ready(pid_t pid, int fd)
{
	uint64_t mask, shared, own;
	char file[32];

	snprintf(file, sizeof(file), "fdinfo/%d", fd);
	if (!read_mask(pid, file, "sigmask:", &mask) ||
	    !read_mask(pid, "status", "ShdPnd:", &shared) ||
	    !read_mask(pid, "status", "SigPnd:", &own))
		return -ENOENT;
	return mask & (shared | own) ? POLLIN : 0;
}

int fds_ready(struct fds *fds, int fd, short events)
{
	struct pollfd p = { .events = events };
	int n;

	if (fds->pidfd < 0)
		return -ENOSYS;
	if (fd < 0)
		return 0;
	if (!strcmp(fds_get(fds, fd)->kind, "signalfd"))
		return signalfd_ready(fds->pid, fd);
	p.fd = (int)syscall(SYS_pidfd_getfd, fds->pidfd, fd, 0);
	if (p.fd < 0)
		return -errno;
	n = poll(&p, 1, 0);
	close(p.fd);
	return n < 0 ? -errno : n ? p.revents : 0;
}
