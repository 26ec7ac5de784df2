/* SPDX-License-Identifier: MIT */
/*
 * The callbacks that are registered in a program's loops: each function with the argument it will
 * get, from the tables of contexts and GMainContexts.
 *
 * Who probes such functions tells a call of a callback from any other call of the same function by
 * that argument.
 */
#ifndef TRACER_CALLBACKS_H
#define TRACER_CALLBACKS_H

#include "tracer/loops.h"

enum callback_kind { CALLBACK_HANDLER, CALLBACK_TIMER, CALLBACK_SOURCE };

struct callback {
	uint64_t cb, arg;
	enum callback_kind kind;
	uint64_t ctx, object; /* the context and node, list and timer, or GMainContext and source */
	int fd;
	bool write;	   /* of a handler: it is for writing */
	int64_t expire_ns; /* of a timer */
	int clock;
	int priority; /* of a source */
	uint64_t dispatch;
};

/* A timer's list is not known from the tables: its ctx is 0. An AioContext's source is not told. */
void callbacks_each(const struct loops *loops,
		    void (*see)(const struct callback *callback, void *arg), void *arg);

#endif
