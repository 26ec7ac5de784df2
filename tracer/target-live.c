// SPDX-License-Identifier: MIT
/*
 * A live process as a target: process_vm_readv(2) for memory, /proc/PID for the rest.
 *
 * /proc/PID/task/TID/syscall gives the system call a sleeping thread is in, its arguments, stack
 * pointer and program counter, without touching the thread.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tracer/target.h"
#include "tracer/text.h"

static int live_read(struct target *t, uint64_t addr, void *buf, size_t len)
{
	struct iovec local = { buf, len };
	struct iovec remote = { (void *)(uintptr_t)addr, len };
	ssize_t n = process_vm_readv(t->pid, &local, 1, &remote, 1, 0);

	if (n == (ssize_t)len)
		return 0;
	return n < 0 && errno != EIO ? -errno : -EFAULT;
}

static int read_maps(struct target *t, struct failure *why)
{
	char path[64], *line = NULL;
	size_t size = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", t->pid);
	f = fopen(path, "re");
	if (!f)
		return fail(why, -errno, "cannot read %s: %s", path, strerror(errno));
	while (getline(&line, &size, f) > 0) {
		struct map map = { 0 };
		char prot[5];
		int at = 0;

		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %*s %*s %n", &map.start,
			   &map.end, prot, &map.offset, &at) < 4)
			continue;
		map.read = prot[0] == 'r';
		map.write = prot[1] == 'w';
		map.exec = prot[2] == 'x';
		map.path = g_strdup(g_strchomp(line + at));
		target_add_map(t, &map);
	}
	free(line);
	fclose(f);
	if (!t->maps->len)
		return fail(why, -ESRCH,
			    "process %d has no memory: it has exited or is a kernel thread",
			    t->pid);
	return 0;
}

/* The first line of /proc/PID/task/TID/NAME; "" where there is none. */
static void read_task_line(struct target *t, pid_t tid, const char *name, char *buf, size_t size)
{
	char path[80];
	ssize_t n = -1;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/%s", t->pid, tid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, buf, size - 1);
		close(fd);
	}
	buf[n > 0 ? n : 0] = 0;
	buf[strcspn(buf, "\n")] = 0;
}

/*
 * Made by the kernel in the process, for io_uring or vhost: it never runs the program, and the call
 * that /proc shows is a copy of its maker's. Only what has such a name is asked for its flags.
 */
static bool is_kernel_worker(struct target *t, pid_t tid, const char *comm)
{
	const unsigned worker = 0x10 | 0x4000; /* PF_IO_WORKER, PF_USER_WORKER */
	unsigned flags;
	const char *at;
	char line[512];

	if (strncmp(comm, "iou-", 4) != 0 && strncmp(comm, "vhost-", 6) != 0)
		return false;
	read_task_line(t, tid, "stat", line, sizeof(line));
	at = strrchr(line, ')'); /* then: state, ppid, pgrp, session, tty, tpgid, flags */
	return at && sscanf(at, ") %*c %*d %*d %*d %*d %*d %u", &flags) == 1 && flags & worker;
}

static void add_thread(struct target *t, pid_t tid)
{
	struct thread thread = { .tid = tid };
	char line[256];
	int n;

	read_task_line(t, tid, "comm", thread.comm, sizeof(thread.comm));
	if (is_kernel_worker(t, tid, thread.comm))
		return;
	text_make_safe(thread.comm);
	read_task_line(t, tid, "syscall", line, sizeof(line));
	n = sscanf(line,
		   "%ld %" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64
		   " %" SCNx64 " %" SCNx64,
		   &thread.nr, &thread.args[0], &thread.args[1], &thread.args[2], &thread.args[3],
		   &thread.args[4], &thread.args[5], &thread.sp, &thread.pc);
	thread.sleeping = n == 9 && thread.nr >= 0;
	if (thread.sleeping)
		thread.nr = target_restarted_call(t, thread.nr, thread.pc);
	g_array_append_val(t->threads, thread);
}

static int by_tid(const void *a, const void *b)
{
	return ((const struct thread *)a)->tid - ((const struct thread *)b)->tid;
}

static int read_threads(struct target *t, struct failure *why)
{
	struct dirent *entry;
	char path[64];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", t->pid);
	dir = opendir(path);
	if (!dir)
		return fail(why, -ESRCH, "process %d has exited", t->pid);
	while ((entry = readdir(dir))) {
		pid_t tid = atoi(entry->d_name);

		if (tid > 0)
			add_thread(t, tid);
	}
	closedir(dir);
	/* A thread's number may have wrapped below its process's: the main thread goes first. */
	g_array_sort(t->threads, by_tid);
	for (size_t i = 1; i < t->threads->len; i++) {
		struct thread thread = g_array_index(t->threads, struct thread, i);

		if (thread.tid == t->pid) {
			g_array_remove_index(t->threads, i);
			g_array_prepend_val(t->threads, thread);
		}
	}
	return 0;
}

static int live_refresh(struct target *t, struct failure *why)
{
	int err;

	target_clear(t);
	err = read_maps(t, why);
	return err ? err : read_threads(t, why);
}

static int live_open_file(struct target *t, const struct map *map, char **ret_path)
{
	char *path = g_strdup_printf("/proc/%d/map_files/%" PRIx64 "-%" PRIx64, t->pid, map->start,
				     map->end);

	/* map_files needs a capability; a file that still has its name does not. */
	if (access(path, R_OK)) {
		g_free(path);
		path = g_strdup_printf("/proc/%d/root%s", t->pid, map->path);
		if (access(path, R_OK)) {
			g_free(path);
			return -ENOENT;
		}
	}
	*ret_path = path;
	return 0;
}

static void live_close(struct target *t)
{
	(void)t;
}

static const struct target_ops live_ops = {
	.read = live_read,
	.read_own = live_read,
	.refresh = live_refresh,
	.open_file = live_open_file,
	.close = live_close,
};

int target_open_pid(pid_t pid, struct target **ret, struct failure *why)
{
	char path[64], exe[4096], byte;
	struct target *t;
	ssize_t n;
	int err;

	snprintf(path, sizeof(path), "/proc/%d", pid);
	if (access(path, F_OK))
		return fail(why, -ESRCH, "there is no process %d", pid);
	t = target_new(&live_ops, true);
	t->pid = pid;
	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	n = readlink(path, exe, sizeof(exe) - 1);
	if (n < 0 && (errno == EACCES || errno == EPERM)) {
		err = fail(why, -EPERM,
			   "not allowed to look into process %d: it needs CAP_SYS_PTRACE", pid);
		goto cleanup;
	}
	if (n < 0) {
		err = fail(why, -ESRCH,
			   "process %d has no program: it has exited or is a kernel thread", pid);
		goto cleanup;
	}
	exe[n] = 0;
	t->exe = g_strdup(exe);
	read_task_line(t, pid, "comm", t->comm, sizeof(t->comm));
	text_make_safe(t->comm);
	err = live_refresh(t, why);
	if (err)
		goto cleanup;
	/* One read now tells a missing privilege apart from a bad pointer later. */
	err = live_read(t, g_array_index(t->maps, struct map, 0).start, &byte, 1);
	if (err == -EPERM) {
		fail(why, err,
		     "not allowed to read the memory of process %d: it needs CAP_SYS_PTRACE", pid);
		goto cleanup;
	}
	*ret = t;
	return 0;

cleanup:
	target_close(t);
	return err;
}
