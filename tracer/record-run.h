/* SPDX-License-Identifier: MIT */
/*
 * A recording from "attached" to its end. cmd-record.c sets it up, record-run.c runs it,
 * record-finish.c ends it and says how it went.
 */
#ifndef TRACER_RECORD_RUN_H
#define TRACER_RECORD_RUN_H

#include <signal.h>

#include "tracer/record.h"

/* --- record-run.c --- */

/* Set by Ctrl-C and SIGTERM. */
extern volatile sig_atomic_t record_interrupted;

/* @flight: SIGUSR1 asks for what led to this moment. */
void record_catch_signals(bool flight);

/* Read the tables: without a layout (a program of no QEMU's) there are none. */
void record_read_tables(struct recorder *r, struct failure *why);

/* Returns true if the target ended. */
bool record_run(struct recorder *r);

/* --- record-finish.c --- */

void record_say_attached(struct recorder *r);

/* Detach, take what is still in the ring, count what was lost, and say how it went. */
int record_finish(struct recorder *r, bool ended, uint64_t started_ns, struct failure *why);

#endif
