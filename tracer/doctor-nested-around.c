// SPDX-License-Identifier: MIT
/*
 * Around a NESTED WAIT: who could end it. Told from what the sleeper polls (descriptors, timers, or
 * nothing but its notifier: then only another thread can) and from who sleeps in I/O or for the big
 * lock. What waits in contexts of the same thread that the wait does not run:
 * doctor-nested-outside.c.
 */
#include <string.h>

#include "tracer/describe.h"
#include "tracer/doctor-hold.h"
#include "tracer/doctor-nested.h"

#define MAX_SAID 6 /* descriptors, threads */

static bool is_notifier(const struct doctor *d, int fd)
{
	for (size_t i = 0; i < d->loops->contexts->len; i++)
		if (((struct context *)d->loops->contexts->pdata[i])->notifier_fd == fd)
			return true;
	return false;
}

/* What it polls but the notifiers, a sentence each. */
static int say_fds(struct doctor *d, const struct poll_set *set, GPtrArray *evidence)
{
	int n = 0;

	for (size_t i = 0; i < set->fds->len; i++) {
		int fd = g_array_index(set->fds, GPollFD, i).fd;
		char *what, *callback = NULL;
		struct owner owner;

		if (is_notifier(d, fd) || n++ >= MAX_SAID)
			continue;
		loops_owner(d->loops, set->tid, fd, &owner);
		if (owner.handler)
			callback = doctor_callback_name(d,
							owner.handler->io_read
								? owner.handler->io_read
								: owner.handler->io_write,
							NULL);
		what = doctor_describe_fd(d, fd);
		g_ptr_array_add(evidence,
				g_strdup_printf("it polls %s%s%s, which is not ready", what,
						callback ? " for " : "", callback ?: ""));
		g_free(what);
		g_free(callback);
	}
	return n;
}

static bool has_timers(const struct doctor *d, pid_t tid)
{
	for (size_t i = 0; i < d->loops->contexts->len; i++) {
		const struct context *c = d->loops->contexts->pdata[i];

		if (c->tid == tid && c->timers->len)
			return true;
	}
	return false;
}

/* A worker that waits for a disk or a socket is what may have to finish. */
static int say_io(struct doctor *d, const struct patient *self, GPtrArray *evidence)
{
	int n = 0;

	for (size_t i = 0; i < d->patients->len; i++) {
		const struct patient *p = d->patients->pdata[i];
		char *call, *name;

		if (p == self || p->now.state == 'R' || !doctor_does_io(&p->now) || n++ >= MAX_SAID)
			continue;
		call = doctor_describe_call(d, &p->now);
		name = doctor_thread_name(d, p->tid);
		g_ptr_array_add(evidence, g_strdup_printf("%s is %s", name, call));
		g_free(name);
		g_free(call);
	}
	return n;
}

static void say_other_loops(struct doctor *d, const struct patient *self, GPtrArray *evidence)
{
	for (size_t i = 0; i < d->loops->contexts->len; i++) {
		const struct context *c = d->loops->contexts->pdata[i];

		if (c->kind != CONTEXT_IOTHREAD || !c->tid || c->tid == self->tid)
			continue;
		g_ptr_array_add(evidence,
				g_strdup_printf("IOThread %s, thread %d, sleeps in its own poll",
						c->name, c->tid));
	}
}

static void say_lock(struct doctor *d, const struct patient *p, GPtrArray *evidence)
{
	pid_t owner = d->bql ? doctor_mutex_owner(d, d->bql) : 0;
	char *name;

	if (!d->bql)
		return;
	if (owner == p->tid) {
		g_ptr_array_add(evidence,
				g_strdup("it holds the big lock (BQL) meanwhile; who needs that "
					 "waits too"));
	} else if (owner) {
		name = doctor_thread_name(d, owner);
		g_ptr_array_add(evidence,
				g_strdup_printf("the big lock (BQL) is held by %s", name));
		g_free(name);
	} else {
		g_ptr_array_add(evidence, g_strdup("it does not hold the big lock (BQL)"));
	}
}

static void describe(struct doctor *d, struct patient *p, const struct poll_set *set)
{
	struct nested *n = &p->nested;
	int fds = say_fds(d, set, n->evidence), ios;
	bool alone;

	if (fds > MAX_SAID)
		g_ptr_array_add(n->evidence, g_strdup_printf("and %d more", fds - MAX_SAID));
	ios = say_io(d, p, n->evidence);
	alone = !fds && set->timeout_ns < 0 && !has_timers(d, p->tid);
	if (alone) {
		g_ptr_array_add(
			n->evidence,
			g_strdup("it polls nothing but its notifier, without a timeout: "
				 "only another thread can end this, by aio_wait_kick() or a "
				 "bottom half"));
		if (!ios)
			n->waiters = hold_waiters(d, p->tid);
	}
	if (!fds)
		say_other_loops(d, p, n->evidence);
	nested_say_outside(d, p, alone && !ios && !n->waiters);
}

void nested_look_around(struct doctor *d, struct patient *p)
{
	struct nested *n = &p->nested;
	const struct poll_set *set;

	say_lock(d, p, n->evidence);
	if (d->t->live &&
	    (doctor_read_loops(d, NULL) || doctor_look(d, NULL) || p->now.switches != n->switches))
		return;
	set = find_set(d->loops, p->tid);
	if (set)
		describe(d, p, set);
}
