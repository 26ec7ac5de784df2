/* SPDX-License-Identifier: MIT */
/*
 * IOThreads that are well: one that runs aio_poll(), one that runs GLib's loop, one that polls
 * busily.  Each is given work by the main loop, which is told when it is done and then gives more:
 *
 *   main loop: give_work() -> io0: the work -> main loop: reply_bh -> (without a script) 20 ms
 * later
 */
#include "osdep.h"
#include "atomic.h"
#include "demo.h"
#include "iothread.h"
#include "loop-trace.h"

#define PAUSE_MS 20

static struct {
	IOThread *io0;
	void (*give_work)(void);
	QEMUTimer *again; /* NULL if there is a script */
	QemuSemaphore done;
	unsigned given, replies;
} io;

static void reply_bh(void *opaque G_GNUC_UNUSED)
{
	io.replies++;
	if (io.again)
		timer_mod(io.again, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) + PAUSE_MS);
}

/* In io0. */
static void reply(void)
{
	aio_bh_schedule_oneshot(qemu_get_aio_context(), reply_bh, NULL);
	qemu_sem_post(&io.done);
}

static void give_work(void)
{
	io.given++;
	io.give_work();
}

static void again_timer_cb(void *opaque G_GNUC_UNUSED)
{
	give_work();
}

/* One piece of work an iteration, which finds the reply. */
static void io_stimulate(Demo *demo G_GNUC_UNUSED)
{
	give_work();
	qemu_sem_wait(&io.done);
}

static void io_setup(const Demo *demo, void (*work)(void))
{
	io.give_work = work;
	qemu_sem_init(&io.done, 0);
	io.io0 = iothread_create("io0", &error_fatal);
	if (demo->options->iterations >= 0)
		return;
	io.again = timer_new_ms(QEMU_CLOCK_REALTIME, again_timer_cb, NULL);
	timer_mod(io.again, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) + PAUSE_MS);
}

static void io_print(Demo *demo G_GNUC_UNUSED)
{
	printf("given=%u\n", io.given);
	printf("replies=%u\n", io.replies);
}

static void io_teardown(Demo *demo G_GNUC_UNUSED)
{
	if (io.again)
		timer_free(io.again);
	iothread_destroy(io.io0);
	qemu_sem_destroy(&io.done);
}

/* --- iothread ----------------------------------------------------------------------------- */

static EventNotifier kick;

static void kick_read(EventNotifier *e)
{
	if (event_notifier_test_and_clear(e))
		reply();
}

static void work_bh(void *opaque G_GNUC_UNUSED)
{
	event_notifier_set(&kick);
}

/* A bottom half, which makes an fd of the same context ready. */
static void schedule_work(void)
{
	aio_bh_schedule_oneshot(io.io0->ctx, work_bh, NULL);
}

static int iothread_setup(Demo *demo, Error **errp G_GNUC_UNUSED)
{
	io_setup(demo, schedule_work);
	event_notifier_init(&kick, false);
	aio_set_event_notifier(io.io0->ctx, &kick, kick_read, NULL, NULL);
	return 0;
}

static void iothread_teardown(Demo *demo)
{
	aio_set_event_notifier(io.io0->ctx, &kick, NULL, NULL, NULL);
	io_teardown(demo);
	event_notifier_cleanup(&kick);
}

/* --- iothread-gcontext -------------------------------------------------------------------- */

static gboolean work_source(gpointer opaque G_GNUC_UNUSED)
{
	reply();
	return G_SOURCE_REMOVE;
}

/* A GSource of the thread's own GMainContext, as a chardev's is. */
static void attach_work(void)
{
	GSource *source = g_idle_source_new();

	g_source_set_name(source, "work");
	g_source_set_callback(source, work_source, NULL, NULL);
	loop_source_attach(source, io.io0->worker_context);
	g_source_unref(source);
}

static int gcontext_setup(Demo *demo, Error **errp G_GNUC_UNUSED)
{
	io_setup(demo, attach_work);
	iothread_get_g_main_context(io.io0);
	return 0;
}

/* --- busy-polling ------------------------------------------------------------------------- */

/*
 * A queue as virtio's: the producer counts up in memory, and kicks by an eventfd only if the
 * consumer wants that, which it does not while it polls.
 */
#define BATCH 32

static struct {
	uint64_t produced, consumed;
	bool kick_wanted;
	EventNotifier kick;
} queue;

static void queue_consume(void)
{
	while (queue.consumed != qatomic_load_acquire(&queue.produced)) {
		queue.consumed++;
		if (queue.consumed % BATCH == 0)
			reply();
	}
}

static void queue_kicked(EventNotifier *e)
{
	event_notifier_test_and_clear(e);
	queue_consume();
}

static bool queue_poll(void *opaque G_GNUC_UNUSED)
{
	return queue.consumed != qatomic_load_acquire(&queue.produced);
}

static void queue_poll_ready(EventNotifier *e G_GNUC_UNUSED)
{
	queue_consume();
}

static void queue_poll_begin(EventNotifier *e G_GNUC_UNUSED)
{
	qatomic_set(&queue.kick_wanted, false);
}

/* Wanted first; then the loop looks a last time. */
static void queue_poll_end(EventNotifier *e G_GNUC_UNUSED)
{
	qatomic_set_mb(&queue.kick_wanted, true);
}

/* Some microseconds apart, so that it is worth while to wait for the next one without a sleep. */
static void produce(void)
{
	for (int i = 0; i < BATCH; i++) {
		int64_t until = get_clock() + 5 * SCALE_US;

		qatomic_store_release(&queue.produced, queue.produced + 1);
		smp_mb();
		if (qatomic_read(&queue.kick_wanted))
			event_notifier_set(&queue.kick);
		while (get_clock() < until)
			;
	}
}

static int busy_polling_setup(Demo *demo, Error **errp G_GNUC_UNUSED)
{
	queue.kick_wanted = true;
	event_notifier_init(&queue.kick, false);
	io_setup(demo, produce);
	aio_set_event_notifier(io.io0->ctx, &queue.kick, queue_kicked, queue_poll,
			       queue_poll_ready);
	aio_set_event_notifier_poll(io.io0->ctx, &queue.kick, queue_poll_begin, queue_poll_end);
	return 0;
}

static void busy_polling_print(Demo *demo)
{
	printf("produced=%" PRIu64 "\n", queue.produced);
	io_print(demo);
}

static void busy_polling_teardown(Demo *demo)
{
	aio_set_event_notifier(io.io0->ctx, &queue.kick, NULL, NULL, NULL);
	io_teardown(demo);
	event_notifier_cleanup(&queue.kick);
}

const DemoScenario demo_scenarios_iothread[] = {
	{
		.name = "iothread",
		.summary = "an IOThread in aio_poll: a bottom half, an fd, a reply",
		.setup = iothread_setup,
		.stimulate = io_stimulate,
		.print = io_print,
		.teardown = iothread_teardown,
	},
	{
		.name = "iothread-gcontext",
		.summary = "an IOThread that runs GLib's loop, for its GMainContext",
		.setup = gcontext_setup,
		.stimulate = io_stimulate,
		.print = io_print,
		.teardown = io_teardown,
	},
	{
		.name = "busy-polling",
		.summary = "an IOThread asks a queue in memory before it sleeps",
		.era = "10.2",
		.busy_polling = true,
		.setup = busy_polling_setup,
		.stimulate = io_stimulate,
		.print = busy_polling_print,
		.teardown = busy_polling_teardown,
	},
	{},
};
