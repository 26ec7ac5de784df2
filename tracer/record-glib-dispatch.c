// SPDX-License-Identifier: MIT
/*
 * GLib's sources where they are dispatched, in any GLib: a source's dispatch function is known from
 * the tables, from g_source_new() and g_source_set_funcs(), and gets the source itself and the
 * callback it is to call. That the first argument is such a source is proven by its source_funcs.
 */
#include "tracer/infer.h"
#include "tracer/record-glib-parts.h"

#define MAX_DISPATCHES 512 /* functions that are probed */

/* What is read of a source where it is dispatched. */
enum { READ_FUNCS, READ_CONTEXT, READ_PRIORITY, READ_NAME, N_READS };

static const uint16_t read_offsets[N_READS] = {
	[READ_FUNCS] = offsetof(GSource, source_funcs),
	[READ_CONTEXT] = offsetof(GSource, context),
	[READ_PRIORITY] = offsetof(GSource, priority),
	[READ_NAME] = offsetof(GSource, name),
};

void glib_probe_dispatch(struct recorder *r, uint64_t addr)
{
	struct record_probe p = { .callback = addr, .dispatches = true };
	struct image *img;

	if (!record_wants_any(r, "source_dispatch_begin source_dispatch_end"))
		return;
	if (!addr || g_hash_table_size(r->callbacks) >= MAX_DISPATCHES ||
	    !g_hash_table_add(r->callbacks, (void *)addr))
		return;
	img = images_at(r->s->images, addr);
	if (!img || site_at_args(img, addr - img->bias, 2, &p.site, NULL)) {
		r->refused++;
		return;
	}
	for (int i = 0; i < N_READS; i++) {
		p.reads.reads[i].arg = 0;
		p.reads.reads[i].off = read_offsets[i];
	}
	p.reads.n_reads = N_READS;
	p.reads.stack_bytes = p.site.stack_bytes;
	r->stepped += !p.site.emulated;
	record_add_probe(r, &p);
}

/* What a GSourceFuncs says; it is constant, so it is read once. */
uint64_t glib_dispatch_of(struct recorder *r, uint64_t funcs)
{
	gpointer known = NULL;
	uint64_t dispatch = 0;

	if (!r->glib_funcs)
		r->glib_funcs = g_hash_table_new(NULL, NULL);
	if (g_hash_table_lookup_extended(r->glib_funcs, (void *)funcs, NULL, &known))
		return (uint64_t)known;
	if (!funcs ||
	    target_read_u64(r->s->t, funcs + offsetof(GSourceFuncs, dispatch), &dispatch) ||
	    !images_is_function(r->s->images, dispatch))
		return 0;
	g_hash_table_insert(r->glib_funcs, (void *)funcs, (void *)dispatch);
	return dispatch;
}

/* Is the source still there, with that name? */
static bool has_name(struct recorder *r, uint64_t addr, uint64_t dispatch, uint64_t name)
{
	GSource source;

	return !target_read(r->s->t, addr, &source, sizeof(source)) &&
	       (uintptr_t)source.name == name && source.flags & SOURCE_ACTIVE && source.ref_count &&
	       glib_dispatch_of(r, (uintptr_t)source.source_funcs) == dispatch;
}

/* What stands for a source with that name in the set of what was told. */
void *glib_name_key(uint64_t source, uint64_t name)
{
	return (void *)(source * 3 ^ name);
}

/* A hit is some milliseconds old: the source it tells of may be gone, and its memory another's. */
void glib_name_source(struct recorder *r, uint64_t source, uint64_t dispatch, uint64_t name)
{
	char text[64];

	if (!name || !g_hash_table_add(r->named, glib_name_key(source, name)))
		return;
	if (has_name(r, source, dispatch, name) &&
	    !target_read_string(r->s->t, name, text, sizeof(text)) && text[0] &&
	    has_name(r, source, dispatch, name))
		emit_text(r, LOOP_EV_SOURCE_NAME, VALUES(source, dispatch, 0), text);
	else
		g_hash_table_remove(r->named, glib_name_key(source, name));
}

void record_glib_dispatch(struct recorder *r, struct thread_state *t,
			  const struct record_probe *probe, const struct record_entry *hit)
{
	struct call call = { .probe = probe, .a = hit->args[0], .b = hit->reads[READ_CONTEXT] };

	if (glib_dispatch_of(r, hit->reads[READ_FUNCS]) != probe->callback)
		return; /* called as any other function */
	t->callbacks++;
	glib_name_source(r, call.a, probe->callback, hit->reads[READ_NAME]);
	emit(r, hit->h.time_ns, t->tid, LOOP_EV_SOURCE_DISPATCH_BEGIN,
	     VALUES(call.b, call.a, (uint32_t)hit->reads[READ_PRIORITY], probe->callback,
		    hit->args[1]));
	record_begin_call(r, t, hit, &call);
}

/* Where the value was not seen, it is taken to stay: that is what most sources do. */
void record_glib_dispatched(struct recorder *r, const struct thread_state *t,
			    const struct call *call, const struct ending *end)
{
	emit(r, end->time_ns, t->tid, LOOP_EV_SOURCE_DISPATCH_END,
	     VALUES(call->b, call->a, end->seen ? (int)end->value != 0 : 1));
}

void record_glib_kinds(struct recorder *r)
{
	struct image *glib = infer_glib_image(r->s->images);
	const struct symbol *symbol;

	for (int i = 0; glib && loops_source_kinds[i].symbol; i++) {
		symbol = image_symbol(glib, loops_source_kinds[i].symbol);
		if (symbol)
			glib_probe_dispatch(r, glib_dispatch_of(r, symbol->link + glib->bias));
	}
}
