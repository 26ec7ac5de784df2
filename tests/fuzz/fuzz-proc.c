// SPDX-License-Identifier: MIT
/*
 * What is read of a process from /proc: maps, threads, descriptors, sockets. The input is those
 * files, with a 0xff byte between them, in the order of names[]; the linker has every opening of a
 * path below /proc/1/ come here (--wrap).
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/proc-parts.h"
#include "tracer/fds.h"
#include "tracer/target.h"
#include "tracer/unix-sockets.h"

static const char *const names[] = { "maps", "comm", "syscall",	 "status",   "exe",  "/fd/3",
				     "unix", "tcp",  "fdinfo/3", "fdinfo/4", "task", "cmdline" };
#define FILES (sizeof(names) / sizeof(names[0]))

static struct fuzz_input parts[FILES];

/* Also what libFuzzer itself opens comes here, and is let through. */
static bool is_theirs(const char *path)
{
	return !strncmp(path, "/proc/1/", 8);
}

static const struct fuzz_input *part_of(const char *path)
{
	size_t length = strlen(path);

	if (!is_theirs(path))
		return NULL;
	for (size_t i = 0; i < FILES; i++) {
		size_t n = strlen(names[i]);

		if (length >= n && !strcmp(path + length - n, names[i]))
			return parts[i].size ? &parts[i] : NULL;
	}
	return NULL;
}

/* --- instead of the system's ---------------------------------------------------------------------
 */

FILE *__real_fopen(const char *path, const char *mode);
FILE *__wrap_fopen(const char *path, const char *mode);
FILE *__wrap_fopen(const char *path, const char *mode)
{
	const struct fuzz_input *part = part_of(path);

	if (!is_theirs(path))
		return __real_fopen(path, mode);
	return part ? fmemopen((void *)part->data, part->size, "r") : NULL;
}

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
	const struct fuzz_input *part = part_of(path);
	int fd = part ? memfd_create("part", MFD_CLOEXEC) : -1;

	if (!is_theirs(path))
		return __real_open(path, flags, 0600);
	if (fd >= 0 && write(fd, part->data, part->size) >= 0)
		lseek(fd, 0, SEEK_SET);
	return fd;
}

gboolean __wrap_g_file_get_contents(const char *path, char **ret, gsize *ret_size, GError **error);
gboolean __wrap_g_file_get_contents(const char *path, char **ret, gsize *ret_size, GError **error)
{
	const struct fuzz_input *part = part_of(path);

	(void)ret_size, (void)error;
	if (part)
		*ret = g_strndup((const char *)part->data, part->size);
	return part != NULL;
}

ssize_t __real_readlink(const char *path, char *buf, size_t size);
ssize_t __wrap_readlink(const char *path, char *buf, size_t size);
ssize_t __wrap_readlink(const char *path, char *buf, size_t size)
{
	const struct fuzz_input *part = part_of(path);
	size_t n = part ? part->size < size ? part->size : size : 0;

	if (!is_theirs(path))
		return __real_readlink(path, buf, size);
	if (!part) {
		errno = ENOENT;
		return -1;
	}
	memcpy(buf, part->data, n);
	return (ssize_t)n;
}

int __real_access(const char *path, int mode);
int __wrap_access(const char *path, int mode);
int __wrap_access(const char *path, int mode)
{
	return strcmp(path, "/proc/1") ? __real_access(path, mode) : 0;
}

/* Threads: one for each byte of the part. */
static size_t next_thread;

DIR *__real_opendir(const char *path);
DIR *__wrap_opendir(const char *path);
DIR *__wrap_opendir(const char *path)
{
	if (!is_theirs(path))
		return __real_opendir(path);
	next_thread = 0;
	return part_of(path) ? (DIR *)parts : NULL;
}

struct dirent *__real_readdir(DIR *dir);
struct dirent *__wrap_readdir(DIR *dir);
struct dirent *__wrap_readdir(DIR *dir)
{
	static struct dirent entry;
	const struct fuzz_input *part = part_of("/proc/1/task");

	if (dir != (DIR *)parts)
		return __real_readdir(dir);
	if (!part || next_thread >= part->size || next_thread >= 8)
		return NULL;
	snprintf(entry.d_name, sizeof(entry.d_name), "%u", part->data[next_thread++]);
	return &entry;
}

int __real_closedir(DIR *dir);
int __wrap_closedir(DIR *dir);
int __wrap_closedir(DIR *dir)
{
	return dir == (DIR *)parts ? 0 : __real_closedir(dir);
}

/* Memory is what the part "cmdline" has, over and over. */
ssize_t __wrap_process_vm_readv(pid_t pid, const struct iovec *local, unsigned long n_local,
				const struct iovec *remote, unsigned long n_remote,
				unsigned long flags);
ssize_t __wrap_process_vm_readv(pid_t pid, const struct iovec *local, unsigned long n_local,
				const struct iovec *remote, unsigned long n_remote,
				unsigned long flags)
{
	const struct fuzz_input *part = part_of("/proc/1/cmdline");

	(void)pid, (void)n_local, (void)n_remote, (void)flags;
	for (size_t i = 0; i < local->iov_len; i++)
		((uint8_t *)local->iov_base)[i] =
			part ? part->data[((uintptr_t)remote->iov_base + i) % part->size] : 0;
	return (ssize_t)local->iov_len;
}

/* No netlink: sockets are read from net/unix. */
int __wrap_socket(int domain, int type, int protocol);
int __wrap_socket(int domain, int type, int protocol)
{
	(void)domain, (void)type, (void)protocol;
	return -1;
}

/* -------------------------------------------------------------------------------------------------
 */

static void split(const uint8_t *data, size_t size)
{
	size_t at = 0;

	for (size_t i = 0; i < FILES; i++) {
		const uint8_t *end = at < size ? memchr(data + at, 0xff, size - at) : NULL;
		size_t length = end ? (size_t)(end - data) - at : size - at;

		parts[i] = (struct fuzz_input){ data + at, length };
		at += length + (end != NULL);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct target *t = NULL;
	struct failure why;
	struct fds *fds;

	split(data, size);
	g_hash_table_destroy(unix_sockets(1));
	fds = fds_new(1, true);
	if (!strcmp(fds_get(fds, 3)->kind, "signalfd"))
		fds_ready(fds, 3, POLLIN);
	fds_get(fds, 4);
	fds_free(fds);
	if (target_open_pid(1, &t, &why))
		return 0;
	for (size_t i = 0; i < t->maps->len; i++)
		target_map_at(t, g_array_index(t->maps, struct map, i).start);
	target_refresh(t, &why);
	fuzz_epoll(t);
	fuzz_own_tid(t);
	target_close(t);
	return 0;
}
