// SPDX-License-Identifier: MIT
/*
 * The callbacks that top learns: from the tables, when it begins and whenever they have changed,
 * and from what the bpf program meets (bpf/top.bpf.c). See top-probes.h.
 */
#include <bpf/bpf.h>

#include <linux/types.h>
#include "bpf/top.h"
#include "bpf/top.skel.h"
#include "tracer/callbacks.h"
#include "tracer/clock.h"
#include "tracer/top-probes.h"

#define LOOKS	   2	    /* after a change */
#define LOOK_NS	   50000000 /* at least between two looks at the tables ... */
#define LOOK_TIMES 20	    /* ... and so many times of what the last one took */

/* A place in the target's code that was not looked at before: its image, or NULL. */
static struct image *new_place(struct top *top, uint64_t addr)
{
	if (!addr || g_hash_table_contains(top->probed, (void *)addr))
		return NULL;
	g_hash_table_insert(top->probed, (void *)addr, NULL);
	return images_at(top->s->images, addr);
}

static void add_callback(struct top *top, uint64_t addr, enum top_kind kind)
{
	struct top_probe p = { .group = TOP_GROUP_CALLBACKS };
	struct image *img = new_place(top, addr);

	if (!img)
		return;
	if (site_at_args(img, addr - img->bias, 3, &p.at, NULL)) {
		top->refused++;
		return;
	}
	p.means = (struct top_site){
		.op = TOP_CALL, .kind = kind, .cb = addr, .stack_bytes = p.at.stack_bytes
	};
	g_hash_table_insert(top->probed, (void *)addr, top_add_probe(top, &p));
}

static void add_resume(struct top *top, uint64_t addr)
{
	struct top_probe p = { .group = TOP_GROUP_CALLBACKS, .means = { .op = TOP_RESUME } };
	struct image *img = new_place(top, addr);

	if (img && !site_after_call(img, addr - img->bias, false, &p.at, NULL))
		g_hash_table_insert(top->probed, (void *)addr, top_add_probe(top, &p));
}

static void learn(const struct callback *callback, void *arg)
{
	static const uint8_t kinds[] = { [CALLBACK_HANDLER] = TOP_HANDLER,
					 [CALLBACK_TIMER] = TOP_TIMER,
					 [CALLBACK_SOURCE] = TOP_SOURCE };
	struct top *top = arg;
	const struct top_known key = { callback->cb, callback->arg };
	uint8_t kind = kinds[callback->kind];

	if (bpf_map_update_elem(bpf_map__fd(top->skel->maps.known), &key, &kind, BPF_ANY))
		top->skel->bss->lost.known++;
	add_callback(top, callback->cb, kind);
}

/* Callbacks that only take the notifications of a context. */
static void learn_notifiers(struct top *top)
{
	for (size_t i = 0; i < top->loops->contexts->len; i++) {
		const struct context *c = top->loops->contexts->pdata[i];

		for (size_t k = 0; k < c->handlers->len; k++) {
			const struct handler *h = &g_array_index(c->handlers, struct handler, k);

			if (h->fd == c->notifier_fd && h->fd >= 0)
				g_hash_table_add(top->notifiers, (void *)h->io_read);
		}
	}
}

int top_look(struct top *top, struct failure *why)
{
	struct session *s = top->s;
	struct loops *loops;
	int err = s->l ? 0 : session_layout(s, why);

	if (!err)
		err = loops_read(s->t, s->images, s->l, s->fds, READ_MEM, 0, &loops, why);
	if (err)
		return err;
	loops_free(top->loops);
	top->loops = loops;
	learn_notifiers(top);
	if (!top->usdt)
		callbacks_each(loops, learn, top);
	return 0;
}

/* What the bpf program has met since the last time. */
static void take_wanted(struct top *top)
{
	int map = bpf_map__fd(top->skel->maps.wanted);
	uint64_t addr = 0, *key = NULL;
	struct top_wanted w;

	for (; !bpf_map_get_next_key(map, key, &addr); key = &addr) {
		if (bpf_map_lookup_elem(map, &addr, &w) || w.probed)
			continue;
		if (w.callback)
			add_callback(top, addr, TOP_TIMER);
		else
			add_resume(top, addr);
	}
}

/* From now on ends are seen where these places are. */
static void mark_probed(struct top *top)
{
	int map = bpf_map__fd(top->skel->maps.wanted);
	uint64_t addr = 0, *key = NULL;
	struct top_wanted w;

	for (; !bpf_map_get_next_key(map, key, &addr); key = &addr) {
		if (bpf_map_lookup_elem(map, &addr, &w) || w.probed ||
		    !g_hash_table_lookup(top->probed, (void *)addr))
			continue;
		w.probed = 1;
		bpf_map_update_elem(map, &addr, &w, BPF_EXIST);
	}
}

/*
 * Something was registered: look for it, and once more, as it may not have been there yet. A look
 * takes some of our time only, but where changes never end it must not take all of it.
 */
static void follow_changes(struct top *top)
{
	uint64_t begin = now_ns();

	if (top->changes != top->skel->bss->changes) {
		top->changes = top->skel->bss->changes;
		top->looks = LOOKS;
	}
	if (!top->looks || begin < top->look_ns)
		return;
	top->looks--;
	top_look(top, NULL);
	top->look_ns = now_ns() + MAX(LOOK_NS, LOOK_TIMES * (now_ns() - begin));
}

void top_follow(struct top *top)
{
	if (top->usdt || !top->window_ns || top->mode == TOP_WAITS)
		return;
	follow_changes(top);
	take_wanted(top);
	if (top->probes->len > top->attached && !top_attach_from(top, top->attached, NULL))
		mark_probed(top);
}
