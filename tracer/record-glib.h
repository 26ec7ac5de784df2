/* SPDX-License-Identifier: MIT */
/*
 * The events of GLib's own loop, of a program that is no QEMU. See record-glib.c.
 */
#ifndef TRACER_RECORD_GLIB_H
#define TRACER_RECORD_GLIB_H

#include "tracer/record-functions.h"

/* The functions of GLib's that stand for events, beside those of record-functions.c. */
extern const struct function_probe glib_probes[];
extern const size_t n_glib_probes;
/* Of sources that come and go, in any program. */
extern const struct function_probe source_probes[];
extern const size_t n_source_probes;

/* Is this one there, and does the loop of this GLib call it? */
bool glib_probe_serves(struct images *images, const struct function_probe *fn);

/* Is what it returns told, too? */
bool glib_probe_tells_value(const struct function_probe *fn);

/* Does the loop of this GLib call g_main_context_prepare() and the others, which are exported? */
bool glib_loop_shows_phases(struct images *images);

/* GLib's own kinds of sources (timeouts, idle ...) are dispatched by functions known beforehand. */
void record_glib_kinds(struct recorder *r);

/* Say which GMainContexts and sources there are that @before (or NULL) knows nothing of. */
void record_glib_tables(struct recorder *r, const struct loops *before);

/* A dispatch function is called: begin and end. */
void record_glib_dispatch(struct recorder *r, struct thread_state *t,
			  const struct record_probe *probe, const struct record_entry *hit);
void record_glib_dispatched(struct recorder *r, const struct thread_state *t,
			    const struct call *call, const struct ending *end);

/* A thread is about to wait, with @timeout_ns; and g_main_context_dispatch() has returned. */
void record_glib_poll(struct recorder *r, struct thread_state *t, const struct record_entry *hit,
		      int64_t timeout_ns);
void record_glib_end(struct recorder *r, struct thread_state *t, uint64_t ctx, uint64_t time_ns);

#endif
