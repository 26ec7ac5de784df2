// SPDX-License-Identifier: MIT
/*
 * What a nested wait leaves outside: work in contexts that its thread runs from its loop, and not
 * in this aio_poll(). In QEMU's main thread that is iohandler_ctx as a rule.
 *
 * What the wait is for, no state tells. It is taken to be for such work (WRONG CONTEXT) if that is
 * a bottom half, which somebody scheduled to have it run, if it was there at two looks at the same
 * wait, and if nobody is left who could end the wait otherwise. That is: the sleeper polls its
 * notifier only, without a timeout; no thread does I/O, computes (but for vCPUs, as far as their
 * names tell) or wants the big lock; the contexts of other threads have no handlers and no timers,
 * so nothing that may be under way in them. With any of these the bottom half is a hint, and the
 * verdict stays NESTED WAIT.
 *
 * A descriptor that is ready and a timer that is overdue are hints only: every loop that is held up
 * has them, whatever holds it up. A core has one look; the rest of the proof is the same.
 */
#include <inttypes.h>
#include <string.h>

#include "tracer/clock.h"
#include "tracer/doctor-nested.h"
#include "tracer/out.h"

#define MAX_SAID   4
#define OVERDUE_NS (100 * 1000000LL)
#define CO_BH	   "co_schedule_bh_cb" /* it enters coroutines */

/* Of the same loop as @polled, and not run by the wait. */
static bool is_outside(const struct context *c, const struct context *polled)
{
	return polled && c->tid != polled->tid && c->gctx && c->gctx == polled->gctx;
}

static char *bh_name(const struct bottom_half *bh, const struct doctor *d)
{
	return bh->name[0] ? g_strdup(bh->name) : images_name(d->images, bh->cb);
}

void nested_note_outside(struct doctor *d, struct patient *p)
{
	struct nested *n = &p->nested;
	const struct context *polled;

	if (!n->outside)
		n->outside = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	g_array_set_size(n->outside, 0);
	n->outside_ns = now_ns();
	if (doctor_read_loops(d, NULL))
		return;
	polled = loops_context_of(d->loops, p->tid);
	for (size_t i = 0; i < d->loops->contexts->len; i++) {
		const struct context *c = d->loops->contexts->pdata[i];

		for (size_t k = 0; is_outside(c, polled) && k < c->bhs->len; k++) {
			const struct bottom_half *bh =
				&g_array_index(c->bhs, struct bottom_half, k);

			if (bh_is_due(bh))
				g_array_append_val(n->outside, bh->addr);
		}
	}
}

static bool was_there(const struct doctor *d, const struct nested *n, const struct bottom_half *bh)
{
	for (size_t i = 0; n->outside && i < n->outside->len; i++)
		if (g_array_index(n->outside, uint64_t, i) == bh->addr)
			return true;
	return !d->t->live;
}

/* --- could somebody else end the wait? -------------------------------------------------------- */

static bool computes(const struct doctor *d, const struct patient *self)
{
	for (size_t i = 0; i < d->patients->len; i++) {
		const struct patient *p = d->patients->pdata[i];

		if (p != self && p->now.state == 'R' &&
		    !g_str_has_prefix(doctor_comm(d, p->tid), "CPU "))
			return true;
	}
	return false;
}

static bool waits_for_something(const struct context *c)
{
	for (size_t i = 0; i < c->handlers->len; i++) {
		const struct handler *h = &g_array_index(c->handlers, struct handler, i);

		if (!h->deleted && h->fd != c->notifier_fd)
			return true;
	}
	return c->timers->len > 0;
}

static bool nobody_else(const struct doctor *d, const struct patient *p,
			const struct context *polled)
{
	for (size_t i = 0; i < d->loops->contexts->len; i++) {
		const struct context *c = d->loops->contexts->pdata[i];

		if (c != polled && !is_outside(c, polled) && waits_for_something(c))
			return false;
	}
	return !computes(d, p);
}

/* --- what is said ----------------------------------------------------------------------------- */

static void hint(struct nested *n, int *said, char *text)
{
	if ((*said)++ < MAX_SAID)
		g_ptr_array_add(n->evidence, g_strdup_printf("meanwhile %s and cannot run", text));
	g_free(text);
}

static void say_stuck(struct doctor *d, struct nested *n, const struct context *c,
		      const struct context *polled, const struct bottom_half *bh)
{
	char *name = bh_name(bh, d), *before, *length;

	n->stuck_co = !strcmp(name, CO_BH);
	n->stuck_what = n->stuck_co ? g_strdup_printf("a coroutine scheduled in %s", c->name)
				    : g_strdup_printf("BH %s scheduled in %s", name, c->name);
	length = out_duration(now_ns() - n->outside_ns);
	before = d->t->live ? g_strdup_printf(", as it was %s before", length) : g_strdup("");
	n->stuck = g_strdup_printf("BH %s of %s is scheduled%s%s, and this thread runs only %s now",
				   name, c->name, before,
				   n->stuck_co ? ": it enters the coroutine" : "", polled->name);
	g_free(length);
	g_free(before);
	g_free(name);
}

static void say_bhs(struct doctor *d, struct nested *n, const struct context *c,
		    const struct context *polled, bool proof, int *said)
{
	for (size_t i = 0; i < c->bhs->len; i++) {
		const struct bottom_half *bh = &g_array_index(c->bhs, struct bottom_half, i);
		char *name;

		if (!bh_is_due(bh))
			continue;
		if (proof && !n->stuck && was_there(d, n, bh)) {
			say_stuck(d, n, c, polled, bh);
			continue;
		}
		name = bh_name(bh, d);
		hint(n, said, g_strdup_printf("BH %s of %s is scheduled", name, c->name));
		g_free(name);
	}
}

static void say_handlers(struct doctor *d, struct nested *n, const struct context *c, int *said)
{
	for (size_t i = 0; d->t->live && i < c->handlers->len; i++) {
		const struct handler *h = &g_array_index(c->handlers, struct handler, i);
		char *name, *fd;

		if (h->deleted || h->fd == c->notifier_fd || !h->events ||
		    fds_ready(d->fds, h->fd, (short)h->events) <= 0)
			continue;
		name = doctor_callback_name(d, h->io_read ? h->io_read : h->io_write, NULL);
		fd = doctor_describe_fd(d, h->fd);
		hint(n, said, g_strdup_printf("%s of %s, %s, is ready", name, c->name, fd));
		g_free(fd);
		g_free(name);
	}
}

static void say_timers(struct doctor *d, struct nested *n, const char *of, const GArray *timers,
		       int *said)
{
	for (size_t i = 0; d->t->live && i < timers->len; i++) {
		const struct timer *timer = &g_array_index(timers, struct timer, i);
		char *name, *late;
		int64_t now;

		if (timer->expire_ns < 0 || !doctor_clock_now(timer->clock, &now) ||
		    now - timer->expire_ns < OVERDUE_NS)
			continue;
		name = images_name(d->images, timer->cb);
		late = out_duration(now - timer->expire_ns);
		hint(n, said, g_strdup_printf("timer %s of %s is overdue by %s", name, of, late));
		g_free(late);
		g_free(name);
	}
}

void nested_say_outside(struct doctor *d, struct patient *p, bool alone)
{
	const struct context *polled = loops_context_of(d->loops, p->tid);
	bool proof = alone && polled && nobody_else(d, p, polled);
	struct nested *n = &p->nested;
	int said = 0;

	for (size_t i = 0; i < d->loops->contexts->len; i++) {
		const struct context *c = d->loops->contexts->pdata[i];

		if (!is_outside(c, polled))
			continue;
		say_bhs(d, n, c, polled, proof, &said);
		say_handlers(d, n, c, &said);
		say_timers(d, n, c->name, c->timers, &said);
	}
	if (polled && polled->kind == CONTEXT_MAIN)
		say_timers(d, n, "main_loop_tlg", d->loops->main_timers, &said);
	if (said > MAX_SAID)
		g_ptr_array_add(n->evidence,
				g_strdup_printf("and %d more that cannot", said - MAX_SAID));
}
