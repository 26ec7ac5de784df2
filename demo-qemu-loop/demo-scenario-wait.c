/* SPDX-License-Identifier: MIT */
/*
 * AIO_WAIT_WHILE: the main thread waits for a request that the IOThread "io0" has in flight.
 *
 *   main thread, in a bottom half            io0, in a bottom half
 *   num_waiters++, in_flight > 0
 *   aio_poll(main context), asleep
 *                                            in_flight--
 *                                            aio_wait_kick: num_waiters > 0
 *                                              schedules a bottom half in the main context
 *   wakes, in_flight == 0, num_waiters--
 *
 * Nothing else would wake it.  missing-kick leaves the kick out: the main thread sleeps for ever,
 * with the BQL, and the condition it waits for has long come true.  aio-wait-kick-barrier has the
 * kick, but its load of num_waiters overtakes the store of in_flight, as it did in QEMU until a
 * barrier was added in May 2022: each step waits for the one before it, so it is lost each time.
 */
#include "osdep.h"
#include "aio-wait.h"
#include "atomic.h"
#include "demo.h"
#include "iothread.h"
#include "mutants.h"

static struct {
	const Demo *demo;
	IOThread *io0;
	QemuSemaphore loaded;
	unsigned in_flight; /* atomic */
	unsigned waits, completed;
} io;

/* Hand-over to io0: the main thread has looked at the condition and sleeps. */
static void wait_until_main_waits(void)
{
	demo_wait_nested(qemu_get_aio_context(), getpid());
}

static void begin_request(QEMUBHFunc *complete)
{
	qatomic_inc(&io.in_flight);
	aio_bh_schedule_oneshot(iothread_get_aio_context(io.io0), complete, NULL);
}

static bool wait_for_requests(void)
{
	return AIO_WAIT_WHILE(iothread_get_aio_context(io.io0),
			      qatomic_load_acquire(&io.in_flight) > 0 && !demo_stopping());
}

/* In io0: the request is done, and the next to look at in_flight sees it. */
static void end_request(void)
{
	io.completed++;
	qatomic_fetch_dec(&io.in_flight);
}

static int io_setup(Demo *demo, Error **errp G_GNUC_UNUSED)
{
	io.demo = demo;
	qemu_sem_init(&io.loaded, 0);
	io.io0 = iothread_create("io0", &error_fatal);
	return 0;
}

static void io_print(Demo *demo G_GNUC_UNUSED)
{
	printf("waits=%u\n", io.waits);
	printf("completed=%u\n", io.completed);
}

static void io_teardown(Demo *demo G_GNUC_UNUSED)
{
	/* A signal may have come before the bottom half was run, or its request. */
	while (demo_stopping() && aio_poll(qemu_get_aio_context(), false))
		;
	iothread_destroy(io.io0);
	qemu_sem_destroy(&io.loaded);
}

/* --- aio-wait ----------------------------------------------------------------------------- */

static void request_bh(void *opaque G_GNUC_UNUSED)
{
	wait_until_main_waits();
	end_request();
	aio_wait_kick();
}

static void waits_bh_cb(void *opaque G_GNUC_UNUSED)
{
	begin_request(request_bh);
	io.waits += wait_for_requests();
}

static void wait_stimulate(Demo *demo G_GNUC_UNUSED)
{
	aio_bh_schedule_oneshot(qemu_get_aio_context(), waits_bh_cb, NULL);
}

/* --- missing-kick ------------------------------------------------------------------------- */

static void forgets_kick_bh_cb(void *opaque G_GNUC_UNUSED)
{
	wait_until_main_waits();
	end_request();
	if (!demo_stopping())
		demo_ready(io.demo);
}

static void waits_for_kick_bh_cb(void *opaque G_GNUC_UNUSED)
{
	begin_request(forgets_kick_bh_cb);
	io.waits += wait_for_requests();
}

static int missing_setup(Demo *demo, Error **errp)
{
	aio_bh_schedule_oneshot(qemu_get_aio_context(), waits_for_kick_bh_cb, NULL);
	return io_setup(demo, errp);
}

/* --- aio-wait-kick-barrier ---------------------------------------------------------------- */

/* Between aio_wait_kick()'s load and the store that ought to come before it. */
static void after_early_load(void)
{
	qemu_sem_post(&io.loaded);
	wait_until_main_waits();
}

static void kicks_too_early_bh_cb(void *opaque G_GNUC_UNUSED)
{
	mutant_kick_barrier = after_early_load;
	mutant_before_condition();
	end_request();
	aio_wait_kick();
	mutant_kick_barrier = NULL;
	if (!demo_stopping())
		demo_ready(io.demo);
}

static void waits_for_early_kick_bh_cb(void *opaque G_GNUC_UNUSED)
{
	begin_request(kicks_too_early_bh_cb);
	qemu_sem_wait(&io.loaded);
	io.waits += wait_for_requests();
}

static int barrier_setup(Demo *demo, Error **errp)
{
	aio_bh_schedule_oneshot(qemu_get_aio_context(), waits_for_early_kick_bh_cb, NULL);
	return io_setup(demo, errp);
}

const DemoScenario demo_scenarios_wait[] = {
	{
		.name = "aio-wait",
		.summary = "AIO_WAIT_WHILE for an IOThread, which kicks",
		.setup = io_setup,
		.stimulate = wait_stimulate,
		.print = io_print,
		.teardown = io_teardown,
	},
	{
		.name = "missing-kick",
		.summary = "AIO_WAIT_WHILE, and nobody calls aio_wait_kick",
		.verdict = "NESTED WAIT",
		.hangs = true,
		.setup = missing_setup,
		.print = io_print,
		.teardown = io_teardown,
	},
	{
		.name = "aio-wait-kick-barrier",
		.summary = "the kick looks for waiters before its condition is seen",
		.verdict = "NESTED WAIT",
		.hangs = true,
		.setup = barrier_setup,
		.print = io_print,
		.teardown = io_teardown,
	},
	{},
};
