// SPDX-License-Identifier: MIT
/*
 * Which probes top needs, and what their hits mean.
 *
 * A program that carries the probes of trace/loop.probes is watched by those that begin or end a
 * wait, a callback, or a wait for the big lock. Any other by the functions that record knows for
 * the same events, and by the callbacks that its tables hold (top-follow.c). See top-probes.h.
 */
#include <string.h>

#include "tracer/record-functions.h"
#include "tracer/record-glib.h"
#include "tracer/top-probes.h"
#include "tracer/usdt.h"

struct top_probe *top_add_probe(struct top *top, const struct top_probe *probe)
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
		top_add_probe(top, &p);
	}
}

bool top_add_usdt(struct top *top)
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
		top_add_probe(top, &woken);
	}
	top_add_probe(top, &p);
}

void top_add_functions(struct top *top)
{
	for (size_t i = 0; i < n_function_probes; i++)
		add_function(top, &function_probes[i]);
	for (size_t i = 0; i < n_glib_probes; i++)
		add_function(top, &glib_probes[i]);
}
