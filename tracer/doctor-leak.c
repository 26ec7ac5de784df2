// SPDX-License-Identifier: MIT
/*
 * HANDLER LEAK: a context's handlers of one callback become more and more (doctor-growth.h).
 *
 * Only loops that poll are judged: what epoll finds ready is not counted. Handlers that were
 * removed and are still on the list are a group of their own: they go when nobody walks the list
 * any more.
 */
#include <string.h>

#include "tracer/doctor-growth.h"

#define MAX_NODES 100000

struct group {
	uint64_t ctx, callback;
	bool deleted;
	struct growth growth;
};

struct node {
	uint64_t addr;
	int fd;
	struct group *group;
};

struct leak {
	GPtrArray *groups; /* struct group */
	GHashTable *nodes; /* of the last reading: address -> struct node */
	GHashTable *fresh; /* numbers of descriptors whose handler came during the visit */
	struct growth_readings readings;
};

struct leak *leak_new(void)
{
	struct leak *leak = g_new0(struct leak, 1);

	leak->groups = g_ptr_array_new_with_free_func(g_free);
	leak->nodes = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);
	leak->fresh = g_hash_table_new(NULL, NULL);
	return leak;
}

void leak_free(struct leak *leak)
{
	if (!leak)
		return;
	g_hash_table_destroy(leak->nodes);
	g_hash_table_destroy(leak->fresh);
	g_ptr_array_free(leak->groups, TRUE);
	g_free(leak);
}

static struct group *group_of(struct leak *leak, uint64_t ctx, uint64_t callback, bool deleted)
{
	struct group *g;

	for (size_t i = 0; i < leak->groups->len; i++) {
		g = leak->groups->pdata[i];
		if (g->ctx == ctx && g->callback == callback && g->deleted == deleted)
			return g;
	}
	g = g_new0(struct group, 1);
	g->ctx = ctx;
	g->callback = callback;
	g->deleted = deleted;
	g_ptr_array_add(leak->groups, g);
	return g;
}

static void take_node(struct leak *leak, uint64_t ctx, uint64_t addr, const uint8_t *bytes,
		      const struct layout *l, GHashTable *now)
{
	uint64_t callback = layout_get(l, NODE_IO_READ, bytes, ELEMENT_MAX);
	bool deleted = layout_get(l, NODE_DELETED_PREV, bytes, ELEMENT_MAX) != 0;
	struct node *n = g_new(struct node, 1);

	if (!callback)
		callback = layout_get(l, NODE_IO_WRITE, bytes, ELEMENT_MAX);
	n->addr = addr;
	n->fd = (int)layout_get(l, NODE_FD, bytes, ELEMENT_MAX);
	n->group = group_of(leak, ctx, deleted ? 0 : callback, deleted);
	g_hash_table_insert(now, &n->addr, n);
}

/*
 * Walk the list by itself: quicker than all tables together, so that a list which grows holds still
 * for long enough. False if it did not, or is damaged.
 */
static bool walk(const struct doctor *d, uint64_t ctx, GHashTable *now)
{
	const struct layout *l = d->l;
	size_t size = MIN(layout_extent(l, "AioHandler"), ELEMENT_MAX);
	uint64_t back = ctx + l->off[CTX_HANDLERS], addr = 0;
	uint8_t bytes[ELEMENT_MAX] = { 0 };

	if (target_read_u64(d->t, back, &addr))
		return false;
	for (int n = 0; addr; n++) {
		if (n == MAX_NODES || target_read(d->t, addr, bytes, size) ||
		    layout_get(l, NODE_PREV, bytes, ELEMENT_MAX) != back)
			return false;
		take_node(d->leak, ctx, addr, bytes, l, now);
		back = addr + l->off[NODE_NEXT];
		addr = layout_get(l, NODE_NEXT, bytes, ELEMENT_MAX);
	}
	return true;
}

/* The nodes of all contexts; NULL if some list did not hold still. */
static GHashTable *walk_all(const struct doctor *d)
{
	GHashTable *now = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);

	for (size_t i = 0; i < d->loops->contexts->len; i++) {
		const struct context *c = d->loops->contexts->pdata[i];

		if (!walk(d, c->addr, now)) {
			g_hash_table_destroy(now);
			return NULL;
		}
	}
	return now;
}

static int count(GHashTable *nodes, const struct group *g)
{
	GHashTableIter iter;
	struct node *n;
	int sum = 0;

	g_hash_table_iter_init(&iter, nodes);
	while (g_hash_table_iter_next(&iter, NULL, (void **)&n))
		sum += n->group == g;
	return sum;
}

/* Was one of them there before, and is it gone, or another's now? */
static void note_losses(struct leak *leak, GHashTable *now)
{
	GHashTableIter iter;
	struct node *was;

	g_hash_table_iter_init(&iter, leak->nodes);
	while (g_hash_table_iter_next(&iter, NULL, (void **)&was)) {
		const struct node *is = g_hash_table_lookup(now, &was->addr);

		if (!is || is->fd != was->fd || is->group != was->group)
			was->group->growth.shrank = true;
	}
}

static void note_fresh(struct leak *leak, GHashTable *now)
{
	GHashTableIter iter;
	struct node *n;

	g_hash_table_iter_init(&iter, now);
	while (leak->readings.n && g_hash_table_iter_next(&iter, NULL, (void **)&n))
		if (!g_hash_table_contains(leak->nodes, &n->addr))
			g_hash_table_add(leak->fresh, GINT_TO_POINTER(n->fd));
}

/* The thread that runs the context, as far as that is known without a look at stacks. */
static pid_t thread_of(const struct doctor *d, uint64_t ctx)
{
	const struct context *c = loops_context(d->loops, ctx);
	bool is_main = c && (c->kind == CONTEXT_MAIN || c->kind == CONTEXT_IOHANDLER);

	if (!c)
		return 0;
	return c->tid || !is_main ? c->tid : d->t->pid;
}

static void take_reading(const struct doctor *d, GHashTable *now)
{
	struct leak *leak = d->leak;

	note_fresh(leak, now);
	note_losses(leak, now);
	for (size_t i = 0; i < leak->groups->len; i++) {
		struct group *g = leak->groups->pdata[i];

		growth_count(&g->growth, &leak->readings, count(now, g),
			     growth_turns(d, thread_of(d, g->ctx)));
	}
	g_hash_table_destroy(leak->nodes);
	leak->nodes = now;
	leak->readings.n++;
}

void leak_sample(struct doctor *d, int64_t visit_ns)
{
	GHashTable *nodes;
	int attempt = 0;

	if (!growth_is_due(&d->leak->readings) || d->l->off[CTX_HANDLERS] < 0)
		return;
	do
		nodes = walk_all(d);
	while (!nodes && target_read_again(d->t, attempt++));
	if (nodes)
		take_reading(d, nodes);
	growth_tried(&d->leak->readings, visit_ns);
}

bool leak_is_open(const struct doctor *d)
{
	for (size_t i = 0; i < d->leak->groups->len; i++) {
		const struct group *g = d->leak->groups->pdata[i];

		if (growth_is_open(&g->growth))
			return true;
	}
	return false;
}

static void conclude(struct doctor *d, const struct group *g)
{
	const struct context *c = loops_context(d->loops, g->ctx);
	struct patient *p = c ? doctor_home(d, c) : NULL;
	struct finding *f;
	char *name;

	if (!p || !growth_lasts(&g->growth) ||
	    (!g->deleted &&
	     (strcmp(c->fdmon, "poll") != 0 || growth_some_was_ready(d, d->leak->fresh))))
		return;
	if (!g->deleted)
		doctor_learn(d, g->callback, "handler");
	name = g->deleted ? g_strdup("handlers that were removed and never freed")
			  : doctor_callback_name(d, g->callback, NULL);
	f = finding_new(d, "HANDLER LEAK", p);
	f->culprit = g->deleted ? g_strdup_printf("%s pile up in %s", name, c->name)
				: g_strdup_printf("%s of %s is registered for more and more "
						  "descriptors",
						  name, c->name);
	growth_say(d, &g->growth, f);
	if (g->deleted)
		f->advice =
			"Somebody walks the list all the time: look for a nested aio_poll() that "
			"never returns.";
	else {
		finding_say(f, "no poll found any of the new ones ready");
		f->advice = "Who registers it has to remove it when its peer is gone: look for the "
			    "path that does not.";
	}
	g_free(name);
}

void leak_conclude(struct doctor *d)
{
	for (size_t i = 0; i < d->leak->groups->len; i++)
		conclude(d, d->leak->groups->pdata[i]);
}
