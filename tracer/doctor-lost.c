// SPDX-License-Identifier: MIT
/*
 * LOST WAKEUP: a loop's thread sleeps although there is something for it to do.
 *
 * What is looked at is only what this very sleep waits for: the contexts whose notifier is in its
 * poll set (in a nested aio_poll() that is one), its descriptors, its timers on clocks that can be
 * read from outside. A notification under way looks the same for some microseconds, so the same
 * thing has to be found twice, in the same sleep: the thread's count of sleeps has not changed.
 */
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "tracer/describe.h"
#include "tracer/doctor-lost.h"
#include "tracer/out.h"

#define AGAIN_US 60000

static bool sleeps(const struct patient *p)
{
	return p->now.state == 'S' && is_wait_call(p->now.nr);
}

/* One reading: what each thread misses that slept one sleep all through it. */
static int look_once(struct doctor *d, GArray *list, struct failure *why)
{
	GArray *before = g_array_new(FALSE, FALSE, sizeof(struct thread_now));
	int err = doctor_look(d, why);

	for (size_t i = 0; !err && i < d->patients->len; i++)
		g_array_append_val(before, ((struct patient *)d->patients->pdata[i])->now);
	if (!err)
		err = doctor_read_loops(d, why);
	if (!err)
		err = doctor_look(d, why);
	for (size_t i = 0; !err && i < before->len; i++) {
		const struct thread_now *was = &g_array_index(before, struct thread_now, i);
		const struct patient *p = doctor_patient(d, was->tid);

		if (p && sleeps(p) && was->switches == p->now.switches)
			lost_check_sleeper(d, p, list);
	}
	g_array_free(before, TRUE);
	return err;
}

static bool known(const GArray *list, const struct missed *m)
{
	for (size_t i = 0; i < list->len; i++) {
		const struct missed *other = &g_array_index(list, struct missed, i);

		if (other->tid == m->tid && other->switches == m->switches &&
		    !strcmp(other->key, m->key))
			return true;
	}
	return false;
}

static void say_sleep(struct doctor *d, struct finding *f, const struct patient *p,
		      const struct context *c)
{
	const struct poll_set *set = find_set(d->loops, p->tid);
	char *timeout = out_duration(set ? set->timeout_ns : -1);

	finding_say(f,
		    "the thread sleeps in %s, timeout %s; the same sleep in two looks %d ms apart",
		    call_name(p->now.nr), timeout, AGAIN_US / 1000);
	if (c)
		finding_say(f, "%s: notified %s, notify_me %d, its eventfd %d counts %" PRId64,
			    c->name, c->notified ? "true" : "false", c->notify_me, c->notifier_fd,
			    doctor_eventfd_count(d, c->notifier_fd));
	g_free(timeout);
}

/* One verdict a sleeper: the first is the culprit, the others are evidence. */
static void conclude(struct doctor *d, const GArray *first, const GArray *second)
{
	struct finding *f = NULL;

	for (size_t i = 0; i < second->len; i++) {
		const struct missed *m = &g_array_index(second, struct missed, i);
		struct patient *p = doctor_patient(d, m->tid);

		if (!known(first, m))
			continue;
		if (!f || f->tid != m->tid) {
			if (doctor_has_finding(d, m->tid, "LOST WAKEUP"))
				continue;
			f = finding_new(d, "LOST WAKEUP", p);
			f->span = g_strdup("asleep with work to do");
			f->culprit = g_strdup(m->culprit);
			f->advice = missed_advice(m);
			say_sleep(d, f, p, m->context);
			f->stack = g_new(struct stack, 1);
			if (stacks_take(d->stacks, m->tid, 50, f->stack, NULL)) {
				g_free(f->stack);
				f->stack = NULL;
			}
		}
		finding_say(f, "%s", m->proof);
	}
}

static GArray *missed_new(void)
{
	GArray *list = g_array_new(FALSE, FALSE, sizeof(struct missed));

	g_array_set_clear_func(list, missed_clear);
	return list;
}

int lost_check(struct doctor *d, struct failure *why)
{
	GArray *first = missed_new(), *second = missed_new();
	int err = look_once(d, first, why);

	if (!err && first->len) {
		usleep(AGAIN_US);
		err = look_once(d, second, why);
		if (!err)
			conclude(d, first, second);
	}
	g_array_free(first, TRUE);
	g_array_free(second, TRUE);
	return err;
}
