/* SPDX-License-Identifier: MIT */
/*
 * The monitor's commands, and those of them that change something.  Two tables: "commands", and
 * "settings" for what "set" can set.
 *
 * What belongs to an IOThread is changed by a bottom half in its own thread, as everywhere in QEMU.
 * So a command for an IOThread that is blocked is obeyed when it goes on.
 */
#include "osdep.h"
#include "atomic.h"
#include "monitor-int.h"
#include "mutants.h"

#define BLOCK_MAX_US (60 * G_USEC_PER_SEC)
#define FDS_MAX	     1024

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

void monitor_run_at_home(const MonitorContext *context, QEMUBHFunc *fn, void *opaque)
{
	if (context->iothread)
		aio_bh_schedule_oneshot(context->ctx, fn, opaque);
	else
		fn(opaque);
}

static MonitorResult kick(MonitorCall *call)
{
	MonitorContext context;

	if (!monitor_find_context(call, 0, &context))
		return MONITOR_ERROR;
	aio_notify(context.ctx);
	return MONITOR_OK;
}

/* --- block -------------------------------------------------------------------------------- */

typedef struct {
	Monitor *mon;
	gulong us;
} Block;

static void monitor_block_bh(void *opaque)
{
	Block *block = opaque;

	g_usleep(block->us);
	qatomic_dec(&block->mon->blocks);
	monitor_unref(block->mon);
	g_free(block);
}

/* "50ms": microseconds, or 0. */
static gulong parse_time(const char *text)
{
	static const struct {
		const char *unit;
		guint64 us;
	} units[] = { { "us", 1 }, { "ms", 1000 }, { "s", G_USEC_PER_SEC } };
	char *end;
	guint64 number = g_ascii_strtoull(text, &end, 10);

	for (unsigned i = 0; g_ascii_isdigit(text[0]) && i < ARRAY_SIZE(units); i++) {
		if (g_str_equal(end, units[i].unit) && number <= BLOCK_MAX_US / units[i].us)
			return number * units[i].us;
	}
	return 0;
}

/* Always as a bottom half: the answer goes out first. */
static MonitorResult block(MonitorCall *call)
{
	gulong us = parse_time(call->args[0]);
	MonitorContext context;
	Block *job;

	if (!us)
		return monitor_error(call,
				     "'%s' is no time up to 60s; type for example: block 50ms io0",
				     call->args[0]);
	if (!monitor_find_context(call, 1, &context))
		return MONITOR_ERROR;
	if (qatomic_read(&call->mon->blocks))
		return monitor_error(call, "a loop is blocked already; try again when it goes on");
	qatomic_inc(&call->mon->blocks);
	job = g_new(Block, 1);
	*job = (Block){ monitor_ref(call->mon), us };
	aio_bh_schedule_oneshot(context.ctx, monitor_block_bh, job);
	g_string_append_printf(call->out, "a bottom half blocks %s for %s\n", context.name,
			       call->args[0]);
	return MONITOR_OK;
}

/* --- descriptors -------------------------------------------------------------------------- */

typedef struct {
	EventNotifier notifier;
	MonitorContext home; /* its name is good only as long as the IOThread */
} MonitorFd;

static void monitor_fd_read(EventNotifier *notifier)
{
	event_notifier_test_and_clear(notifier);
}

/* In the thread that calls its handler: so that is not just running. */
static void monitor_fd_free(void *opaque)
{
	MonitorFd *fd = opaque;

	aio_set_event_notifier(fd->home.ctx, &fd->notifier, NULL, NULL, NULL);
	event_notifier_cleanup(&fd->notifier);
	g_free(fd);
}

static MonitorResult add_fd(MonitorCall *call)
{
	MonitorContext context;
	MonitorFd *fd;
	int ret, number;

	if (!monitor_find_context(call, 0, &context))
		return MONITOR_ERROR;
	if (g_hash_table_size(call->mon->fds) >= FDS_MAX)
		return monitor_error(
			call, "there are %d added fds already; remove-fd takes one back", FDS_MAX);
	fd = g_new0(MonitorFd, 1);
	ret = event_notifier_init(&fd->notifier, false);
	if (ret < 0) {
		g_free(fd);
		return monitor_error(call, "cannot make an eventfd: %s", strerror(-ret));
	}
	fd->home = context;
	number = event_notifier_get_fd(&fd->notifier);
	g_hash_table_insert(call->mon->fds, GINT_TO_POINTER(number), fd);
	aio_set_event_notifier(context.ctx, &fd->notifier, monitor_fd_read, NULL, NULL);
	g_string_append_printf(call->out,
			       "fd %d, an eventfd, is polled by %s; write-fd %d makes it ready\n",
			       number, context.name, number);
	return MONITOR_OK;
}

/* The one that argument 0 names, or NULL and the error. */
static MonitorFd *find_fd(MonitorCall *call)
{
	gint64 number;
	MonitorFd *fd = NULL;

	if (g_ascii_string_to_signed(call->args[0], 10, 0, INT_MAX, &number, NULL))
		fd = g_hash_table_lookup(call->mon->fds, GINT_TO_POINTER((int)number));
	if (!fd)
		monitor_error(call, "'%s' is no fd that add-fd has added", call->args[0]);
	return fd;
}

static MonitorResult remove_fd(MonitorCall *call)
{
	MonitorFd *fd = find_fd(call);

	if (!fd)
		return MONITOR_ERROR;
	g_hash_table_remove(call->mon->fds, GINT_TO_POINTER(event_notifier_get_fd(&fd->notifier)));
	monitor_run_at_home(&fd->home, monitor_fd_free, fd);
	return MONITOR_OK;
}

static MonitorResult write_fd(MonitorCall *call)
{
	MonitorFd *fd = find_fd(call);

	if (!fd)
		return MONITOR_ERROR;
	event_notifier_set(&fd->notifier);
	return MONITOR_OK;
}

void monitor_remove_fds(Monitor *mon)
{
	GHashTableIter iter;
	void *fd;

	g_hash_table_iter_init(&iter, mon->fds);
	while (g_hash_table_iter_next(&iter, NULL, &fd)) {
		monitor_run_at_home(&((MonitorFd *)fd)->home, monitor_fd_free, fd);
		g_hash_table_iter_remove(&iter);
	}
}

/* --- set ---------------------------------------------------------------------------------- */

typedef struct {
	const char *name;
	const char *what;
	const char *const *words; /* the values, counted from 0; NULL: a number up to max */
	int64_t max;
	void (*set)(AioContext *ctx, int64_t value); /* in the thread that runs @ctx */
	size_t in_iothread; /* where IOThread has that value, too; 0: nowhere */
} MonitorSetting;

static void set_poll_max_ns(AioContext *ctx, int64_t value)
{
	aio_context_set_poll_params(ctx, value, ctx->poll_grow, ctx->poll_shrink, &error_abort);
}

static void set_poll_grow(AioContext *ctx, int64_t value)
{
	aio_context_set_poll_params(ctx, ctx->poll_max_ns, value, ctx->poll_shrink, &error_abort);
}

static void set_poll_shrink(AioContext *ctx, int64_t value)
{
	aio_context_set_poll_params(ctx, ctx->poll_max_ns, ctx->poll_grow, value, &error_abort);
}

/* Nobody is there to lose the race in between; but the load is early. */
static void nothing_in_between(AioContext *ctx G_GNUC_UNUSED)
{
}

static void set_notify_barrier(AioContext *ctx G_GNUC_UNUSED, int64_t value)
{
	mutant_notify_barrier = value ? nothing_in_between : NULL;
}

static const char *const off_on[] = { "off", "on", NULL };

static const MonitorSetting settings[] = {
	{ "poll-max-ns", "how long its aio_poll may busy-poll", NULL, G_USEC_PER_SEC * 1000,
	  set_poll_max_ns, offsetof(IOThread, poll_max_ns) },
	{ "poll-grow", "by what factor that grows", NULL, 64, set_poll_grow,
	  offsetof(IOThread, poll_grow) },
	{ "poll-shrink", "by what divisor that shrinks", NULL, 64, set_poll_shrink,
	  offsetof(IOThread, poll_shrink) },
	{ "mutant-notify-barrier", "aio_notify in its thread loads notify_me too early", off_on, 0,
	  set_notify_barrier, 0 },
};

typedef struct {
	const MonitorSetting *setting;
	AioContext *ctx;
	int64_t value;
} SetJob;

static void monitor_set_bh(void *opaque)
{
	SetJob *job = opaque;

	job->setting->set(job->ctx, job->value);
	g_free(job);
}

/* False: the error is there. */
static bool parse_value(MonitorCall *call, const MonitorSetting *setting, int64_t *ret_value)
{
	const char *text = call->args[1];

	if (!setting->words) {
		if (g_ascii_string_to_signed(text, 10, 0, setting->max, ret_value, NULL))
			return true;
		monitor_error(call, "%s is a number from 0 to %" PRId64 ", not '%s'", setting->name,
			      setting->max, text);
		return false;
	}
	for (int i = 0; setting->words[i]; i++) {
		if (g_str_equal(setting->words[i], text)) {
			*ret_value = i;
			return true;
		}
	}
	monitor_error(call, "%s is", setting->name);
	for (int i = 0; setting->words[i]; i++)
		g_string_append_printf(call->out, "%s %s", i ? " or" : "", setting->words[i]);
	g_string_append_printf(call->out, ", not '%s'", text);
	return false;
}

static const MonitorSetting *find_setting(MonitorCall *call)
{
	for (unsigned i = 0; i < ARRAY_SIZE(settings); i++) {
		if (g_str_equal(settings[i].name, call->args[0]))
			return &settings[i];
	}
	monitor_error(call, "nothing to set is called '%s'; there are", call->args[0]);
	for (unsigned i = 0; i < ARRAY_SIZE(settings); i++)
		g_string_append_printf(call->out, "%s %s", i ? "," : "", settings[i].name);
	return NULL;
}

static MonitorResult set(MonitorCall *call)
{
	const MonitorSetting *setting = find_setting(call);
	MonitorContext context;
	int64_t value;
	SetJob *job;

	if (!setting || !parse_value(call, setting, &value) ||
	    !monitor_find_context(call, 2, &context))
		return MONITOR_ERROR;
	job = g_new(SetJob, 1);
	*job = (SetJob){ setting, context.ctx, value };
	monitor_run_at_home(&context, monitor_set_bh, job);
	if (context.iothread && setting->in_iothread)
		*(int64_t *)((char *)context.iothread + setting->in_iothread) = value;
	return MONITOR_OK;
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
	{ "kick", "[CTX]", 0, 1, kick, "aio_notify: a sleeping loop looks again" },
	{ "block", "TIME [CTX]", 1, 2, block, "a bottom half sleeps so long: 50ms, 2s, 500us" },
	{ "add-fd", "[CTX]", 0, 1, add_fd, "a new eventfd with a handler that drains it" },
	{ "write-fd", "FD", 1, 1, write_fd, "make that eventfd ready" },
	{ "remove-fd", "FD", 1, 1, remove_fd, "take handler and eventfd away" },
	{ "set", "NAME VALUE [CTX]", 2, 3, set, "change how a loop works; NAME is one of these:" },
	{ "quit", "", 0, 0, quit, "end the program" },
};

static MonitorResult help(MonitorCall *call)
{
	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++) {
		char *usage = g_strdup_printf("%s %s", commands[i].name, commands[i].args);

		g_string_append_printf(call->out, "%-22s  %s\n", usage, commands[i].what);
		g_free(usage);
		if (commands[i].obey != set)
			continue;
		for (unsigned n = 0; n < ARRAY_SIZE(settings); n++)
			g_string_append_printf(call->out, "    %-22s  %s\n", settings[n].name,
					       settings[n].what);
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
