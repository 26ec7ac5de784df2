// SPDX-License-Identifier: MIT
/* Putting the tables of a target together. See loops.h. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tracer/loops.h"

#define N_CLOCKS   4
#define MAX_LISTS  4096
#define MAX_SLICES 64 /* nested aio_bh_poll()s */

/* What one list of tables_read() is of. */
struct wanted {
	enum { WANT_HANDLERS, WANT_TAKEN, WANT_BHS, WANT_TIMERS } what;
	struct context *context; /* NULL: main_loop_tlg */
	uint64_t head;		 /* address of the list's head */
	int clock;
};

struct plan {
	GArray *specs;	/* struct list_spec */
	GArray *wanted; /* struct wanted, the same order */
};

static struct context *context_at(const struct loops *loops, size_t i)
{
	return loops->contexts->pdata[i];
}

static void plan_list(struct loops *loops, struct plan *plan, struct wanted w, int32_t next,
		      const char *type)
{
	struct list_spec spec = { .next = next };

	if (next < 0 || target_read_u64(loops->t, w.head, &spec.first))
		return;
	spec.size = MIN(layout_extent(loops->l, type), ELEMENT_MAX);
	g_array_append_val(plan->specs, spec);
	g_array_append_val(plan->wanted, w);
}

static void plan_timers(struct loops *loops, struct plan *plan, struct context *c, uint64_t list)
{
	const struct layout *l = loops->l;
	struct wanted w = { WANT_TIMERS, c, list + l->off[TL_ACTIVE], -1 };
	uint64_t clock;
	uint32_t type;

	if (l->off[TL_ACTIVE] < 0 || target_read_u64(loops->t, list + l->off[TL_CLOCK], &clock) ||
	    target_read(loops->t, clock + l->off[CLOCK_TYPE], &type, sizeof(type)))
		return;
	w.clock = type;
	plan_list(loops, plan, w, l->off[TIMER_NEXT], "QEMUTimer");
}

/* Each aio_bh_poll() that runs keeps what it took in a slice on its stack. */
static void plan_slices(struct loops *loops, struct plan *plan, struct context *c)
{
	const struct layout *l = loops->l;
	uint64_t at;

	if (l->off[CTX_SLICES] < 0 || l->off[SLICE_NEXT] < 0 || l->off[SLICE_LIST] < 0 ||
	    target_read_u64(loops->t, c->addr + l->off[CTX_SLICES], &at))
		return;
	for (int n = 0; at && n < MAX_SLICES; n++) {
		struct wanted w = { WANT_TAKEN, c, at + l->off[SLICE_LIST], 0 };

		plan_list(loops, plan, w, l->off[BH_NEXT], "QEMUBH");
		if (target_read_u64(loops->t, at + l->off[SLICE_NEXT], &at))
			break;
	}
}

/* The timer lists of the clocks that no context owns are those of main_loop_tlg. */
static void plan_main_timers(struct loops *loops, struct plan *plan)
{
	const struct layout *l = loops->l;
	uint64_t tlg;

	if (!loops->contexts->len || l->off[CTX_TLG] < 0 || l->off[TL_NEXT] < 0 ||
	    l->off[CLOCK_LISTS] < 0)
		return;
	tlg = context_at(loops, 0)->addr + l->off[CTX_TLG];
	for (int i = 0; i < N_CLOCKS; i++) {
		uint64_t own, clock, at, cb, own_cb;

		if (target_read_u64(loops->t, tlg + 8 * i, &own) ||
		    target_read_u64(loops->t, own + l->off[TL_CLOCK], &clock) ||
		    target_read_u64(loops->t, own + l->off[TL_NOTIFY_CB], &own_cb) ||
		    target_read_u64(loops->t, clock + l->off[CLOCK_LISTS], &at))
			return;
		for (int n = 0; at && n < MAX_LISTS; n++) {
			if (!target_read_u64(loops->t, at + l->off[TL_NOTIFY_CB], &cb) &&
			    cb != own_cb)
				plan_timers(loops, plan, NULL, at);
			if (target_read_u64(loops->t, at + l->off[TL_NEXT], &at))
				break;
		}
	}
}

static void make_plan(struct loops *loops, struct plan *plan)
{
	const struct layout *l = loops->l;

	for (size_t i = 0; i < loops->contexts->len; i++) {
		struct context *c = context_at(loops, i);
		struct wanted handlers = { WANT_HANDLERS, c, c->addr + l->off[CTX_HANDLERS], 0 };
		struct wanted bhs = { WANT_BHS, c, c->addr + l->off[CTX_BH_LIST], 0 };

		plan_list(loops, plan, handlers, l->off[NODE_NEXT], "AioHandler");
		plan_slices(loops, plan, c);
		if (l->off[CTX_BH_LIST] >= 0) {
			plan_list(loops, plan, bhs, l->off[BH_NEXT], "QEMUBH");
		} else if (l->off[CTX_FIRST_BH] >= 0) {
			bhs.head = c->addr + l->off[CTX_FIRST_BH];
			plan_list(loops, plan, bhs, l->off[BH_OLD_NEXT], "QEMUBH");
		}
		for (int k = 0; k < N_CLOCKS && l->off[CTX_TLG] >= 0; k++) {
			uint64_t list;

			if (!target_read_u64(loops->t, c->addr + l->off[CTX_TLG] + 8 * k, &list))
				plan_timers(loops, plan, c, list);
		}
	}
	plan_main_timers(loops, plan);
}

/* Take the handlers, as long as each points back at the one before; false where that breaks. */
static bool take_handlers(struct loops *loops, const struct wanted *w, const GArray *elements)
{
	const struct layout *l = loops->l;
	struct context *c = w->context;
	uint64_t back = w->head;

	for (size_t i = 0; i < elements->len; i++) {
		const struct element *e = &g_array_index(elements, struct element, i);
		struct handler h = { .addr = e->addr };

#define GET(field) layout_get(l, field, e->bytes, ELEMENT_MAX)
		if (e->failed || GET(NODE_PREV) != back) {
			c->damaged_at = e->addr;
			return false;
		}
		h.fd = (int)GET(NODE_FD);
		h.events = GET(NODE_EVENTS);
		h.revents = GET(NODE_REVENTS);
		h.io_read = GET(NODE_IO_READ);
		h.io_write = GET(NODE_IO_WRITE);
		h.io_poll = GET(NODE_IO_POLL);
		h.opaque = GET(NODE_OPAQUE);
		h.deleted = GET(NODE_DELETED_PREV) || GET(NODE_DELETED);
		h.on_poll_list = GET(NODE_POLL_PREV) != 0;
		g_array_append_val(c->handlers, h);
		back = e->addr + l->off[NODE_NEXT];
	}
	return true;
}

/* Before 5.0 they were members of their own. */
static uint32_t bh_flags(const struct layout *l, const struct element *e)
{
	if (l->off[BH_FLAGS] >= 0)
		return GET(BH_FLAGS);
	return (GET(BH_OLD_SCHEDULED) ? BH_SCHEDULED : 0) | (GET(BH_OLD_IDLE) ? BH_IDLE : 0) |
	       (GET(BH_OLD_DELETED) ? BH_DELETED : 0);
}

static void take_bhs(struct loops *loops, const struct wanted *w, const GArray *elements)
{
	const struct layout *l = loops->l;
	struct context *c = w->context;

	for (size_t i = 0; i < elements->len; i++) {
		const struct element *e = &g_array_index(elements, struct element, i);
		struct bottom_half bh = { .addr = e->addr, .taken = w->what == WANT_TAKEN };

		if (e->failed || GET(BH_CTX) != c->addr)
			return;
		bh.cb = GET(BH_CB);
		bh.opaque = GET(BH_OPAQUE);
		bh.flags = bh_flags(l, e);
		if (!bh.flags &&
		    l->off[BH_FLAGS] <
			    0) /* before 5.0 the list has those too that nobody scheduled */
			continue;
		if (l->off[BH_NAME] >= 0)
			target_read_string(loops->t, GET(BH_NAME), bh.name, sizeof(bh.name));
		g_array_append_val(c->bhs, bh);
	}
}

/* Take the timers, as long as each points back at its list and calls a function. */
static void take_timers(struct loops *loops, const struct wanted *w, const GArray *elements)
{
	const struct layout *l = loops->l;
	uint64_t list = w->head - l->off[TL_ACTIVE];
	GArray *timers = w->context ? w->context->timers : loops->main_timers;

	for (size_t i = 0; i < elements->len; i++) {
		const struct element *e = &g_array_index(elements, struct element, i);
		struct timer timer = { .addr = e->addr, .clock = w->clock };

		if (e->failed || GET(TIMER_LIST) != list)
			return;
		timer.cb = GET(TIMER_CB);
		if (!images_is_function(loops->images, timer.cb))
			return;
		timer.opaque = GET(TIMER_OPAQUE);
		timer.expire_ns = (int64_t)GET(TIMER_EXPIRE);
		timer.scale = (int32_t)GET(TIMER_SCALE);
		g_array_append_val(timers, timer);
	}
#undef GET
}

/* The monitor's table is exported; its name says which it is. */
static void read_fdmon(struct loops *loops, struct context *c, uint64_t ops)
{
	char *name = images_name(loops->images, ops);

	if (g_str_has_prefix(name, "fdmon_") && g_str_has_suffix(name, "_ops"))
		snprintf(c->fdmon, sizeof(c->fdmon), "%.*s", (int)strlen(name) - 10, name + 6);
	g_free(name);
}

static void read_scalars(struct loops *loops, struct context *c)
{
	const struct layout *l = loops->l;
	size_t size = layout_extent(l, "AioContext");
	uint8_t *bytes = g_malloc0(size);

	c->notified = c->notify_me = c->notifier_fd = -1;
	if (!target_read(loops->t, c->addr, bytes, size)) {
		if (l->off[CTX_NOTIFIED] >= 0)
			c->notified = (int)layout_get(l, CTX_NOTIFIED, bytes, size);
		if (l->off[CTX_NOTIFY_ME] >= 0)
			c->notify_me = (int)layout_get(l, CTX_NOTIFY_ME, bytes, size);
		if (l->off[CTX_NOTIFIER_RFD] >= 0)
			c->notifier_fd = (int)layout_get(l, CTX_NOTIFIER_RFD, bytes, size);
		if (l->off[CTX_FDMON_OPS] >= 0)
			read_fdmon(loops, c, layout_get(l, CTX_FDMON_OPS, bytes, size));
	}
	g_free(bytes);
}

/* One reading of everything; false if a list changed meanwhile. */
static int read_once(struct loops *loops, int timeout_ms, bool *consistent, struct failure *why)
{
	struct plan plan = { g_array_new(FALSE, FALSE, sizeof(struct list_spec)),
			     g_array_new(FALSE, FALSE, sizeof(struct wanted)) };
	int err = layout_is_qemu(loops->l) ? loops_find_contexts(loops, why) : 0;

	if (!err) {
		make_plan(loops, &plan);
		err = tables_read(loops->way, loops->t, loops->images,
				  (struct list_spec *)plan.specs->data, plan.specs->len, timeout_ms,
				  &loops->tables, why);
	}
	*consistent = true;
	for (size_t i = 0; !err && i < plan.wanted->len; i++) {
		const struct wanted *w = &g_array_index(plan.wanted, struct wanted, i);
		const GArray *elements = loops->tables->lists->pdata[i];

		if (w->what == WANT_HANDLERS)
			*consistent &= take_handlers(loops, w, elements);
		else if (w->what == WANT_BHS || w->what == WANT_TAKEN)
			take_bhs(loops, w, elements);
		else
			take_timers(loops, w, elements);
	}
	for (size_t i = 0; !err && i < loops->contexts->len; i++)
		read_scalars(loops, context_at(loops, i));
	g_array_free(plan.specs, TRUE);
	g_array_free(plan.wanted, TRUE);
	return err;
}

static void context_free(void *context)
{
	struct context *c = context;

	g_array_free(c->handlers, TRUE);
	g_array_free(c->bhs, TRUE);
	g_array_free(c->timers, TRUE);
	g_free(c);
}

static void gcontext_free(void *gcontext)
{
	struct loop_gcontext *g = gcontext;

	g_ptr_array_free(g->sources, TRUE);
	g_free(g);
}

void loops_free(struct loops *loops)
{
	if (!loops)
		return;
	g_ptr_array_free(loops->contexts, TRUE);
	g_ptr_array_free(loops->gcontexts, TRUE);
	g_array_free(loops->main_timers, TRUE);
	tables_free(loops->tables);
	g_free(loops);
}

static struct loops *loops_new(struct target *t, struct images *images, struct layout *l,
			       struct fds *fds, enum read_way way)
{
	struct loops *loops = g_new0(struct loops, 1);

	loops->t = t;
	loops->images = images;
	loops->l = l;
	loops->fds = fds;
	loops->way = way;
	loops->contexts = g_ptr_array_new_with_free_func(context_free);
	loops->gcontexts = g_ptr_array_new_with_free_func(gcontext_free);
	loops->main_timers = g_array_new(FALSE, TRUE, sizeof(struct timer));
	return loops;
}

int loops_read(struct target *t, struct images *images, struct layout *l, struct fds *fds,
	       enum read_way way, int timeout_ms, struct loops **ret, struct failure *why)
{
	struct loops *loops = NULL;
	bool consistent;
	int attempt = 0;

	do {
		int err;

		loops_free(loops);
		loops = loops_new(t, images, l, fds, way);
		err = read_once(loops, timeout_ms, &consistent, why);
		if (err) {
			loops_free(loops);
			return err;
		}
	} while (!consistent && target_read_again(t, attempt++));
	loops_read_glib(loops);
	loops_find_monitors(loops);
	if (loops->contexts->len)
		loops_name_iothreads(loops);
	*ret = loops;
	return 0;
}

struct context *loops_context(const struct loops *loops, uint64_t addr)
{
	for (size_t i = 0; i < loops->contexts->len; i++)
		if (context_at(loops, i)->addr == addr)
			return context_at(loops, i);
	return NULL;
}

struct context *loops_context_of(const struct loops *loops, pid_t tid)
{
	for (size_t i = 0; i < loops->contexts->len; i++)
		if (context_at(loops, i)->tid == tid)
			return context_at(loops, i);
	return NULL;
}

struct context *loops_main(const struct loops *loops)
{
	return loops->contexts->len ? context_at(loops, 0) : NULL;
}
