/* SPDX-License-Identifier: MIT */
/* Recordings whose every number is known: what tests of the report write and then read. */
#ifndef WORKLOAD_H
#define WORKLOAD_H

#include <stdbool.h>

#include "trace/ctf-writer.h"

/* Threads, addresses and functions of all workloads. */
#define MAIN_TID   100
#define IO_TID	   101
#define VCPU_TID   102
#define MAIN_CTX   0xc000
#define AIO_CTX	   0xc100
#define IO_CTX	   0xc200
#define HANDLER_CB 0xf100
#define BH_CB	   0xf200
#define TIMER_CB   0xf300
#define SITE	   0xa100
#define FIRST_NS   1000000000ULL
#define US	   1000ULL
#define MS	   1000000ULL

/*
 * Write an event: EMIT(w, POLL_EXIT, poll_exit, time_ns, tid, .ctx = MAIN_CTX, .ret = 1). Records
 * with a text: NAME(w, SYMBOL, symbol, "main", .addr = 0xf000).
 */
#define EMIT(w, UPPER, lower, ns, thread, ...)                                                     \
	workload_event(w, &(struct loop_##lower){ .h = { .time_ns = (ns),                          \
							 .id = LOOP_EV_##UPPER,                    \
							 .size = sizeof(struct loop_##lower),      \
							 .tid = (thread) },                        \
						  __VA_ARGS__ }                                    \
				   .h)
#define NAME_AT(w, ns, UPPER, lower, string, ...)                                                  \
	workload_text(w,                                                                           \
		      &(struct loop_##lower){ .h = { .time_ns = (ns),                              \
						     .id = LOOP_EV_##UPPER,                        \
						     .size = sizeof(struct loop_##lower) },        \
					      __VA_ARGS__ }                                        \
			       .h,                                                                 \
		      string)
#define NAME(w, UPPER, lower, string, ...) NAME_AT(w, FIRST_NS, UPPER, lower, string, __VA_ARGS__)

/* An error aborts. */
struct ctf_writer *workload_begin(const char *path);
void workload_event(struct ctf_writer *writer, const struct loop_event *event);
void workload_text(struct ctf_writer *writer, const struct loop_event *event, const char *text);
void workload_end(struct ctf_writer *writer);

/*
 * By name: "known" is 23 iterations of a main loop; "queues" 71 fds of one handler; "hostile" has
 * names that no terminal should see, "markup" such that no browser should obey; "many" is @events
 * of iterations in 4 threads. False: no such name.
 */
bool workload_write(const char *name, const char *path, uint64_t events);

/* What "known" has. */
#define KNOWN_ITERATIONS 23
#define KNOWN_READY	 11 /* fd 14 was readable: every second wait */
#define KNOWN_TIMEOUTS	 12 /* the others: the timer's 5 ms */
#define KNOWN_BEGIN_NS	 FIRST_NS
#define KNOWN_STEP_NS	 (10 * MS) /* of an iteration */

#endif
