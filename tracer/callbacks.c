// SPDX-License-Identifier: MIT
/* See callbacks.h. */
#include "tracer/callbacks.h"

struct viewer {
	const struct loops *loops;
	void (*see)(const struct callback *callback, void *arg);
	void *arg;
};

static void show(const struct viewer *v, const struct callback *c)
{
	if (c->cb)
		v->see(c, v->arg);
}

static void show_handlers(const struct viewer *v, const struct context *ctx)
{
	for (size_t i = 0; i < ctx->handlers->len; i++) {
		const struct handler *h = &g_array_index(ctx->handlers, struct handler, i);
		struct callback c = { .cb = h->io_read,
				      .arg = h->opaque,
				      .ctx = ctx->addr,
				      .object = h->addr,
				      .fd = h->fd };

		if (h->deleted)
			continue;
		show(v, &c);
		c.cb = h->io_write;
		c.write = true;
		show(v, &c);
	}
}

static void show_timers(const struct viewer *v, const GArray *timers)
{
	for (size_t i = 0; i < timers->len; i++) {
		const struct timer *timer = &g_array_index(timers, struct timer, i);
		struct callback c = { .cb = timer->cb,
				      .arg = timer->opaque,
				      .kind = CALLBACK_TIMER,
				      .object = timer->addr,
				      .expire_ns = timer->expire_ns,
				      .clock = timer->clock };

		show(v, &c);
	}
}

static void show_sources(const struct viewer *v, const struct loop_gcontext *g)
{
	for (size_t i = 0; i < g->sources->len; i++) {
		const struct loop_source *s = g->sources->pdata[i];
		struct callback c = { .cb = s->callback,
				      .arg = s->data,
				      .kind = CALLBACK_SOURCE,
				      .ctx = g->addr,
				      .object = s->addr,
				      .priority = s->priority };

		target_read_u64(v->loops->t, s->funcs + offsetof(GSourceFuncs, dispatch),
				&c.dispatch);
		if (!s->is_aio_context)
			show(v, &c);
	}
}

void callbacks_each(const struct loops *loops,
		    void (*see)(const struct callback *callback, void *arg), void *arg)
{
	const struct viewer v = { loops, see, arg };

	for (size_t i = 0; i < loops->contexts->len; i++) {
		const struct context *ctx = loops->contexts->pdata[i];

		show_handlers(&v, ctx);
		show_timers(&v, ctx->timers);
	}
	show_timers(&v, loops->main_timers);
	for (size_t i = 0; i < loops->gcontexts->len; i++)
		show_sources(&v, loops->gcontexts->pdata[i]);
}
