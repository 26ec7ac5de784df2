// SPDX-License-Identifier: MIT
/* Who chose a timeout, and what ended a wait, in words: see report-words.h. */
#include <string.h>

#include "tracer/report-words.h"

static char *with_name(const char *what, char *name)
{
	char *words = name ? g_strdup_printf("%s %s", what, name) : g_strdup_printf("a %s", what);

	g_free(name);
	return words;
}

char *report_chooser_words(const struct report *report, const struct report_chooser *chooser)
{
	const char *source = report_source_name(report, chooser->what);
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
	const char *name = report_source_name(report, addr);

	if (name || !source)
		return g_strdup(name);
	return report_symbol(report, source->cb ? source->cb : source->dispatch);
}

static char *fd_words(const struct report *report, const struct report_wakeup *wakeup,
		      unsigned int fds)
{
	const struct report_fd *fd =
		report_map_find(&report->fds, (struct report_key){ .a = (uint32_t)wakeup->fd });
	const char *kind = report_fd_kind(report, wakeup->fd);
	uint64_t cb = report_wakeup_callback(report, wakeup);
	char *name = cb ? report_place(report, cb) : NULL;
	char *source = fd && fd->owner == wakeup->owner ? source_words(report, fd->source) : NULL;
	GString *words = g_string_new(NULL);

	if (!fds)
		g_string_append(words, "fd");
	else if (fds > 1)
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

char *report_author(const struct report *report, const struct report_callback *in)
{
	char *name = report_callback_name(report, in);
	char *words;

	if (!name)
		name = report_place(report, in->cb);
	words = g_strdup_printf("%s %s", report_kind_name(in->kind), name);
	g_free(name);
	return words;
}

/* aio_notify is for a context; another eventfd has a callback of interest. */
static char *notify_words(const struct report *report, const struct report_wakeup *wakeup,
			  unsigned int fds)
{
	const struct report_thread *by =
		report_map_find(&report->threads, (struct report_key){ .a = wakeup->by_tid });
	const char *ctx = wakeup->ctx ? report_context_name(report, wakeup->ctx) : NULL;
	char *name = by && by->name && !is_program(report, by->name) ? g_strdup(by->name)
		     : by && report_is_loop(by)			     ? report_loop_name(report, by)
								     : g_strdup("");
	char *place =
		fds ? report_place(report, wakeup->site) : report_function(report, wakeup->site);
	GString *words = g_string_new(NULL);

	if (!wakeup->ctx) { /* it had no aio_notify, only the write */
		char *fd = fd_words(report, wakeup, fds);

		g_string_append_printf(words, "%s, written", fd);
		g_free(fd);
	} else {
		g_string_append_printf(words, "notify%s%s", ctx ? " of " : "", ctx ? ctx : "");
		if (fds)
			g_string_append_printf(words, " (fd %d)", wakeup->fd);
	}
	if (fds)
		g_string_append_printf(words, " by thread %u%s%s%s", wakeup->by_tid,
				       name[0] ? " (" : "", name, name[0] ? ")" : "");
	else
		g_string_append_printf(words, " by %s", name[0] ? name : "a thread");
	if (wakeup->in) {
		const char *kind = report_kind_name(wakeup->in->kind);
		char *in = report_author(report, wakeup->in);

		/* Mostly it is the callback itself that wrote. */
		if (g_str_has_prefix(place, in + strlen(kind) + 1))
			g_string_append_printf(words, " in %s %s", kind, place);
		else
			g_string_append_printf(words, " in %s at %s", in, place);
		g_free(in);
	} else {
		g_string_append_printf(words, " at %s", place);
	}
	g_free(place);
	g_free(name);
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
