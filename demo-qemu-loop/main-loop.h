/* SPDX-License-Identifier: MIT */
/*
 * The main loop (QEMU: qemu/main-loop.h).  A program calls
 *
 *   bql_lock();                        as a system emulator does; optional, as for QEMU's tools
 *   qemu_init_main_loop(&error_fatal);
 *   while (...)
 *           main_loop_wait(false);     one iteration; false: it may sleep
 *
 * Two contexts live in it.  qemu_get_aio_context() is for what others may have to wait for in a
 * nested aio_poll(), block I/O above all.  iohandler_get_aio_context() is for the rest: what is
 * registered there (by qemu_set_fd_handler()) runs from the top of the loop only.
 */
#ifndef DEMO_MAIN_LOOP_H
#define DEMO_MAIN_LOOP_H

#include "aio.h"

int qemu_init_main_loop(Error **errp); /* 0 or -errno */
void main_loop_wait(int nonblocking);

/* Ends the sleep of the loop.  Any thread, and signal handlers too. */
void qemu_notify_event(void);

AioContext *qemu_get_aio_context(void);
AioContext *iohandler_get_aio_context(void);
GSource *iohandler_get_g_source(void);

/* How many bytes the reader would take: a chardev's frontend says so before it is read from. */
typedef int IOCanReadHandler(void *opaque);

/* Both in iohandler_ctx; NULL removes. */
void qemu_set_fd_handler(int fd, IOHandler *fd_read, IOHandler *fd_write, void *opaque);
void event_notifier_set_handler(EventNotifier *e, EventNotifierHandler *handler);

QEMUBH *qemu_bh_new_full(QEMUBHFunc *cb, void *opaque, const char *name,
			 MemReentrancyGuard *reentrancy_guard);
#define qemu_bh_new(cb, opaque) qemu_bh_new_full((cb), (opaque), (stringify(cb)), NULL)
#define qemu_bh_new_guarded(cb, opaque, guard)                                                     \
	qemu_bh_new_full((cb), (opaque), (stringify(cb)), guard)

/*
 * Poll notifiers: for code that has a poll set of its own (QEMU: slirp).  Each is called twice an
 * iteration: with FILL, when it may append to pollfds and lower the timeout (ms, UINT32_MAX is
 * never), and with OK or ERR after the poll.
 */
enum {
	MAIN_LOOP_POLL_FILL,
	MAIN_LOOP_POLL_ERR,
	MAIN_LOOP_POLL_OK,
};

typedef struct MainLoopPoll {
	int state;
	uint32_t timeout;
	GArray *pollfds; /* of GPollFD */
} MainLoopPoll;

void main_loop_poll_add_notifier(Notifier *notify);
void main_loop_poll_remove_notifier(Notifier *notify);

/*
 * The big QEMU lock (cpus.c).  Its holder may touch everything that belongs to the main loop; the
 * loop holds it except while it sleeps in the poll.  Not recursive.
 */
void qemu_init_cpu_loop(void);
bool bql_locked(void);
void bql_lock_impl(const char *file, int line);
void bql_unlock(void);
#define bql_lock() bql_lock_impl(__FILE__, __LINE__)

/* Without the lock while they wait, as qemu_cond_wait(). */
void qemu_cond_wait_bql(QemuCond *cond);
void qemu_cond_timedwait_bql(QemuCond *cond, int ms);

/* Locks unless the thread has it, until the end of the scope. */
typedef struct BQLLockAuto BQLLockAuto;
BQLLockAuto *bql_auto_lock(const char *file, int line);
void bql_auto_unlock(BQLLockAuto *l);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BQLLockAuto, bql_auto_unlock)
#define BQL_LOCK_GUARD()                                                                           \
	g_autoptr(BQLLockAuto) bql_guard_ G_GNUC_UNUSED = bql_auto_lock(__FILE__, __LINE__)

/* Their names before 9.0. */
#define qemu_mutex_lock_iothread()	    bql_lock()
#define qemu_mutex_unlock_iothread()	    bql_unlock()
#define qemu_mutex_iothread_locked()	    bql_locked()
#define qemu_mutex_lock_iothread_impl(f, l) bql_lock_impl(f, l)
#define qemu_cond_wait_iothread(c)	    qemu_cond_wait_bql(c)
#define qemu_cond_timedwait_iothread(c, ms) qemu_cond_timedwait_bql(c, ms)
#define QEMU_IOTHREAD_LOCK_GUARD()	    BQL_LOCK_GUARD()

/* The main thread, or one that stands in for it because it holds the BQL. */
bool qemu_in_main_thread(void);

/* What a function says of itself: run by the main thread only, or by any. */
#define GLOBAL_STATE_CODE() assert(qemu_in_main_thread())
#define IO_CODE()	    ((void)0)
#define IO_OR_GS_CODE()	    ((void)0)

#endif
