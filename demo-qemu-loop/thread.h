/* SPDX-License-Identifier: MIT */
/*
 * Threads, mutexes, condition variables, semaphores, events and spin locks (QEMU: qemu/thread.h).
 * A failing primitive is a bug of the program, so these functions abort instead of returning an
 * error.  lockable.h has guards that unlock at the end of a scope.
 *
 * The lock macros pass their own file and line on, so that whoever observes a lock can say who
 * took it.  Where a function is wanted, as a pointer say, there is one of the same name.
 */
#ifndef DEMO_THREAD_H
#define DEMO_THREAD_H

#include <pthread.h>
#include "atomic.h"
#include "lockcnt.h"
#include "notify.h"

typedef struct QemuMutex {
	pthread_mutex_t lock;
	bool initialized;
} QemuMutex;

typedef struct QemuRecMutex {
	QemuMutex m;
} QemuRecMutex;

typedef struct QemuCond {
	pthread_cond_t cond;
	bool initialized;
} QemuCond;

typedef struct QemuSemaphore {
	QemuMutex mutex;
	QemuCond cond;
	unsigned int count;
} QemuSemaphore;

/* A flag one can sleep on.  Setting it enters the kernel only if somebody sleeps. */
typedef struct QemuEvent {
	unsigned value;
	bool initialized;
} QemuEvent;

typedef struct QemuThread {
	pthread_t thread;
} QemuThread;

/* For a few instructions at a time, never around a call that may sleep. */
typedef struct QemuSpin {
	int value;
} QemuSpin;

#define QEMU_THREAD_JOINABLE 0
#define QEMU_THREAD_DETACHED 1

void qemu_mutex_init(QemuMutex *mutex);
void qemu_mutex_destroy(QemuMutex *mutex);
void qemu_mutex_lock_impl(QemuMutex *mutex, const char *file, const int line);
int qemu_mutex_trylock_impl(QemuMutex *mutex, const char *file, const int line);
void qemu_mutex_unlock_impl(QemuMutex *mutex, const char *file, const int line);
#define qemu_mutex_lock(mutex)	  qemu_mutex_lock_impl(mutex, __FILE__, __LINE__)
#define qemu_mutex_trylock(mutex) qemu_mutex_trylock_impl(mutex, __FILE__, __LINE__)
#define qemu_mutex_unlock(mutex)  qemu_mutex_unlock_impl(mutex, __FILE__, __LINE__)

/* QEMU's other forms are seen by its profiler of locks, which is not here. */
#define qemu_mutex_lock__raw(mutex)    qemu_mutex_lock(mutex)
#define qemu_mutex_trylock__raw(mutex) qemu_mutex_trylock(mutex)

void qemu_rec_mutex_init(QemuRecMutex *mutex);
void qemu_rec_mutex_destroy(QemuRecMutex *mutex);
void qemu_rec_mutex_lock_impl(QemuRecMutex *mutex, const char *file, int line);
int qemu_rec_mutex_trylock_impl(QemuRecMutex *mutex, const char *file, int line);
void qemu_rec_mutex_unlock_impl(QemuRecMutex *mutex, const char *file, int line);
#define qemu_rec_mutex_lock(mutex)    qemu_rec_mutex_lock_impl(mutex, __FILE__, __LINE__)
#define qemu_rec_mutex_trylock(mutex) qemu_rec_mutex_trylock_impl(mutex, __FILE__, __LINE__)
#define qemu_rec_mutex_unlock(mutex)  qemu_rec_mutex_unlock_impl(mutex, __FILE__, __LINE__)

void qemu_cond_init(QemuCond *cond);
void qemu_cond_destroy(QemuCond *cond);
void qemu_cond_signal(QemuCond *cond);
void qemu_cond_broadcast(QemuCond *cond);
void qemu_cond_wait_impl(QemuCond *cond, QemuMutex *mutex, const char *file, const int line);
bool qemu_cond_timedwait_impl(QemuCond *cond, QemuMutex *mutex, int ms, const char *file,
			      const int line);
#define qemu_cond_wait(cond, mutex) qemu_cond_wait_impl(cond, mutex, __FILE__, __LINE__)
/* False if @ms milliseconds went by first. */
#define qemu_cond_timedwait(cond, mutex, ms)                                                       \
	qemu_cond_timedwait_impl(cond, mutex, ms, __FILE__, __LINE__)

static inline void(qemu_mutex_lock)(QemuMutex *mutex)
{
	qemu_mutex_lock(mutex);
}

static inline int(qemu_mutex_trylock)(QemuMutex *mutex)
{
	return qemu_mutex_trylock(mutex);
}

static inline void(qemu_mutex_unlock)(QemuMutex *mutex)
{
	qemu_mutex_unlock(mutex);
}

static inline void(qemu_rec_mutex_lock)(QemuRecMutex *mutex)
{
	qemu_rec_mutex_lock(mutex);
}

static inline int(qemu_rec_mutex_trylock)(QemuRecMutex *mutex)
{
	return qemu_rec_mutex_trylock(mutex);
}

static inline void(qemu_rec_mutex_unlock)(QemuRecMutex *mutex)
{
	qemu_rec_mutex_unlock(mutex);
}

static inline void(qemu_cond_wait)(QemuCond *cond, QemuMutex *mutex)
{
	qemu_cond_wait(cond, mutex);
}

static inline bool(qemu_cond_timedwait)(QemuCond *cond, QemuMutex *mutex, int ms)
{
	return qemu_cond_timedwait(cond, mutex, ms);
}

void qemu_sem_init(QemuSemaphore *sem, int init);
void qemu_sem_destroy(QemuSemaphore *sem);
void qemu_sem_post(QemuSemaphore *sem);
void qemu_sem_wait(QemuSemaphore *sem);
/* 0, or -1 if @ms milliseconds went by first. */
int qemu_sem_timedwait(QemuSemaphore *sem, int ms);

void qemu_event_init(QemuEvent *ev, bool init);
void qemu_event_destroy(QemuEvent *ev);
void qemu_event_set(QemuEvent *ev);
void qemu_event_reset(QemuEvent *ev);
void qemu_event_wait(QemuEvent *ev);

static inline void qemu_spin_init(QemuSpin *spin)
{
	qatomic_set(&spin->value, 0);
}

static inline void qemu_spin_destroy(QemuSpin *spin G_GNUC_UNUSED)
{
}

/* True if somebody else has it. */
static inline bool qemu_spin_trylock(QemuSpin *spin)
{
	return qatomic_xchg(&spin->value, 1) != 0;
}

static inline bool qemu_spin_locked(QemuSpin *spin)
{
	return qatomic_read(&spin->value) != 0;
}

static inline void qemu_spin_lock(QemuSpin *spin)
{
	while (qemu_spin_trylock(spin)) {
		while (qemu_spin_locked(spin))
			cpu_relax();
	}
}

static inline void qemu_spin_unlock(QemuSpin *spin)
{
	qatomic_store_release(&spin->value, 0);
}

/*
 * All signals are blocked in the new thread: they belong to the main loop's signalfd, or to the
 * main thread.  @name is what ps and perf show, cut to 15 bytes.
 */
void qemu_thread_create(QemuThread *thread, const char *name, void *(*start_routine)(void *),
			void *arg, int mode);
void *qemu_thread_join(QemuThread *thread);
void qemu_thread_get_self(QemuThread *thread);
bool qemu_thread_is_self(QemuThread *thread);
void qemu_thread_exit(void *retval) __attribute__((noreturn));
void qemu_thread_naming(bool enable);
int qemu_get_thread_id(void);

/* On which host CPUs it may run, a bit each.  0 or -errno; g_free() what get returns. */
int qemu_thread_set_affinity(QemuThread *thread, unsigned long *host_cpus, unsigned long nbits);
int qemu_thread_get_affinity(QemuThread *thread, unsigned long **host_cpus, unsigned long *nbits);

/* Called in the thread when it ends.  Not for the main thread, whose end is the process's. */
void qemu_thread_atexit_add(Notifier *notifier);
void qemu_thread_atexit_remove(Notifier *notifier);

#endif
