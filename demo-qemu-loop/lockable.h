/* SPDX-License-Identifier: MIT */
/*
 * Locks that unlock themselves (QEMU: qemu/lockable.h), of any type:
 *
 *   QEMU_LOCK_GUARD(&mutex);                     until the end of the scope
 *   WITH_QEMU_LOCK_GUARD(&mutex) { ... }         until the end of the block, also by break or
 * return
 *
 * A NULL is no lock and is not locked.
 */
#ifndef DEMO_LOCKABLE_H
#define DEMO_LOCKABLE_H

#include "thread.h"

typedef void QemuLockUnlockFunc(void *);

/* Any lock, as an object. */
typedef struct QemuLockable {
	void *object;
	QemuLockUnlockFunc *lock;
	QemuLockUnlockFunc *unlock;
} QemuLockable;

/* One pair of functions a type: a call through another type of function is undefined. */
#define QEMU_LOCKABLE_TYPE(type, prefix)                                                           \
	static inline void prefix##_lock_any(void *x)                                              \
	{                                                                                          \
		prefix##_lock((type *)x);                                                          \
	}                                                                                          \
	static inline void prefix##_unlock_any(void *x)                                            \
	{                                                                                          \
		prefix##_unlock((type *)x);                                                        \
	}

QEMU_LOCKABLE_TYPE(QemuMutex, qemu_mutex)
QEMU_LOCKABLE_TYPE(QemuRecMutex, qemu_rec_mutex)
QEMU_LOCKABLE_TYPE(QemuSpin, qemu_spin)

static inline QemuLockable *qemu_lockable_unless_null(const void *x, QemuLockable *lockable)
{
	return x ? lockable : NULL;
}

#define QEMU_LOCKABLE_OF(x, prefix)                                                                \
	qemu_lockable_unless_null(                                                                 \
		(x), &(QemuLockable){ (void *)(x), prefix##_lock_any, prefix##_unlock_any })

/* Lives as long as the scope it is written in. */
#define QEMU_MAKE_LOCKABLE(x)                                                                      \
	_Generic((x),                                                                              \
		void *: NULL,                                                                      \
		QemuLockable *: (x),                                                               \
		QemuMutex *: QEMU_LOCKABLE_OF(x, qemu_mutex),                                      \
		QemuRecMutex *: QEMU_LOCKABLE_OF(x, qemu_rec_mutex),                               \
		QemuSpin *: QEMU_LOCKABLE_OF(x, qemu_spin))
#define QEMU_MAKE_LOCKABLE_NONNULL(x) QEMU_MAKE_LOCKABLE(x)

static inline void qemu_lockable_lock(QemuLockable *x)
{
	x->lock(x->object);
}

static inline void qemu_lockable_unlock(QemuLockable *x)
{
	x->unlock(x->object);
}

static inline QemuLockable *qemu_lockable_auto_lock(QemuLockable *x)
{
	if (x)
		qemu_lockable_lock(x);
	return x;
}

static inline void qemu_lockable_auto_unlock(QemuLockable *x)
{
	if (x)
		qemu_lockable_unlock(x);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(QemuLockable, qemu_lockable_auto_unlock)

#define QEMU_LOCK_GUARD(x)                                                                         \
	g_autoptr(QemuLockable) G_PASTE(lock_guard_, __COUNTER__) G_GNUC_UNUSED =                  \
		qemu_lockable_auto_lock(QEMU_MAKE_LOCKABLE(x))

#define WITH_QEMU_LOCK_GUARD(x)                                                                    \
	for (g_autoptr(QemuLockable) guarded_ = qemu_lockable_auto_lock(QEMU_MAKE_LOCKABLE(x));    \
	     guarded_; qemu_lockable_auto_unlock(guarded_), guarded_ = NULL)

#endif
