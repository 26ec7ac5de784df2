/* SPDX-License-Identifier: MIT */
/* The table of the monitor's commands, and how a line is matched with it. */
#include "osdep.h"
#include "monitor-int.h"

MonitorResult monitor_error(MonitorCall *call, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	g_string_vprintf(call->out, fmt, ap);
	va_end(ap);
	return MONITOR_ERROR;
}

/* --- contexts ----------------------------------------------------------------------------- */

static void add_iothread(IOThread *iothread, void *contexts)
{
	MonitorContext context = { iothread->id, iothread->ctx, iothread };

	g_array_append_val((GArray *)contexts, context);
}

GArray *monitor_contexts(void)
{
	GArray *contexts = g_array_new(FALSE, FALSE, sizeof(MonitorContext));
	MonitorContext main_ones[] = {
		{ "qemu_aio_context", qemu_get_aio_context(), NULL },
		{ "iohandler_ctx", iohandler_get_aio_context(), NULL },
	};

	g_array_append_vals(contexts, main_ones, ARRAY_SIZE(main_ones));
	iothread_for_each(add_iothread, contexts);
	return contexts;
}

bool monitor_find_context(MonitorCall *call, int n, MonitorContext *ret_context)
{
	GArray *contexts = monitor_contexts();
	const char *name = n < call->n_args ? call->args[n] : "qemu_aio_context";
	bool found = false;

	for (unsigned i = 0; i < contexts->len && !found; i++) {
		*ret_context = g_array_index(contexts, MonitorContext, i);
		found = g_str_equal(ret_context->name, name);
	}
	if (!found) {
		monitor_error(call, "no context '%s'; there are", name);
		for (unsigned i = 0; i < contexts->len; i++)
			g_string_append_printf(call->out, "%s %s", i ? "," : "",
					       g_array_index(contexts, MonitorContext, i).name);
	}
	g_array_unref(contexts);
	return found;
}

void monitor_run_at_home_full(const MonitorContext *context, QEMUBHFunc *fn, void *opaque,
			      const char *name)
{
	if (context->iothread)
		aio_bh_schedule_oneshot_full(context->ctx, fn, opaque, name);
	else
		fn(opaque);
}

/* --- the table ---------------------------------------------------------------------------- */

static MonitorResult help(MonitorCall *call);

static MonitorResult quit(MonitorCall *call)
{
	call->mon->quit();
	return MONITOR_OK;
}

static const struct {
	const char *name; /* one word, or two */
	const char *args; /* for people */
	int min_args, max_args;
	MonitorResult (*obey)(MonitorCall *call);
	const char *what;
} commands[] = {
	{ "help", "", 0, 0, help, "this" },
	{ "info contexts", "", 0, 0, monitor_info_contexts,
	  "the AioContexts, who runs them, who sleeps in them" },
	{ "info handlers", "[CTX]", 0, 1, monitor_info_handlers, "which fds they poll, for whom" },
	{ "info bhs", "[CTX]", 0, 1, monitor_info_bhs, "bottom halves that wait to be called" },
	{ "info timers", "", 0, 0, monitor_info_timers, "armed timers, the first one first" },
	{ "info iothreads", "", 0, 0, monitor_info_iothreads, "the IOThreads" },
	{ "kick", "[CTX]", 0, 1, monitor_kick, "aio_notify: a sleeping loop looks again" },
	{ "block", "TIME [CTX]", 1, 2, monitor_block,
	  "a bottom half sleeps so long: 50ms, 2s, 500us" },
	{ "add-fd", "[CTX]", 0, 1, monitor_add_fd, "a new eventfd with a handler that drains it" },
	{ "write-fd", "FD", 1, 1, monitor_write_fd, "make that eventfd ready" },
	{ "remove-fd", "FD", 1, 1, monitor_remove_fd, "take handler and eventfd away" },
	{ "set", "NAME VALUE [CTX]", 2, 3, monitor_set,
	  "change how a loop works; NAME is one of these:" },
	{ "quit", "", 0, 0, quit, "end the program" },
};

static MonitorResult help(MonitorCall *call)
{
	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++) {
		char *usage = g_strdup_printf("%s %s", commands[i].name, commands[i].args);

		g_string_append_printf(call->out, "%-22s  %s\n", usage, commands[i].what);
		g_free(usage);
		if (commands[i].obey == monitor_set)
			monitor_help_settings(call->out);
	}
	g_string_append(
		call->out,
		"CTX is qemu_aio_context (if none is given), iohandler_ctx or an IOThread.\n");
	return MONITOR_OK;
}

/* How many of the words are the command's name; 0: they are not that command. */
static int match(const char *name, char **words, int n_words)
{
	size_t length = strlen(words[0]);

	if (g_str_equal(name, words[0]))
		return 1;
	return n_words > 1 && strncmp(name, words[0], length) == 0 && name[length] == ' ' &&
			       g_str_equal(name + length + 1, words[1])
		       ? 2
		       : 0;
}

static MonitorResult obey_words(MonitorCall *call, char **words, int n_words)
{
	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++) {
		int name_words = match(commands[i].name, words, n_words);

		if (!name_words)
			continue;
		call->args = words + name_words;
		call->n_args = n_words - name_words;
		if (call->n_args < commands[i].min_args || call->n_args > commands[i].max_args)
			return monitor_error(call, "type: %s%s%s", commands[i].name,
					     commands[i].args[0] ? " " : "", commands[i].args);
		return commands[i].obey(call);
	}
	if (g_str_equal(words[0], "info"))
		return monitor_error(
			call,
			"type: info contexts, info handlers, info bhs, info timers or info iothreads");
	return monitor_error(call, "no command '%s'; help lists the commands", words[0]);
}

MonitorResult monitor_obey(Monitor *mon, MonitorClient *client, const char *line, GString *out)
{
	MonitorCall call = { .mon = mon, .client = client, .out = out };
	MonitorResult result = MONITOR_OK;
	char **words = g_strsplit_set(line, " \t", -1);
	int n_words = 0;

	/* Several blanks leave empty words. */
	for (int i = 0; words[i]; i++) {
		if (words[i][0])
			words[n_words++] = words[i];
		else
			g_free(words[i]);
	}
	words[n_words] = NULL;
	if (n_words)
		result = obey_words(&call, words, n_words);
	g_strfreev(words);
	return result;
}
