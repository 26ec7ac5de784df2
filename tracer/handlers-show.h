/* SPDX-License-Identifier: MIT */
/* What loopscope handlers shows of one context, and of a list of timers. */
#ifndef TRACER_HANDLERS_SHOW_H
#define TRACER_HANDLERS_SHOW_H

#include "tracer/loops.h"
#include "tracer/session.h"

void handlers_show(const struct loops *loops, const struct context *c,
		   const struct options *options);
void handlers_show_bhs(const struct loops *loops, const struct context *c, bool json);
/* @name: of the list, or of the context it belongs to. */
void handlers_show_timers(const struct loops *loops, const char *name, GArray *timers, bool json);

#endif
