// SPDX-License-Identifier: MIT
/*
 * LOST WAKEUP: a loop's thread sleeps although there is something for it to do.
 *
 * What is looked at is only what this very sleep waits for: the contexts whose notifier is in its
 * poll set (in a nested aio_poll() that is one), its descriptors, its timers on clocks that can be
 * read from outside. A notification under way looks the same for some microseconds, so the same
 * thing has to be found twice, in the same sleep: the thread's count of sleeps has not changed.
 *
 * Not evidence: `notified` while a context sleeps as a GSource. There nobody looks at it before the
 * sleep, and a notification from within the loop leaves it set until the next wake-up.
 */
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "tracer/describe.h"
#include "tracer/doctor.h"
#include "tracer/out.h"

#define AGAIN_US   60000
#define OVERDUE_NS (20 * 1000000LL)

enum { CLOCK_REALTIME_OF_QEMU = 0, CLOCK_HOST_OF_QEMU = 2 };

/* Something that should have woken a sleeper. */
struct missed {
	pid_t tid;
	uint64_t switches; /* names the sleep */
	char *key;	   /* equal in both readings: what, not how much */
	char *culprit, *proof;
	const struct context *context; /* of d->loops; NULL: none */
};

static void missed_clear(void *data)
{
	struct missed *m = data;

	g_free(m->key);
	g_free(m->culprit);
	g_free(m->proof);
}

static void add(GArray *list, const struct patient *p, const struct context *c, char *key,
		char *culprit, char *proof)
{
	struct missed m = { p->tid, p->now.switches, key, culprit, proof, c };

	g_array_append_val(list, m);
}

/* The flags of a bottom half in words. */
static const char *bh_state(uint32_t flags)
{
	return flags & BH_ONESHOT ? "scheduled, one-shot" : "scheduled";
}

static void check_bhs(const struct patient *p, const struct context *c, GArray *list)
{
	for (size_t i = 0; i < c->bhs->len; i++) {
		const struct bottom_half *bh = &g_array_index(c->bhs, struct bottom_half, i);

		if ((bh->flags & (BH_SCHEDULED | BH_DELETED | BH_IDLE)) != BH_SCHEDULED)
			continue;
		add(list, p, c, g_strdup_printf("bh %" PRIx64, bh->addr),
		    g_strdup_printf("BH %s of %s", bh->name[0] ? bh->name : "without a name",
				    c->name),
		    g_strdup_printf("BH %s (0x%" PRIx64 ") on the list of %s is %s and not called",
				    bh->name, bh->addr, c->name, bh_state(bh->flags)));
	}
}

/* What a clock of QEMU's says, where that can be known from outside: not of the virtual ones. */
static bool clock_now(int clock, int64_t *ret_ns)
{
	if (clock == CLOCK_REALTIME_OF_QEMU)
		*ret_ns = doctor_now_ns();
	else if (clock == CLOCK_HOST_OF_QEMU)
		*ret_ns = g_get_real_time() * 1000;
	else
		return false;
	return true;
}

static void check_timers(const struct doctor *d, const struct patient *p, const struct context *c,
			 const GArray *timers, GArray *list)
{
	for (size_t i = 0; i < timers->len; i++) {
		const struct timer *timer = &g_array_index(timers, struct timer, i);
		char *name, *late;
		int64_t now;

		if (timer->expire_ns < 0 || !clock_now(timer->clock, &now) ||
		    now - timer->expire_ns < OVERDUE_NS)
			continue;
		name = images_name(d->images, timer->cb);
		late = out_duration(now - timer->expire_ns);
		add(list, p, c, g_strdup_printf("timer %" PRIx64, timer->addr),
		    g_strdup_printf("timer %s of %s", name, c ? c->name : "main_loop_tlg"),
		    g_strdup_printf("timer %s (0x%" PRIx64 ") is overdue by %s", name, timer->addr,
				    late));
		g_free(name);
		g_free(late);
	}
}

/* The protocol between aio_notify() and the sleeper. */
static void check_protocol(const struct doctor *d, const struct patient *p, const struct context *c,
			   GArray *list)
{
	if (c->notify_me == 0)
		add(list, p, c, g_strdup_printf("notify_me %" PRIx64, c->addr),
		    g_strdup_printf("%s sleeps with notify_me == 0", c->name),
		    g_strdup_printf("notify_me of %s is 0 while its thread sleeps: no aio_notify() "
				    "will write the eventfd",
				    c->name));
	if (c->notified == 1 && c->notify_me >= 2 && doctor_eventfd_count(d, c->notifier_fd) == 0)
		add(list, p, c, g_strdup_printf("notified %" PRIx64, c->addr),
		    g_strdup_printf("a notification of %s", c->name),
		    g_strdup_printf("%s was notified, its thread sleeps in aio_poll() and its "
				    "eventfd %d counts 0",
				    c->name, c->notifier_fd));
}

static void check_fds(const struct doctor *d, const struct patient *p, const struct poll_set *set,
		      GArray *list)
{
	for (size_t i = 0; i < set->fds->len; i++) {
		const GPollFD *fd = &g_array_index(set->fds, GPollFD, i);
		const struct fd_info *info;

		if (!fd->events || fds_ready(d->fds, fd->fd, (short)fd->events) <= 0)
			continue;
		info = fds_get(d->fds, fd->fd);
		add(list, p, NULL, g_strdup_printf("fd %d", fd->fd),
		    g_strdup_printf("fd %d (%s%s%s)", fd->fd, info->kind,
				    info->detail[0] ? " " : "", info->detail),
		    g_strdup_printf(
			    "fd %d is ready (%s) and in the poll set of a thread that sleeps "
			    "on: the set holds another file under that number, or the "
			    "kernel did not wake it",
			    fd->fd, out_events(fd->events)));
	}
}

static void check_sleeper(const struct doctor *d, const struct patient *p, GArray *list)
{
	const struct poll_set *set = find_set(d->loops, p->tid);
	bool is_loop = false;

	if (!set || !set->timeout_ns)
		return;
	for (size_t i = 0; i < d->loops->contexts->len; i++) {
		const struct context *c = d->loops->contexts->pdata[i];

		if (c->tid != p->tid)
			continue;
		is_loop = true;
		check_bhs(p, c, list);
		check_protocol(d, p, c, list);
		check_timers(d, p, c, c->timers, list);
	}
	for (size_t i = 0; i < d->loops->gcontexts->len; i++) {
		const struct loop_gcontext *g = d->loops->gcontexts->pdata[i];

		if (g->tid != p->tid)
			continue;
		is_loop = true;
		/* main_loop_wait() of the default context also waits for the device timers. */
		if (i == 0)
			check_timers(d, p, NULL, d->loops->main_timers, list);
	}
	if (is_loop)
		check_fds(d, p, set, list);
}

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
			check_sleeper(d, p, list);
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

static const char *advice_for(const struct missed *m)
{
	if (g_str_has_prefix(m->key, "fd"))
		return "Was the descriptor closed and opened again without removing its handler?";
	if (g_str_has_prefix(m->key, "timer"))
		return "Whoever armed it has to wake the loop when it becomes the first: look at the "
		       "list's notify callback.";
	return "Work was published and the loop not woken: look for a missing barrier, or a missing "
	       "aio_notify(), between publishing and reading notify_me.";
}

static bool has_finding(const struct doctor *d, pid_t tid)
{
	for (size_t i = 0; i < d->findings->len; i++) {
		const struct finding *f = d->findings->pdata[i];

		if (f->tid == tid && !strcmp(f->verdict, "LOST WAKEUP"))
			return true;
	}
	return false;
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
			if (has_finding(d, m->tid))
				continue;
			f = finding_new(d, "LOST WAKEUP", p);
			f->span = g_strdup("asleep with work to do");
			f->culprit = g_strdup(m->culprit);
			f->advice = advice_for(m);
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
