/* SPDX-License-Identifier: MIT */
/*
 * The big QEMU lock.  QEMU: system/cpus.c; the mutex was called qemu_global_mutex before 9.0.
 */
#include "osdep.h"
#include "loop-trace.h"
#include "main-loop.h"

static QemuMutex bql = { .lock = PTHREAD_MUTEX_INITIALIZER, .initialized = true };
static __thread bool co_tls_bql_locked;

/* Here the initializer above is enough; QEMU's programs call it before the first bql_lock(). */
void qemu_init_cpu_loop(void)
{
	assert(bql.initialized);
}

bool bql_locked(void)
{
	return co_tls_bql_locked;
}

/* @file and @line are the caller's: the lock site. */
void bql_lock_impl(const char *file, int line)
{
	assert(!bql_locked());
	probe_bql_wait(&bql, loop_caller(), file, line);
	qemu_mutex_lock_impl(&bql, file, line);
	probe_bql_acquired(&bql, loop_caller(), file, line);
	co_tls_bql_locked = true;
}

void bql_unlock(void)
{
	assert(bql_locked());
	co_tls_bql_locked = false;
	/* Before it is, or the next holder's event might come first. */
	probe_bql_released(&bql, loop_caller());
	qemu_mutex_unlock(&bql);
}

/* co_tls_bql_locked stays up: the thread runs nothing in between. */
void qemu_cond_wait_bql(QemuCond *cond)
{
	assert(bql_locked());
	probe_bql_released(&bql, loop_caller());
	qemu_cond_wait(cond, &bql);
	probe_bql_acquired(&bql, loop_caller(), __FILE__, __LINE__);
}

void qemu_cond_timedwait_bql(QemuCond *cond, int ms)
{
	assert(bql_locked());
	probe_bql_released(&bql, loop_caller());
	qemu_cond_timedwait(cond, &bql, ms);
	probe_bql_acquired(&bql, loop_caller(), __FILE__, __LINE__);
}

/* The pointer says only whether there is something to unlock. */
BQLLockAuto *bql_auto_lock(const char *file, int line)
{
	if (bql_locked())
		return NULL;
	bql_lock_impl(file, line);
	return (BQLLockAuto *)&bql;
}

void bql_auto_unlock(BQLLockAuto *l G_GNUC_UNUSED)
{
	bql_unlock();
}
