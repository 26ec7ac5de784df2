/* SPDX-License-Identifier: MIT */
/*
 * A recording in the formats of other programs: what the exporters (export-*.c) share.
 *
 * An exporter writes to standard output while the recording is read for a second time; the first
 * reading has told what addresses are called. Its memory grows with the number of names and
 * threads, never with the recording's length.
 */
#ifndef TRACER_EXPORT_H
#define TRACER_EXPORT_H

#include "trace/loop-table.h"
#include "tracer/report-model.h"
#include "tracer/session.h"

/*
 * Each: the recording @path, of which @report knows all. @only: names of events; NULL: all, or (in
 * CSV) callbacks.
 */
int export_text(const char *path, const struct report *report, char **only, struct failure *why);
int export_ndjson(const char *path, const struct report *report, char **only, struct failure *why);
int export_csv(const char *path, const struct report *report, char **only, struct failure *why);
int export_pftrace(const char *path, const struct report *report, struct failure *why);
int export_speedscope(const char *path, const struct report *report, struct failure *why);

/* Metrics of @report; @prometheus: in the older format of Prometheus's own, for its text files. */
void export_openmetrics(const struct report *report, bool prometheus);

/* --- export-events.c ---------------------------------------------------------------------------
 */

bool export_is_chosen(char **only, const struct loop_event_desc *desc);
/* A field's value in words: a name where there is one; to be freed. */
char *export_field(const struct report *report, const struct loop_event *event,
		   const struct loop_field *field);

/* --- export-names.c: names, each with a number -------------------------------------------------
 */

/*
 * What frames are called, as numbers from 0 in the order in which they were met; frames with equal
 * names have one number.
 */
struct export_names;
struct export_names *export_names_new(const struct report *report);
void export_names_free(struct export_names *names);
/* The number of a frame that begins in @thread; *ret_new is its name if it is a new one. */
uint32_t export_names_frame(struct export_names *names, const struct report_thread *thread,
			    const struct report_frame *frame, const char **ret_new);
/* The number of a name, which is taken. */
uint32_t export_names_text(struct export_names *names, char *name, const char **ret_new);
uint32_t export_names_count(const struct export_names *names);
const char *export_names_get(const struct export_names *names, uint32_t number);

/* "main loop (qemu-system-x86)", "IOThread io0 (IO io0)", "CPU 0/TCG"; to be freed. */
char *export_thread_name(const struct report *report, uint32_t tid);
/* The program's, without its directory; to be freed. */
char *export_program(const struct report *report);
/* The process; where the recording does not tell, its first thread. */
uint32_t export_pid(const struct report *report);

#endif
