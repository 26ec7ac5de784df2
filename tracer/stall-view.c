// SPDX-License-Identifier: MIT
/*
 * What is seen of a stall while it lasts: which callback the loop is in, whose lock it waits for,
 * what it leaves waiting. See stalls.h.
 */
#include <inttypes.h>
#include <string.h>

#include "tracer/clock.h"
#include "tracer/describe.h"
#include "tracer/stalls.h"

#define HOLDER_MS     20
#define HOLDER_FRAMES 6
#define LATE_NS	      1000000 /* a timer is not late before */

static void item_free(void *data)
{
	struct stall_item *item = data;

	g_free(item->what);
	g_free(item->callback);
	g_free(item);
}

void stall_view_free(struct stall_view *v)
{
	if (!v || --v->refs)
		return;
	g_free(v->culprit);
	g_free(v->nested);
	g_free(v->lock.holder_name);
	g_free(v->lock.holder_does);
	g_ptr_array_free(v->backlog.items, TRUE);
	g_ptr_array_free(v->stack, TRUE);
	g_free(v);
}

/* --- whose fault ---------------------------------------------------------------------------- */

static char *culprit_of(struct doctor *d, const struct stack *stack, uint64_t *ret_callback)
{
	char *inner, *text;
	struct where w;

	doctor_where(d, stack, &w);
	if (w.callback >= 0) {
		*ret_callback = stack->frames[w.callback].function;
		return doctor_callback_name(d, *ret_callback, stack);
	}
	if (w.for_bql)
		return g_strdup("the loop itself, to take the big lock");
	if (w.machine >= 0) {
		inner = frame_name(d, &stack->frames[MAX(w.machine - 1, 0)]);
		text = g_strdup_printf("the loop itself, in %s", inner);
		g_free(inner);
		return text;
	}
	return g_strdup(stack->whole
				? "no loop's function: it is outside of its loop"
				: "a coroutine: the chain of calls ends where its stack begins");
}

/* The wait in it, and the callback that waits. */
static void note_nested(struct doctor *d, const struct stack *stack, struct stall_view *v)
{
	const struct thread_now *now = &stack->thread;
	struct nest nest;
	char *caller;

	if (!is_wait_call(now->nr) || !doctor_nest(d, now->tid, stack, &nest))
		return;
	if (nest.callback >= 0) {
		g_free(v->culprit);
		v->callback = stack->frames[nest.callback].function;
		v->culprit = doctor_callback_name(d, v->callback, stack);
	}
	caller = nest.poll + 1 < stack->n ? frame_name(d, &stack->frames[nest.poll + 1])
					  : g_strdup("?");
	v->nested = g_strdup_printf("aio_poll() called by %s, depth %d", caller, nest.depth);
	g_free(caller);
}

static void note_lock(struct doctor *d, const struct stack *stack, struct stall_view *v)
{
	struct stall_lock *lock = &v->lock;
	struct stack held;
	char *chain, *does, *call;

	lock->addr = doctor_mutex_waited_for(d, stack);
	if (!lock->addr)
		return;
	lock->bql = lock->addr == d->bql;
	lock->holder = doctor_mutex_owner(d, lock->addr);
	if (lock->holder == stack->thread.tid)
		lock->holder = 0;
	if (!lock->holder)
		return;
	lock->holder_name = g_strdup(doctor_comm(d, lock->holder));
	if (stacks_take(d->stacks, lock->holder, HOLDER_MS, &held, NULL))
		return;
	chain = doctor_callers(d, &held, 0, HOLDER_FRAMES);
	call = held.thread.state == 'R' ? NULL : doctor_describe_call(d, &held.thread);
	does = call ? g_strdup_printf("is %s", call) : g_strdup("runs");
	lock->holder_does = g_strdup_printf("%s: %s", does, chain);
	g_free(call);
	g_free(does);
	g_free(chain);
}

struct stall_view *stall_view_empty(void)
{
	struct stall_view *v = g_new0(struct stall_view, 1);

	v->refs = 1;
	v->backlog.items = g_ptr_array_new_with_free_func(item_free);
	v->stack = g_ptr_array_new_with_free_func(g_free);
	return v;
}

struct stall_view *stall_view_new(struct doctor *d, const struct stack *stack, bool at_exit)
{
	struct stall_view *v = stall_view_empty();

	v->culprit = culprit_of(d, stack, &v->callback);
	for (int i = 0; i < stack->n; i++)
		g_ptr_array_add(v->stack, frame_name(d, &stack->frames[i]));
	note_nested(d, stack, v);
	if (!at_exit)
		note_lock(d, stack, v);
	return v;
}

/* --- what is left waiting ------------------------------------------------------------------- */

static void add(struct stall_backlog *b, enum stall_item_kind kind, int number, int64_t late_ns,
		const char *what, char *callback)
{
	int *count = kind == STALL_FD ? &b->fds : kind == STALL_BH ? &b->bhs : &b->timers;
	struct stall_item *item;

	if (++*count > STALL_LISTED) {
		g_free(callback);
		return;
	}
	item = g_new0(struct stall_item, 1);
	item->kind = kind;
	item->fd = number;
	item->late_ns = late_ns;
	item->what = g_strdup(what);
	item->callback = callback;
	g_ptr_array_add(b->items, item);
}

static void add_fd(struct doctor *d, struct stall_backlog *b, int fd, short events, uint64_t cb)
{
	if (events && fds_ready(d->fds, fd, events) > 0)
		add(b, STALL_FD, fd, 0, fds_get(d->fds, fd)->kind, images_name(d->images, cb));
}

/* The handler that runs now and has not read yet: it is being served. */
static const struct handler *served(const struct context *c, uint64_t callback)
{
	const struct handler *one = NULL;

	for (size_t i = 0; callback && i < c->handlers->len; i++) {
		const struct handler *h = &g_array_index(c->handlers, struct handler, i);

		if (h->deleted || (h->io_read != callback && h->io_write != callback))
			continue;
		if (one)
			return NULL; /* one of several: which it is, is not known */
		one = h;
	}
	return one;
}

static void add_handlers(struct doctor *d, struct stall_view *v, const struct context *c)
{
	const struct handler *own = served(c, v->callback);

	for (size_t i = 0; i < c->handlers->len; i++) {
		const struct handler *h = &g_array_index(c->handlers, struct handler, i);

		if (h->deleted || h == own || h->fd == c->notifier_fd)
			continue;
		add_fd(d, &v->backlog, h->fd, (short)h->events,
		       h->io_read ? h->io_read : h->io_write);
	}
}

static void add_bhs(struct doctor *d, struct stall_backlog *b, const struct context *c)
{
	for (size_t i = 0; i < c->bhs->len; i++) {
		const struct bottom_half *bh = &g_array_index(c->bhs, struct bottom_half, i);

		if (bh_is_due(bh))
			add(b, STALL_BH, 0, 0, c->name,
			    bh->name[0] ? g_strdup(bh->name) : images_name(d->images, bh->cb));
	}
}

static void add_timers(struct doctor *d, struct stall_backlog *b, const GArray *timers)
{
	for (size_t i = 0; i < timers->len; i++) {
		const struct timer *timer = &g_array_index(timers, struct timer, i);
		int64_t now;

		if (timer->expire_ns >= 0 && doctor_clock_now(timer->clock, &now) &&
		    now - timer->expire_ns >= LATE_NS)
			add(b, STALL_TIMER, 0, now - timer->expire_ns, NULL,
			    images_name(d->images, timer->cb));
	}
}

static void add_sources(struct doctor *d, struct stall_view *v, const struct loop_gcontext *g)
{
	for (size_t i = 0; i < g->sources->len; i++) {
		const struct loop_source *s = g->sources->pdata[i];
		const GArray *sets[] = { s->fds, s->unix_fds };

		if (s->is_aio_context || (s->callback && s->callback == v->callback))
			continue;
		for (int k = 0; k < 2; k++)
			for (size_t n = 0; sets[k] && n < sets[k]->len; n++) {
				const GPollFD *fd = &g_array_index(sets[k], GPollFD, n);

				add_fd(d, &v->backlog, fd->fd, (short)fd->events, s->callback);
			}
	}
}

void stall_view_add_backlog(struct doctor *d, struct stall_view *v, pid_t tid)
{
	bool is_main = tid == d->t->pid;

	if (doctor_read_loops(d, NULL))
		return;
	v->backlog.known = true;
	for (size_t i = 0; i < d->loops->contexts->len; i++) {
		const struct context *c = d->loops->contexts->pdata[i];
		const struct patient *home = doctor_home(d, c);

		if (!home || home->tid != tid)
			continue;
		add_handlers(d, v, c);
		add_bhs(d, &v->backlog, c);
		add_timers(d, &v->backlog, c->timers);
	}
	if (is_main)
		add_timers(d, &v->backlog, d->loops->main_timers);
	for (size_t i = 0; i < d->loops->gcontexts->len; i++) {
		const struct loop_gcontext *g = d->loops->gcontexts->pdata[i];

		/* The default one is the main loop's, whether that polls just now or not. */
		if (g->tid == tid || (!i && is_main))
			add_sources(d, v, g);
	}
}
