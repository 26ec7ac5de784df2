/* SPDX-License-Identifier: MIT */
/*
 * What the monitor can set, a line each in the table "settings".  A value is put into effect by the
 * thread that runs the context.
 */
#include "osdep.h"
#include "monitor-int.h"
#include "mutants.h"

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

static void set_epoll_threshold(AioContext *ctx, int64_t value)
{
	ctx->epoll_threshold = value;
	aio_notify(ctx); /* it looks at that before it sleeps */
}

/* Nobody is there to lose the race in between; but the load is early. */
static void nothing_in_between(AioContext *ctx G_GNUC_UNUSED)
{
}

static void set_notify_barrier(AioContext *ctx G_GNUC_UNUSED, int64_t value)
{
	mutant_notify_barrier = value ? nothing_in_between : NULL;
}

static void set_bh_not_cancelled(AioContext *ctx G_GNUC_UNUSED, int64_t value)
{
	mutant_bh_not_cancelled = value;
}

static void set_stays_on_poll_list(AioContext *ctx G_GNUC_UNUSED, int64_t value)
{
	mutant_stays_on_poll_list = value;
}

static void set_unlocked_upgrade(AioContext *ctx G_GNUC_UNUSED, int64_t value)
{
	mutant_unlocked_upgrade = value ? nothing_in_between : NULL;
}

static void set_notified_unread(AioContext *ctx G_GNUC_UNUSED, int64_t value)
{
	mutant_notified_unread = value ? nothing_in_between : NULL;
}

static const char *const off_on[] = { "off", "on", NULL };

static const MonitorSetting settings[] = {
	{ "poll-max-ns", "how long its aio_poll may busy-poll", NULL, G_USEC_PER_SEC * 1000,
	  set_poll_max_ns, offsetof(IOThread, poll_max_ns) },
	{ "poll-grow", "by what factor that grows", NULL, 64, set_poll_grow,
	  offsetof(IOThread, poll_grow) },
	{ "poll-shrink", "by what divisor that shrinks", NULL, 64, set_poll_shrink,
	  offsetof(IOThread, poll_shrink) },
	{ "epoll-threshold", "from how many fds on it is epoll, unless --fdmon forbids it", NULL,
	  INT_MAX, set_epoll_threshold, 0 },
	{ "mutant-notify-barrier", "aio_notify in its thread loads notify_me too early", off_on, 0,
	  set_notify_barrier, 0 },
	{ "mutant-bh-not-cancelled", "the thread pool's bottom half goes on scheduling itself",
	  off_on, 0, set_bh_not_cancelled, 0 },
	{ "mutant-stays-on-poll-list", "busy polling asks a handler whose io_poll_ready runs",
	  off_on, 0, set_stays_on_poll_list, 0 },
	{ "mutant-unlocked-upgrade", "it goes from poll to epoll without list_lock", off_on, 0,
	  set_unlocked_upgrade, 0 },
	{ "mutant-notified-unread", "its aio_poll sleeps though it was notified", off_on, 0,
	  set_notified_unread, 0 },
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

MonitorResult monitor_set(MonitorCall *call)
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

void monitor_help_settings(GString *out)
{
	for (unsigned i = 0; i < ARRAY_SIZE(settings); i++)
		g_string_append_printf(out, "    %-25s  %s\n", settings[i].name, settings[i].what);
}
