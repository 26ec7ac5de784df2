/* SPDX-License-Identifier: MIT */
/* Where a timer belongs; the header says what for. */
#include "osdep.h"
#include "timer-order.h"

/* The first one that expires after @time; @end if none does. */
static unsigned first_after(const TimerOrder *order, int64_t time)
{
	unsigned low = order->first, high = order->end;

	/* Mostly a timer is armed for later than all others. */
	if (low == high || order->timers[high - 1]->expire_time <= time)
		return high;
	while (low < high) {
		unsigned middle = low + (high - low) / 2;

		if (order->timers[middle]->expire_time <= time)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static QEMUTimer *before(const TimerOrder *order, unsigned i)
{
	return i > order->first ? order->timers[i - 1] : NULL;
}

static void move(TimerOrder *order, unsigned to, unsigned from, unsigned n)
{
	memmove(&order->timers[to], &order->timers[from], n * sizeof(*order->timers));
}

/* Room for one more at the end: what was taken off in front, or more memory. */
static void make_room(TimerOrder *order)
{
	unsigned n = order->end - order->first;

	if (order->first > n) {
		move(order, 0, order->first, n);
		order->first = 0;
		order->end = n;
	} else {
		order->alloc = order->alloc ? order->alloc * 2 : 8;
		order->timers = g_renew(QEMUTimer *, order->timers, order->alloc);
	}
}

QEMUTimer *timer_order_insert(TimerOrder *order, QEMUTimer *ts)
{
	unsigned i;

	if (order->end == order->alloc)
		make_room(order);
	i = first_after(order, ts->expire_time);
	if (i == order->first && i > 0) {
		order->timers[--order->first] = ts;
		return NULL;
	}
	move(order, i + 1, i, order->end - i);
	order->timers[i] = ts;
	order->end++;
	return before(order, i);
}

QEMUTimer *timer_order_remove(TimerOrder *order, QEMUTimer *ts)
{
	QEMUTimer *previous;
	unsigned i = order->first;

	/* The first one is who fires.  Of those of the same time, from the last to the first. */
	if (order->timers[i] == ts) {
		order->first++;
		if (order->first == order->end)
			order->first = order->end = 0;
		return NULL;
	}
	for (i = first_after(order, ts->expire_time); order->timers[--i] != ts;)
		assert(i > order->first);
	previous = before(order, i);
	move(order, i, i + 1, order->end - i - 1);
	order->end--;
	return previous;
}

void timer_order_free(TimerOrder *order)
{
	g_free(order->timers);
}
