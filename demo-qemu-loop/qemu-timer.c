/* SPDX-License-Identifier: MIT */
/*
 * Clocks, timer lists and timers; the header says how they hang together and are used.
 *
 * Locks: a list's active_timers_lock guards its chain and the expire_time of the timers on it; no
 * callback runs under it.  timerlists_lock guards the clocks' lists of lists.
 */
#include "osdep.h"
#include <sys/prctl.h>
#include "atomic.h"
#include "cpu-timers.h"
#include "loop-trace.h"
#include "main-loop.h"
#include "timer.h"
#include "timer-order.h"

typedef struct QEMUClock {
	QLIST_HEAD(, QEMUTimerList) timerlists; /* of all loops */
	QEMUClockType type;
	bool enabled;
} QEMUClock;

struct QEMUTimerList {
	QEMUClock *clock;
	QemuMutex active_timers_lock;
	QEMUTimer *active_timers;
	QLIST_ENTRY(QEMUTimerList) list;
	QEMUTimerListNotifyCB *notify_cb;
	void *notify_opaque;
	QemuEvent timers_done_ev; /* not set while timerlist_run_timers() calls */
	TimerOrder order;	  /* the chain of active_timers once more */
};

QEMUTimerListGroup main_loop_tlg;
static QEMUClock qemu_clocks[QEMU_CLOCK_MAX];
static pthread_mutex_t timerlists_lock = PTHREAD_MUTEX_INITIALIZER;

/* --- lists -------------------------------------------------------------------------------- */

QEMUTimerList *timerlist_new(QEMUClockType type, QEMUTimerListNotifyCB *cb, void *opaque)
{
	QEMUTimerList *timer_list = g_new0(QEMUTimerList, 1);

	timer_list->clock = &qemu_clocks[type];
	timer_list->notify_cb = cb;
	timer_list->notify_opaque = opaque;
	qemu_mutex_init(&timer_list->active_timers_lock);
	qemu_event_init(&timer_list->timers_done_ev, true);

	pthread_mutex_lock(&timerlists_lock);
	QLIST_INSERT_HEAD(&timer_list->clock->timerlists, timer_list, list);
	pthread_mutex_unlock(&timerlists_lock);
	return timer_list;
}

void timerlist_free(QEMUTimerList *timer_list)
{
	assert(!timerlist_has_timers(timer_list));

	pthread_mutex_lock(&timerlists_lock);
	QLIST_REMOVE(timer_list, list);
	pthread_mutex_unlock(&timerlists_lock);

	qemu_event_destroy(&timer_list->timers_done_ev);
	qemu_mutex_destroy(&timer_list->active_timers_lock);
	timer_order_free(&timer_list->order);
	g_free(timer_list);
}

QEMUClockType timerlist_get_clock(QEMUTimerList *timer_list)
{
	return timer_list->clock->type;
}

bool timerlist_has_timers(QEMUTimerList *timer_list)
{
	return qatomic_read(&timer_list->active_timers) != NULL;
}

/* The first timer's time, or -1.  Without the lock the timer might be freed under our eyes. */
static int64_t timerlist_first_expiry(QEMUTimerList *timer_list)
{
	int64_t expire_time = -1;

	if (!timerlist_has_timers(timer_list))
		return -1;

	qemu_mutex_lock(&timer_list->active_timers_lock);
	if (timer_list->active_timers)
		expire_time = timer_list->active_timers->expire_time;
	qemu_mutex_unlock(&timer_list->active_timers_lock);
	return expire_time;
}

static int64_t timerlist_clock_ns(QEMUTimerList *timer_list)
{
	return qemu_clock_get_ns(timer_list->clock->type);
}

bool timerlist_expired(QEMUTimerList *timer_list)
{
	int64_t expire_time = timerlist_first_expiry(timer_list);

	return expire_time >= 0 && expire_time <= timerlist_clock_ns(timer_list);
}

int64_t timerlist_deadline_ns(QEMUTimerList *timer_list)
{
	int64_t expire_time;

	/* A stopped clock expires nothing, so it must not keep anybody awake either. */
	if (!qatomic_read(&timer_list->clock->enabled))
		return -1;
	expire_time = timerlist_first_expiry(timer_list);
	if (expire_time < 0)
		return -1;
	return MAX(0, expire_time - timerlist_clock_ns(timer_list));
}

void timerlist_notify(QEMUTimerList *timer_list)
{
	if (timer_list->notify_cb)
		timer_list->notify_cb(timer_list->notify_opaque, timer_list->clock->type);
	else
		qemu_notify_event();
}

void timerlist_visit(QEMUTimerList *timer_list, void (*visit)(const QEMUTimer *ts, void *opaque),
		     void *opaque)
{
	qemu_mutex_lock(&timer_list->active_timers_lock);
	for (const QEMUTimer *ts = timer_list->active_timers; ts; ts = ts->next)
		visit(ts, opaque);
	qemu_mutex_unlock(&timer_list->active_timers_lock);
}

/* What points at the one behind @ts; @ts NULL: at the first. */
static QEMUTimer **timerlist_link(QEMUTimerList *timer_list, QEMUTimer *ts)
{
	return ts ? &ts->next : &timer_list->active_timers;
}

static void timer_del_locked(QEMUTimerList *timer_list, QEMUTimer *ts)
{
	if (ts->expire_time == -1)
		return;
	qatomic_set(timerlist_link(timer_list, timer_order_remove(&timer_list->order, ts)),
		    ts->next);
	ts->next = NULL;
	qatomic_set(&ts->expire_time, -1);
}

/* True if the timer became the first: then the loop sleeps too long. */
static bool timer_mod_ns_locked(QEMUTimerList *timer_list, QEMUTimer *ts, int64_t expire_time)
{
	QEMUTimer **link;

	qatomic_set(&ts->expire_time, MAX(expire_time, 0));
	link = timerlist_link(timer_list, timer_order_insert(&timer_list->order, ts));
	ts->next = *link;
	qatomic_set(link, ts);
	return link == &timer_list->active_timers;
}

/* Takes the first timer off if it is due at @now; the caller calls it without the lock. */
static QEMUTimer *timerlist_pop_expired(QEMUTimerList *timer_list, int64_t now, QEMUTimerCB **cb,
					void **opaque, int64_t *expire_time)
{
	QEMUTimer *ts;

	qemu_mutex_lock(&timer_list->active_timers_lock);
	ts = timer_list->active_timers;
	if (timer_expired(ts, now)) {
		*expire_time = ts->expire_time;
		timer_del_locked(timer_list, ts);
		*cb = ts->cb;
		*opaque = ts->opaque;
	} else {
		ts = NULL;
	}
	qemu_mutex_unlock(&timer_list->active_timers_lock);
	return ts;
}

/*
 * The time is taken once.  A callback that arms a timer at or before it is served in this same
 * run: a timer that always does so never lets the loop go.
 */
bool timerlist_run_timers(QEMUTimerList *timer_list)
{
	int64_t now, expire_time;
	bool progress = false;
	QEMUTimerCB *cb;
	QEMUTimer *ts;
	void *opaque;

	if (!timerlist_has_timers(timer_list))
		return false;

	/* Pairs with the wait in qemu_clock_enable(): that one sees the clock's callbacks done, or
	 * we see the clock disabled. */
	qemu_event_reset(&timer_list->timers_done_ev);
	if (qatomic_read(&timer_list->clock->enabled)) {
		now = timerlist_clock_ns(timer_list);
		/* The callback may free its timer: it is not touched again. */
		while ((ts = timerlist_pop_expired(timer_list, now, &cb, &opaque, &expire_time))) {
			probe_timer_begin(timer_list, ts, cb, opaque, expire_time,
					  timerlist_clock_ns(timer_list) - expire_time);
			cb(opaque);
			probe_timer_end(timer_list, ts, cb);
			progress = true;
		}
	}
	qemu_event_set(&timer_list->timers_done_ev);
	return progress;
}

/* --- groups ------------------------------------------------------------------------------- */

void timerlistgroup_init(QEMUTimerListGroup *tlg, QEMUTimerListNotifyCB *cb, void *opaque)
{
	for (int type = 0; type < QEMU_CLOCK_MAX; type++)
		tlg->tl[type] = timerlist_new(type, cb, opaque);
}

void timerlistgroup_deinit(QEMUTimerListGroup *tlg)
{
	for (int type = 0; type < QEMU_CLOCK_MAX; type++)
		timerlist_free(tlg->tl[type]);
}

bool timerlistgroup_run_timers(QEMUTimerListGroup *tlg)
{
	bool progress = false;

	for (int type = 0; type < QEMU_CLOCK_MAX; type++)
		progress |= timerlist_run_timers(tlg->tl[type]);
	return progress;
}

int64_t timerlistgroup_deadline_ns(QEMUTimerListGroup *tlg)
{
	int64_t deadline = -1;

	for (int type = 0; type < QEMU_CLOCK_MAX; type++) {
		if (qemu_clock_use_for_deadline(type))
			deadline = qemu_soonest_timeout(deadline,
							timerlist_deadline_ns(tlg->tl[type]));
	}
	return deadline;
}

void timerlistgroup_choice(QEMUTimerListGroup *tlg, LoopChoice *choice)
{
	for (int type = 0; type < QEMU_CLOCK_MAX; type++) {
		QEMUTimerList *timer_list = tlg->tl[type];
		int64_t deadline = timerlist_deadline_ns(timer_list);
		QEMUTimer *ts;

		if (deadline < 0)
			continue;
		qemu_mutex_lock(&timer_list->active_timers_lock);
		ts = timer_list->active_timers;
		if (ts)
			loop_choice_lower(choice, deadline, LOOP_CHOOSER_TIMER, ts, ts->cb);
		qemu_mutex_unlock(&timer_list->active_timers_lock);
	}
}

/* --- timers ------------------------------------------------------------------------------- */

void timer_init_full(QEMUTimer *ts, QEMUTimerListGroup *timer_list_group, QEMUClockType type,
		     int scale, int attributes, QEMUTimerCB *cb, void *opaque)
{
	QEMUTimerListGroup *tlg = timer_list_group ?: &main_loop_tlg;

	*ts = (QEMUTimer){
		.expire_time = -1,
		.timer_list = tlg->tl[type],
		.cb = cb,
		.opaque = opaque,
		.attributes = attributes,
		.scale = scale,
	};
}

void timer_deinit(QEMUTimer *ts)
{
	assert(ts->expire_time == -1);
	ts->timer_list = NULL;
}

/* Under the lock: once it is free, the loop may call the timer, and that may free it. */
#define trace_arm(list, ts)                                                                        \
	probe_timer_arm(list, ts, (ts)->cb, (ts)->expire_time,                                     \
			(ts)->expire_time - timerlist_clock_ns(list), loop_caller())

/* Not inlined into timer_mod(): whoever probes the function sees all calls. */
__attribute__((noinline)) void timer_mod_ns(QEMUTimer *ts, int64_t expire_time)
{
	QEMUTimerList *timer_list = ts->timer_list;
	bool rearm;

	qemu_mutex_lock(&timer_list->active_timers_lock);
	timer_del_locked(timer_list, ts);
	rearm = timer_mod_ns_locked(timer_list, ts, expire_time);
	trace_arm(timer_list, ts);
	qemu_mutex_unlock(&timer_list->active_timers_lock);

	if (rearm)
		timerlist_notify(timer_list);
}

/* Never later than it is armed for already. */
__attribute__((noinline)) void timer_mod_anticipate_ns(QEMUTimer *ts, int64_t expire_time)
{
	QEMUTimerList *timer_list = ts->timer_list;
	bool rearm = false;

	qemu_mutex_lock(&timer_list->active_timers_lock);
	if (ts->expire_time == -1 || ts->expire_time > expire_time) {
		timer_del_locked(timer_list, ts);
		rearm = timer_mod_ns_locked(timer_list, ts, expire_time);
		trace_arm(timer_list, ts);
	}
	qemu_mutex_unlock(&timer_list->active_timers_lock);

	if (rearm)
		timerlist_notify(timer_list);
}

void timer_mod(QEMUTimer *ts, int64_t expire_time)
{
	timer_mod_ns(ts, expire_time * ts->scale);
}

void timer_mod_anticipate(QEMUTimer *ts, int64_t expire_time)
{
	timer_mod_anticipate_ns(ts, expire_time * ts->scale);
}

void timer_del(QEMUTimer *ts)
{
	QEMUTimerList *timer_list = ts->timer_list;

	if (!timer_list)
		return;
	qemu_mutex_lock(&timer_list->active_timers_lock);
	if (probe_enabled(timer_del) && ts->expire_time != -1)
		probe_timer_del(timer_list, ts, ts->cb, loop_caller());
	timer_del_locked(timer_list, ts);
	qemu_mutex_unlock(&timer_list->active_timers_lock);
}

bool timer_pending(QEMUTimer *ts)
{
	return qatomic_read(&ts->expire_time) >= 0;
}

bool timer_expired(QEMUTimer *timer_head, int64_t current_time)
{
	return timer_head && timer_head->expire_time <= current_time;
}

uint64_t timer_expire_time_ns(QEMUTimer *ts)
{
	return timer_pending(ts) ? qatomic_read(&ts->expire_time) : -1;
}

/* --- clocks ------------------------------------------------------------------------------- */

void init_clocks(QEMUTimerListNotifyCB *notify_cb)
{
	for (int type = 0; type < QEMU_CLOCK_MAX; type++) {
		QEMUClock *clock = &qemu_clocks[type];

		assert(!main_loop_tlg.tl[type]);
		clock->type = type;
		clock->enabled = type != QEMU_CLOCK_VIRTUAL;
		QLIST_INIT(&clock->timerlists);
		main_loop_tlg.tl[type] = timerlist_new(type, notify_cb, NULL);
	}

	/* The default slack lets the kernel round every sleep up by 50 us. */
	prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
}

int64_t qemu_clock_get_ns(QEMUClockType type)
{
	switch (type) {
	case QEMU_CLOCK_HOST:
		return get_clock_realtime();
	case QEMU_CLOCK_VIRTUAL:
	case QEMU_CLOCK_VIRTUAL_RT:
		return cpu_get_clock();
	default:
		return get_clock();
	}
}

void qemu_clock_enable(QEMUClockType type, bool enabled)
{
	QEMUClock *clock = &qemu_clocks[type];
	bool was_enabled = qatomic_xchg(&clock->enabled, enabled);
	QEMUTimerList *timer_list;

	if (probe_enabled(clock_enable) && enabled != was_enabled)
		probe_clock_enable(type, enabled);
	if (enabled && !was_enabled) {
		qemu_clock_notify(type);
	} else if (!enabled && was_enabled) {
		pthread_mutex_lock(&timerlists_lock);
		QLIST_FOREACH (timer_list, &clock->timerlists, list)
			qemu_event_wait(&timer_list->timers_done_ev);
		pthread_mutex_unlock(&timerlists_lock);
	}
}

bool qemu_clock_has_timers(QEMUClockType type)
{
	return timerlist_has_timers(main_loop_tlg.tl[type]);
}

bool qemu_clock_expired(QEMUClockType type)
{
	return timerlist_expired(main_loop_tlg.tl[type]);
}

bool qemu_clock_run_timers(QEMUClockType type)
{
	return timerlist_run_timers(main_loop_tlg.tl[type]);
}

bool qemu_clock_run_all_timers(void)
{
	return timerlistgroup_run_timers(&main_loop_tlg);
}

/* In icount mode VIRTUAL does not count in real time and is left out; that mode is not here. */
bool qemu_clock_use_for_deadline(QEMUClockType type G_GNUC_UNUSED)
{
	return true;
}

QEMUTimerList *qemu_clock_get_main_loop_timerlist(QEMUClockType type)
{
	return main_loop_tlg.tl[type];
}

int64_t qemu_clock_deadline_ns_all(QEMUClockType type, int attr_mask)
{
	QEMUClock *clock = &qemu_clocks[type];
	QEMUTimerList *timer_list;
	int64_t deadline = -1;

	if (!qatomic_read(&clock->enabled))
		return -1;

	pthread_mutex_lock(&timerlists_lock);
	QLIST_FOREACH (timer_list, &clock->timerlists, list) {
		int64_t now = qemu_clock_get_ns(type);
		QEMUTimer *ts;

		qemu_mutex_lock(&timer_list->active_timers_lock);
		ts = timer_list->active_timers;
		while (ts && (ts->attributes & ~attr_mask))
			ts = ts->next;
		if (ts)
			deadline = qemu_soonest_timeout(deadline, MAX(0, ts->expire_time - now));
		qemu_mutex_unlock(&timer_list->active_timers_lock);
	}
	pthread_mutex_unlock(&timerlists_lock);
	return deadline;
}

void qemu_clock_notify(QEMUClockType type)
{
	QEMUTimerList *timer_list;

	pthread_mutex_lock(&timerlists_lock);
	QLIST_FOREACH (timer_list, &qemu_clocks[type].timerlists, list)
		timerlist_notify(timer_list);
	pthread_mutex_unlock(&timerlists_lock);
}
