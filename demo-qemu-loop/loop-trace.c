/* SPDX-License-Identifier: MIT */
/*
 * What the loop's probes need; the header says how it is used.  Nothing here runs unless somebody
 * listens, but for GLib's functions and their probes.
 *
 * The loop computes how long to sleep and does not keep who wanted it so.  Here that is looked up,
 * right afterwards, from the same lists: a bottom half that another thread schedules in between
 * cannot have been it, as the time that was computed tells.
 */
#include "osdep.h"
#include "aio-bh.h"
#include "atomic.h"
#include "loop-trace.h"
#include "main-loop.h"

__thread unsigned loop_depth;
__thread bool loop_progress;

uint32_t loop_bql(void)
{
	return bql_locked() ? LOOP_HELD_YES : LOOP_HELD_NO;
}

void loop_trace_ready_fds(const void *ctx, const GPollFD *fds, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		if (fds[i].revents)
			probe_fd_ready(ctx, fds[i].fd, fds[i].events, fds[i].revents);
	}
}

/* --- names -------------------------------------------------------------------------------- */

/* A record that ends with a text. */
typedef union {
	struct loop_event h;
	struct loop_context context;
	struct loop_source_name source_name;
	char bytes[128];
} TextRecord;

static void record_text(TextRecord *record, size_t text_at, const char *text)
{
	size_t size = text_at +
		      g_strlcpy(record->bytes + text_at, text, sizeof(record->bytes) - text_at) + 1;

	record->h.size = MIN((size + 7) / 8 * 8, sizeof(record->bytes));
	probe_record(&record->h);
}

void loop_trace_context(AioContext *ctx, enum loop_context_kind kind, const char *name)
{
	TextRecord record = { .context = {
				      .h.id = LOOP_EV_CONTEXT,
				      .ctx = (uintptr_t)ctx,
				      .kind = kind,
				      .home_tid = gettid(),
			      } };
	struct loop_notify_state state = {
		.h = { .id = LOOP_EV_NOTIFY_STATE, .size = sizeof(state) },
		.ctx = (uintptr_t)ctx,
		.notify_me = qatomic_read(&ctx->notify_me),
		.notified = qatomic_read(&ctx->notified),
		.fd = event_notifier_get_fd(&ctx->notifier),
	};

	record_text(&record, offsetof(struct loop_context, name), name);
	probe_record(&state.h);
}

static void trace_source_name(GSource *source)
{
	TextRecord record = { .source_name = {
				      .h.id = LOOP_EV_SOURCE_NAME,
				      .source = (uintptr_t)source,
				      .dispatch = (uintptr_t)source->source_funcs->dispatch,
			      } };

	if (g_source_get_name(source))
		record_text(&record, offsetof(struct loop_source_name, name),
			    g_source_get_name(source));
}

/* --- who chose the timeout ---------------------------------------------------------------- */

void loop_choice_lower(LoopChoice *choice, int64_t timeout_ns, enum loop_chooser by,
		       const void *what, const void *cb)
{
	/* As qemu_soonest_timeout(): unsigned, so that -1 is the longest. */
	if ((uint64_t)timeout_ns < (uint64_t)choice->timeout_ns)
		*choice = (LoopChoice){ timeout_ns, by, what, cb };
}

/* Of the bottom halves and timers of @ctx, given what aio_compute_timeout() said. */
static LoopChoice choice_of_context(AioContext *ctx, int64_t timeout)
{
	LoopChoice choice = { -1, LOOP_CHOOSER_NOBODY, NULL, NULL };

	if (timeout >= 0) {
		aio_bh_choice(ctx, timeout == 0, &choice);
		timerlistgroup_choice(&ctx->tlg, &choice);
	}
	return choice;
}

void loop_trace_aio_timeout(AioContext *ctx, bool blocking, int64_t computed, int64_t timeout,
			    bool polled)
{
	LoopChoice choice = { timeout, LOOP_CHOOSER_CALLER, NULL, NULL };

	if (timeout == 0 && computed != 0 && polled)
		choice.by = LOOP_CHOOSER_BUSY_POLL;
	else if (timeout == 0 && computed != 0 && qatomic_read(&ctx->notified))
		choice.by = LOOP_CHOOSER_NOTIFIED;
	else if (blocking)
		choice = choice_of_context(ctx, timeout);
	probe_timeout_chosen(ctx, timeout, choice.by, choice.what, choice.cb);
}

/* Of the iteration of GLib's that is being prepared. */
static __thread struct {
	LoopChoice choice;
	bool begun;
	unsigned n_ready;
} preparing;

void loop_trace_begin_timeout(int64_t timeout, const Notifier *notifier)
{
	LoopChoice *choice = &preparing.choice;

	*choice = (LoopChoice){ -1, LOOP_CHOOSER_NOBODY, NULL, NULL };
	if (notifier)
		loop_choice_lower(choice, timeout, LOOP_CHOOSER_POLL_NOTIFIER, notifier,
				  notifier->notify);
	else
		loop_choice_lower(choice, timeout, LOOP_CHOOSER_CALLER, NULL, NULL);
	timerlistgroup_choice(&main_loop_tlg, choice);
	preparing.begun = true;
}

void loop_trace_end_timeout(GMainContext *context, int64_t timeout)
{
	LoopChoice *choice = &preparing.choice;

	/* Somebody who began to listen in the middle of this: wait for the next. */
	if (!preparing.begun)
		return;
	preparing.begun = false;

	/* Sources that are not of our making are not seen, but what they want is. */
	loop_choice_lower(choice, timeout, LOOP_CHOOSER_SOURCE, NULL, NULL);
	probe_timeout_chosen(context, timeout, choice->by, choice->what, choice->cb);
}

/* --- GSources ----------------------------------------------------------------------------- */

/* The callback that g_source_set_callback() gave it, or NULL. */
static const void *callback_of(GSource *source)
{
	GSourceFunc callback = NULL;
	gpointer data;

	if (source->callback_funcs)
		source->callback_funcs->get(source->callback_data, source, &callback, &data);
	return callback;
}

guint loop_source_attach(GSource *source, GMainContext *context)
{
	probe_source_attach(context ?: g_main_context_default(), source,
			    g_source_get_priority(source), source->source_funcs->dispatch,
			    callback_of(source), loop_caller());
	if (probe_enabled(source_attach))
		trace_source_name(source);
	return g_source_attach(source, context);
}

void loop_source_destroy(GSource *source)
{
	probe_source_destroy(g_source_get_context(source), source, loop_caller());
	g_source_destroy(source);
}

void loop_context_wakeup(GMainContext *context)
{
	probe_context_wakeup(context ?: g_main_context_default(), loop_caller());
	g_main_context_wakeup(context);
}

void loop_trace_prepared(GSource *source, AioContext *ctx, bool ready, int timeout_ms)
{
	int64_t timeout = ready ? 0 : loop_ms_to_ns(timeout_ms);
	LoopChoice choice = { timeout, LOOP_CHOOSER_SOURCE, source, callback_of(source) };

	probe_source_prepare(g_source_get_context(source), source, ready, timeout);
	preparing.n_ready += ready;

	/* What a context wants is what something in it wants, but the rounding is its own. */
	if (ctx) {
		LoopChoice inside = choice_of_context(ctx, timeout);

		if (inside.by != LOOP_CHOOSER_NOBODY)
			choice = inside;
	}
	loop_choice_lower(&preparing.choice, timeout, choice.by, choice.what, choice.cb);
}

void loop_trace_checked(GSource *source, bool ready)
{
	probe_source_check(g_source_get_context(source), source, ready);
	preparing.n_ready += ready;
}

unsigned loop_trace_n_ready(bool ready)
{
	unsigned n_ready = preparing.n_ready;

	preparing.n_ready = 0;
	return ready ? MAX(n_ready, 1) : 0;
}
