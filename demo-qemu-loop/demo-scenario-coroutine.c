/* SPDX-License-Identifier: MIT */
/*
 * Coroutines and the contexts they run in.
 *
 * coroutines: one that is half the time in the IOThread "io0" and half in the main thread.  Each
 * iteration but the first is a round: it is scheduled into io0, moves itself to the main context,
 * which ends the poll, and yields there.
 *
 * coroutine-wrong-context: QEMU's QMP dispatcher, which lives in iohandler_ctx and has to run its
 * commands in qemu_aio_context.  aio_co_reschedule_self() does not take it there: both belong to
 * the main thread, whose current context is qemu_aio_context already.  So the command stays where
 * it was, and whoever waits for it in a nested poll of qemu_aio_context waits for ever: its wake-up
 * is a bottom half of iohandler_ctx.  QEMU went back to the other way in 719c6819ed9a.
 */
#include "osdep.h"
#include "aio-wait.h"
#include "atomic.h"
#include "coroutine.h"
#include "demo.h"
#include "iothread.h"
#include "thread-pool.h"

/* --- coroutines --------------------------------------------------------------------------- */

static struct {
	IOThread *io0;
	Coroutine *co; /* NULL when it has ended */
	bool stop;
	bool away; /* between the schedule and its yield; in the main thread */
	unsigned in_io0, in_main, elsewhere;
} traveller;

static void note_thread(unsigned *calls, int thread_id)
{
	if (qemu_get_thread_id() == thread_id)
		(*calls)++;
	else
		traveller.elsewhere++;
}

static void coroutine_fn travels_co(void *opaque G_GNUC_UNUSED)
{
	while (!traveller.stop) {
		note_thread(&traveller.in_io0, traveller.io0->thread_id);
		/* Hand-over: the move ends this poll, and leaves nothing to end the next. */
		demo_wait_asleep(qemu_get_aio_context(), getpid());
		aio_co_reschedule_self(qemu_get_aio_context());
		note_thread(&traveller.in_main, getpid());
		traveller.away = false;
		qemu_coroutine_yield();
	}
	traveller.co = NULL;
}

static int travel_setup(Demo *demo G_GNUC_UNUSED, Error **errp G_GNUC_UNUSED)
{
	traveller.io0 = iothread_create("io0", &error_fatal);
	traveller.co = qemu_coroutine_create(travels_co, NULL);
	return 0;
}

static void travel_stimulate(Demo *demo)
{
	/* The first poll does not sleep: sources were attached, which sets GLib's wake-up. */
	if (demo->iterations == 0)
		return;
	traveller.away = true;
	aio_co_schedule(iothread_get_aio_context(traveller.io0), traveller.co);
}

static void travel_print(Demo *demo G_GNUC_UNUSED)
{
	printf("in_io0=%u\n", traveller.in_io0);
	printf("in_main=%u\n", traveller.in_main);
	printf("elsewhere=%u\n", traveller.elsewhere);
}

static void travel_teardown(Demo *demo G_GNUC_UNUSED)
{
	/* A signal may have ended the poll before the coroutine did. */
	while (traveller.away)
		aio_poll(qemu_get_aio_context(), true);
	traveller.stop = true;
	qemu_coroutine_enter(traveller.co);
	assert(!traveller.co);
	iothread_destroy(traveller.io0);
}

/* --- coroutine-wrong-context -------------------------------------------------------------- */

static struct {
	const Demo *demo;
	QemuThread watcher;
	bool in_flight;
	unsigned commands, waits;
} qmp;

static int blocking_query(void *opaque G_GNUC_UNUSED)
{
	return 0;
}

static void drains_command_bh_cb(void *opaque G_GNUC_UNUSED)
{
	qmp.waits += AIO_WAIT_WHILE(qemu_get_aio_context(), qmp.in_flight && !demo_stopping());
}

static void coroutine_fn qmp_dispatch_co(void *opaque G_GNUC_UNUSED)
{
	qmp.in_flight = true;
	aio_bh_schedule_oneshot(qemu_get_aio_context(), drains_command_bh_cb, NULL);

	/* It was: aio_co_schedule(qemu_get_aio_context(), self), and a yield. */
	aio_co_reschedule_self(qemu_get_aio_context());
	thread_pool_submit_co(blocking_query, NULL);

	qmp.commands++;
	qmp.in_flight = false;
	aio_wait_kick();
}

static void *watcher_thread(void *unused G_GNUC_UNUSED)
{
	AioContext *ctx = iohandler_get_aio_context();

	/* It is on that list when it begins, too, but then no poll is nested. */
	demo_wait_nested(qemu_get_aio_context(), getpid());
	while (!demo_stopping() && !qatomic_read(&ctx->scheduled_coroutines.slh_first))
		g_usleep(50);
	if (!demo_stopping())
		demo_ready(qmp.demo);
	return NULL;
}

static int qmp_setup(Demo *demo, Error **errp G_GNUC_UNUSED)
{
	qmp.demo = demo;
	aio_co_schedule(iohandler_get_aio_context(), qemu_coroutine_create(qmp_dispatch_co, NULL));
	qemu_thread_create(&qmp.watcher, "watcher", watcher_thread, NULL, QEMU_THREAD_JOINABLE);
	return 0;
}

static void qmp_print(Demo *demo G_GNUC_UNUSED)
{
	printf("waits=%u\n", qmp.waits);
	printf("commands=%u\n", qmp.commands);
}

static void qmp_teardown(Demo *demo G_GNUC_UNUSED)
{
	qemu_thread_join(&qmp.watcher);
	while (!qmp.commands)
		main_loop_wait(false);
}

const DemoScenario demo_scenarios_coroutine[] = {
	{
		.name = "coroutines",
		.summary = "a coroutine moves between the main thread and an IOThread",
		.setup = travel_setup,
		.stimulate = travel_stimulate,
		.print = travel_print,
		.teardown = travel_teardown,
	},
	{
		.name = "coroutine-wrong-context",
		.summary = "a QMP command stays in iohandler_ctx (QEMU 719c6819ed9a)",
		.verdict = "WRONG CONTEXT",
		.hangs = true,
		.setup = qmp_setup,
		.print = qmp_print,
		.teardown = qmp_teardown,
	},
	{},
};
