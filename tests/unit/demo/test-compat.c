/* SPDX-License-Identifier: MIT */
/*
 * Source compatibility: what a program may use of QEMU's headers (8.2 to 10.2; where they differ,
 * the newest) about loops, threads, timers, notifiers and errors is here under the same name, with
 * the same type, in the same header. Most of it is the compiler's to find: that this file compiles
 * is the test.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/main-loop.h"
#include "block/aio.h"
#include "block/aio-wait.h"
#include "block/thread-pool.h"
#include "qemu/coroutine.h"
#include "qemu/error-report.h"
#include "qemu/event_notifier.h"
#include "qemu/lockable.h"
#include "qemu/notify.h"
#include "qemu/thread.h"
#include "qemu/timer.h"

/* A function of exactly that type. */
#define IS(name, type)                                                                             \
	QEMU_BUILD_BUG_ON(!__builtin_types_compatible_p(__typeof__(name), __typeof__(type)))

/* Anything else: a typedef, a structure's member. */
#define SAME(a, b) QEMU_BUILD_BUG_ON(!__builtin_types_compatible_p(__typeof__(a), __typeof__(b)))

/* --- block/aio.h -------------------------------------------------------------------------- */

SAME(QEMUBHFunc, void(void *));
SAME(AioPollFn, bool(void *));
SAME(IOHandler, void(void *));

IS(aio_context_new, AioContext *(Error **));
IS(aio_context_ref, void(AioContext *));
IS(aio_context_unref, void(AioContext *));
IS(aio_context_acquire, void(AioContext *));
IS(aio_context_release, void(AioContext *));
IS(aio_bh_schedule_oneshot_full, void(AioContext *, QEMUBHFunc *, void *, const char *));
IS(aio_bh_new_full,
   QEMUBH *(AioContext *, QEMUBHFunc *, void *, const char *, MemReentrancyGuard *));
IS(aio_notify, void(AioContext *));
IS(aio_notify_accept, void(AioContext *));
IS(aio_bh_call, void(QEMUBH *));
IS(aio_bh_poll, int(AioContext *));
IS(qemu_bh_schedule, void(QEMUBH *));
IS(qemu_bh_schedule_idle, void(QEMUBH *));
IS(qemu_bh_cancel, void(QEMUBH *));
IS(qemu_bh_delete, void(QEMUBH *));
IS(aio_prepare, bool(AioContext *));
IS(aio_pending, bool(AioContext *));
IS(aio_dispatch, void(AioContext *));
IS(aio_poll, bool(AioContext *, bool));
IS(aio_set_fd_handler,
   void(AioContext *, int, IOHandler *, IOHandler *, AioPollFn *, IOHandler *, void *));
IS(aio_set_event_notifier, void(AioContext *, EventNotifier *, EventNotifierHandler *, AioPollFn *,
				EventNotifierHandler *));
IS(aio_set_event_notifier_poll,
   void(AioContext *, EventNotifier *, EventNotifierHandler *, EventNotifierHandler *));
IS(aio_get_g_source, GSource *(AioContext *));
IS(aio_timer_new_with_attrs,
   QEMUTimer *(AioContext *, QEMUClockType, int, int, QEMUTimerCB *, void *));
IS(aio_timer_new, QEMUTimer *(AioContext *, QEMUClockType, int, QEMUTimerCB *, void *));
IS(aio_timer_init_with_attrs,
   void(AioContext *, QEMUTimer *, QEMUClockType, int, int, QEMUTimerCB *, void *));
IS(aio_timer_init, void(AioContext *, QEMUTimer *, QEMUClockType, int, QEMUTimerCB *, void *));
IS(aio_compute_timeout, int64_t(AioContext *));
IS(qemu_get_current_aio_context, AioContext *(void));
IS(qemu_set_current_aio_context, void(AioContext *));
IS(in_aio_context_home_thread, bool(AioContext *));
IS(aio_context_setup, void(AioContext *));
IS(aio_context_set_poll_params, void(AioContext *, int64_t, int64_t, int64_t, Error **));
IS(aio_context_set_aio_params, void(AioContext *, int64_t));

SAME(BlockCompletionFunc, void(void *, int));
SAME(((AIOCBInfo *)NULL)->cancel_async, void (*)(BlockAIOCB *));
SAME(((AIOCBInfo *)NULL)->aiocb_size, size_t);
SAME(((BlockAIOCB *)NULL)->cb, BlockCompletionFunc *);

IS(aio_context_destroy, void(AioContext *));
IS(aio_context_use_g_source, void(AioContext *));
IS(aio_context_set_thread_pool_params, void(AioContext *, int64_t, int64_t, Error **));
IS(aio_get_thread_pool, ThreadPoolAio *(AioContext *));
IS(aio_co_schedule, void(AioContext *, Coroutine *));
IS(aio_co_wake, void(Coroutine *));
IS(aio_co_enter, void(AioContext *, Coroutine *));
IS(aio_co_reschedule_self, void(AioContext *));
IS(aio_has_io_uring, bool(void));
IS(aio_add_sqe, void(void (*)(struct io_uring_sqe *, void *), void *, CqeHandler *));
SAME(((CqeHandler *)NULL)->cb, void (*)(CqeHandler *));
SAME(((CqeHandler *)NULL)->cqe, struct io_uring_cqe);
IS(qemu_aio_get, void *(const AIOCBInfo *, BlockDriverState *, BlockCompletionFunc *, void *));
IS(qemu_aio_ref, void(void *));
IS(qemu_aio_unref, void(void *));

IS(aio_setup_linux_aio, struct LinuxAioState *(AioContext *, Error **));
IS(aio_get_linux_aio, struct LinuxAioState *(AioContext *));

/* --- block/thread-pool.h, block/aio-wait.h, qemu/coroutine.h ------------------------------ */

SAME(ThreadPoolFunc, int(void *));
SAME(CoroutineEntry, void(void *));
SAME(global_aio_wait, AioWait);

IS(thread_pool_new_aio, ThreadPoolAio *(AioContext *));
IS(thread_pool_free_aio, void(ThreadPoolAio *));
IS(thread_pool_submit_aio, BlockAIOCB *(ThreadPoolFunc *, void *, BlockCompletionFunc *, void *));
IS(thread_pool_submit_co, int(ThreadPoolFunc *, void *));
IS(thread_pool_update_params, void(ThreadPoolAio *, AioContext *));
IS(thread_pool_new, ThreadPool *(void));
IS(thread_pool_free, void(ThreadPool *));
IS(thread_pool_submit, void(ThreadPool *, ThreadPoolFunc *, void *, GDestroyNotify));
IS(thread_pool_submit_immediate, void(ThreadPool *, ThreadPoolFunc *, void *, GDestroyNotify));
IS(thread_pool_wait, void(ThreadPool *));
IS(thread_pool_set_max_threads, bool(ThreadPool *, int));
IS(thread_pool_adjust_max_threads_to_work, bool(ThreadPool *));
IS(aio_wait_kick, void(void));
IS(aio_wait_bh_oneshot, void(AioContext *, QEMUBHFunc *, void *));
IS(qemu_coroutine_create, Coroutine *(CoroutineEntry *, void *));
IS(qemu_coroutine_enter, void(Coroutine *));
IS(qemu_coroutine_enter_if_inactive, void(Coroutine *));
IS(qemu_aio_coroutine_enter, void(AioContext *, Coroutine *));
IS(qemu_coroutine_yield, void(void));
IS(qemu_coroutine_self, Coroutine *(void));
IS(qemu_in_coroutine, bool(void));
IS(qemu_coroutine_entered, bool(Coroutine *));
IS(qemu_coroutine_get_aio_context, AioContext *(Coroutine *));

/* --- qemu/main-loop.h --------------------------------------------------------------------- */

SAME(IOCanReadHandler, int(void *));
SAME(((MainLoopPoll *)NULL)->timeout, uint32_t);
SAME(((MainLoopPoll *)NULL)->pollfds, GArray *);
SAME(((MainLoopPoll *)NULL)->state, int);

IS(qemu_init_main_loop, int(Error **));
IS(main_loop_wait, void(int));
IS(qemu_get_aio_context, AioContext *(void));
IS(qemu_notify_event, void(void));
IS(qemu_set_fd_handler, void(int, IOHandler *, IOHandler *, void *));
IS(event_notifier_set_handler, void(EventNotifier *, EventNotifierHandler *));
IS(iohandler_get_g_source, GSource *(void));
IS(iohandler_get_aio_context, AioContext *(void));
IS(qemu_bh_new_full, QEMUBH *(QEMUBHFunc *, void *, const char *, MemReentrancyGuard *));
IS(main_loop_poll_add_notifier, void(Notifier *));
IS(main_loop_poll_remove_notifier, void(Notifier *));
IS(bql_locked, bool(void));
IS(bql_lock_impl, void(const char *, int));
IS(bql_unlock, void(void));
IS(qemu_cond_wait_bql, void(QemuCond *));
IS(qemu_cond_timedwait_bql, void(QemuCond *, int));
IS(qemu_in_main_thread, bool(void));

/* --- qemu/event_notifier.h, qemu/notify.h ------------------------------------------------- */

SAME(EventNotifierHandler, void(EventNotifier *));
SAME(((Notifier *)NULL)->notify, void (*)(Notifier *, void *));

IS(event_notifier_init, int(EventNotifier *, int));
IS(event_notifier_init_fd, void(EventNotifier *, int));
IS(event_notifier_cleanup, void(EventNotifier *));
IS(event_notifier_set, int(EventNotifier *));
IS(event_notifier_test_and_clear, int(EventNotifier *));
IS(event_notifier_get_fd, int(const EventNotifier *));
IS(event_notifier_get_wfd, int(const EventNotifier *));
IS(notifier_list_init, void(NotifierList *));
IS(notifier_list_add, void(NotifierList *, Notifier *));
IS(notifier_remove, void(Notifier *));
IS(notifier_list_notify, void(NotifierList *, void *));
IS(notifier_list_empty, bool(NotifierList *));

/* --- qemu/timer.h ------------------------------------------------------------------------- */

SAME(QEMUTimerCB, void(void *));
SAME(QEMUTimerListNotifyCB, void(void *, QEMUClockType));
SAME(main_loop_tlg, QEMUTimerListGroup);

IS(init_clocks, void(QEMUTimerListNotifyCB *));
IS(qemu_clock_get_ns, int64_t(QEMUClockType));
IS(qemu_clock_get_us, int64_t(QEMUClockType));
IS(qemu_clock_get_ms, int64_t(QEMUClockType));
IS(qemu_clock_has_timers, bool(QEMUClockType));
IS(qemu_clock_expired, bool(QEMUClockType));
IS(qemu_clock_use_for_deadline, bool(QEMUClockType));
IS(qemu_clock_deadline_ns_all, int64_t(QEMUClockType, int));
IS(qemu_clock_get_main_loop_timerlist, QEMUTimerList *(QEMUClockType));
IS(qemu_clock_notify, void(QEMUClockType));
IS(qemu_clock_enable, void(QEMUClockType, bool));
IS(qemu_clock_run_timers, bool(QEMUClockType));
IS(qemu_clock_run_all_timers, bool(void));
IS(timerlist_new, QEMUTimerList *(QEMUClockType, QEMUTimerListNotifyCB *, void *));
IS(timerlist_free, void(QEMUTimerList *));
IS(timerlist_has_timers, bool(QEMUTimerList *));
IS(timerlist_expired, bool(QEMUTimerList *));
IS(timerlist_deadline_ns, int64_t(QEMUTimerList *));
IS(timerlist_get_clock, QEMUClockType(QEMUTimerList *));
IS(timerlist_run_timers, bool(QEMUTimerList *));
IS(timerlist_notify, void(QEMUTimerList *));
IS(timerlistgroup_init, void(QEMUTimerListGroup *, QEMUTimerListNotifyCB *, void *));
IS(timerlistgroup_deinit, void(QEMUTimerListGroup *));
IS(timerlistgroup_run_timers, bool(QEMUTimerListGroup *));
IS(timerlistgroup_deadline_ns, int64_t(QEMUTimerListGroup *));
IS(timer_init_full,
   void(QEMUTimer *, QEMUTimerListGroup *, QEMUClockType, int, int, QEMUTimerCB *, void *));
IS(timer_init, void(QEMUTimer *, QEMUClockType, int, QEMUTimerCB *, void *));
IS(timer_init_ns, void(QEMUTimer *, QEMUClockType, QEMUTimerCB *, void *));
IS(timer_init_us, void(QEMUTimer *, QEMUClockType, QEMUTimerCB *, void *));
IS(timer_init_ms, void(QEMUTimer *, QEMUClockType, QEMUTimerCB *, void *));
IS(timer_new_full,
   QEMUTimer *(QEMUTimerListGroup *, QEMUClockType, int, int, QEMUTimerCB *, void *));
IS(timer_new, QEMUTimer *(QEMUClockType, int, QEMUTimerCB *, void *));
IS(timer_new_ns, QEMUTimer *(QEMUClockType, QEMUTimerCB *, void *));
IS(timer_new_us, QEMUTimer *(QEMUClockType, QEMUTimerCB *, void *));
IS(timer_new_ms, QEMUTimer *(QEMUClockType, QEMUTimerCB *, void *));
IS(timer_deinit, void(QEMUTimer *));
IS(timer_del, void(QEMUTimer *));
IS(timer_free, void(QEMUTimer *));
IS(timer_mod_ns, void(QEMUTimer *, int64_t));
IS(timer_mod_anticipate_ns, void(QEMUTimer *, int64_t));
IS(timer_mod, void(QEMUTimer *, int64_t));
IS(timer_mod_anticipate, void(QEMUTimer *, int64_t));
IS(timer_pending, bool(QEMUTimer *));
IS(timer_expired, bool(QEMUTimer *, int64_t));
IS(timer_expire_time_ns, uint64_t(QEMUTimer *));
IS(qemu_timeout_ns_to_ms, int(int64_t));
IS(qemu_poll_ns, int(GPollFD *, guint, int64_t));
IS(qemu_soonest_timeout, int64_t(int64_t, int64_t));
IS(get_clock, int64_t(void));
IS(get_clock_realtime, int64_t(void));
IS(get_max_clock_jump, int64_t(void));
IS(cpu_get_host_ticks, int64_t(void));

/* --- qemu/thread.h ------------------------------------------------------------------------ */

IS(qemu_mutex_init, void(QemuMutex *));
IS(qemu_mutex_destroy, void(QemuMutex *));
IS(qemu_mutex_lock, void(QemuMutex *));
IS(qemu_mutex_trylock, int(QemuMutex *));
IS(qemu_mutex_unlock, void(QemuMutex *));
IS(qemu_mutex_lock_impl, void(QemuMutex *, const char *, const int));
IS(qemu_mutex_trylock_impl, int(QemuMutex *, const char *, const int));
IS(qemu_mutex_unlock_impl, void(QemuMutex *, const char *, const int));
IS(qemu_rec_mutex_init, void(QemuRecMutex *));
IS(qemu_rec_mutex_destroy, void(QemuRecMutex *));
IS(qemu_rec_mutex_lock, void(QemuRecMutex *));
IS(qemu_rec_mutex_trylock, int(QemuRecMutex *));
IS(qemu_rec_mutex_unlock, void(QemuRecMutex *));
IS(qemu_rec_mutex_lock_impl, void(QemuRecMutex *, const char *, int));
IS(qemu_rec_mutex_trylock_impl, int(QemuRecMutex *, const char *, int));
IS(qemu_rec_mutex_unlock_impl, void(QemuRecMutex *, const char *, int));
IS(qemu_cond_init, void(QemuCond *));
IS(qemu_cond_destroy, void(QemuCond *));
IS(qemu_cond_signal, void(QemuCond *));
IS(qemu_cond_broadcast, void(QemuCond *));
IS(qemu_cond_wait, void(QemuCond *, QemuMutex *));
IS(qemu_cond_timedwait, bool(QemuCond *, QemuMutex *, int));
IS(qemu_cond_wait_impl, void(QemuCond *, QemuMutex *, const char *, const int));
IS(qemu_cond_timedwait_impl, bool(QemuCond *, QemuMutex *, int, const char *, const int));
IS(qemu_sem_init, void(QemuSemaphore *, int));
IS(qemu_sem_post, void(QemuSemaphore *));
IS(qemu_sem_wait, void(QemuSemaphore *));
IS(qemu_sem_timedwait, int(QemuSemaphore *, int));
IS(qemu_sem_destroy, void(QemuSemaphore *));
IS(qemu_event_init, void(QemuEvent *, bool));
IS(qemu_event_set, void(QemuEvent *));
IS(qemu_event_reset, void(QemuEvent *));
IS(qemu_event_wait, void(QemuEvent *));
IS(qemu_event_destroy, void(QemuEvent *));
IS(qemu_thread_create, void(QemuThread *, const char *, void *(*)(void *), void *, int));
IS(qemu_thread_set_affinity, int(QemuThread *, unsigned long *, unsigned long));
IS(qemu_thread_get_affinity, int(QemuThread *, unsigned long **, unsigned long *));
IS(qemu_thread_join, void *(QemuThread *));
IS(qemu_thread_get_self, void(QemuThread *));
IS(qemu_thread_is_self, bool(QemuThread *));
IS(qemu_thread_exit, void(void *));
IS(qemu_thread_naming, void(bool));
IS(qemu_thread_atexit_add, void(Notifier *));
IS(qemu_thread_atexit_remove, void(Notifier *));
IS(qemu_get_thread_id, int(void));
IS(qemu_spin_init, void(QemuSpin *));
IS(qemu_spin_destroy, void(QemuSpin *));
IS(qemu_spin_lock, void(QemuSpin *));
IS(qemu_spin_trylock, bool(QemuSpin *));
IS(qemu_spin_locked, bool(QemuSpin *));
IS(qemu_spin_unlock, void(QemuSpin *));
IS(qemu_lockcnt_init, void(QemuLockCnt *));
IS(qemu_lockcnt_destroy, void(QemuLockCnt *));
IS(qemu_lockcnt_inc, void(QemuLockCnt *));
IS(qemu_lockcnt_dec, void(QemuLockCnt *));
IS(qemu_lockcnt_dec_and_lock, bool(QemuLockCnt *));
IS(qemu_lockcnt_dec_if_lock, bool(QemuLockCnt *));
IS(qemu_lockcnt_lock, void(QemuLockCnt *));
IS(qemu_lockcnt_unlock, void(QemuLockCnt *));
IS(qemu_lockcnt_inc_and_unlock, void(QemuLockCnt *));
IS(qemu_lockcnt_count, unsigned(QemuLockCnt *));
IS(qemu_lockable_lock, void(QemuLockable *));
IS(qemu_lockable_unlock, void(QemuLockable *));

/* --- qapi/error.h ------------------------------------------------------------------------- */

SAME(error_abort, Error *);
SAME(error_fatal, Error *);
SAME(error_warn, Error *);

IS(error_get_pretty, const char *(const Error *));
IS(error_get_class, ErrorClass(const Error *));
IS(error_setg_internal, void(Error **, const char *, int, const char *, const char *, ...));
IS(error_setg_errno_internal,
   void(Error **, const char *, int, const char *, int, const char *, ...));
IS(error_set_internal,
   void(Error **, const char *, int, const char *, ErrorClass, const char *, ...));
IS(error_setg_file_open_internal,
   void(Error **, const char *, int, const char *, int, const char *));
IS(error_propagate, void(Error **, Error *));
IS(error_propagate_prepend, void(Error **, Error *, const char *, ...));
IS(error_vprepend, void(Error *const *, const char *, va_list));
IS(error_prepend, void(Error *const *, const char *, ...));
IS(error_append_hint, void(Error *const *, const char *, ...));
IS(error_copy, Error *(const Error *));
IS(error_free, void(Error *));
IS(error_free_or_abort, void(Error **));
IS(error_report_err, void(Error *));
IS(warn_report_err, void(Error *));
IS(error_reportf_err, void(Error *, const char *, ...));
IS(warn_reportf_err, void(Error *, const char *, ...));
IS(warn_report_err_once_cond, bool(bool *, Error *));

/* --- qemu/error-report.h ------------------------------------------------------------------ */

IS(error_vreport, void(const char *, va_list));
IS(warn_vreport, void(const char *, va_list));
IS(info_vreport, void(const char *, va_list));
IS(error_report, void(const char *, ...));
IS(warn_report, void(const char *, ...));
IS(info_report, void(const char *, ...));
IS(error_report_once_cond, bool(bool *, const char *, ...));
IS(warn_report_once_cond, bool(bool *, const char *, ...));
IS(error_vprintf, int(const char *, va_list));
IS(error_printf, int(const char *, ...));

/* --- a program that uses it as QEMU's code does ------------------------------------------- */

typedef struct Device {
	QEMUTimer *timer;
	QEMUBH *bh;
	MemReentrancyGuard mem_reentrancy_guard;
	EventNotifier kick;
	QemuMutex lock;
	QemuCond idle;
	unsigned ticks, bhs, kicks; /* under lock */
} Device;

static void device_tick(void *opaque)
{
	Device *d = opaque;

	QEMU_LOCK_GUARD(&d->lock);
	if (++d->ticks < 3)
		timer_mod(d->timer, qemu_clock_get_ms(QEMU_CLOCK_REALTIME));
	qemu_bh_schedule(d->bh);
}

static void device_bh(void *opaque)
{
	Device *d = opaque;

	GLOBAL_STATE_CODE();
	g_assert_true(d->mem_reentrancy_guard.engaged_in_io);
	WITH_QEMU_LOCK_GUARD (&d->lock) {
		d->bhs++;
		qemu_cond_broadcast(&d->idle);
	}
}

static void device_kicked(EventNotifier *e)
{
	Device *d = container_of(e, Device, kick);

	if (event_notifier_test_and_clear(e)) {
		QEMU_LOCK_GUARD(&d->lock);
		d->kicks++;
	}
}

static bool device_realize(Device *d, int fd, Error **errp)
{
	ERRP_GUARD();
	int ret;

	qemu_mutex_init(&d->lock);
	qemu_cond_init(&d->idle);
	ret = event_notifier_init(&d->kick, false);
	if (ret < 0) {
		error_setg_errno(errp, -ret, "no notifier");
		return false;
	}
	if (fd < 0) {
		error_setg(errp, "fd %d is no fd", fd);
		error_prepend(errp, "device: ");
		error_append_hint(errp, "Use one that is open.\n");
		return false;
	}
	event_notifier_set_handler(&d->kick, device_kicked);
	d->bh = qemu_bh_new_guarded(device_bh, d, &d->mem_reentrancy_guard);
	d->timer = timer_new_ms(QEMU_CLOCK_REALTIME, device_tick, d);
	return true;
}

static void device_unrealize(Device *d)
{
	event_notifier_set_handler(&d->kick, NULL);
	event_notifier_cleanup(&d->kick);
	timer_free(d->timer);
	qemu_bh_delete(d->bh);
	main_loop_wait(true);
	qemu_cond_destroy(&d->idle);
	qemu_mutex_destroy(&d->lock);
}

static void poll_fill(Notifier *notifier G_GNUC_UNUSED, void *data)
{
	MainLoopPoll *mlpoll = data;

	if (mlpoll->state == MAIN_LOOP_POLL_FILL)
		mlpoll->timeout = MIN(mlpoll->timeout, 1);
}

static void *vcpu_thread(void *opaque)
{
	Device *d = opaque;

	{
		BQL_LOCK_GUARD();
		{
			BQL_LOCK_GUARD(); /* locked already: left as it is */
		}
		g_assert_true(qemu_in_main_thread());
		timer_mod(d->timer, 0);
	}
	g_assert_false(bql_locked());
	event_notifier_set(&d->kick);

	qemu_mutex_lock(&d->lock);
	while (d->bhs < 1)
		qemu_cond_wait(&d->idle, &d->lock);
	qemu_mutex_unlock(&d->lock);
	return NULL;
}

static void test_device(void)
{
	Notifier notifier = { .notify = poll_fill };
	Device device = { .ticks = 0 };
	Error *local_err = NULL;
	QemuThread thread;

	g_assert_false(device_realize(&device, -1, &local_err));
	g_assert_cmpstr(error_get_pretty(local_err), ==, "device: fd -1 is no fd");
	error_free_or_abort(&local_err);
	event_notifier_cleanup(&device.kick);
	qemu_cond_destroy(&device.idle);
	qemu_mutex_destroy(&device.lock);

	g_assert_true(device_realize(&device, 0, &error_abort));
	main_loop_poll_add_notifier(&notifier);
	qemu_thread_create(&thread, "CPU 0/TCG", vcpu_thread, &device, QEMU_THREAD_JOINABLE);
	for (;;) {
		qemu_mutex_lock(&device.lock);
		bool done = device.ticks == 3 && device.bhs >= 1 && device.kicks == 1;
		qemu_mutex_unlock(&device.lock);
		if (done)
			break;
		main_loop_wait(false);
	}
	bql_unlock();
	qemu_thread_join(&thread);
	bql_lock();
	main_loop_poll_remove_notifier(&notifier);
	device_unrealize(&device);
}

static int work(void *opaque)
{
	*(int *)opaque = 23;
	return 42;
}

static void work_done(void *opaque, int ret)
{
	*(int *)opaque = ret;
}

static void coroutine_fn work_co_entry(void *opaque)
{
	int x = 0;

	*(int *)opaque = thread_pool_submit_co(work, &x) + x;
}

static void test_pool(void)
{
	int x = 0, ret = 0, co_ret = 0;

	thread_pool_submit_aio(work, &x, work_done, &ret);
	qemu_coroutine_enter(qemu_coroutine_create(work_co_entry, &co_ret));
	AIO_WAIT_WHILE(NULL, ret == 0 || co_ret == 0);
	g_assert_cmpint(x, ==, 23);
	g_assert_cmpint(ret, ==, 42);
	g_assert_cmpint(co_ret, ==, 65);
}

static int add_one(void *opaque)
{
	qatomic_inc((int *)opaque);
	return 0;
}

static void add_hundred(void *opaque)
{
	qatomic_add((int *)opaque, 100);
}

static void test_generic_pool(void)
{
	ThreadPool *pool = thread_pool_new();
	int sum = 0;

	/* Nobody is there to do it. */
	for (int i = 0; i < 10; i++)
		thread_pool_submit(pool, add_one, &sum, add_hundred);
	g_assert_cmpint(qatomic_read(&sum), ==, 0);
	g_assert_true(thread_pool_set_max_threads(pool, 2));
	thread_pool_wait(pool);
	g_assert_cmpint(qatomic_read(&sum), ==, 1010);

	thread_pool_submit_immediate(pool, add_one, &sum, NULL);
	thread_pool_wait(pool);
	g_assert_cmpint(qatomic_read(&sum), ==, 1011);
	thread_pool_free(pool);

	/* What is left is done first. */
	pool = thread_pool_new();
	thread_pool_submit(pool, add_one, &sum, NULL);
	thread_pool_free(pool);
	g_assert_cmpint(qatomic_read(&sum), ==, 1012);
	thread_pool_free(NULL);
}

/* Of a condition variable and of the loop: woken by the other. */
static QemuCond bql_cond;
static bool bql_flag;

static void *bql_waiter(void *opaque G_GNUC_UNUSED)
{
	qemu_mutex_lock_iothread();
	qemu_cond_timedwait_bql(&bql_cond, 0);
	while (!bql_flag)
		qemu_cond_wait_bql(&bql_cond);
	g_assert_true(qemu_mutex_iothread_locked());
	qemu_mutex_unlock_iothread();
	return NULL;
}

static void test_bql_cond(void)
{
	QemuThread thread;

	qemu_cond_init(&bql_cond);
	qemu_thread_create(&thread, "waiter", bql_waiter, NULL, QEMU_THREAD_JOINABLE);
	bql_flag = true;
	qemu_cond_signal(&bql_cond);
	bql_unlock();
	qemu_thread_join(&thread);
	bql_lock();
	qemu_cond_destroy(&bql_cond);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	qemu_init_cpu_loop();
	bql_lock();
	qemu_init_main_loop(&error_fatal);
	g_test_add_func("/compat/a-device-with-all-that-belongs-to-it", test_device);
	g_test_add_func("/compat/a-request-to-the-thread-pool-and-a-coroutine", test_pool);
	g_test_add_func("/compat/the-pool-without-a-context", test_generic_pool);
	g_test_add_func("/compat/bql-is-free-while-waiting-for-a-condition", test_bql_cond);
	return g_test_run();
}
