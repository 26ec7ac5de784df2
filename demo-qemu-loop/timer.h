/* SPDX-License-Identifier: MIT */
/*
 * Clocks and timers (QEMU: qemu/timer.h).
 *
 * A QEMUTimer belongs to one QEMUTimerList.  A list belongs to one clock and to one loop, which it
 * notifies when its first deadline changes.  A QEMUTimerListGroup is a loop's four lists, one per
 * clock: main_loop_tlg for device timers, AioContext.tlg for each context.
 *
 *   clock      REALTIME     VIRTUAL      HOST         VIRTUAL_RT
 *   main loop  tl[0]        tl[1]        tl[2]        tl[3]        main_loop_tlg
 *   a context  tl[0]        tl[1]        tl[2]        tl[3]        ctx->tlg
 *
 * Times are nanoseconds on the timer's clock unless a name says otherwise; a timer's scale
 * translates its own unit.  -1 as a timeout or deadline is "never".
 */
#ifndef DEMO_TIMER_H
#define DEMO_TIMER_H

#include "thread.h"

#define NANOSECONDS_PER_SECOND 1000000000LL
#define SCALE_MS	       1000000
#define SCALE_US	       1000
#define SCALE_NS	       1

/*
 * REALTIME    host time since boot; what the loop itself sleeps by
 * VIRTUAL     the guest's time: runs only while the VM runs
 * HOST        wall-clock time; may jump
 * VIRTUAL_RT  as VIRTUAL; differs only in icount mode, which is not here
 */
typedef enum {
	QEMU_CLOCK_REALTIME = 0,
	QEMU_CLOCK_VIRTUAL = 1,
	QEMU_CLOCK_HOST = 2,
	QEMU_CLOCK_VIRTUAL_RT = 3,
	QEMU_CLOCK_MAX
} QEMUClockType;

/* The timer is no part of the guest, so record/replay leaves it alone. */
#define QEMU_TIMER_ATTR_EXTERNAL ((int)BIT(0))
#define QEMU_TIMER_ATTR_ALL	 0xffffffff

typedef struct QEMUTimer QEMUTimer;
typedef struct QEMUTimerList QEMUTimerList;
typedef struct QEMUTimerListGroup QEMUTimerListGroup;

typedef void QEMUTimerCB(void *opaque);
typedef void QEMUTimerListNotifyCB(void *opaque, QEMUClockType type);

struct QEMUTimer {
	int64_t expire_time; /* ns; -1: not armed */
	QEMUTimerList *timer_list;
	QEMUTimerCB *cb;
	void *opaque;
	QEMUTimer *next; /* by expire_time, equal ones in the order they were armed */
	int attributes;
	int scale;
};

struct QEMUTimerListGroup {
	QEMUTimerList *tl[QEMU_CLOCK_MAX];
};

extern QEMUTimerListGroup main_loop_tlg;

/* --- clocks ------------------------------------------------------------------------------- */

/* Makes the clocks and main_loop_tlg, whose lists call @notify_cb.  Once per process. */
void init_clocks(QEMUTimerListNotifyCB *notify_cb);

int64_t qemu_clock_get_ns(QEMUClockType type);

static inline int64_t qemu_clock_get_us(QEMUClockType type)
{
	return qemu_clock_get_ns(type) / SCALE_US;
}

static inline int64_t qemu_clock_get_ms(QEMUClockType type)
{
	return qemu_clock_get_ns(type) / SCALE_MS;
}

/* Disabling returns after the callbacks now running on that clock: never do it from one. */
void qemu_clock_enable(QEMUClockType type, bool enabled);

/* These look at main_loop_tlg's list of the clock ... */
bool qemu_clock_has_timers(QEMUClockType type);
bool qemu_clock_expired(QEMUClockType type);
bool qemu_clock_run_timers(QEMUClockType type);
bool qemu_clock_run_all_timers(void);
bool qemu_clock_use_for_deadline(QEMUClockType type);
QEMUTimerList *qemu_clock_get_main_loop_timerlist(QEMUClockType type);
/* ... and these at every list of the clock. */
int64_t qemu_clock_deadline_ns_all(QEMUClockType type, int attr_mask);
void qemu_clock_notify(QEMUClockType type);

/* --- lists and groups --------------------------------------------------------------------- */

/* Calls @visit for each armed timer, the first one first, under the list's lock. */
void timerlist_visit(QEMUTimerList *timer_list, void (*visit)(const QEMUTimer *ts, void *opaque),
		     void *opaque);

QEMUTimerList *timerlist_new(QEMUClockType type, QEMUTimerListNotifyCB *cb, void *opaque);
void timerlist_free(QEMUTimerList *timer_list);
QEMUClockType timerlist_get_clock(QEMUTimerList *timer_list);
bool timerlist_has_timers(QEMUTimerList *timer_list);
bool timerlist_expired(QEMUTimerList *timer_list);
int64_t timerlist_deadline_ns(QEMUTimerList *timer_list);
bool timerlist_run_timers(QEMUTimerList *timer_list);
void timerlist_notify(QEMUTimerList *timer_list);

void timerlistgroup_init(QEMUTimerListGroup *tlg, QEMUTimerListNotifyCB *cb, void *opaque);
void timerlistgroup_deinit(QEMUTimerListGroup *tlg);
bool timerlistgroup_run_timers(QEMUTimerListGroup *tlg);
int64_t timerlistgroup_deadline_ns(QEMUTimerListGroup *tlg);

/* For a probe: whose deadline that is (loop-trace.h). */
struct LoopChoice;
void timerlistgroup_choice(QEMUTimerListGroup *tlg, struct LoopChoice *choice);

/* --- timers ------------------------------------------------------------------------------- */

/* @timer_list_group NULL is main_loop_tlg. */
void timer_init_full(QEMUTimer *ts, QEMUTimerListGroup *timer_list_group, QEMUClockType type,
		     int scale, int attributes, QEMUTimerCB *cb, void *opaque);
void timer_deinit(QEMUTimer *ts);

/* Any thread may arm and disarm.  timer_del() does not wait for a callback that runs already. */
void timer_mod_ns(QEMUTimer *ts, int64_t expire_time);
void timer_mod_anticipate_ns(QEMUTimer *ts, int64_t expire_time);
void timer_mod(QEMUTimer *ts, int64_t expire_time);
void timer_mod_anticipate(QEMUTimer *ts, int64_t expire_time);
void timer_del(QEMUTimer *ts);

bool timer_pending(QEMUTimer *ts);
bool timer_expired(QEMUTimer *timer_head, int64_t current_time);
uint64_t timer_expire_time_ns(QEMUTimer *ts);

static inline void timer_init(QEMUTimer *ts, QEMUClockType type, int scale, QEMUTimerCB *cb,
			      void *opaque)
{
	timer_init_full(ts, NULL, type, scale, 0, cb, opaque);
}

static inline void timer_init_ns(QEMUTimer *ts, QEMUClockType type, QEMUTimerCB *cb, void *opaque)
{
	timer_init(ts, type, SCALE_NS, cb, opaque);
}

static inline void timer_init_us(QEMUTimer *ts, QEMUClockType type, QEMUTimerCB *cb, void *opaque)
{
	timer_init(ts, type, SCALE_US, cb, opaque);
}

static inline void timer_init_ms(QEMUTimer *ts, QEMUClockType type, QEMUTimerCB *cb, void *opaque)
{
	timer_init(ts, type, SCALE_MS, cb, opaque);
}

static inline QEMUTimer *timer_new_full(QEMUTimerListGroup *timer_list_group, QEMUClockType type,
					int scale, int attributes, QEMUTimerCB *cb, void *opaque)
{
	QEMUTimer *ts = g_new0(QEMUTimer, 1);

	timer_init_full(ts, timer_list_group, type, scale, attributes, cb, opaque);
	return ts;
}

static inline QEMUTimer *timer_new(QEMUClockType type, int scale, QEMUTimerCB *cb, void *opaque)
{
	return timer_new_full(NULL, type, scale, 0, cb, opaque);
}

static inline QEMUTimer *timer_new_ns(QEMUClockType type, QEMUTimerCB *cb, void *opaque)
{
	return timer_new(type, SCALE_NS, cb, opaque);
}

static inline QEMUTimer *timer_new_us(QEMUClockType type, QEMUTimerCB *cb, void *opaque)
{
	return timer_new(type, SCALE_US, cb, opaque);
}

static inline QEMUTimer *timer_new_ms(QEMUClockType type, QEMUTimerCB *cb, void *opaque)
{
	return timer_new(type, SCALE_MS, cb, opaque);
}

static inline void timer_free(QEMUTimer *ts)
{
	if (ts) {
		timer_del(ts);
		g_free(ts);
	}
}

/* --- time and sleep ----------------------------------------------------------------------- */

int64_t get_clock(void);	  /* CLOCK_MONOTONIC */
int64_t get_clock_realtime(void); /* CLOCK_REALTIME */

/* The host's cycle counter, for measuring; its unit is the processor's. */
static inline int64_t cpu_get_host_ticks(void)
{
#if defined(__x86_64__) || defined(__i386__)
	return (int64_t)__builtin_ia32_rdtsc();
#else
	return get_clock();
#endif
}

/* If the host clock jumped by more than this, somebody set it. */
static inline int64_t get_max_clock_jump(void)
{
	return 60 * NANOSECONDS_PER_SECOND;
}

/* Rounds up, so that nobody wakes before the deadline; never is -1 in both units. */
int qemu_timeout_ns_to_ms(int64_t ns);

/* ppoll(2) with a timeout in nanoseconds. */
int qemu_poll_ns(GPollFD *fds, guint nfds, int64_t timeout);

/* The smaller one as unsigned numbers, which makes -1, never, the largest. */
static inline int64_t qemu_soonest_timeout(int64_t timeout1, int64_t timeout2)
{
	return (uint64_t)timeout1 < (uint64_t)timeout2 ? timeout1 : timeout2;
}

#endif
