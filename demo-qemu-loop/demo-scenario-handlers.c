/* SPDX-License-Identifier: MIT */
/*
 * Lists for tools that walk them: very long (many-fds, crowd), and with removed nodes still linked
 * because the loop sleeps inside a callback (deleted-handler).
 */
#include "osdep.h"
#include <sys/resource.h>
#include "demo.h"

/* --- many-fds ----------------------------------------------------------------------------- */

static struct {
	EventNotifier *notifiers;
	unsigned n, calls;
	uint64_t order; /* a hash of which were called, in order */
} many;

static void many_fds_read(void *opaque)
{
	EventNotifier *notifier = opaque;

	if (event_notifier_test_and_clear(notifier)) {
		many.calls++;
		many.order = many.order * 31 + (notifier - many.notifiers);
	}
}

int demo_raise_fd_limit(unsigned n, Error **errp)
{
	rlim_t needed = n + 64;
	struct rlimit limit;
	int err;

	getrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur >= needed)
		return 0;
	limit.rlim_cur = needed;
	limit.rlim_max = MAX(limit.rlim_max, needed);
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0) {
		err = errno;
		error_setg_errno(errp, err, "cannot raise the limit of open files to %lu",
				 (unsigned long)needed);
		return -err;
	}
	return 0;
}

static int many_fds_setup(Demo *demo, Error **errp)
{
	int ret = demo_raise_fd_limit(demo->options->fds, errp);

	if (ret < 0)
		return ret;

	many.notifiers = g_new0(EventNotifier, demo->options->fds);
	for (many.n = 0; many.n < demo->options->fds; many.n++) {
		EventNotifier *notifier = &many.notifiers[many.n];

		ret = event_notifier_init(notifier, false);
		if (ret < 0) {
			error_setg_errno(errp, -ret, "cannot make eventfd number %u", many.n);
			return ret;
		}
		qemu_set_fd_handler(event_notifier_get_fd(notifier), many_fds_read, NULL, notifier);
	}
	return 0;
}

static void many_fds_stimulate(Demo *demo)
{
	event_notifier_set(&many.notifiers[g_rand_int_range(demo->rand, 0, many.n)]);
}

static void many_fds_print(Demo *demo G_GNUC_UNUSED)
{
	printf("handlers=%u\n", many.n);
	printf("calls=%u\n", many.calls);
	printf("order=%016" PRIx64 "\n", many.order);
}

static void many_fds_teardown(Demo *demo G_GNUC_UNUSED)
{
	while (many.n > 0) {
		EventNotifier *notifier = &many.notifiers[--many.n];

		qemu_set_fd_handler(event_notifier_get_fd(notifier), NULL, NULL, NULL);
		event_notifier_cleanup(notifier);
	}
	g_free(many.notifiers);
}

/* --- crowd -------------------------------------------------------------------------------- */

/*
 * A context that no thread runs, as that of an IOThread whose thread never started: nothing in it
 * is ever called.  The main loop goes on beside it.
 */
#define CROWD_DUE_NS (3600 * NANOSECONDS_PER_SECOND)

static struct {
	AioContext *ctx;
	EventNotifier *notifiers;
	QEMUBH **bhs;
	QEMUTimer **timers;
	unsigned n, calls;
} crowd;

static void crowd_read(void *opaque G_GNUC_UNUSED)
{
	crowd.calls++;
}

static void crowd_bh(void *opaque G_GNUC_UNUSED)
{
	crowd.calls++;
}

static void crowd_timer(void *opaque G_GNUC_UNUSED)
{
	crowd.calls++;
}

static int crowd_setup(Demo *demo, Error **errp)
{
	unsigned n = demo->options->fds;
	int64_t due = qemu_clock_get_ns(QEMU_CLOCK_REALTIME) + CROWD_DUE_NS;
	int ret = demo_raise_fd_limit(n, errp);

	if (ret < 0)
		return ret;
	crowd.ctx = aio_context_new(errp);
	if (!crowd.ctx)
		return -EIO;

	crowd.notifiers = g_new0(EventNotifier, n);
	crowd.bhs = g_new0(QEMUBH *, n);
	crowd.timers = g_new0(QEMUTimer *, n);
	for (crowd.n = 0; crowd.n < n; crowd.n++) {
		EventNotifier *notifier = &crowd.notifiers[crowd.n];

		ret = event_notifier_init(notifier, false);
		if (ret < 0) {
			error_setg_errno(errp, -ret, "cannot make eventfd number %u", crowd.n);
			return ret;
		}
		aio_set_fd_handler(crowd.ctx, event_notifier_get_fd(notifier), crowd_read, NULL,
				   NULL, NULL, notifier);
		crowd.bhs[crowd.n] = aio_bh_new(crowd.ctx, crowd_bh, notifier);
		qemu_bh_schedule(crowd.bhs[crowd.n]);
		crowd.timers[crowd.n] = aio_timer_new(crowd.ctx, QEMU_CLOCK_REALTIME, SCALE_NS,
						      crowd_timer, notifier);
		/* The later, the earlier: each is put at the head of the sorted list. */
		timer_mod(crowd.timers[crowd.n], due - crowd.n * SCALE_US);
	}
	return 0;
}

static void crowd_stimulate(Demo *demo G_GNUC_UNUSED)
{
	qemu_notify_event();
}

static void crowd_print(Demo *demo G_GNUC_UNUSED)
{
	printf("each=%u\n", crowd.n);
	printf("calls=%u\n", crowd.calls);
}

static void crowd_teardown(Demo *demo G_GNUC_UNUSED)
{
	while (crowd.n > 0) {
		EventNotifier *notifier = &crowd.notifiers[--crowd.n];

		timer_free(crowd.timers[crowd.n]);
		qemu_bh_delete(crowd.bhs[crowd.n]);
		aio_set_fd_handler(crowd.ctx, event_notifier_get_fd(notifier), NULL, NULL, NULL,
				   NULL, NULL);
		event_notifier_cleanup(notifier);
	}
	aio_context_unref(crowd.ctx);
	g_free(crowd.timers);
	g_free(crowd.bhs);
	g_free(crowd.notifiers);
}

/* --- deleted-handler ---------------------------------------------------------------------- */

/*
 * VICTIMS + 1 descriptors of qemu_aio_context are ready.  Whichever is called first removes the
 * others, the victims, and then waits in aio_poll() for a bottom half.  Meanwhile the victims are
 * on aio_handlers and on deleted_aio_handlers, and must never be called.
 */
#define VICTIMS 3

static struct {
	EventNotifier fds[VICTIMS + 1];
	EventNotifier *remover; /* of this round, or NULL */
	bool scripted, done;
	unsigned remover_calls, victim_calls, removed, nested_polls;
} deleted;

static void release_bh(void *opaque G_GNUC_UNUSED)
{
	deleted.done = true;
}

static void remove_others(EventNotifier *e)
{
	for (unsigned i = 0; i < ARRAY_SIZE(deleted.fds); i++) {
		if (&deleted.fds[i] == e)
			continue;
		aio_set_event_notifier(qemu_get_aio_context(), &deleted.fds[i], NULL, NULL, NULL);
		deleted.removed++;
	}
}

static void remover_read(EventNotifier *e)
{
	AioContext *ctx = qemu_get_aio_context();

	event_notifier_test_and_clear(e);
	if (deleted.remover) {
		deleted.victim_calls++;
		return;
	}
	deleted.remover = e;
	deleted.remover_calls++;
	remove_others(e);

	/* Otherwise the nested poll sleeps until a signal ends it: time to look at the lists. */
	deleted.done = false;
	if (deleted.scripted)
		aio_bh_schedule_oneshot(ctx, release_bh, NULL);
	while (!deleted.done && !demo_stopping()) {
		deleted.nested_polls++;
		aio_poll(ctx, true);
	}
}

static void deleted_stimulate(Demo *demo G_GNUC_UNUSED)
{
	deleted.remover = NULL;
	for (unsigned i = 0; i < ARRAY_SIZE(deleted.fds); i++) {
		aio_set_event_notifier(qemu_get_aio_context(), &deleted.fds[i], remover_read, NULL,
				       NULL);
		event_notifier_set(&deleted.fds[i]);
	}
}

static int deleted_setup(Demo *demo, Error **errp G_GNUC_UNUSED)
{
	for (unsigned i = 0; i < ARRAY_SIZE(deleted.fds); i++)
		event_notifier_init(&deleted.fds[i], false);

	deleted.scripted = demo->options->iterations >= 0;
	if (!deleted.scripted)
		deleted_stimulate(demo);
	return 0;
}

static void deleted_print(Demo *demo G_GNUC_UNUSED)
{
	printf("remover_calls=%u\n", deleted.remover_calls);
	printf("removed=%u\n", deleted.removed);
	printf("victim_calls=%u\n", deleted.victim_calls);
	printf("nested_polls=%u\n", deleted.nested_polls);
}

static void deleted_teardown(Demo *demo G_GNUC_UNUSED)
{
	remove_others(NULL);
	for (unsigned i = 0; i < ARRAY_SIZE(deleted.fds); i++)
		event_notifier_cleanup(&deleted.fds[i]);
}

const DemoScenario demo_scenarios_handlers[] = {
	{
		.name = "many-fds",
		.summary = "--fds N eventfds (1000) in iohandler_ctx, one callback",
		.setup = many_fds_setup,
		.stimulate = many_fds_stimulate,
		.print = many_fds_print,
		.teardown = many_fds_teardown,
	},
	{
		.name = "crowd",
		.summary = "--fds N handlers, BHs, timers in a context nobody runs",
		.verdict = "WRONG CONTEXT", /* its bottom halves are scheduled */
		.setup = crowd_setup,
		.stimulate = crowd_stimulate,
		.print = crowd_print,
		.teardown = crowd_teardown,
	},
	{
		.name = "deleted-handler",
		.summary = "a callback removes ready handlers, then calls aio_poll",
		.verdict = "NESTED WAIT", /* without a script it waits there for ever */
		.setup = deleted_setup,
		.stimulate = deleted_stimulate,
		.print = deleted_print,
		.teardown = deleted_teardown,
	},
	{},
};
