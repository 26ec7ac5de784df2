/* SPDX-License-Identifier: MIT */
/*
 * What is said of a recording, by name: text and JSON use the same words. Strings of type char *
 * are to be freed; all are safe for a terminal.
 */
#ifndef TRACER_REPORT_WORDS_H
#define TRACER_REPORT_WORDS_H

#include "tracer/report-model.h"

/* The name of a function or of a place in one, or NULL where the recording has none. */
char *report_symbol(const struct report *report, uint64_t addr);
/* That name, else the address; a place with "(file:line)" where known. */
char *report_place(const struct report *report, uint64_t addr);
/* The name of the function alone, wherever in it: the same in another build. */
char *report_function(const struct report *report, uint64_t addr);
/* A callback's name, or NULL. */
char *report_callback_name(const struct report *report, const struct report_callback *callback);
/* "fd 14 eventfd", "fd 14 eventfd write", "BH", "timer", "GSource", "poll notifier fill". */
char *report_callback_what(const struct report *report, const struct report_callback *callback);

/* A context's address, that of a list of timers resolved; its name, or NULL. */
uint64_t report_context_of(const struct report *report, uint64_t ctx);
const char *report_context_name(const struct report *report, uint64_t ctx);

/* A GSource's name, or NULL; "eventfd", "socket", or NULL. */
const char *report_source_name(const struct report *report, uint64_t addr);
const char *report_fd_kind(const struct report *report, int32_t fd);

/* "main loop", "IOThread io0", "GLib loop", "loop". */
char *report_loop_name(const struct report *report, const struct report_thread *thread);
bool report_is_loop(const struct report_thread *thread);

/* "timer gui_update", "a BH", "nobody". */
char *report_chooser_words(const struct report *report, const struct report_chooser *chooser);
/* "fd 14 (eventfd): virtio_queue_host_notifier_read", "timeout of timer gui_update"; with @fds more
 * than 1 it stands for so many of the kind: "71 fds (eventfd): ...", with 0 for what it is called
 * in any recording: without numbers of fds and threads. */
char *report_wakeup_words(const struct report *report, const struct report_wakeup *wakeup,
			  unsigned int fds);
/* "BH five_io0_bh": the callback in which somebody was. */
char *report_author(const struct report *report, const struct report_callback *in);
/* The callback of the fd that woke, or 0. */
uint64_t report_wakeup_callback(const struct report *report, const struct report_wakeup *wakeup);
/* Where the lock is taken: "cpu_exec+0x12", "cpus.c:123"; and the same in any build. */
char *report_bql_place(const struct report *report, const struct report_bql *bql);
char *report_bql_function(const struct report *report, const struct report_bql *bql);
/* A callback's name or address; "aio_poll at bdrv_drain+0x12", "asleep in poll". */
char *report_frame_name(const struct report *report, const struct report_frame *frame);
/* What a thread was in at the end, outermost first: "handler foo > aio_poll > poll". NULL: nothing.
 */
char *report_open_words(const struct report *report, const struct report_thread *thread);

const char *report_kind_name(enum report_kind kind);
const char *report_cause_name(enum report_cause cause);
const char *report_range_name(enum report_range range);
/* A value of an enum of the table, by the event and field that have it; NULL: unknown. */
const char *report_enum_name(unsigned int id, const char *field, uint32_t value);

/* "0", "950 ns", "12.3 us", "4.56 ms", "78.9 s", "3.1 h"; and "1,234,567". */
char *report_duration(uint64_t ns);
char *report_number(uint64_t number);

/* A value of the recording's environment, or NULL. */
char *report_env(const struct report *report, const char *key);
/* When it began, local time; or UTC as ISO 8601. */
char *report_begin_text(const struct report *report, bool utc);

/* The map's entries as an array, sorted: the greatest first, equal ones by key. */
GPtrArray *report_sorted(const struct report_map *map, GCompareFunc compare);
int report_by_address(const void *a, const void *b); /* whatever has a key */
int report_by_total(const void *a, const void *b);   /* struct report_callback */
int report_by_waits(const void *a, const void *b);   /* struct report_chooser */
int report_by_wakeups(const void *a, const void *b); /* struct report_wakeup */
int report_by_nested(const void *a, const void *b);  /* struct report_nested */
int report_by_wait(const void *a, const void *b);    /* struct report_bql */
/* Loops first, the main one before others, then by tid; threads without events are left out. */
GPtrArray *report_threads(const struct report *report);

/* Does the recording tell at all what that thread did? */
static inline bool report_is_told(const struct report_thread *thread)
{
	return thread->events || thread->waited;
}
/* When the first of them began and the last one ended: the recorder's names come later. */
void report_span(const struct report *report, uint64_t *ret_first_ns, uint64_t *ret_end_ns);
/* Time that is in no frame, of a thread's first event to its last. */
uint64_t report_other_ns(const struct report_thread *thread);
uint64_t report_callbacks_ns(const struct report_thread *thread);

#endif
