// SPDX-License-Identifier: MIT
/*
 * SPIN, the slow kind: an idle bottom half that stays scheduled lets its loop sleep for 10 ms and
 * no longer, so that it wakes up a hundred times a second for nothing.
 *
 * Readings spread over the visit find it scheduled, the wake-ups of its loop find nothing ready,
 * and stacks taken where it is scheduled again show its own callback. A callback that schedules it
 * while it waits for something else is the same to the machine, and to whoever pays for it.
 */
#include <string.h>

#include "tracer/clock.h"
#include "tracer/doctor-spin.h"

#define MIN_TURNS_PER_S 30 /* a hundred, if nobody else wants the CPU */
#define MIN_READINGS	2

struct idle_bh {
	uint64_t ctx, bh, cb;
	int readings;
	int last; /* the number of the last of these */
};

void idle_look(struct doctor *d)
{
	d->idle_readings++;
	for (size_t i = 0; i < d->loops->contexts->len; i++) {
		const struct context *c = d->loops->contexts->pdata[i];

		for (size_t k = 0; k < c->bhs->len; k++) {
			const struct bottom_half *bh =
				&g_array_index(c->bhs, struct bottom_half, k);
			struct idle_bh seen = { c->addr, bh->addr, bh->cb, 0, 0 }, *known = NULL;

			if ((bh->flags & (BH_SCHEDULED | BH_IDLE | BH_DELETED)) !=
			    (BH_SCHEDULED | BH_IDLE))
				continue;
			for (size_t m = 0; m < d->idle_bhs->len && !known; m++) {
				known = &g_array_index(d->idle_bhs, struct idle_bh, m);
				known = known->bh == bh->addr && known->cb == bh->cb ? known : NULL;
			}
			if (!known) {
				g_array_append_val(d->idle_bhs, seen);
				known = &g_array_index(d->idle_bhs, struct idle_bh,
						       d->idle_bhs->len - 1);
			}
			if (known->last == d->idle_readings)
				continue;
			known->last = d->idle_readings;
			known->readings++;
		}
	}
}

/* Does its thread turn all the time, and find nothing ready? */
static bool wakes_for_nothing(const struct watch_thread *from, const struct watch_thread *to,
			      double seconds)
{
	uint64_t turns = to->turns - from->turns, ready = to->ready - from->ready;

	return (double)turns >= MIN_TURNS_PER_S * seconds && ready * 10 <= turns;
}

static void conclude(struct doctor *d, const struct idle_bh *bh)
{
	static const struct watch_thread none;
	struct watch_thread now;
	struct patient *p = NULL;
	double first = (double)(d->half_ns - d->start_ns) / 1e9, second;
	struct finding *f;
	struct stack stack;
	char *name;

	for (size_t i = 0; i < d->loops->contexts->len && !p; i++) {
		const struct context *c = d->loops->contexts->pdata[i];

		p = c->addr == bh->ctx ? doctor_home(d, c) : NULL;
	}
	if (!p || doctor_has_finding(d, p->tid, NULL))
		return;
	now = spin_thread_counts(d, p->tid);
	second = (double)(now_ns() - d->half_ns) / 1e9;
	if (!wakes_for_nothing(&none, &p->half, first) ||
	    !wakes_for_nothing(&p->half, &now, second) ||
	    spin_caller(d, p, "qemu_bh_schedule_idle", 0, bh->bh, bh->cb, &stack) != bh->cb)
		return;
	doctor_learn(d, bh->cb, "BH");
	name = doctor_callback_name(d, bh->cb, &stack);
	f = finding_new(d, "SPIN", p);
	f->span = g_strdup_printf("%.0f wake-ups a second",
				  (double)(now.turns - p->half.turns) / second);
	f->culprit = g_strdup_printf("idle %s schedules itself", name);
	finding_say(f,
		    "scheduled as idle in %d of %d readings: the loop may sleep for 10 ms at most",
		    bh->readings, d->idle_readings);
	finding_say(f, "%llu turns of the loop in %.1f s, and %llu of them found something ready",
		    (unsigned long long)(now.turns - p->half.turns), second,
		    (unsigned long long)(now.ready - p->half.ready));
	finding_say(f, "stacks taken at qemu_bh_schedule_idle(): always in %s", name);
	spin_keep_stack(f, &stack);
	f->advice =
		"An idle bottom half that waits for something polls for it: let the event, or a "
		"timer, schedule it.";
	g_free(name);
}

void idle_conclude(struct doctor *d)
{
	for (size_t i = 0; i < d->idle_bhs->len; i++) {
		const struct idle_bh *bh = &g_array_index(d->idle_bhs, struct idle_bh, i);

		if (bh->readings >= MIN_READINGS)
			conclude(d, bh);
	}
}

GArray *idle_new(void)
{
	return g_array_new(FALSE, TRUE, sizeof(struct idle_bh));
}
