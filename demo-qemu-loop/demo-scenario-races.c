// SPDX-License-Identifier: MIT
/*
 * Races that QEMU has lost, in an IOThread.  In each, the main thread does something to io0's
 * context at the one moment at which io0 is not told of it, and io0 then sleeps for ever:
 *
 *   stolen-accept        a timer is armed; a poll by another thread takes the notification
 *   epoll-upgrade-race   a handler is added while io0 goes from poll to epoll
 *   iothread-stop-race   io0 is told to stop by a flag, after it has looked at it
 *
 * and, which is no race but as hard to find, poll-recursion: a handler's io_poll_ready that polls
 * is called again by its own poll, deeper and deeper.
 *
 * io0 comes to that moment and waits there (arrive()); setup() waits for it, does its part, lets it
 * go on (release()).  The mutants, and what is wrong about them, are in mutants.h.
 */
#include "osdep.h"
#include "aio-posix.h"
#include "atomic.h"
#include "demo.h"
#include "iothread.h"
#include "mutants.h"

#define TIMER_MS  20
#define MAX_DEPTH 50
#define POLL_NS	  (10LL * SCALE_MS)

static struct {
	const Demo *demo;
	IOThread *io0;
	AioContext *ctx;
	QemuSemaphore arrived, released;
	EventNotifier fds[64];
	unsigned n_fds;
	QEMUTimer *timer;
	QemuThread stopper;
	unsigned calls, depth;
	bool over; /* of poll-recursion's innermost wait */
} race;

/* --- hand-over ---------------------------------------------------------------------------- */

/* io0: this is the moment. */
static void arrive(AioContext *ctx G_GNUC_UNUSED)
{
	qemu_sem_post(&race.arrived);
	qemu_sem_wait(&race.released);
}

static void release(void)
{
	qemu_sem_post(&race.released);
}

static void say_ready_bh(void *opaque G_GNUC_UNUSED)
{
	demo_ready(race.demo);
}

/* The main loop runs from here on, with nothing to do. */
static void ready_when_asleep(void)
{
	demo_wait_asleep(race.ctx, race.io0->thread_id);
	aio_bh_schedule_oneshot(qemu_get_aio_context(), say_ready_bh, NULL);
}

static void race_begin(const Demo *demo)
{
	race.demo = demo;
	qemu_sem_init(&race.arrived, 0);
	qemu_sem_init(&race.released, 0);
	race.io0 = iothread_create("io0", &error_fatal);
	race.ctx = race.io0->ctx;
}

static void race_print(Demo *demo G_GNUC_UNUSED)
{
	printf("calls=%u\n", qatomic_read(&race.calls));
}

static void race_end(Demo *demo G_GNUC_UNUSED)
{
	while (race.n_fds > 0) {
		EventNotifier *notifier = &race.fds[--race.n_fds];

		aio_set_fd_handler(race.ctx, event_notifier_get_fd(notifier), NULL, NULL, NULL,
				   NULL, NULL);
		event_notifier_cleanup(notifier);
	}
	if (race.timer)
		timer_free(race.timer);
	iothread_destroy(race.io0);
	qemu_sem_destroy(&race.released);
	qemu_sem_destroy(&race.arrived);
}

static void add_fd(IOHandler *io_read, AioPollFn *io_poll, IOHandler *io_poll_ready, bool set)
{
	EventNotifier *notifier = &race.fds[race.n_fds++];

	event_notifier_init(notifier, set);
	aio_set_fd_handler(race.ctx, event_notifier_get_fd(notifier), io_read, NULL, io_poll,
			   io_poll_ready, notifier);
}

static void count_read(void *opaque)
{
	qatomic_inc(&race.calls);
	event_notifier_test_and_clear(opaque);
}

/* --- stolen-accept ------------------------------------------------------------------------ */

/* Between io0's last look at what there is to do and its sleep: the monitor's wait(). */
static int wait_later(AioContext *ctx, AioHandlerList *ready_list, int64_t timeout)
{
	if (timeout) {
		ctx->fdmon_ops = &fdmon_poll_ops;
		arrive(ctx);
	}
	return fdmon_poll_ops.wait(ctx, ready_list, timeout);
}

static FDMonOps later_ops;

static void wait_later_bh(void *opaque G_GNUC_UNUSED)
{
	race.ctx->fdmon_ops = &later_ops;
}

static void late_timer_cb(void *opaque G_GNUC_UNUSED)
{
	qatomic_inc(&race.calls);
}

static int stolen_setup(Demo *demo, Error **errp G_GNUC_UNUSED)
{
	race_begin(demo);
	race.timer = aio_timer_new(race.ctx, QEMU_CLOCK_REALTIME, SCALE_MS, late_timer_cb, NULL);
	/* One that cannot be polled busily, so that every aio_poll() asks the kernel. */
	add_fd(count_read, NULL, NULL, false);
	later_ops = fdmon_poll_ops;
	later_ops.wait = wait_later;
	aio_bh_schedule_oneshot(race.ctx, wait_later_bh, NULL);
	qemu_sem_wait(&race.arrived);

	/* io0 has found nothing and will sleep for ever; this writes its notifier ... */
	timer_mod(race.timer, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) + TIMER_MS);

	/* ... and this, with which a drained section used to begin, reads it. */
	mutant_poll_abroad = true;
	aio_poll(race.ctx, false);
	mutant_poll_abroad = false;

	release();
	ready_when_asleep();
	return 0;
}

/* --- epoll-upgrade-race ------------------------------------------------------------------- */

static void upgrade_unlocked_bh(void *opaque G_GNUC_UNUSED)
{
	mutant_unlocked_upgrade = arrive;
	qemu_sem_post(&race.arrived);
}

static int upgrade_setup(Demo *demo, Error **errp G_GNUC_UNUSED)
{
	race_begin(demo);
	/* One short of epoll, with the notifier; io0 goes there when the last is added. */
	while (race.n_fds < G_N_ELEMENTS(race.fds) - 2)
		add_fd(count_read, NULL, NULL, false);
	aio_bh_schedule_oneshot(race.ctx, upgrade_unlocked_bh, NULL);
	qemu_sem_wait(&race.arrived);
	add_fd(count_read, NULL, NULL, false);
	qemu_sem_wait(&race.arrived);

	/* It is for the old monitor, of which nobody asks anything any more. */
	add_fd(count_read, NULL, NULL, true);

	release();
	ready_when_asleep();
	return 0;
}

/* --- iothread-stop-race ------------------------------------------------------------------- */

static void hold_once(AioContext *ctx)
{
	static bool held;

	if (held)
		return;
	held = true;
	arrive(ctx);
}

static void notified_unread_bh(void *opaque G_GNUC_UNUSED)
{
	mutant_notified_unread = hold_once;
}

/* It will wait for the thread's end. */
static void *stopper(void *unused G_GNUC_UNUSED)
{
	mutant_stop_by_flag = release;
	iothread_stop(race.io0);
	return NULL;
}

static int stop_setup(Demo *demo, Error **errp G_GNUC_UNUSED)
{
	race_begin(demo);
	aio_bh_schedule_oneshot(race.ctx, notified_unread_bh, NULL);
	qemu_sem_wait(&race.arrived);
	/* The bottom half may have run before its notification was written: that is not to wake. */
	event_notifier_test_and_clear(&race.ctx->notifier);
	qemu_thread_create(&race.stopper, "stopper", stopper, NULL, QEMU_THREAD_JOINABLE);
	ready_when_asleep();
	return 0;
}

static void stop_teardown(Demo *demo)
{
	event_notifier_set(&race.ctx->notifier);
	qemu_thread_join(&race.stopper);
	race_end(demo);
}

/* --- poll-recursion ----------------------------------------------------------------------- */

static bool never_consumed(void *opaque G_GNUC_UNUSED)
{
	return race.depth < MAX_DEPTH;
}

static void poll_recursion_over_bh(void *opaque G_GNUC_UNUSED)
{
	race.over = true;
}

/* What it waits for would be done in no time, if it were not called again by its own wait. */
static void polls_when_ready(void *opaque G_GNUC_UNUSED)
{
	qatomic_inc(&race.calls);
	qatomic_inc(&race.depth);
	if (race.depth == MAX_DEPTH)
		mutant_stays_on_poll_list = false;
	while (!race.over)
		aio_poll(race.ctx, true);
	qatomic_dec(&race.depth);
}

static void recursion_read(void *opaque)
{
	event_notifier_test_and_clear(opaque);
}

/* From here on io0 polls busily, and for so long that no delay of its thread ends that. */
static void recursion_begin_bh(void *opaque G_GNUC_UNUSED)
{
	AioHandler *node;

	mutant_stays_on_poll_list = true;
	aio_context_set_poll_params(race.ctx, 100 * POLL_NS, 0, 0, &error_abort);
	add_fd(recursion_read, never_consumed, polls_when_ready, true); /* an event: it joins */
	qatomic_set(&race.ctx->poll_ns, POLL_NS);
	QLIST_FOREACH (node, &race.ctx->aio_handlers, node)
		qatomic_set(&node->poll.ns, POLL_NS);
}

static int recursion_setup(Demo *demo, Error **errp G_GNUC_UNUSED)
{
	race_begin(demo);
	aio_bh_schedule_oneshot(race.ctx, recursion_begin_bh, NULL);
	while (qatomic_read(&race.depth) < MAX_DEPTH && !demo_stopping())
		g_usleep(50);
	ready_when_asleep();
	return 0;
}

static void recursion_teardown(Demo *demo)
{
	aio_bh_schedule_oneshot(race.ctx, poll_recursion_over_bh, NULL);
	race_end(demo);
}

const DemoScenario demo_scenarios_races[] = {
	{
		.name = "stolen-accept",
		.summary = "another thread takes a notification (QEMU b37548fcd1)",
		.verdict = "LOST WAKEUP",
		.hangs = true,
		.setup = stolen_setup,
		.print = race_print,
		.teardown = race_end,
	},
	{
		.name = "epoll-upgrade-race",
		.summary = "an fd is added amid the upgrade to epoll (QEMU e62da98527)",
		.verdict = "LOST WAKEUP",
		.hangs = true,
		.era = "8.2",
		.setup = upgrade_setup,
		.print = race_print,
		.teardown = race_end,
	},
	{
		.name = "iothread-stop-race",
		.summary = "told to stop, an IOThread sleeps on (QEMU 2362a28ea1)",
		.verdict = "LOST WAKEUP",
		.hangs = true,
		.setup = stop_setup,
		.teardown = stop_teardown,
	},
	{
		.name = "poll-recursion",
		.summary = "io_poll_ready is called by its own poll (QEMU 6d740fb01b)",
		.verdict = "NESTED WAIT",
		.hangs = true,
		.era = "8.2",
		.busy_polling = true,
		.setup = recursion_setup,
		.print = race_print,
		.teardown = recursion_teardown,
	},
	{},
};
