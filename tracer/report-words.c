// SPDX-License-Identifier: MIT
/* See report-words.h. */
#include <string.h>

#include "tracer/report-words.h"

/* --- names of addresses ----------------------------------------------------------------------- */

static const struct report_name *find_name(const struct report *report, uint64_t addr)
{
	return report_map_find(&report->names, (struct report_key){ .a = addr });
}

char *report_symbol(const struct report *report, uint64_t addr)
{
	const struct report_name *name = find_name(report, addr);

	if (!addr || !name)
		return NULL;
	/* A function that has no name of its own is "program+0x12"; a BH's name says more. */
	if (name->bh_name && name->bh_name[0] && (!name->symbol || strchr(name->symbol, '+')))
		return g_strdup(name->bh_name);
	if (!name->symbol || !name->symbol[0])
		return NULL;
	if (!name->offset)
		return g_strdup(name->symbol);
	return g_strdup_printf("%s+0x%lx", name->symbol, (unsigned long)name->offset);
}

char *report_place(const struct report *report, uint64_t addr)
{
	const struct report_name *name = find_name(report, addr);
	char *symbol = report_symbol(report, addr);
	char *place;

	if (!addr)
		return g_strdup("unknown");
	if (!symbol)
		symbol = g_strdup_printf("0x%lx", (unsigned long)addr);
	if (!name || !name->file || !name->file[0])
		return symbol;
	place = g_strdup_printf("%s (%s:%lu)", symbol, name->file, (unsigned long)name->line);
	g_free(symbol);
	return place;
}

char *report_function(const struct report *report, uint64_t addr)
{
	const struct report_name *name = find_name(report, addr);

	return name && name->symbol && name->symbol[0] ? g_strdup(name->symbol)
						       : report_place(report, addr);
}

static const struct report_context *find_context(const struct report *report, uint64_t ctx)
{
	return report_map_find(&report->contexts, (struct report_key){ .a = ctx });
}

uint64_t report_context_of(const struct report *report, uint64_t ctx)
{
	const struct report_context *context = find_context(report, ctx);

	return context && context->alias ? context->alias : ctx;
}

const char *report_context_name(const struct report *report, uint64_t ctx)
{
	const struct report_context *context = find_context(report, report_context_of(report, ctx));

	return context && context->name && context->name[0] ? context->name : NULL;
}

const char *report_source_name(const struct report *report, uint64_t addr)
{
	const struct report_source *source =
		report_map_find(&report->sources, (struct report_key){ .a = addr });

	return addr && source && source->name && source->name[0] ? source->name : NULL;
}

char *report_callback_name(const struct report *report, const struct report_callback *callback)
{
	const char *ctx, *name = report_source_name(report, callback->source);
	char *symbol_words, *with_ctx;
	const struct report_name *symbol = find_name(report, callback->cb);
	const struct report_fd *fd =
		report_map_find(&report->fds, (struct report_key){ .a = (uint32_t)callback->fd });

	/* A context's notifier is known also where its function has no name. */
	if (callback->kind == REPORT_HANDLER && fd && fd->notifies == callback->ctx &&
	    (!symbol || !symbol->symbol || strchr(symbol->symbol, '+')))
		return g_strdup("its own notifier");
	if (name)
		return g_strdup(name);
	symbol_words = report_symbol(report, callback->cb);
	ctx = callback->source ? report_context_name(report, callback->source) : NULL;
	if (!ctx || !symbol_words)
		return symbol_words;
	/* An AioContext begins with its GSource. */
	with_ctx = g_strdup_printf("%s (%s)", symbol_words, ctx);
	g_free(symbol_words);
	return with_ctx;
}

const char *report_fd_kind(const struct report *report, int32_t number)
{
	const struct report_fd *fd =
		report_map_find(&report->fds, (struct report_key){ .a = (uint32_t)number });

	return fd && fd->kind ? report_enum_name(LOOP_EV_FD, "kind", fd->kind) : NULL;
}

char *report_callback_what(const struct report *report, const struct report_callback *callback)
{
	const char *op, *kind = report_fd_kind(report, callback->fd);

	switch (callback->kind) {
	case REPORT_HANDLER: /* mostly it reads */
		op = callback->op > LOOP_HANDLER_OP_READ
			     ? report_enum_name(LOOP_EV_HANDLER_BEGIN, "op", callback->op)
			     : NULL;
		return g_strdup_printf("fd %d%s%s%s%s", callback->fd, kind ? " " : "",
				       kind ? kind : "", op ? " " : "", op ? op : "");
	case REPORT_NOTIFIER:
		op = report_enum_name(LOOP_EV_POLL_NOTIFIER_BEGIN, "phase", callback->op);
		return g_strdup_printf("poll notifier%s%s", op ? " " : "", op ? op : "");
	default:
		return g_strdup(report_kind_name(callback->kind));
	}
}

char *report_bql_place(const struct report *report, const struct report_bql *bql)
{
	const struct report_name *file = find_name(report, bql->file);

	if (file && file->text && file->text[0])
		return g_strdup_printf("%s:%u", file->text, bql->line);
	return report_place(report, bql->site);
}

char *report_bql_function(const struct report *report, const struct report_bql *bql)
{
	return bql->site ? report_function(report, bql->site) : report_bql_place(report, bql);
}

/* --- loops ------------------------------------------------------------------------------------ */

bool report_is_loop(const struct report_thread *thread)
{
	return thread->waited || thread->iterations || thread->polls_ready ||
	       thread->polls_timed_out || thread->polls_failed || thread->iteration_begins;
}

/* The thread's context by the recorder's word, or the one it waits for. */
static const struct report_context *home_context(const struct report *report,
						 const struct report_thread *thread)
{
	const struct report_context *context, *found = find_context(report, thread->poll_ctx);

	if (found && found->kind)
		return found;
	found = NULL;
	report_each (&report->contexts, context) {
		if (context->home_tid != thread->tid || !context->kind)
			continue;
		if (!found || context->key.a < found->key.a) /* whatever the map's order */
			found = context;
	}
	return found;
}

char *report_loop_name(const struct report *report, const struct report_thread *thread)
{
	const struct report_context *context = home_context(report, thread);
	uint32_t kind = context ? context->kind : LOOP_CONTEXT_KIND_UNKNOWN;

	if (thread->loop_kind == LOOP_LOOP_KIND_MAIN_LOOP_WAIT || kind == LOOP_CONTEXT_KIND_MAIN ||
	    kind == LOOP_CONTEXT_KIND_IOHANDLER)
		return g_strdup("main loop");
	if (kind == LOOP_CONTEXT_KIND_IOTHREAD && context->name && context->name[0])
		return g_strdup_printf("IOThread %s", context->name);
	if (kind == LOOP_CONTEXT_KIND_IOTHREAD)
		return g_strdup("IOThread");
	if (thread->loop_kind == LOOP_LOOP_KIND_GLIB || kind == LOOP_CONTEXT_KIND_GLIB)
		return g_strdup("GLib loop");
	return g_strdup(thread->loop_kind == LOOP_LOOP_KIND_AIO_POLL ? "aio_poll loop" : "loop");
}

/* --- frames ----------------------------------------------------------------------------------- */

char *report_frame_name(const struct report *report, const struct report_frame *frame)
{
	const struct report_callback *callback = frame->entry;
	const struct report_nested *nested = frame->entry;
	const struct report_bql *bql = frame->entry;
	char *words, *name = NULL;

	if (frame->kind <= REPORT_NOTIFIER) {
		name = report_callback_name(report, callback);
		return name ? name : report_place(report, callback->cb);
	}
	if (frame->kind == REPORT_AIO_POLL || frame->kind == REPORT_AIO_WAIT) {
		name = report_place(report, nested->site);
		words = g_strdup_printf("%s at %s", report_kind_name(frame->kind), name);
	} else if (frame->kind == REPORT_BQL_WAIT) {
		name = report_bql_place(report, bql);
		words = g_strdup_printf("waiting for the BQL at %s", name);
	} else {
		words = g_strdup(frame->kind == REPORT_POLL || frame->kind == REPORT_NESTED_POLL
					 ? "asleep in poll"
					 : report_kind_name(frame->kind));
	}
	g_free(name);
	return words;
}

static char *frame_words(const struct report *report, const struct report_frame *frame)
{
	char *words, *name = report_frame_name(report, frame);

	if (frame->kind > REPORT_NOTIFIER)
		return name;
	words = g_strdup_printf("%s %s", report_kind_name(frame->kind), name);
	g_free(name);
	return words;
}

char *report_open_words(const struct report *report, const struct report_thread *thread)
{
	GString *words = g_string_new(NULL);

	for (uint32_t i = 0; i < thread->n_open; i++) {
		const struct report_frame *frame = &thread->open[i];
		char *one;

		if (frame->kind == REPORT_ITERATION || frame->kind == REPORT_DISPATCH)
			continue;
		one = frame_words(report, frame);
		g_string_append_printf(words, "%s%s", words->len ? " > " : "", one);
		g_free(one);
	}
	return g_string_free(words, !words->len);
}
