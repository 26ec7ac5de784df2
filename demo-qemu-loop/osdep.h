/* SPDX-License-Identifier: MIT */
/*
 * What every file of the loop takes for granted: the C library, GLib, and a handful of macros.
 * QEMU has it as qemu/osdep.h and asks each .c file to include it first; so do we.
 */
#ifndef DEMO_OSDEP_H
#define DEMO_OSDEP_H

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>
#include <glib.h>

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#define DIV_ROUND_UP(n, d)   ((n) / (d) + ((n) % (d) != 0))
#define ROUND_UP(n, d)	     (DIV_ROUND_UP(n, d) * (d))
#define ARRAY_SIZE(x)	     G_N_ELEMENTS(x)
#define BIT(nr)		     (1UL << (nr))
#define stringify(s)	     stringify_literal(s)
#define stringify_literal(s) #s

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define QEMU_BUILD_BUG_ON(x) _Static_assert(!(x), "not expecting: " #x)

#define RETRY_ON_EINTR(expr)                                                                       \
	({                                                                                         \
		__typeof__(expr) ret_;                                                             \
		do {                                                                               \
			ret_ = (expr);                                                             \
		} while (ret_ == -1 && errno == EINTR);                                            \
		ret_;                                                                              \
	})

/* The signal that QEMU keeps for kicking a vCPU out of the guest; blocked in every other thread. */
#define SIG_IPI SIGUSR1

#endif
