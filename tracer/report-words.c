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

static const char *source_name(const struct report *report, uint64_t addr)
{
	const struct report_source *source =
		report_map_find(&report->sources, (struct report_key){ .a = addr });

	return addr && source && source->name && source->name[0] ? source->name : NULL;
}

char *report_callback_name(const struct report *report, const struct report_callback *callback)
{
	const char *ctx, *name = source_name(report, callback->source);
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

/* "eventfd", "socket"; NULL: not known. */
static const char *fd_kind(const struct report *report, int32_t number)
{
	const struct report_fd *fd =
		report_map_find(&report->fds, (struct report_key){ .a = (uint32_t)number });

	return fd && fd->kind ? report_enum_name(LOOP_EV_FD, "kind", fd->kind) : NULL;
}

char *report_callback_what(const struct report *report, const struct report_callback *callback)
{
	const char *op, *kind = fd_kind(report, callback->fd);

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

/* --- loops ------------------------------------------------------------------------------------ */

bool report_is_loop(const struct report_thread *thread)
{
	return thread->iterations || thread->polls_ready || thread->polls_timed_out ||
	       thread->polls_failed || thread->iteration_begins;
}

/* The thread's context by the recorder's word, or the one it waits for. */
static const struct report_context *home_context(const struct report *report,
						 const struct report_thread *thread)
{
	const struct report_context *context, *found = find_context(report, thread->poll_ctx);

	if (found && found->kind)
		return found;
	found = NULL;
	report_each(&report->contexts, context)
	{
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

/* --- choosers, causes ------------------------------------------------------------------------- */

static char *with_name(const char *what, char *name)
{
	char *words = name ? g_strdup_printf("%s %s", what, name) : g_strdup_printf("a %s", what);

	g_free(name);
	return words;
}

char *report_chooser_words(const struct report *report, const struct report_chooser *chooser)
{
	const char *source = source_name(report, chooser->what);
	char *name = chooser->cb ? report_place(report, chooser->cb) : NULL;

	switch (chooser->by) {
	case LOOP_CHOOSER_NOBODY:
		g_free(name);
		return g_strdup("nobody");
	case LOOP_CHOOSER_CALLER:
		g_free(name);
		return g_strdup("the caller: it must not block");
	case LOOP_CHOOSER_NOTIFIED:
		g_free(name);
		return g_strdup("a notification that came before");
	case LOOP_CHOOSER_BUSY_POLL:
		g_free(name);
		return g_strdup("busy polling");
	case LOOP_CHOOSER_SOURCE:
		if (source) {
			g_free(name);
			name = g_strdup(source);
		}
		return with_name("GSource", name);
	case LOOP_CHOOSER_TIMER:
		return with_name("timer", name);
	case LOOP_CHOOSER_BH:
		return with_name("BH", name);
	case LOOP_CHOOSER_IDLE_BH:
		return with_name("idle BH", name);
	case LOOP_CHOOSER_POLL_NOTIFIER:
		return with_name("poll notifier", name);
	default:
		g_free(name);
		return g_strdup("not recorded");
	}
}

uint64_t report_wakeup_callback(const struct report *report, const struct report_wakeup *wakeup)
{
	const struct report_fd *fd =
		report_map_find(&report->fds, (struct report_key){ .a = (uint32_t)wakeup->fd });

	if (wakeup->cb || wakeup->fd < 0 || !fd || fd->owner != wakeup->owner)
		return wakeup->cb;
	return fd->io_read ? fd->io_read : fd->io_write; /* learnt after it woke */
}

/* A GSource's name, else its callback's, else that of its dispatch function. */
static char *source_words(const struct report *report, uint64_t addr)
{
	const struct report_source *source =
		report_map_find(&report->sources, (struct report_key){ .a = addr });
	const char *name = source_name(report, addr);

	if (name || !source)
		return g_strdup(name);
	return report_symbol(report, source->cb ? source->cb : source->dispatch);
}

static char *fd_words(const struct report *report, const struct report_wakeup *wakeup,
		      unsigned int fds)
{
	const struct report_fd *fd =
		report_map_find(&report->fds, (struct report_key){ .a = (uint32_t)wakeup->fd });
	const char *kind = fd_kind(report, wakeup->fd);
	uint64_t cb = report_wakeup_callback(report, wakeup);
	char *name = cb ? report_place(report, cb) : NULL;
	char *source = fd && fd->owner == wakeup->owner ? source_words(report, fd->source) : NULL;
	GString *words = g_string_new(NULL);

	if (fds > 1)
		g_string_append_printf(words, "%u fds", fds);
	else
		g_string_append_printf(words, "fd %d", wakeup->fd);
	if (kind)
		g_string_append_printf(words, " (%s)", kind);
	if (name)
		g_string_append_printf(words, ": %s", name);
	else if (source)
		g_string_append_printf(words, ": GSource %s", source);
	else if (fd && fd->notifies)
		g_string_append(words, ": a context's own wake-up; by whom is not recorded");
	else if (fd && fd->target && fd->target[0])
		g_string_append_printf(words, ": %s", fd->target);
	g_free(source);
	g_free(name);
	return g_string_free(words, FALSE);
}

/* Threads without a name of their own have the program's, cut to 15 bytes. */
static bool is_program(const struct report *report, const char *name)
{
	char *exe = report_env(report, "target_exe");
	char *base = exe ? g_path_get_basename(exe) : NULL;
	bool is = base && g_str_has_prefix(base, name);

	g_free(base);
	g_free(exe);
	return is;
}

/* aio_notify is for a context; another eventfd has a callback of interest. */
static char *notify_words(const struct report *report, const struct report_wakeup *wakeup,
			  unsigned int fds)
{
	const struct report_thread *by =
		report_map_find(&report->threads, (struct report_key){ .a = wakeup->by_tid });
	const char *ctx = wakeup->ctx ? report_context_name(report, wakeup->ctx) : NULL;
	const char *name = by && by->name && !is_program(report, by->name) ? by->name : "";
	char *place = report_place(report, wakeup->site);
	GString *words = g_string_new(NULL);

	if (!wakeup->ctx) { /* it had no aio_notify, only the write */
		char *fd = fd_words(report, wakeup, fds);

		g_string_append_printf(words, "%s, written", fd);
		g_free(fd);
	} else if (ctx) {
		g_string_append_printf(words, "notify of %s (fd %d)", ctx, wakeup->fd);
	} else {
		g_string_append_printf(words, "notify (fd %d)", wakeup->fd);
	}
	g_string_append_printf(words, " by thread %u%s%s%s at %s", wakeup->by_tid,
			       name[0] ? " (" : "", name, name[0] ? ")" : "", place);
	g_free(place);
	return g_string_free(words, FALSE);
}

char *report_wakeup_words(const struct report *report, const struct report_wakeup *wakeup,
			  unsigned int fds)
{
	char *chooser = NULL, *words;

	if (wakeup->chooser && wakeup->chooser->by != LOOP_CHOOSER_UNKNOWN)
		chooser = report_chooser_words(report, wakeup->chooser);
	switch (wakeup->cause) {
	case REPORT_BY_FD:
		words = fd_words(report, wakeup, fds);
		break;
	case REPORT_BY_NOTIFY:
		words = notify_words(report, wakeup, fds);
		break;
	case REPORT_BY_TIMEOUT:
		words = g_strdup_printf("timeout%s%s", chooser ? " of " : "",
					chooser ? chooser : "");
		break;
	case REPORT_BY_NOTHING:
		words = g_strdup_printf("no sleep, the timeout was 0%s%s", chooser ? ": " : "",
					chooser ? chooser : "");
		break;
	case REPORT_BY_ERROR:
		words = g_strdup_printf("error %d: %s", wakeup->err, g_strerror(wakeup->err));
		break;
	default:
		words = g_strdup("an fd; which one is not recorded");
	}
	g_free(chooser);
	return words;
}

char *report_bql_place(const struct report *report, const struct report_bql *bql)
{
	const struct report_name *file = find_name(report, bql->file);

	if (file && file->text && file->text[0])
		return g_strdup_printf("%s:%u", file->text, bql->line);
	return report_place(report, bql->site);
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
