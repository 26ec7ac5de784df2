/* SPDX-License-Identifier: MIT */
/* What the files that choose, learn and attach top's probes share; others include top.h. */
#ifndef TRACER_TOP_PROBES_H
#define TRACER_TOP_PROBES_H

#include "tracer/top.h"

/* --- top-sites.c --- */

struct top_probe *top_add_probe(struct top *top, const struct top_probe *probe);
/* The program's own probes; false if it carries none. */
bool top_add_usdt(struct top *top);
/* Those of functions, for one that carries none. */
void top_add_functions(struct top *top);

/* --- top-follow.c --- */

/* Look at the tables: whom a thread is, and which callbacks there are. */
int top_look(struct top *top, struct failure *why);

/* --- top-open.c --- */

/* Attach the probes from number @first on. */
int top_attach_from(struct top *top, size_t first, struct failure *why);

#endif
