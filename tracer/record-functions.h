/* SPDX-License-Identifier: MIT */
/* The table of functions that stand for events; see record-functions.c. */
#ifndef TRACER_RECORD_FUNCTIONS_H
#define TRACER_RECORD_FUNCTIONS_H

#include "tracer/callbacks.h"
#include "tracer/record.h"
#include "tracer/site-callers.h"

/* In place of a layout field: a fixed offset, of a structure that is ABI. */
#define RAW_OFFSET(n) (N_LAYOUT_FIELDS + (n))

struct function_probe {
	const char *names[3]; /* of one function, by version: the first that there is */
	const char *library;  /* that has it, by the start of its file name; NULL: the program */
	int n_args;	      /* that have to be in place where it is probed */
	struct {
		int arg;
		int field; /* enum layout_field, or RAW_OFFSET() */
	} reads[RECORD_READS];
	int n_reads;
	void (*entry)(struct recorder *r, struct thread_state *t, const struct record_entry *hit,
		      struct call *call);
	void (*leave)(struct recorder *r, struct thread_state *t, const struct call *call,
		      const struct ending *end); /* NULL: its end does not matter */
	const char *gives;			 /* events, for people */
};

extern const struct function_probe function_probes[];
extern const size_t n_function_probes;

/* The symbol of the first of the function's names that there is, and its image; or NULL. */
const struct symbol *function_symbol(const struct function_probe *fn, struct images *images,
				     struct image **ret);

/* Does nothing of the program run inside it? Then its return may be probed. */
bool function_is_leaf(const struct function_probe *fn);

/* Is what it returns told, too? Then that must still be in place where its end is seen. */
bool function_tells_value(const struct function_probe *fn);

/* Where the function itself is probed. Errors as site_at()'s. */
int function_site(const struct function_probe *fn, const struct image *img, uint64_t link,
		  struct site *ret);

/* The sites that see each call of a function: its own, or all where it is called. */
struct function_sites {
	const struct function_probe *fn;
	const struct symbol *symbol;
	struct image *img;
	struct site own; /* of the function itself; of no image: no probe is safe there */
	struct site_callers callers; /* if they are probed instead: its sites */
};

typedef bool function_choice(const struct function_probe *fn, const void *arg);

/*
 * Of those of @fns that @choose takes and that the target has, the sites where a recording sees
 * them: struct function_sites, to be freed.
 */
GArray *function_find_sites(const struct function_probe *fns, size_t n, struct images *images,
			    function_choice *choose, const void *arg);

/* Look for callers of those that are probed there, in images that have not been looked at. */
void function_follow_callers(struct images *images, const GArray *functions);

/* How many sites these are, and each. */
size_t function_n_sites(const struct function_sites *f);
const struct site *function_site_nth(const struct function_sites *f, size_t i);

/* A callback that the tables did not hold when they were read (record-callbacks.c). */
void record_note_callback(struct recorder *r, const struct callback *c);
/* A timer was armed: its callback may be new (record-callbacks.c). */
void record_note_timer(struct recorder *r, uint64_t timer, uint64_t list, uint64_t cb,
		       uint64_t opaque, int64_t expire_ns);

#endif
