/* SPDX-License-Identifier: MIT */
/* What the parts of record-glib.c share; others include record-glib.h. */
#ifndef TRACER_RECORD_GLIB_PARTS_H
#define TRACER_RECORD_GLIB_PARTS_H

#include "tracer/record-glib.h"

/* --- record-glib.c --- */

/* NULL stands for the default context. */
uint64_t glib_context_of(const struct recorder *r, uint64_t ctx);

/* --- record-glib-dispatch.c --- */

void glib_probe_dispatch(struct recorder *r, uint64_t addr);
/* What a GSourceFuncs says; it is constant, so it is read once. */
uint64_t glib_dispatch_of(struct recorder *r, uint64_t funcs);
/* Tell the source's name, once. */
void glib_name_source(struct recorder *r, uint64_t source, uint64_t dispatch, uint64_t name);
/* What stands for a source with that name in the set of what was told. */
void *glib_name_key(uint64_t source, uint64_t name);

/* --- record-glib-loop.c: entries and returns of the functions of an iteration --- */

void glib_iteration_entry(struct recorder *r, struct thread_state *t,
			  const struct record_entry *hit, struct call *call);
void glib_prepare_entry(struct recorder *r, struct thread_state *t, const struct record_entry *hit,
			struct call *call);
void glib_prepare_return(struct recorder *r, struct thread_state *t, const struct call *call,
			 const struct ending *end);
void glib_query_entry(struct recorder *r, struct thread_state *t, const struct record_entry *hit,
		      struct call *call);
void glib_check_entry(struct recorder *r, struct thread_state *t, const struct record_entry *hit,
		      struct call *call);
void glib_check_return(struct recorder *r, struct thread_state *t, const struct call *call,
		       const struct ending *end);

/* --- record-glib-sources.c: entries of those that make, change, and end a source --- */

void glib_source_new_entry(struct recorder *r, struct thread_state *t,
			   const struct record_entry *hit, struct call *call);
void glib_set_funcs_entry(struct recorder *r, struct thread_state *t,
			  const struct record_entry *hit, struct call *call);

#endif
