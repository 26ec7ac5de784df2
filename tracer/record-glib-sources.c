// SPDX-License-Identifier: MIT
/* GLib's sources that come and go, by the functions that do it; and those the tables hold. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tracer/clock.h"
#include "tracer/describe.h"
#include "tracer/record-glib-parts.h"

/* g_source_new(funcs, size), g_source_set_funcs(source, funcs) */
void glib_source_new_entry(struct recorder *r, struct thread_state *t,
			   const struct record_entry *hit, struct call *call)
{
	(void)t;
	(void)call;
	glib_probe_dispatch(r, glib_dispatch_of(r, hit->args[0]));
}

void glib_set_funcs_entry(struct recorder *r, struct thread_state *t,
			  const struct record_entry *hit, struct call *call)
{
	(void)t;
	(void)call;
	glib_probe_dispatch(r, glib_dispatch_of(r, hit->args[1]));
}

/*
 * A source that may be dispatched from now on; reads are funcs, priority, callback_data, name. Of a
 * QEMU the callback is probed, as those are that the tables hold; else the function that dispatches
 * it.
 */
static void tell_attached(struct recorder *r, const struct thread_state *t,
			  const struct record_entry *hit, uint64_t source, uint64_t ctx)
{
	uint64_t dispatch = glib_dispatch_of(r, hit->reads[0]), words[3] = { 0 };
	struct callback c = { .kind = CALLBACK_SOURCE,
			      .ctx = ctx,
			      .object = source,
			      .priority = (int)hit->reads[1],
			      .dispatch = dispatch };

	/* { reference count, function, its argument, ...}: g_source_set_callback()'s. */
	if (hit->reads[2] && !target_read(r->s->t, hit->reads[2], words, sizeof(words)) &&
	    images_is_function(r->s->images, words[1])) {
		c.cb = words[1];
		c.arg = words[2];
	}
	if (layout_is_qemu(r->s->l))
		record_note_callback(r, &c);
	else
		glib_probe_dispatch(r, dispatch);
	glib_name_source(r, source, dispatch, hit->reads[3]);
	emit(r, hit->h.time_ns, t->tid, LOOP_EV_SOURCE_ATTACH,
	     VALUES(ctx, source, (uint32_t)hit->reads[1], dispatch, c.cb, hit->stack[0]));
}

/* g_source_attach(source, context) */
static void attach_entry(struct recorder *r, struct thread_state *t, const struct record_entry *hit,
			 struct call *call)
{
	(void)call;
	tell_attached(r, t, hit, hit->args[0], glib_context_of(r, hit->args[1]));
}

/* g_source_add_child_source(source, child); one more read: the context of the source. */
static void add_child_entry(struct recorder *r, struct thread_state *t,
			    const struct record_entry *hit, struct call *call)
{
	(void)call;
	if (hit->reads[4])
		tell_attached(r, t, hit, hit->args[1], hit->reads[4]);
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
	     VALUES(glib_context_of(r, hit->args[0]), hit->stack[0]));
}

/* Also of a QEMU, whose GSources are its monitors', its displays', its own contexts'. */
#define GLIB	 "libglib-2.0.so"
#define NO_READS { { 0, 0 } }, 0
#define AT(f)	 RAW_OFFSET(offsetof(GSource, f))

const struct function_probe source_probes[] = {
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
	{ { "g_source_add_child_source" },
	  GLIB,
	  2,
	  { { 1, AT(source_funcs) },
	    { 1, AT(priority) },
	    { 1, AT(callback_data) },
	    { 1, AT(name) },
	    { 0, AT(context) } },
	  5,
	  add_child_entry,
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
const size_t n_source_probes = G_N_ELEMENTS(source_probes);

/* --- the tables --- */

static void tell_source(struct recorder *r, struct fds *fds, const struct loop_gcontext *g,
			const struct loop_source *s)
{
	const GArray *lists[] = { s->fds, s->unix_fds };

	emit(r, now_ns(), 0, LOOP_EV_SOURCE_STATE,
	     VALUES(g->addr, s->addr, (uint32_t)s->priority, s->flags, s->dispatch, s->callback));
	if (s->name[0] && g_hash_table_add(r->named, glib_name_key(s->addr, s->name_at)))
		emit_text(r, LOOP_EV_SOURCE_NAME, VALUES(s->addr, s->dispatch, 0), s->name);
	for (size_t k = 0; k < G_N_ELEMENTS(lists); k++)
		for (size_t i = 0; i < lists[k]->len; i++) {
			const GPollFD *fd = &g_array_index(lists[k], GPollFD, i);

			record_tell_fd(r, fds, fd->fd);
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
	struct fds *fds = before ? NULL : fds_new(r->pid, true);
	bool qemu = loops && loops_main(loops);

	for (size_t i = 0; loops && i < loops->gcontexts->len; i++) {
		const struct loop_gcontext *g = loops->gcontexts->pdata[i];

		if (!qemu && (!before || !loops_gcontext(before, g->addr)))
			tell_context(r, g);
		for (size_t k = 0; k < g->sources->len; k++) {
			const struct loop_source *s = g->sources->pdata[k];

			if (!qemu)
				glib_probe_dispatch(r, s->dispatch);
			if (!before && !s->is_aio_context)
				tell_source(r, fds, g, s);
		}
	}
	fds_free(fds);
}
