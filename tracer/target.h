/* SPDX-License-Identifier: MIT */
/*
 * A target: the process, or the core file of one, that somebody wants to understand.
 *
 * It answers where memory is mapped, what bytes lie there, and what each thread was doing in the
 * kernel. Reading never stops or changes a live process: process_vm_readv(2) and /proc. A core
 * answers the same questions from its segments and notes (target-core.c).
 */
#ifndef TRACER_TARGET_H
#define TRACER_TARGET_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

#include "tracer/failure.h"

struct map {
	uint64_t start, end; /* [start, end) */
	uint64_t offset;     /* in the file, for a mapped file */
	bool read, write, exec;
	char *path; /* "" for anonymous memory; as the target sees it */
};

struct thread {
	pid_t tid;
	char comm[16];	  /* made safe */
	bool sleeping;	  /* in a system call that has not returned; nr and args are then valid */
	long nr;	  /* of the system call */
	uint64_t args[6]; /* of the system call */
	uint64_t sp, pc;  /* its stack pointer and program counter, valid when sleeping */
	struct user_regs_struct regs; /* of a core's thread */
};

struct target;

struct target_ops {
	int (*read)(struct target *t, uint64_t addr, void *buf, size_t len);
	int (*read_own)(struct target *t, uint64_t addr, void *buf, size_t len);
	int (*refresh)(struct target *t, struct failure *why);
	int (*open_file)(struct target *t, const struct map *map, char **ret_path);
	void (*close)(struct target *t);
};

struct target {
	const struct target_ops *ops;
	bool live;
	pid_t pid;
	char *exe;	    /* path of the program as the target sees it */
	char *root;	    /* of a core: where its files are; NULL: where their names say */
	char comm[16];	    /* made safe */
	GArray *maps;	    /* struct map, by address */
	GArray *threads;    /* struct thread, the main thread first */
	void *private_data; /* of the kind of target */
};

/*
 * Open a live process or a core file, whose files are in @root (NULL: in this system's). Errors:
 * -ESRCH (no such process), -EPERM (not allowed to read it), -ENOEXEC (not a core file), -ENOMEM;
 * *ret is untouched on failure. The caller closes it.
 */
int target_open_pid(pid_t pid, struct target **ret, struct failure *why);
int target_open_core(const char *path, const char *root, struct target **ret, struct failure *why);
void target_close(struct target *t);

/* Read @len bytes at @addr: all of them (0), or -EFAULT, or -ESRCH when the process has gone. */
int target_read(struct target *t, uint64_t addr, void *buf, size_t len);
int target_read_u64(struct target *t, uint64_t addr, uint64_t *ret);
/* Read a string of fewer than @size bytes, made safe; -EFAULT and "" when it has no end there. */
int target_read_string(struct target *t, uint64_t addr, char *buf, size_t size);

/* The same, but from a core only what the core itself holds, not the files behind it. */
int target_read_own(struct target *t, uint64_t addr, void *buf, size_t len);

/*
 * After reading @attempt, from 0 on, met what does not fit together: the target may have been
 * changing it, or have lost the processor within. Waits, longer each time and 63 ms in all, and is
 * false when another reading would not help: of a core, and in the end.
 */
bool target_read_again(const struct target *t, int attempt);

/* Look at threads and maps again (a core: nothing to do). */
int target_refresh(struct target *t, struct failure *why);

/* The map that holds @addr, or NULL. */
const struct map *target_map_at(const struct target *t, uint64_t addr);

/* A path under which this process can open the file of @map, even a deleted one. To be freed. */
int target_open_file(struct target *t, const struct map *map, char **ret_path);

/*
 * Open a file to read, or -errno: -EINVAL for what is no regular file. A core names files that it
 * was not made with as well: opening a FIFO would wait for ever, and opening a device may do
 * something.
 */
int target_open_regular(const char *path);

/*
 * For the kinds of target. A thread's poll() that a stop interrupted goes on as restart_syscall();
 * target_restarted_call() tells which call it was, from the instruction before the thread's pc.
 */
long target_restarted_call(struct target *t, long nr, uint64_t pc);
struct target *target_new(const struct target_ops *ops, bool live);
void target_add_map(struct target *t, const struct map *map);
void target_clear(struct target *t);

#endif
