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

/* g_source_attach(source, context); reads are funcs, priority, callback_data, name. */
void glib_attach_entry(struct recorder *r, struct thread_state *t, const struct record_entry *hit,
		       struct call *call)
{
	uint64_t dispatch = glib_dispatch_of(r, hit->reads[0]), words[2], cb = 0;

	(void)call;
	/* { reference count, function, ...}: g_source_set_callback()'s. */
	if (hit->reads[2] && !target_read(r->s->t, hit->reads[2], words, sizeof(words)) &&
	    images_is_function(r->s->images, words[1]))
		cb = words[1];
	glib_probe_dispatch(r, dispatch);
	glib_name_source(r, hit->args[0], dispatch, hit->reads[3]);
	emit(r, hit->h.time_ns, t->tid, LOOP_EV_SOURCE_ATTACH,
	     VALUES(glib_context_of(r, hit->args[1]), hit->args[0], (uint32_t)hit->reads[1],
		    dispatch, cb, hit->stack[0]));
}

/* g_source_destroy(source); the read is its context. */
void glib_destroy_entry(struct recorder *r, struct thread_state *t, const struct record_entry *hit,
			struct call *call)
{
	(void)call;
	if (hit->reads[0])
		emit(r, hit->h.time_ns, t->tid, LOOP_EV_SOURCE_DESTROY,
		     VALUES(hit->reads[0], hit->args[0], hit->stack[0]));
}

/* g_source_add_unix_fd(source, fd, events), g_source_add_poll(source, GPollFD *) */
void glib_add_unix_fd_entry(struct recorder *r, struct thread_state *t,
			    const struct record_entry *hit, struct call *call)
{
	(void)call;
	emit(r, hit->h.time_ns, t->tid, LOOP_EV_SOURCE_ADD_FD,
	     VALUES(hit->args[0], (uint32_t)hit->args[1], (uint32_t)hit->args[2]));
}

void glib_add_poll_entry(struct recorder *r, struct thread_state *t, const struct record_entry *hit,
			 struct call *call)
{
	(void)call;
	emit(r, hit->h.time_ns, t->tid, LOOP_EV_SOURCE_ADD_FD,
	     VALUES(hit->args[0], (uint32_t)hit->reads[0], (uint16_t)(hit->reads[0] >> 32)));
}

void glib_remove_poll_entry(struct recorder *r, struct thread_state *t,
			    const struct record_entry *hit, struct call *call)
{
	(void)call;
	emit(r, hit->h.time_ns, t->tid, LOOP_EV_SOURCE_REMOVE_FD,
	     VALUES(hit->args[0], (uint32_t)hit->reads[0]));
}

/* g_main_context_wakeup(context) */
void glib_wakeup_entry(struct recorder *r, struct thread_state *t, const struct record_entry *hit,
		       struct call *call)
{
	(void)call;
	emit(r, hit->h.time_ns, t->tid, LOOP_EV_CONTEXT_WAKEUP,
	     VALUES(glib_context_of(r, hit->args[0]), hit->stack[0]));
}

/* --- the tables --- */

static void tell_source(struct recorder *r, const struct loop_gcontext *g,
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

			glib_probe_dispatch(r, s->dispatch);
			if (!before)
				tell_source(r, g, s);
		}
	}
}
