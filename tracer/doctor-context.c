// SPDX-License-Identifier: MIT
/*
 * WRONG CONTEXT: there is work in an AioContext that no thread runs: its IOThread has ended or has
 * never begun, or its thread runs another one. (The same of GMainContexts: doctor-glib-context.c.)
 *
 * Work is a bottom half that is scheduled, a timer that is overdue, or a descriptor with a handler
 * that is ready. A notification alone is none: a context that was just made has one. The same work
 * has to be there in all readings of the visit, and in none of them a thread that polls the
 * context, or may be in a callback of it: such a thread has the context on its stack, or the
 * IOThread that it belongs to (loops-iothread.c). Between the readings, who sleeps in its poll
 * would have raised notify_me. A core is one reading, and then no thread may be busy: one that has
 * just begun is not in its poll yet.
 *
 * qemu_aio_context and iohandler_ctx are the main thread's, and may well wait for long: until a
 * tool's blocking call is over, or a nested wait (doctor-nested-outside.c).
 */
#include <inttypes.h>
#include <string.h>

#include "tracer/clock.h"
#include "tracer/describe.h"
#include "tracer/doctor-core.h"
#include "tracer/out.h"

#define MIN_READINGS 3
#define MAX_SAID     4
#define MAX_KEPT     64 /* pieces of work of a context */
#define MAX_FDS	     64 /* handlers of a context that are asked whether they are ready */
#define OVERDUE_NS   (100 * 1000000LL)
#define STACK_WORDS  2048

enum work_kind { OF_BH, OF_TIMER, OF_HANDLER };

struct work {
	enum work_kind kind;
	uint64_t addr, cb;
	int64_t due_ns; /* of a timer */
	int fd;		/* of a handler */
	char name[64];	/* of a bottom half */
};

struct idle_context {
	uint64_t addr;
	char name[64];
	bool is_run; /* or may be */
	int readings;
	int64_t since_ns;
	GArray *work; /* struct work, in all readings */
};

static void context_clear(void *data)
{
	g_array_free(((struct idle_context *)data)->work, TRUE);
}

GArray *contexts_new(void)
{
	GArray *list = g_array_new(FALSE, FALSE, sizeof(struct idle_context));

	g_array_set_clear_func(list, context_clear);
	return list;
}

/* --- looking ---------------------------------------------------------------------------------- */

/* Its next poll is known, and of what: it is in no callback of another context. */
static bool polls(const struct doctor *d, const struct patient *p)
{
	return is_wait_call(p->now.nr) && p->now.state == 'S' && find_set(d->loops, p->tid);
}

static bool holds(const struct doctor *d, uint64_t from, uint64_t addr)
{
	uint64_t words[64];

	for (int at = 0; at < STACK_WORDS; at += G_N_ELEMENTS(words)) {
		if (target_read(d->t, from + 8 * at, words, sizeof(words)))
			return false;
		for (size_t i = 0; i < G_N_ELEMENTS(words); i++)
			if (words[i] == addr)
				return true;
	}
	return false;
}

static bool may_be_run(const struct doctor *d, const struct context *c)
{
	/* Also where that is not known, or IOThreads cannot be told. */
	if (c->tid || c->notify_me || d->l->off[IOTHREAD_CTX] < 0)
		return true;
	for (size_t i = 0; i < d->patients->len; i++) {
		const struct patient *p = d->patients->pdata[i];

		if (polls(d, p))
			continue;
		if (holds(d, p->now.sp, c->addr) ||
		    (!d->t->live && p->now.state == 'R' &&
		     !g_str_has_prefix(doctor_comm(d, p->tid), "CPU ")))
			return true;
	}
	return false;
}

static void find_timers(const struct context *c, GArray *list)
{
	for (size_t i = 0; i < c->timers->len; i++) {
		const struct timer *t = &g_array_index(c->timers, struct timer, i);
		struct work work = { OF_TIMER, t->addr, t->cb, t->expire_ns, -1, "" };
		int64_t now;

		if (t->expire_ns >= 0 && doctor_clock_now(t->clock, &now) &&
		    now - t->expire_ns >= OVERDUE_NS)
			g_array_append_val(list, work);
	}
}

static void find_handlers(const struct doctor *d, const struct context *c, GArray *list)
{
	for (size_t i = 0; i < MIN(c->handlers->len, MAX_FDS); i++) {
		const struct handler *h = &g_array_index(c->handlers, struct handler, i);
		uint64_t cb = h->io_read ? h->io_read : h->io_write;
		struct work work = { OF_HANDLER, h->addr, cb, -1, h->fd, "" };

		if (!h->deleted && h->events && h->fd != c->notifier_fd &&
		    fds_ready(d->fds, h->fd, (short)h->events) > 0)
			g_array_append_val(list, work);
	}
}

static GArray *work_of(const struct doctor *d, const struct context *c)
{
	GArray *list = g_array_new(FALSE, FALSE, sizeof(struct work));

	for (size_t i = 0; i < c->bhs->len; i++) {
		const struct bottom_half *bh = &g_array_index(c->bhs, struct bottom_half, i);
		struct work work = { OF_BH, bh->addr, bh->cb, -1, -1, "" };

		g_strlcpy(work.name, bh->name, sizeof(work.name));
		if (bh_is_due(bh))
			g_array_append_val(list, work);
	}
	if (d->t->live) {
		find_timers(c, list);
		find_handlers(d, c, list);
	}
	return list;
}

static bool is_in(const GArray *list, const struct work *was)
{
	for (size_t i = 0; i < list->len; i++) {
		const struct work *w = &g_array_index(list, struct work, i);

		if (w->kind == was->kind && w->addr == was->addr && w->cb == was->cb &&
		    w->due_ns == was->due_ns && w->fd == was->fd)
			return true;
	}
	return false;
}

static struct idle_context *find(const GArray *list, uint64_t addr)
{
	for (size_t i = 0; i < list->len; i++)
		if (g_array_index(list, struct idle_context, i).addr == addr)
			return &g_array_index(list, struct idle_context, i);
	return NULL;
}

static void look_at(struct doctor *d, const struct context *c)
{
	struct idle_context *known = find(d->idle_contexts, c->addr);
	struct idle_context new = { .addr = c->addr, .since_ns = now_ns() };
	GArray *work;

	if (known && known->is_run)
		return;
	work = work_of(d, c);
	if (!known) {
		g_strlcpy(new.name, c->name, sizeof(new.name));
		g_array_set_size(work, MIN(work->len, MAX_KEPT));
		new.work = work;
		new.readings = 1;
		new.is_run = !work->len || may_be_run(d, c);
		g_array_append_val(d->idle_contexts, new);
		return;
	}
	known->readings++;
	for (size_t i = known->work->len; i-- > 0;)
		if (!is_in(work, &g_array_index(known->work, struct work, i)))
			g_array_remove_index(known->work, i);
	known->is_run = !known->work->len || may_be_run(d, c);
	g_array_free(work, TRUE);
}

void contexts_look(struct doctor *d)
{
	for (size_t i = 0; i < d->loops->contexts->len; i++) {
		const struct context *c = d->loops->contexts->pdata[i];

		if (c->kind != CONTEXT_MAIN && c->kind != CONTEXT_IOHANDLER && !c->damaged_at)
			look_at(d, c);
	}
}

void contexts_sample(struct doctor *d)
{
	uint32_t notify_me;

	for (size_t i = 0; i < d->idle_contexts->len; i++) {
		struct idle_context *c = &g_array_index(d->idle_contexts, struct idle_context, i);

		if (!c->is_run)
			c->is_run = target_read(d->t, c->addr + d->l->off[CTX_NOTIFY_ME],
						&notify_me, sizeof(notify_me)) ||
				    notify_me;
	}
}

/* --- verdict ---------------------------------------------------------------------------------- */

struct finding *finding_without_thread(struct doctor *d, struct patient *p, const char *what,
				       const char *context, int64_t since_ns)
{
	struct finding *f = finding_new(d, "WRONG CONTEXT", p);

	f->span = since_ns < 0 ? g_strdup("now")
			       : g_strdup_printf("for at least %.1f s",
						 (double)(now_ns() - since_ns) / 1e9);
	f->culprit = g_strdup_printf("%s waits in %s, which no thread runs", what, context);
	return f;
}

static char *name_of(const struct doctor *d, const struct work *work)
{
	static const char *const kinds[] = { "BH", "timer", "handler" };
	char *symbol = work->name[0] ? g_strdup(work->name) : images_name(d->images, work->cb);
	char *text = g_strdup_printf("%s %s", kinds[work->kind], symbol);

	g_free(symbol);
	return text;
}

static void say_work(struct doctor *d, struct finding *f, const struct work *work)
{
	char *name = name_of(d, work), *what;
	int64_t now = now_ns();

	if (work->kind == OF_TIMER) {
		what = out_duration(now - work->due_ns);
		finding_say(f, "%s (0x%" PRIx64 ") is overdue by %s", name, work->addr, what);
		g_free(what);
	} else if (work->kind == OF_HANDLER) {
		what = doctor_describe_fd(d, work->fd);
		finding_say(f, "%s has %s, which is ready", name, what);
		g_free(what);
	} else {
		finding_say(f, "%s (0x%" PRIx64 ") is scheduled", name, work->addr);
	}
	g_free(name);
}

static void say(struct doctor *d, struct patient *p, const struct idle_context *c)
{
	char *name = name_of(d, &g_array_index(c->work, struct work, 0));
	struct finding *f =
		finding_without_thread(d, p, name, c->name, d->t->live ? c->since_ns : -1);

	if (d->t->live)
		finding_say(f,
			    "in %d readings no thread polled it, none had it on its stack, and its "
			    "notify_me was 0 all the time",
			    c->readings);
	else
		finding_say(f, "no thread polls it, none has it on its stack, its notify_me is 0");
	for (size_t i = 0; i < MIN(c->work->len, MAX_SAID); i++)
		say_work(d, f, &g_array_index(c->work, struct work, i));
	if (c->work->len > MAX_SAID)
		finding_say(f, "and %s%u more", c->work->len == MAX_KEPT ? "at least " : "",
			    c->work->len - MAX_SAID);
	if (d->t->live)
		finding_say(f, "all that is in it: loopscope handlers -p %d 0x%" PRIx64, d->t->pid,
			    c->addr);
	else
		finding_say(f, "%s", ONE_LOOK);
	f->advice = ORPHAN_ADVICE;
	g_free(name);
}

void contexts_conclude(struct doctor *d)
{
	struct patient *p = doctor_patient(d, d->t->pid);
	int needed = d->t->live ? MIN_READINGS : 1;

	for (size_t i = 0; p && i < d->idle_contexts->len; i++) {
		const struct idle_context *c =
			&g_array_index(d->idle_contexts, struct idle_context, i);

		/* What is gone by the last reading has not been read so often. */
		if (!c->is_run && c->readings >= needed && loops_context(d->loops, c->addr))
			say(d, p, c);
	}
}
