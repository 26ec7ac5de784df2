/* SPDX-License-Identifier: MIT */
/*
 * The doctor on GMainContexts and GSources, of any program that uses GLib: who runs a context, what
 * a source is called, and the verdicts that only GLib's loop has. What is the same fact in an
 * AioContext is looked for by the same code as there (doctor-spin.c, doctor-dead.c ...).
 */
#ifndef TRACER_DOCTOR_GLIB_H
#define TRACER_DOCTOR_GLIB_H

#include "tracer/doctor.h"

/* --- doctor-glib.c ---------------------------------------------------------------------------- */

/* Has the program no AioContext, so that GLib's loops are all there are? */
bool glib_only(const struct doctor *d);
/* Remember who polls which context, in d->loops. */
void glib_note_homes(struct doctor *d);
/* Wait for the next polls of those that were not seen asleep, where some context is nobody's. */
void glib_find_homes(struct doctor *d);
/* The thread that was seen to run the context last; NULL: none. */
struct patient *glib_home(struct doctor *d, const struct loop_gcontext *g);

/* The source at @addr of d->loops, and its context; NULL: there is none. */
const struct loop_source *glib_source_at(const struct doctor *d, uint64_t addr,
					 const struct loop_gcontext **ret_g);
/*
 * The source that this function is called for, as callback or dispatch function: that which is
 * being dispatched in d->loops, or the only one with it; else NULL.
 */
const struct loop_source *glib_source_called(const struct doctor *d, uint64_t function,
					     const struct loop_gcontext **ret_g);

/* What runs for it: its callback, or without one its own dispatch function. */
uint64_t glib_called(const struct loop_source *s);
/* Its ready time on our clock, read now; READY_UNKNOWN also if the source is gone. */
int64_t glib_ready_now(const struct doctor *d, const struct loop_source *s);

/* Words, to be freed: "GSource "redraw" (on_redraw)"; "the default GMainContext"; and all of it,
 * "an idle source (id 7, priority 200) of the default GMainContext, callback on_redraw". */
char *glib_source_name(const struct doctor *d, const struct loop_source *s);
char *glib_context_name(const struct loop_gcontext *g);
char *glib_source_words(const struct doctor *d, const struct loop_gcontext *g,
			const struct loop_source *s);
/* "an idle source", "a timeout", "a source of its own kind". Not to be freed. */
const char *glib_kind_words(const struct doctor *d, const struct loop_source *s);

/* doctor-glib-lock.c: "waiting for the GMutex at 0x...", of one that sleeps in a futex; or NULL. */
char *glib_describe_lock(const struct doctor *d, const struct stack *stack);

/* --- verdicts --------------------------------------------------------------------------------- */

/* doctor-glib-nested.c: NESTED WAIT in a g_main_loop_run() or g_main_context_iteration(). */
void glib_nested_sample(struct doctor *d);
bool glib_nested_is_open(const struct doctor *d, const struct patient *p); /* not long enough yet */
void glib_nested_conclude(struct doctor *d);
void glib_nested_clear(struct glib_nested *n);

/* doctor-glib-context.c: WRONG CONTEXT: there is work in a context that no thread runs. */
struct glib_idle_contexts *glib_contexts_new(void);
void glib_contexts_free(struct glib_idle_contexts *all);
void glib_contexts_sample(struct doctor *d);
void glib_contexts_conclude(struct doctor *d);

/* doctor-glib-late.c: the source of a context that is due first, if any has a time. */
bool glib_first_due(const struct doctor *d, uint64_t gctx, uint64_t *ret_source,
		    int64_t *ret_due_ns, uint64_t *ret_called);

/* doctor-glib-leak.c: HANDLER LEAK of sources. */
struct glib_leak *glib_leak_new(void);
void glib_leak_free(struct glib_leak *leak);
void glib_leak_sample(struct doctor *d, int64_t visit_ns);
bool glib_leak_is_open(const struct doctor *d);
void glib_leak_conclude(struct doctor *d);

#endif
