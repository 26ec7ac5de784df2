/* SPDX-License-Identifier: MIT */
/*
 * How the monitor pokes a loop: kicks, bottom halves that block it, descriptors that come and go.
 *
 * What belongs to an IOThread is changed by a bottom half in its own thread, as everywhere in QEMU.
 * So a command for an IOThread that is blocked is obeyed when it goes on.
 */
#include "osdep.h"
#include "atomic.h"
#include "monitor-int.h"

#define BLOCK_MAX_US (60 * G_USEC_PER_SEC)
#define FDS_MAX	     1024

MonitorResult monitor_kick(MonitorCall *call)
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
MonitorResult monitor_block(MonitorCall *call)
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

MonitorResult monitor_add_fd(MonitorCall *call)
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

MonitorResult monitor_remove_fd(MonitorCall *call)
{
	MonitorFd *fd = find_fd(call);

	if (!fd)
		return MONITOR_ERROR;
	g_hash_table_remove(call->mon->fds, GINT_TO_POINTER(event_notifier_get_fd(&fd->notifier)));
	monitor_run_at_home(&fd->home, monitor_fd_free, fd);
	return MONITOR_OK;
}

MonitorResult monitor_write_fd(MonitorCall *call)
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
