/* SPDX-License-Identifier: MIT */
/*
 * What the loop's probes need beside their arguments.  Private to the loop, which includes this
 * instead of the generated header.
 *
 * A probe is one line, probe_NAME(...), at the place in the loop that it tells of; README.md shows
 * them all.  Its arguments are computed only while somebody listens.  What takes more than an
 * expression is a function here, called if probe_enabled(NAME).
 */
#ifndef DEMO_LOOP_TRACE_H
#define DEMO_LOOP_TRACE_H

#include <linux/types.h>
#include "aio.h"
#include "trace/loop_events.h"
#include "trace/loop_probes.h"

/* The "site" of a probe in an exported function: who called that. */
#define loop_caller() __builtin_return_address(0)

/* Loops of this thread that are in progress, one called from a callback of the other. */
extern __thread unsigned loop_depth;

/* In the main loop's dispatch: a callback ran that counts as progress. */
extern __thread bool loop_progress;

/* Whether this thread has the BQL, as enum loop_held. */
uint32_t loop_bql(void);

/* Those of a poll set whose revents the wait has set. */
void loop_trace_ready_fds(const void *ctx, const GPollFD *fds, unsigned n);

/*
 * For one who records in this process (self-record.h): what a context is called, which thread runs
 * it, by which descriptor it is woken.
 */
void loop_trace_context(AioContext *ctx, enum loop_context_kind kind, const char *name);

/* --- who chose the timeout ---------------------------------------------------------------- */

/* The one who asked for the shortest so far; of two who asked for the same, the first. */
typedef struct LoopChoice {
	int64_t timeout_ns;
	enum loop_chooser by;
	const void *what, *cb;
} LoopChoice;

void loop_choice_lower(LoopChoice *choice, int64_t timeout_ns, enum loop_chooser by,
		       const void *what, const void *cb);

/* aio_poll(): @computed before it knew whether it was notified or @polled busily with success. */
void loop_trace_aio_timeout(AioContext *ctx, bool blocking, int64_t computed, int64_t timeout,
			    bool polled);

/*
 * main_loop_wait(), in this order: what was asked for from outside GLib, each source's prepare, and
 * the end, when it is settled.  @notifier is the poll notifier that lowered it, or NULL.
 */
void loop_trace_begin_timeout(int64_t timeout, const Notifier *notifier);
void loop_trace_end_timeout(GMainContext *context, int64_t timeout);

/* --- GSources ----------------------------------------------------------------------------- */

/* GLib's functions, with their probes.  NULL is the default context. */
guint loop_source_attach(GSource *source, GMainContext *context);
void loop_source_destroy(GSource *source);
void loop_context_wakeup(GMainContext *context);

/* At the end of a source's prepare and check; @ctx if the source is an AioContext. */
void loop_trace_prepared(GSource *source, AioContext *ctx, bool ready, int timeout_ms);
void loop_trace_checked(GSource *source, bool ready);

static inline void loop_source_prepared(GSource *source, AioContext *ctx, bool ready,
					int timeout_ms)
{
	if (probe_enabled(source_prepare) || probe_enabled(timeout_chosen) || probe_enabled(check))
		loop_trace_prepared(source, ctx, ready, timeout_ms);
}

static inline void loop_source_checked(GSource *source, bool ready)
{
	if (probe_enabled(source_check) || probe_enabled(check))
		loop_trace_checked(source, ready);
}

/* Sources that said they are ready since the last time; @ready is GLib's yes or no to that. */
unsigned loop_trace_n_ready(bool ready);

/* A source's dispatch function around its callback. */
#define loop_source_dispatching(source, dispatch, callback)                                        \
	probe_source_dispatch_begin(g_source_get_context(source), source,                          \
				    g_source_get_priority(source), dispatch, callback)
#define loop_source_dispatched(source, again)                                                      \
	probe_source_dispatch_end(g_source_get_context(source), source, again)

static inline int64_t loop_ms_to_ns(int timeout_ms)
{
	return timeout_ms < 0 ? -1 : (int64_t)timeout_ms * SCALE_MS;
}

#endif
