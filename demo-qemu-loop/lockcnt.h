/* SPDX-License-Identifier: MIT */
/*
 * QemuLockCnt: a counter of visitors and a mutex in one 32-bit word.  It protects a list that is
 * walked without the lock, from callbacks too, and changed under it:
 *
 *   a walker     inc ... walk ... dec            any number at once, nested at will
 *   a changer    lock ... insert ... unlock      while others walk
 *   a remover    lock; if count == 0 free now, else put it on a list of the dead; unlock
 *   the reaper   dec_if_lock: "I am the last walker" -> free the dead, inc_and_unlock
 *
 * The rule that makes it work: the count cannot leave 0 while somebody holds the lock.
 */
#ifndef DEMO_LOCKCNT_H
#define DEMO_LOCKCNT_H

typedef struct QemuLockCnt {
	unsigned count; /* visitors << 2 | state of the lock */
} QemuLockCnt;

void qemu_lockcnt_init(QemuLockCnt *lockcnt);
void qemu_lockcnt_destroy(QemuLockCnt *lockcnt);

/* Becomes a visitor; waits only if there is none yet and somebody holds the lock. */
void qemu_lockcnt_inc(QemuLockCnt *lockcnt);
void qemu_lockcnt_dec(QemuLockCnt *lockcnt);

/* Leaves; true, with the lock held, if that made the count 0. */
bool qemu_lockcnt_dec_and_lock(QemuLockCnt *lockcnt);

/* Leaves and locks if the caller is the only visitor (true); otherwise does nothing (false). */
bool qemu_lockcnt_dec_if_lock(QemuLockCnt *lockcnt);

void qemu_lockcnt_lock(QemuLockCnt *lockcnt);
void qemu_lockcnt_unlock(QemuLockCnt *lockcnt);
void qemu_lockcnt_inc_and_unlock(QemuLockCnt *lockcnt);

/* The number of visitors; exact under the lock only as far as "is it 0". */
unsigned qemu_lockcnt_count(QemuLockCnt *lockcnt);

#endif
