/* SPDX-License-Identifier: MIT */
/*
 * The kernel's wait-on-a-word, private to the process (QEMU: qemu/futex.h).  The word is 32 bits
 * wide and is only ever changed through atomic.h.
 */
#ifndef DEMO_FUTEX_H
#define DEMO_FUTEX_H

#include <sys/syscall.h>
#include <linux/futex.h>

/* Returns at once unless *@f is @val; may return early: the caller looks again. */
static inline void qemu_futex_wait(void *f, unsigned val)
{
	syscall(SYS_futex, f, FUTEX_WAIT_PRIVATE, val, NULL, NULL, 0);
}

static inline void qemu_futex_wake(void *f, int n)
{
	syscall(SYS_futex, f, FUTEX_WAKE_PRIVATE, n, NULL, NULL, 0);
}

#endif
