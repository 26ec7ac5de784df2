// SPDX-License-Identifier: MIT
/*
 * Which probes top needs, and putting them there.
 *
 * A program that carries the probes of trace/loop.probes is watched by those that begin or end a
 * wait, a callback, or a wait for the big lock. Any other by the functions that record knows for
 * the same events, and by the callbacks that its tables hold. See top.h.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <linux/types.h>
#include "bpf/top.h"
#include "bpf/top.skel.h"
#include "tracer/callbacks.h"
#include "tracer/clock.h"
#include "tracer/record-functions.h"
#include "tracer/record-glib.h"
#include "tracer/top.h"
#include "tracer/usdt.h"

#define LOOKS	   2	    /* after a change */
#define LOOK_NS	   50000000 /* at least between two looks at the tables ... */
#define LOOK_TIMES 20	    /* ... and so many times of what the last one took */

static struct top_probe *add_probe(struct top *top, const struct top_probe *probe)
{
	struct top_probe *p = g_new(struct top_probe, 1);

	*p = *probe;
	p->at.cookie = top->probes->len;
	p->means.stepped = !p->at.emulated;
	top->stepped += p->means.stepped;
	g_ptr_array_add(top->probes, p);
	return p;
}

/* --- USDT --- */

/* Where the event's argument @name stands; TOP_ARGS if it has none of that name. */
static int argument(const struct loop_event_desc *desc, const char *name)
{
	for (int i = 0; i < desc->n_fields && i < TOP_ARGS; i++)
		if (!strcmp(desc->fields[i].name, name))
			return i;
	return TOP_ARGS;
}

static const struct usdt_use {
	uint16_t event;
	uint8_t op, kind, group;
	const char *object; /* the argument that its begin and its end have in common */
} usdt_uses[] = {
	{ LOOP_EV_POLL_ENTER, TOP_WAIT, 0, TOP_GROUP_WAITS, NULL },
	{ LOOP_EV_POLL_EXIT, TOP_WOKEN, 0, TOP_GROUP_WAITS, NULL },
	{ LOOP_EV_HANDLER_BEGIN, TOP_BEGIN, TOP_HANDLER, TOP_GROUP_CALLBACKS, "node" },
	{ LOOP_EV_HANDLER_END, TOP_END, TOP_HANDLER, TOP_GROUP_CALLBACKS, "node" },
	{ LOOP_EV_BH_BEGIN, TOP_BEGIN, TOP_BH, TOP_GROUP_CALLBACKS, "bh" },
	{ LOOP_EV_BH_END, TOP_END, TOP_BH, TOP_GROUP_CALLBACKS, "bh" },
	{ LOOP_EV_TIMER_BEGIN, TOP_BEGIN, TOP_TIMER, TOP_GROUP_CALLBACKS, "timer" },
	{ LOOP_EV_TIMER_END, TOP_END, TOP_TIMER, TOP_GROUP_CALLBACKS, "timer" },
	{ LOOP_EV_SOURCE_DISPATCH_BEGIN, TOP_BEGIN, TOP_SOURCE, TOP_GROUP_CALLBACKS, "source" },
	{ LOOP_EV_SOURCE_DISPATCH_END, TOP_END, TOP_SOURCE, TOP_GROUP_CALLBACKS, "source" },
	{ LOOP_EV_POLL_NOTIFIER_BEGIN, TOP_BEGIN, TOP_NOTIFIER, TOP_GROUP_CALLBACKS, "notifier" },
	{ LOOP_EV_POLL_NOTIFIER_END, TOP_END, TOP_NOTIFIER, TOP_GROUP_CALLBACKS, "notifier" },
	{ LOOP_EV_BQL_WAIT, TOP_BEGIN, TOP_BQL, TOP_GROUP_BQL, "lock" },
	{ LOOP_EV_BQL_ACQUIRED, TOP_END, TOP_BQL, TOP_GROUP_BQL, "lock" },
};

static void add_usdt(struct top *top, const struct usdt_probe *probe)
{
	int id = loop_event_id(probe->name);

	for (size_t i = 0; i < G_N_ELEMENTS(usdt_uses); i++) {
		const struct usdt_use *use = &usdt_uses[i];
		const struct loop_event_desc *desc = loop_event_desc(use->event);
		struct top_probe p = { .at = probe->site, .group = use->group };

		if (use->event != id)
			continue;
		p.means = (struct top_site){
			.op = use->op,
			.kind = use->kind,
			.timeout = TOP_NS,
			.timeout_arg = argument(desc, "timeout_ns"),
			.cb_arg = argument(desc, "cb"),
			.object_arg = use->object ? argument(desc, use->object) : TOP_ARGS,
			.ret_arg = argument(desc, "ret"),
		};
		add_probe(top, &p);
	}
}

static bool add_all_usdt(struct top *top)
{
	GArray *probes = usdt_probes(images_program(top->s->images), "qemu", &top->refused);

	for (size_t i = 0; i < probes->len; i++)
		add_usdt(top, &g_array_index(probes, struct usdt_probe, i));
	g_array_free(probes, TRUE);
	top->usdt = top->probes->len > 0;
	return top->usdt;
}

/* --- functions --- */

/* A wait's timeout, by the function's name; and what it returns. */
static void describe_wait(const char *name, struct top_site *means)
{
	static const struct {
		const char *name;
		uint8_t timeout, arg, ring;
	} waits[] = {
		{ "poll", TOP_MS, 2, 0 },
		{ "ppoll", TOP_TIMESPEC, 2, 0 },
		{ "epoll_wait", TOP_MS, 3, 0 },
		{ "io_uring_submit_and_wait", TOP_FOREVER, 0, 1 },
		{ "io_uring_submit_and_wait_timeout", TOP_TIMESPEC, 3, 1 },
	};

	for (size_t i = 0; i < G_N_ELEMENTS(waits); i++) {
		if (strcmp(name, waits[i].name))
			continue;
		means->timeout = waits[i].timeout;
		means->timeout_arg = waits[i].arg;
		means->ring = waits[i].ring;
	}
}

/* What a function of record's table means here; its group, or TOP_GROUPS if nothing. */
static enum top_group describe_function(const struct function_probe *fn, struct top_site *means)
{
	static const struct {
		const char *gives; /* one of the events it stands for */
		uint8_t op, kind, group;
	} uses[] = {
		{ "bh_begin", TOP_CALL, TOP_BH, TOP_GROUP_CALLBACKS },
		{ "bql_wait", TOP_CALL, TOP_BQL, TOP_GROUP_BQL },
		{ "timer_arm", TOP_ARM, 0, TOP_GROUP_NEWS },
		{ "handler_set", TOP_CHANGE, 0, TOP_GROUP_NEWS },
		{ "context_new", TOP_CHANGE, 0, TOP_GROUP_NEWS },
		{ "source_attach", TOP_CHANGE, 0, TOP_GROUP_NEWS },
	};

	*means = (struct top_site){ .ret_arg = TOP_ARGS };
	if (function_is_leaf(fn)) {
		means->op = TOP_WAIT;
		describe_wait(fn->names[0], means);
		return TOP_GROUP_WAITS;
	}
	for (size_t i = 0; i < G_N_ELEMENTS(uses); i++) {
		if (!g_str_has_prefix(fn->gives, uses[i].gives))
			continue;
		means->op = uses[i].op;
		means->kind = uses[i].kind;
		return uses[i].group;
	}
	return TOP_GROUPS;
}

static void add_function(struct top *top, const struct function_probe *fn)
{
	struct top_probe p;
	const struct symbol *symbol;
	struct image *img;

	p.group = describe_function(fn, &p.means);
	symbol = p.group == TOP_GROUPS ? NULL : function_symbol(fn, top->s->images, &img);
	if (!symbol)
		return;
	if (function_site(fn, img, symbol->link, &p.at)) {
		top->refused++;
		return;
	}
	p.means.stack_bytes = p.at.stack_bytes;
	if (p.means.op == TOP_WAIT) {
		struct top_probe woken = p;

		woken.means.op = TOP_WOKEN;
		woken.at.on_return = true;
		add_probe(top, &woken);
	}
	add_probe(top, &p);
}

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
	g_hash_table_insert(top->probed, (void *)addr, add_probe(top, &p));
}

static void add_resume(struct top *top, uint64_t addr)
{
	struct top_probe p = { .group = TOP_GROUP_CALLBACKS, .means = { .op = TOP_RESUME } };
	struct image *img = new_place(top, addr);

	if (img && !site_after_call(img, addr - img->bias, false, &p.at, NULL))
		g_hash_table_insert(top->probed, (void *)addr, add_probe(top, &p));
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

/* Look at the tables: whom a thread is, and which callbacks there are. */
static int look(struct top *top, struct failure *why)
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

/* --- opening --- */

static int load(struct top *top, struct failure *why)
{
	const struct layout *l = top->s->l;
	int err;

	top->skel->rodata->tgid = top->s->t->pid;
	top->skel->rodata->layout.bh_cb = l ? l->off[BH_CB] : -1;
	top->skel->rodata->layout.bh_name = l ? l->off[BH_NAME] : -1;
	top->skel->rodata->layout.timer_cb = l ? l->off[TIMER_CB] : -1;
	top->skel->rodata->layout.timer_opaque = l ? l->off[TIMER_OPAQUE] : -1;
	attach_prepare(top->skel->progs.on_hit, ATTACH_BEST);
	err = top_bpf__load(top->skel);
	return err ? bpf_failure(err, why) : 0;
}

static void destroy_copy(void *object)
{
	top_bpf__destroy(object);
}

int top_load_copy(pid_t pid, struct overhead_program *ret, struct failure *why)
{
	const struct top_site means[OVERHEAD_SITES] = {
		[OVERHEAD_BEGIN] = { .op = TOP_BEGIN, .kind = TOP_HANDLER, .object_arg = 1 },
		[OVERHEAD_END] = { .op = TOP_END, .kind = TOP_HANDLER, .object_arg = 1 },
		[OVERHEAD_STEPPED] = { .op = TOP_NOTHING },
	};
	struct top_bpf *copy = top_bpf__open();
	int err;

	if (!copy)
		return bpf_failure(-errno, why);
	copy->rodata->tgid = pid;
	attach_prepare(copy->progs.on_hit, ATTACH_BEST);
	err = top_bpf__load(copy);
	if (err) {
		top_bpf__destroy(copy);
		return bpf_failure(err, why);
	}
	for (uint32_t i = 0; i < OVERHEAD_SITES; i++)
		bpf_map_update_elem(bpf_map__fd(copy->maps.sites), &i, &means[i], BPF_ANY);
	copy->bss->open = true;
	*ret = (struct overhead_program){ copy, copy->progs.on_hit, destroy_copy };
	return 0;
}

int top_open(struct top *top, struct session *s, struct failure *why)
{
	struct failure no_layout = { 0 };
	int err;

	*top = (struct top){ .s = s };
	top->probes = g_ptr_array_new_with_free_func(g_free);
	top->attachments = g_ptr_array_new_with_free_func((GDestroyNotify)attach_remove);
	top->probed = g_hash_table_new(NULL, NULL);
	top->notifiers = g_hash_table_new(NULL, NULL);
	top_read_init(top);
	err = session_open(s, s->options, why);
	if (err)
		return err;
	add_all_usdt(top);
	if (session_layout(s, &no_layout) && !top->usdt)
		return fail(why, no_layout.err, "%s", no_layout.text);
	top->skel = top_bpf__open();
	err = top->skel ? load(top, why) : bpf_failure(-errno, why);
	if (err)
		return err;
	for (size_t i = 0; !top->usdt && i < n_function_probes; i++)
		add_function(top, &function_probes[i]);
	for (size_t i = 0; !top->usdt && i < n_glib_probes; i++)
		add_function(top, &glib_probes[i]);
	err = look(top, why);
	return top->usdt ? 0 : err;
}

void top_close(struct top *top)
{
	g_ptr_array_free(top->attachments, TRUE);
	top_bpf__destroy(top->skel);
	g_ptr_array_free(top->probes, TRUE);
	g_hash_table_destroy(top->probed);
	g_hash_table_destroy(top->notifiers);
	loops_free(top->loops);
	top_read_free(top);
	session_close(top->s);
}

/* --- attaching --- */

/* Ends are attached before begins: a call whose end is not seen would seem to last. */
static int attach_order(enum top_op op)
{
	return op == TOP_RESUME || op == TOP_WOKEN || op == TOP_END;
}

static int attach_from(struct top *top, size_t first, struct failure *why)
{
	GArray *sites = g_array_new(FALSE, FALSE, sizeof(struct site));
	struct attachment *attachment = NULL;
	int map = bpf_map__fd(top->skel->maps.sites), err = 0;
	size_t n = MIN(top->probes->len, TOP_MAX_SITES);

	for (uint32_t i = first; i < n; i++)
		bpf_map_update_elem(map, &i, &((struct top_probe *)top->probes->pdata[i])->means,
				    BPF_ANY);
	for (int ends = 1; ends >= 0; ends--) {
		for (size_t i = first; i < n; i++) {
			const struct top_probe *p = top->probes->pdata[i];

			if (attach_order(p->means.op) == ends &&
			    (top->mode != TOP_WAITS || p->group == TOP_GROUP_WAITS))
				g_array_append_val(sites, p->at);
		}
	}
	if (!attach_has_multi() && sites->len + first > ATTACH_SLOW_MAX) {
		size_t room = ATTACH_SLOW_MAX - MIN(first, ATTACH_SLOW_MAX);

		top->left_out += (int)(sites->len - room);
		g_array_set_size(sites, room);
	}
	if (sites->len)
		err = attach_sites(top->skel->progs.on_hit, ATTACH_BEST, top->s->t->pid,
				   (struct site *)sites->data, sites->len, &attachment, why);
	if (attachment)
		g_ptr_array_add(top->attachments, attachment);
	g_array_free(sites, TRUE);
	top->attached = top->probes->len;
	return err;
}

/*
 * The threads of loops that wait: nothing tells that, until they come back. A thread that has done
 * something meanwhile has said so itself.
 */
static void note_waiting(struct top *top)
{
	struct top_thread t = { .window = top->skel->bss->window, .first_ns = top->window_ns };
	int map = bpf_map__fd(top->skel->maps.threads);
	struct target *target = top->s->t;

	t.since_ns = t.first_ns;
	if (target_refresh(target, NULL))
		return;
	for (size_t i = 0; i < target->threads->len; i++) {
		const struct thread *thread = &g_array_index(target->threads, struct thread, i);

		if (thread->sleeping && is_wait_call(thread->nr))
			bpf_map_update_elem(map, &thread->tid, &t, BPF_NOEXIST);
	}
}

int top_begin(struct top *top, struct failure *why)
{
	int err;

	top->opened_ns = now_ns();
	err = attach_from(top, 0, why);
	if (err)
		return err;
	top->window_ns = now_ns();
	if (!top->began_ns)
		top->began_ns = top->read_ns = top->window_ns;
	top->skel->bss->window++;
	top->skel->bss->open = true;
	note_waiting(top);
	return 0;
}

void top_end(struct top *top)
{
	if (!top->window_ns)
		return;
	top->skel->bss->open = false;
	top_read_window_end(top);
	top->window_ns = 0;
	g_ptr_array_set_size(top->attachments, 0);
	top->on_ns = now_ns() - top->opened_ns;
}

/* --- following --- */

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
	look(top, NULL);
	top->look_ns = now_ns() + MAX(LOOK_NS, LOOK_TIMES * (now_ns() - begin));
}

void top_follow(struct top *top)
{
	if (top->usdt || !top->window_ns || top->mode == TOP_WAITS)
		return;
	follow_changes(top);
	take_wanted(top);
	if (top->probes->len > top->attached && !attach_from(top, top->attached, NULL))
		mark_probed(top);
}
