/* SPDX-License-Identifier: MIT */
/*
 * What every file of the loop takes for granted: the C library, GLib, and a handful of macros.
 * QEMU has it as qemu/osdep.h and asks each .c file to include it first; so do we.
 */
#ifndef DEMO_OSDEP_H
#define DEMO_OSDEP_H

#include <assert.h>
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
#include <time.h>
#include <unistd.h>
#include <glib.h>

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#define DIV_ROUND_UP(n, d)   ((n) / (d) + ((n) % (d) != 0))
#define ARRAY_SIZE(x)	     G_N_ELEMENTS(x)
#define BIT(nr)		     (1UL << (nr))
#define stringify(s)	     stringify_literal(s)
#define stringify_literal(s) #s

/* The signal that QEMU keeps for kicking a vCPU out of the guest; blocked in every other thread. */
#define SIG_IPI SIGUSR1

#endif
