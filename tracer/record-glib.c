// SPDX-License-Identifier: MIT
/*
 * GLib's own loop, of any program that uses it.
 *
 * Up to 2.76 GLib's loop calls its exported functions: g_main_context_prepare(), query(), check()
 * and dispatch() tell the phases of an iteration. A later loop calls nothing that is exported. Then
 * an iteration is seen as what lies between two waits of a thread whose context is known.
 *
 * In both worlds a source is seen where it is dispatched: its dispatch function is known from the
 * tables, from g_source_new() and g_source_set_funcs(), and gets the source itself and the callback
 * it is to call. That the first argument is such a source is proven by its source_funcs.
 */
#include <stdio.h>
#include <string.h>

#include "tracer/clock.h"
#include "tracer/code.h"
#include "tracer/describe.h"
#include "tracer/infer.h"
#include "tracer/record-glib.h"

#define MAX_DISPATCHES 512 /* functions that are probed */

/* What is read of a source where it is dispatched. */
enum { READ_FUNCS, READ_CONTEXT, READ_PRIORITY, READ_NAME, N_READS };

static const uint16_t read_offsets[N_READS] = {
	[READ_FUNCS] = offsetof(GSource, source_funcs),
	[READ_CONTEXT] = offsetof(GSource, context),
	[READ_PRIORITY] = offsetof(GSource, priority),
	[READ_NAME] = offsetof(GSource, name),
};

/* --- dispatch functions --- */

static void probe_dispatch(struct recorder *r, uint64_t addr)
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
static uint64_t dispatch_of(struct recorder *r, uint64_t funcs)
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
	       dispatch_of(r, (uintptr_t)source.source_funcs) == dispatch;
}

/* What stands for a source with that name in the set of what was told. */
static void *name_key(uint64_t source, uint64_t name)
{
	return (void *)(source * 3 ^ name);
}

/* A hit is some milliseconds old: the source it tells of may be gone, and its memory another's. */
static void name_source(struct recorder *r, uint64_t source, uint64_t dispatch, uint64_t name)
{
	char text[64];

	if (!name || !g_hash_table_add(r->named, name_key(source, name)))
		return;
	if (has_name(r, source, dispatch, name) &&
	    !target_read_string(r->s->t, name, text, sizeof(text)) && text[0] &&
	    has_name(r, source, dispatch, name))
		emit_text(r, LOOP_EV_SOURCE_NAME, VALUES(source, dispatch, 0), text);
	else
		g_hash_table_remove(r->named, name_key(source, name));
}

void record_glib_dispatch(struct recorder *r, struct thread_state *t,
			  const struct record_probe *probe, const struct record_entry *hit)
{
	struct call call = { .probe = probe, .a = hit->args[0], .b = hit->reads[READ_CONTEXT] };

	if (dispatch_of(r, hit->reads[READ_FUNCS]) != probe->callback)
		return; /* called as any other function */
	t->callbacks++;
	name_source(r, call.a, probe->callback, hit->reads[READ_NAME]);
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

/* --- iterations: a level for each loop that runs in this thread, the innermost last --- */

static struct glib_level *innermost(struct thread_state *t)
{
	return t->n_glib ? &t->glib[t->n_glib - 1] : NULL;
}

static void close_level(struct recorder *r, struct thread_state *t, uint64_t time_ns)
{
	struct glib_level *level = &t->glib[--t->n_glib];

	t->polls--;
	if (level->outermost)
		emit(r, time_ns, t->tid, LOOP_EV_ITERATION_END,
		     VALUES(level->ctx, LOOP_LOOP_KIND_GLIB, t->callbacks != level->callbacks));
}

/* Begin an iteration. One that had begun here, or further up the stack, is over. */
static void open_level(struct recorder *r, struct thread_state *t, const struct record_entry *hit,
		       uint64_t ctx)
{
	struct glib_level *level = innermost(t);

	while (level && level->sp <= hit->sp) {
		close_level(r, t, hit->h.time_ns);
		level = innermost(t);
	}
	if (t->n_glib == (int)G_N_ELEMENTS(t->glib))
		return;
	level = &t->glib[t->n_glib++];
	*level = (struct glib_level){
		.sp = hit->sp, .ctx = ctx, .callbacks = t->callbacks, .outermost = !t->polls
	};
	if (t->polls < (int)G_N_ELEMENTS(t->ctx))
		t->ctx[t->polls] = ctx;
	t->polls++;
	if (level->outermost)
		emit(r, hit->h.time_ns, t->tid, LOOP_EV_ITERATION_BEGIN,
		     VALUES(ctx, LOOP_LOOP_KIND_GLIB, !t->glib_may_not_block));
	t->glib_may_not_block = false;
}

/* NULL stands for the default context. */
static uint64_t context_of(const struct recorder *r, uint64_t ctx)
{
	for (size_t i = 0; !ctx && r->loops && i < r->loops->gcontexts->len; i++) {
		const struct loop_gcontext *g = r->loops->gcontexts->pdata[i];

		if (g->is_default)
			return g->addr;
	}
	return ctx;
}

/* g_main_context_iteration(context, may_block), which then calls prepare. */
static void iteration_entry(struct recorder *r, struct thread_state *t,
			    const struct record_entry *hit, struct call *call)
{
	(void)r;
	(void)call;
	t->glib_may_not_block = !(uint32_t)hit->args[1];
}

static void prepare_entry(struct recorder *r, struct thread_state *t,
			  const struct record_entry *hit, struct call *call)
{
	call->a = context_of(r, hit->args[0]);
	open_level(r, t, hit, call->a);
}

static void prepare_return(struct recorder *r, struct thread_state *t, const struct call *call,
			   const struct ending *end)
{
	struct glib_level *level = innermost(t);

	(void)r;
	if (!level || level->ctx != call->a || !end->seen)
		return;
	level->prepared = true;
	level->ready = (int)end->value != 0;
	level->prepared_ns = end->time_ns;
}

/* g_main_context_query(context, max_priority, ...): with the priority prepare has come to. */
static void query_entry(struct recorder *r, struct thread_state *t, const struct record_entry *hit,
			struct call *call)
{
	struct glib_level *level = innermost(t);

	(void)call;
	if (!level || level->ctx != context_of(r, hit->args[0]))
		return;
	if (level->prepared)
		emit(r, level->prepared_ns, t->tid, LOOP_EV_PREPARE,
		     VALUES(level->ctx, level->ready, (uint32_t)hit->args[1]));
	level->prepared = false;
	level->asked = true;
}

void record_glib_poll(struct recorder *r, struct thread_state *t, const struct record_entry *hit,
		      int64_t timeout_ns)
{
	struct glib_level *level = innermost(t);
	const struct loop_gcontext *polls = NULL;

	if (!r->loops || loops_main(r->loops))
		return;
	if (level && level->asked) {
		emit(r, hit->h.time_ns, t->tid, LOOP_EV_QUERY,
		     VALUES(level->ctx, (uint32_t)hit->args[1], timeout_ns));
		level->asked = false;
		level->by_phases = true;
		return;
	}
	/* A wait of some callback's own, or a loop whose phases cannot be seen. */
	if (t->n_calls || (level && level->by_phases && level->sp > hit->sp))
		return;
	for (size_t i = 0; i < r->loops->gcontexts->len && !polls; i++) {
		const struct loop_gcontext *g = r->loops->gcontexts->pdata[i];

		if (g->tid == (pid_t)t->tid)
			polls = g;
	}
	if (polls)
		open_level(r, t, hit, polls->addr);
	else if (!t->glib_looked) /* a thread that is new: the tables may know it now */
		r->looks = 1;
	t->glib_looked = true;
}

/* g_main_context_check(context, max_priority, fds, n_fds) */
static void check_entry(struct recorder *r, struct thread_state *t, const struct record_entry *hit,
			struct call *call)
{
	struct glib_level *level = innermost(t);

	call->a = context_of(r, hit->args[0]);
	call->b = (uint32_t)hit->args[1];
	/* Nothing to poll and no time to wait: then GLib does not call poll. */
	if (level && level->ctx == call->a && level->asked) {
		emit(r, hit->h.time_ns, t->tid, LOOP_EV_QUERY,
		     VALUES(level->ctx, (uint32_t)hit->args[3], 0));
		level->asked = false;
	}
}

static void check_return(struct recorder *r, struct thread_state *t, const struct call *call,
			 const struct ending *end)
{
	if (end->seen)
		emit(r, end->time_ns, t->tid, LOOP_EV_CHECK,
		     VALUES(call->a, (int)end->value != 0, call->b));
}

void record_glib_end(struct recorder *r, struct thread_state *t, uint64_t ctx, uint64_t time_ns)
{
	struct glib_level *level = innermost(t);

	if (level && level->ctx == context_of(r, ctx))
		close_level(r, t, time_ns);
}

/* --- sources that come and go --- */

/* g_source_new(funcs, size), g_source_set_funcs(source, funcs) */
static void source_new_entry(struct recorder *r, struct thread_state *t,
			     const struct record_entry *hit, struct call *call)
{
	(void)t;
	(void)call;
	probe_dispatch(r, dispatch_of(r, hit->args[0]));
}

static void set_funcs_entry(struct recorder *r, struct thread_state *t,
			    const struct record_entry *hit, struct call *call)
{
	(void)t;
	(void)call;
	probe_dispatch(r, dispatch_of(r, hit->args[1]));
}

/* g_source_attach(source, context); reads are funcs, priority, callback_data, name. */
static void attach_entry(struct recorder *r, struct thread_state *t, const struct record_entry *hit,
			 struct call *call)
{
	uint64_t dispatch = dispatch_of(r, hit->reads[0]), words[2], cb = 0;

	(void)call;
	/* { reference count, function, ...}: g_source_set_callback()'s. */
	if (hit->reads[2] && !target_read(r->s->t, hit->reads[2], words, sizeof(words)) &&
	    images_is_function(r->s->images, words[1]))
		cb = words[1];
	probe_dispatch(r, dispatch);
	name_source(r, hit->args[0], dispatch, hit->reads[3]);
	emit(r, hit->h.time_ns, t->tid, LOOP_EV_SOURCE_ATTACH,
	     VALUES(context_of(r, hit->args[1]), hit->args[0], (uint32_t)hit->reads[1], dispatch,
		    cb, hit->stack[0]));
}

/* g_source_destroy(source); the read is its context. */
static void destroy_entry(struct recorder *r, struct thread_state *t,
			  const struct record_entry *hit, struct call *call)
{
	(void)call;
	if (hit->reads[0])
		emit(r, hit->h.time_ns, t->tid, LOOP_EV_SOURCE_DESTROY,
		     VALUES(hit->reads[0], hit->args[0], hit->stack[0]));
}

/* g_source_add_unix_fd(source, fd, events), g_source_add_poll(source, GPollFD *) */
static void add_unix_fd_entry(struct recorder *r, struct thread_state *t,
			      const struct record_entry *hit, struct call *call)
{
	(void)call;
	emit(r, hit->h.time_ns, t->tid, LOOP_EV_SOURCE_ADD_FD,
	     VALUES(hit->args[0], (uint32_t)hit->args[1], (uint32_t)hit->args[2]));
}

static void add_poll_entry(struct recorder *r, struct thread_state *t,
			   const struct record_entry *hit, struct call *call)
{
	(void)call;
	emit(r, hit->h.time_ns, t->tid, LOOP_EV_SOURCE_ADD_FD,
	     VALUES(hit->args[0], (uint32_t)hit->reads[0], (uint16_t)(hit->reads[0] >> 32)));
}

static void remove_poll_entry(struct recorder *r, struct thread_state *t,
			      const struct record_entry *hit, struct call *call)
{
	(void)call;
	emit(r, hit->h.time_ns, t->tid, LOOP_EV_SOURCE_REMOVE_FD,
	     VALUES(hit->args[0], (uint32_t)hit->reads[0]));
}

/* g_main_context_wakeup(context) */
static void wakeup_entry(struct recorder *r, struct thread_state *t, const struct record_entry *hit,
			 struct call *call)
{
	(void)call;
	emit(r, hit->h.time_ns, t->tid, LOOP_EV_CONTEXT_WAKEUP,
	     VALUES(context_of(r, hit->args[0]), hit->stack[0]));
}

#define GLIB	 "libglib-2.0.so"
#define NO_READS { { 0, 0 } }, 0
#define AT(f)	 RAW_OFFSET(offsetof(GSource, f))

const struct function_probe glib_probes[] = {
	{ { "g_main_context_iteration" }, GLIB, 2, NO_READS, iteration_entry, NULL, "" },
	{ { "g_main_context_prepare" },
	  GLIB,
	  1,
	  NO_READS,
	  prepare_entry,
	  prepare_return,
	  "iteration_begin iteration_end prepare" },
	{ { "g_main_context_query" }, GLIB, 2, NO_READS, query_entry, NULL, "prepare query" },
	{ { "g_main_context_check" }, GLIB, 4, NO_READS, check_entry, check_return, "check" },
	{ { "g_source_new" }, GLIB, 1, NO_READS, source_new_entry, NULL, "source_dispatch_begin" },
	{ { "g_source_set_funcs" },
	  GLIB,
	  2,
	  NO_READS,
	  set_funcs_entry,
	  NULL,
	  "source_dispatch_begin" },
	{ { "g_source_attach" },
	  GLIB,
	  2,
	  { { 0, AT(source_funcs) },
	    { 0, AT(priority) },
	    { 0, AT(callback_data) },
	    { 0, AT(name) } },
	  4,
	  attach_entry,
	  NULL,
	  "source_attach source_name" },
	{ { "g_source_destroy" },
	  GLIB,
	  1,
	  { { 0, AT(context) } },
	  1,
	  destroy_entry,
	  NULL,
	  "source_destroy" },
	{ { "g_source_add_unix_fd" }, GLIB, 3, NO_READS, add_unix_fd_entry, NULL, "source_add_fd" },
	{ { "g_source_add_poll" },
	  GLIB,
	  2,
	  { { 1, RAW_OFFSET(0) } },
	  1,
	  add_poll_entry,
	  NULL,
	  "source_add_fd" },
	{ { "g_source_remove_poll" },
	  GLIB,
	  2,
	  { { 1, RAW_OFFSET(0) } },
	  1,
	  remove_poll_entry,
	  NULL,
	  "source_remove_fd" },
	{ { "g_main_context_wakeup" }, GLIB, 1, NO_READS, wakeup_entry, NULL, "context_wakeup" },
};
const size_t n_glib_probes = G_N_ELEMENTS(glib_probes);

/* --- does the loop call what is exported? --- */

struct callees {
	uint64_t wanted, seen[16];
	int n;
	bool found;
};

static bool see_call(const struct code_step *step, void *arg)
{
	struct callees *c = arg;

	c->found |= step->target && step->target == c->wanted;
	if (step->insn->id == X86_INS_CALL && step->target && c->n < (int)G_N_ELEMENTS(c->seen))
		c->seen[c->n++] = step->target;
	return c->found;
}

/* One iteration, g_main_context_iteration(), calls g_main_context_query() itself or one call down.
 */
static bool loop_calls_exports(const struct image *glib)
{
	const struct symbol *run = image_symbol(glib, "g_main_context_iteration");
	const struct symbol *query = image_symbol(glib, "g_main_context_query");
	struct callees outer = { 0 };

	if (!run || !query)
		return false;
	outer.wanted = query->link;
	if (code_walk(glib, run->link, see_call, &outer))
		return false;
	for (int i = 0; !outer.found && i < outer.n; i++) {
		struct callees inner = { .wanted = query->link };

		if (!code_walk(glib, outer.seen[i], see_call, &inner))
			outer.found = inner.found;
	}
	return outer.found;
}

void record_glib_kinds(struct recorder *r)
{
	struct image *glib = infer_glib_image(r->s->images);
	const struct symbol *symbol;

	for (int i = 0; glib && loops_source_kinds[i].symbol; i++) {
		symbol = image_symbol(glib, loops_source_kinds[i].symbol);
		if (symbol)
			probe_dispatch(r, dispatch_of(r, symbol->link + glib->bias));
	}
}

static bool is_phase(const struct function_probe *fn)
{
	return fn->entry == prepare_entry || fn->entry == query_entry || fn->entry == check_entry;
}

bool glib_loop_shows_phases(struct images *images)
{
	const struct image *glib = infer_glib_image(images);

	return glib && !infer_glib_is_opaque() && loop_calls_exports(glib);
}

bool glib_probe_serves(struct images *images, const struct function_probe *fn)
{
	return (!is_phase(fn) && strcmp(fn->names[0], "g_main_context_dispatch")) ||
	       glib_loop_shows_phases(images);
}

/* --- the tables --- */

static void tell_source(struct recorder *r, const struct loop_gcontext *g,
			const struct loop_source *s)
{
	const GArray *lists[] = { s->fds, s->unix_fds };

	emit(r, now_ns(), 0, LOOP_EV_SOURCE_STATE,
	     VALUES(g->addr, s->addr, (uint32_t)s->priority, s->flags, s->dispatch, s->callback));
	if (s->name[0] && g_hash_table_add(r->named, name_key(s->addr, s->name_at)))
		emit_text(r, LOOP_EV_SOURCE_NAME, VALUES(s->addr, s->dispatch, 0), s->name);
	for (size_t k = 0; k < G_N_ELEMENTS(lists); k++)
		for (size_t i = 0; i < lists[k]->len; i++) {
			const GPollFD *fd = &g_array_index(lists[k], GPollFD, i);

			emit(r, now_ns(), 0, LOOP_EV_FD_STATE,
			     VALUES(g->addr, (uint32_t)fd->fd, fd->events, fd->revents,
				    (uint32_t)g->tid, s->addr));
		}
}

static void tell_context(struct recorder *r, const struct loop_gcontext *g)
{
	char name[64];

	if (g->is_default)
		snprintf(name, sizeof(name), "default GMainContext");
	else
		snprintf(name, sizeof(name), "GMainContext 0x%" PRIx64, g->addr);
	emit_text(r, LOOP_EV_CONTEXT, VALUES(g->addr, LOOP_CONTEXT_KIND_GLIB, (uint32_t)g->tid, 0),
		  name);
	emit(r, now_ns(), 0, LOOP_EV_NOTIFY_STATE,
	     VALUES(g->addr, 0, 0, 0, (uint32_t)g->wakeup_fd));
}

void record_glib_tables(struct recorder *r, const struct loops *before)
{
	const struct loops *loops = r->loops;

	if (!loops || loops_main(loops))
		return;
	for (size_t i = 0; i < loops->gcontexts->len; i++) {
		const struct loop_gcontext *g = loops->gcontexts->pdata[i];

		if (!before || !loops_gcontext(before, g->addr))
			tell_context(r, g);
		for (size_t k = 0; k < g->sources->len; k++) {
			const struct loop_source *s = g->sources->pdata[k];

			probe_dispatch(r, s->dispatch);
			if (!before)
				tell_source(r, g, s);
		}
	}
}
