/* SPDX-License-Identifier: MIT */
/*
 * QemuLockCnt; the header says how it is used.  QEMU: util/lockcnt.c.
 *
 * The two low bits are the mutex, in the usual futex fashion: FREE, LOCKED, or CONTENDED, which is
 * locked with sleepers who expect a wake-up.  The rest counts visitors.  Every change of the word
 * is one compare-and-exchange from a value that allows it; when the lock forbids it, the caller
 * marks the word CONTENDED and sleeps until it changes.  Unlocking wakes all sleepers: the word is
 * contended for a few instructions at a time, so fairness is not worth more code.
 */
#include "osdep.h"
#include "futex.h"
#include "lockcnt.h"
#include "atomic.h"

enum {
	LOCKCNT_FREE = 0,
	LOCKCNT_LOCKED = 1,
	LOCKCNT_CONTENDED = 2,
	LOCKCNT_STATE = 3,
	LOCKCNT_STEP = 4,
};

static bool lockcnt_try(QemuLockCnt *lockcnt, unsigned from, unsigned to)
{
	return qatomic_cmpxchg(&lockcnt->count, from, to) == from;
}

/* Sleeps because of the lock seen in @val; returns when the word may have changed. */
static void lockcnt_sleep(QemuLockCnt *lockcnt, unsigned val)
{
	unsigned contended = (val & ~LOCKCNT_STATE) | LOCKCNT_CONTENDED;

	if (val == contended || lockcnt_try(lockcnt, val, contended))
		qemu_futex_wait(&lockcnt->count, contended);
}

static void lockcnt_wake(QemuLockCnt *lockcnt, unsigned old)
{
	assert((old & LOCKCNT_STATE) != LOCKCNT_FREE);
	if ((old & LOCKCNT_STATE) == LOCKCNT_CONTENDED)
		qemu_futex_wake(&lockcnt->count, INT_MAX);
}

void qemu_lockcnt_init(QemuLockCnt *lockcnt)
{
	lockcnt->count = 0;
}

void qemu_lockcnt_destroy(QemuLockCnt *lockcnt)
{
	assert(qatomic_read(&lockcnt->count) == 0);
}

void qemu_lockcnt_inc(QemuLockCnt *lockcnt)
{
	for (;;) {
		unsigned val = qatomic_read(&lockcnt->count);

		if (val < LOCKCNT_STEP && val != LOCKCNT_FREE)
			lockcnt_sleep(lockcnt, val);
		else if (lockcnt_try(lockcnt, val, val + LOCKCNT_STEP))
			return;
	}
}

void qemu_lockcnt_dec(QemuLockCnt *lockcnt)
{
	qatomic_fetch_sub(&lockcnt->count, LOCKCNT_STEP);
}

bool qemu_lockcnt_dec_and_lock(QemuLockCnt *lockcnt)
{
	for (;;) {
		unsigned val = qatomic_read(&lockcnt->count);

		if (val >= 2 * LOCKCNT_STEP) {
			if (lockcnt_try(lockcnt, val, val - LOCKCNT_STEP))
				return false;
		} else if ((val & LOCKCNT_STATE) != LOCKCNT_FREE) {
			lockcnt_sleep(lockcnt, val);
		} else if (lockcnt_try(lockcnt, val, LOCKCNT_LOCKED)) {
			return true;
		}
	}
}

bool qemu_lockcnt_dec_if_lock(QemuLockCnt *lockcnt)
{
	for (;;) {
		unsigned val = qatomic_read(&lockcnt->count);

		if (val >= 2 * LOCKCNT_STEP)
			return false;
		if ((val & LOCKCNT_STATE) != LOCKCNT_FREE)
			lockcnt_sleep(lockcnt, val);
		else if (lockcnt_try(lockcnt, val, LOCKCNT_LOCKED))
			return true;
	}
}

void qemu_lockcnt_lock(QemuLockCnt *lockcnt)
{
	for (;;) {
		unsigned val = qatomic_read(&lockcnt->count);

		if ((val & LOCKCNT_STATE) != LOCKCNT_FREE)
			lockcnt_sleep(lockcnt, val);
		else if (lockcnt_try(lockcnt, val, val | LOCKCNT_LOCKED))
			return;
	}
}

void qemu_lockcnt_unlock(QemuLockCnt *lockcnt)
{
	lockcnt_wake(lockcnt, qatomic_fetch_and(&lockcnt->count, ~(unsigned)LOCKCNT_STATE));
}

void qemu_lockcnt_inc_and_unlock(QemuLockCnt *lockcnt)
{
	unsigned val;

	do {
		val = qatomic_read(&lockcnt->count);
	} while (!lockcnt_try(lockcnt, val, (val & ~LOCKCNT_STATE) + LOCKCNT_STEP));
	lockcnt_wake(lockcnt, val);
}

unsigned qemu_lockcnt_count(QemuLockCnt *lockcnt)
{
	return qatomic_read(&lockcnt->count) / LOCKCNT_STEP;
}
