/* SPDX-License-Identifier: MIT */
/* Which events are to be recorded (record --events). */
#ifndef TRACER_RECORD_SELECT_H
#define TRACER_RECORD_SELECT_H

#include "tracer/failure.h"
#include "trace/loop-table.h"

/* Where only a few probes can be had: what tells loops' waits, and callbacks, of a program with
 * USDT. */
#define RECORD_FEW                                                                                 \
	"iteration_*,timeout_chosen,poll_enter,poll_exit,dispatch_*,handler_begin,handler_end,"    \
	"bh_begin,bh_end,timer_begin,timer_end,source_dispatch_*,notify,bql_wait,bql_acquired"

struct record_select {
	bool all;
	bool chosen[LOOP_EV_END];
};

/*
 * @list: names of events, patterns such as "bh_*", and groups ("callbacks"), with commas between;
 * NULL: all. -EINVAL: there is no such event; the nearest names are told.
 */
int record_select_parse(const char *list, struct record_select *ret, struct failure *why);

/* Records (names, states) always are. */
bool record_select_has(const struct record_select *select, unsigned id);

#endif
