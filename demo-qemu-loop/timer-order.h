/* SPDX-License-Identifier: MIT */
/*
 * Where a timer belongs in its list.  QEMU walks the chain from its head for that; with a thousand
 * timers the walk is all that arming one costs.  Here the chain, which is what everybody reads, is
 * written down once more as an array, so that the place is found by bisection.
 *
 * No lock of its own: the list's.  Private to qemu-timer.c.
 */
#ifndef DEMO_TIMER_ORDER_H
#define DEMO_TIMER_ORDER_H

#include "timer.h"

typedef struct TimerOrder {
	QEMUTimer **timers; /* [first, end): by expire_time, equal ones as they came */
	unsigned first, end, alloc;
} TimerOrder;

/* Both return the one before @ts, NULL if there is none. */
QEMUTimer *timer_order_insert(TimerOrder *order, QEMUTimer *ts);
QEMUTimer *timer_order_remove(TimerOrder *order, QEMUTimer *ts);

void timer_order_free(TimerOrder *order);

#endif
