// SPDX-License-Identifier: MIT
/*
 * What a sleeper misses, in one reading of the loops.
 *
 * Not evidence: `notified` while a context sleeps as a GSource. There nobody looks at it before the
 * sleep, and a notification from within the loop leaves it set until the next wake-up.
 */
#include <inttypes.h>
#include <string.h>

#include <linux/types.h>
#include "bpf/tables.h"
#include "tracer/clock.h"
#include "tracer/describe.h"
#include "tracer/doctor-glib.h"
#include "tracer/doctor-lost.h"
#include "tracer/out.h"

#define OVERDUE_NS (20 * 1000000LL)

enum { CLOCK_REALTIME_OF_QEMU = 0, CLOCK_HOST_OF_QEMU = 2 };

void missed_clear(void *data)
{
	struct missed *m = data;

	g_free(m->key);
	g_free(m->culprit);
	g_free(m->proof);
}

const char *missed_advice(const struct missed *m)
{
	if (g_str_has_prefix(m->key, "fd"))
		return "Was the descriptor closed and opened again without removing its handler?";
	if (g_str_has_prefix(m->key, "handler"))
		return "Was it added while the context changed its fd monitor? Adding another handler, "
		       "or removing this one and adding it again, wakes the loop.";
	if (g_str_has_prefix(m->key, "source"))
		return "The poll did not heed the timeout that GLib's sources allow: look at the "
		       "function given to g_main_context_set_poll_func().";
	if (g_str_has_prefix(m->key, "timer"))
		return "Whoever armed it has to wake the loop when it becomes the first: look at the "
		       "list's notify callback.";
	return "Work was published and the loop not woken: look for a missing barrier, or a missing "
	       "aio_notify(), between publishing and reading notify_me.";
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

		if (!bh_is_due(bh))
			continue;
		add(list, p, c, g_strdup_printf("bh %" PRIx64, bh->addr),
		    g_strdup_printf("BH %s of %s", bh->name[0] ? bh->name : "without a name",
				    c->name),
		    g_strdup_printf("BH %s (0x%" PRIx64 ") on the list of %s is %s and not called",
				    bh->name, bh->addr, c->name, bh_state(bh->flags)));
	}
}

bool doctor_clock_now(int clock, int64_t *ret_ns)
{
	if (clock == CLOCK_REALTIME_OF_QEMU)
		*ret_ns = now_ns();
	else if (clock == CLOCK_HOST_OF_QEMU)
		*ret_ns = g_get_real_time() * 1000;
	else
		return false;
	return true;
}

/* Is the timeout what the thread sleeps for? A ring is told another way, epoll_pwait2() too. */
static bool sleeps_for_ever(const struct poll_set *set)
{
	return set->timeout_ns < 0 && (set->nr == NR_POLL || set->nr == NR_PPOLL ||
				       set->nr == NR_EPOLL_WAIT || set->nr == NR_EPOLL_PWAIT);
}

/* What is wrong with it; NULL: nothing that is known. To be freed. */
static char *wrong_with(const struct doctor *d, const struct timer *timer,
			const struct poll_set *set)
{
	char *late, *text;
	int64_t now;

	/* The other clocks stand still now and then; and "never" is no time. */
	if (timer->expire_ns < 0 || timer->expire_ns > INT64_MAX / 2 ||
	    !doctor_clock_now(timer->clock, &now))
		return NULL;
	if (d->t->live && now - timer->expire_ns >= OVERDUE_NS) {
		late = out_duration(now - timer->expire_ns);
		text = g_strdup_printf("is overdue by %s", late);
		g_free(late);
		return text;
	}
	return sleeps_for_ever(set) ? g_strdup("is armed, and the thread sleeps for ever") : NULL;
}

static void check_timers(const struct doctor *d, const struct patient *p, const struct context *c,
			 const struct poll_set *set, const GArray *timers, GArray *list)
{
	for (size_t i = 0; i < timers->len; i++) {
		const struct timer *timer = &g_array_index(timers, struct timer, i);
		char *wrong = wrong_with(d, timer, set), *name;

		if (!wrong)
			continue;
		name = images_name(d->images, timer->cb);
		add(list, p, c, g_strdup_printf("timer %" PRIx64, timer->addr),
		    g_strdup_printf("timer %s of %s", name, c ? c->name : "main_loop_tlg"),
		    g_strdup_printf("timer %s (0x%" PRIx64 ") %s", name, timer->addr, wrong));
		g_free(name);
		g_free(wrong);
	}
}

static bool in_set(const struct poll_set *set, int fd)
{
	for (size_t i = 0; i < set->fds->len; i++)
		if (g_array_index(set->fds, GPollFD, i).fd == fd)
			return true;
	return false;
}

/*
 * Does the eventfd that the sleeper waits for count 0? In a core: a poll that a stop or a deadly
 * signal interrupted had found nothing ready, as the kernel looks for that first.
 */
static bool is_empty(const struct doctor *d, const struct poll_set *set, int fd)
{
	if (d->t->live)
		return doctor_eventfd_count(d, fd) == 0;
	return (set->nr == NR_POLL || set->nr == NR_PPOLL) && in_set(set, fd);
}

/* The protocol between aio_notify() and the sleeper. */
static void check_protocol(const struct doctor *d, const struct patient *p, const struct context *c,
			   const struct poll_set *set, GArray *list)
{
	if (c->notify_me == 0)
		add(list, p, c, g_strdup_printf("notify_me %" PRIx64, c->addr),
		    g_strdup_printf("%s sleeps with notify_me == 0", c->name),
		    g_strdup_printf("notify_me of %s is 0 while its thread sleeps: no aio_notify() "
				    "will write the eventfd",
				    c->name));
	if (c->notified == 1 && c->notify_me >= 2 && is_empty(d, set, c->notifier_fd))
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
		struct owner owner;
		char *source;

		if (!fd->events || fds_ready(d->fds, fd->fd, (short)fd->events) <= 0)
			continue;
		info = fds_get(d->fds, fd->fd);
		loops_owner(d->loops, p->tid, fd->fd, &owner);
		source = owner.source ? glib_source_name(d, owner.source) : NULL;
		add(list, p, NULL, g_strdup_printf("fd %d", fd->fd),
		    g_strdup_printf("fd %d (%s%s%s)%s%s", fd->fd, info->kind,
				    info->detail[0] ? " " : "", info->detail, source ? " of " : "",
				    source ?: ""),
		    g_strdup_printf(
			    "fd %d is ready (%s) and in the poll set of a thread that sleeps "
			    "on: the set holds another file under that number, or the "
			    "kernel did not wake it",
			    fd->fd, out_events(fd->events)));
		g_free(source);
	}
}

/*
 * Sources of a GMainContext that are due, or are idle sources: with one of these there is no sleep.
 * Those that are being dispatched, below a nested loop, do not count.
 */
static void check_sources(const struct doctor *d, const struct patient *p,
			  const struct loop_gcontext *g, GArray *list)
{
	for (size_t i = 0; i < g->sources->len; i++) {
		const struct loop_source *s = g->sources->pdata[i];
		bool idle = !g_strcmp0(loops_source_kind(d->loops, s), "idle");
		int64_t due_ns = glib_ready_now(d, s), late_ns = now_ns() - due_ns;
		char *name, *late, *words;

		if (s->is_aio_context || !d->t->live || !(s->flags & SOURCE_ACTIVE) ||
		    s->flags & (SOURCE_BLOCKED | SOURCE_IN_CALL) ||
		    (!idle && (due_ns < 0 || late_ns < OVERDUE_NS)))
			continue;
		name = glib_source_name(d, s);
		words = glib_source_words(d, g, s);
		late = idle ? g_strdup("always ready") : out_duration(late_ns);
		add(list, p, NULL, g_strdup_printf("source %" PRIx64 " %u", s->addr, s->id),
		    g_strdup(name),
		    g_strdup_printf("%s, %s, is %s%s", name, words, idle ? "" : "overdue by ",
				    late));
		g_free(name);
		g_free(words);
		g_free(late);
	}
}

/* Handlers that the sleeper does not poll itself: a monitor in the kernel does, or ought to. */
static void check_handlers(const struct doctor *d, const struct patient *p,
			   const struct poll_set *set, const struct context *c, GArray *list)
{
	for (size_t i = 0; i < c->handlers->len; i++) {
		const struct handler *h = &g_array_index(c->handlers, struct handler, i);
		const struct fd_info *info;

		if (h->deleted || !h->events || in_set(set, h->fd) ||
		    fds_ready(d->fds, h->fd, (short)h->events) <= 0)
			continue;
		info = fds_get(d->fds, h->fd);
		add(list, p, c, g_strdup_printf("handler %d", h->fd),
		    g_strdup_printf("fd %d (%s) of %s", h->fd, info->kind, c->name),
		    g_strdup_printf("fd %d has a handler in %s and is ready (%s), and the thread "
				    "sleeps on: its fd monitor does not watch it",
				    h->fd, c->name, out_events(h->events)));
	}
}

void lost_check_sleeper(const struct doctor *d, const struct patient *p, GArray *list)
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
		check_protocol(d, p, c, set, list);
		check_timers(d, p, c, set, c->timers, list);
		check_handlers(d, p, set, c, list);
	}
	for (size_t i = 0; i < d->loops->gcontexts->len; i++) {
		const struct loop_gcontext *g = d->loops->gcontexts->pdata[i];

		if (g->tid != p->tid)
			continue;
		is_loop = true;
		check_sources(d, p, g, list);
		/* main_loop_wait() of the default context also waits for the device timers. */
		if (i == 0)
			check_timers(d, p, NULL, set, d->loops->main_timers, list);
	}
	if (is_loop)
		check_fds(d, p, set, list);
}
