/* SPDX-License-Identifier: MIT */
/*
 * The GMainContexts of a program in words and rows: handlers shows them. Columns and keys are those
 * of the gdb command "qemu sources".
 */
#ifndef TRACER_SOURCES_H
#define TRACER_SOURCES_H

#include "tracer/loops.h"

/* A context with its sources: as a heading and a table, or as rows of NDJSON. */
void sources_show(const struct loops *loops, const struct loop_gcontext *g, bool json, bool all);

/* "waits", "ready", "is being dispatched", "destroyed, ...". To be freed. */
char *source_state(const struct loop_source *s);

#endif
