/* SPDX-License-Identifier: MIT */
/*
 * Draining: code that waits in a nested aio_poll() until a device has no request in flight.
 *
 * nested-drain is how it should be.  The monitor's handler drains the device, whose requests
 * complete in qemu_aio_context, so the nested poll of that context is enough.  A client's
 * descriptor is readable all the time, but in iohandler_ctx: its handler must wait until the drain
 * is over, and so cannot submit new requests in the middle of it.
 *
 * nested-bql is how it must not be: the request that the main thread waits for needs a vCPU, the
 * vCPUs need the BQL, and the main thread keeps that while it polls.
 */
#include "osdep.h"
#include "aio-wait.h"
#include "atomic.h"
#include "demo.h"

/* --- nested-drain ------------------------------------------------------------------------- */

static struct {
	EventNotifier monitor, client, disk;
	QEMUTimer *timer;
	bool draining;
	unsigned in_flight, drains, waits, completed, client_calls, client_calls_in_drain;
} drain;

static void request_completed(void)
{
	drain.in_flight--;
	drain.completed++;
	aio_wait_kick();
}

/* The three ways in which a context's requests complete, each of which begins the next. */
static void request_timer_cb(void *opaque G_GNUC_UNUSED)
{
	request_completed();
}

static void request_read(EventNotifier *e)
{
	event_notifier_test_and_clear(e);
	timer_mod(drain.timer, qemu_clock_get_ns(QEMU_CLOCK_REALTIME));
	request_completed();
}

static void request_bh(void *opaque G_GNUC_UNUSED)
{
	event_notifier_set(&drain.disk);
	request_completed();
}

static void client_read(void *opaque G_GNUC_UNUSED)
{
	event_notifier_test_and_clear(&drain.client);
	drain.client_calls++;
	drain.client_calls_in_drain += drain.draining;
}

static void monitor_read(void *opaque G_GNUC_UNUSED)
{
	AioContext *ctx = qemu_get_aio_context();

	event_notifier_test_and_clear(&drain.monitor);
	drain.in_flight = 3;
	aio_bh_schedule_oneshot(ctx, request_bh, NULL);

	drain.draining = true;
	drain.waits += AIO_WAIT_WHILE(ctx, drain.in_flight > 0);
	drain.draining = false;
	drain.drains++;
}

/* Both are readable; of one context's handlers the last registered is the first called. */
static void drain_stimulate(Demo *demo G_GNUC_UNUSED)
{
	event_notifier_set(&drain.client);
	event_notifier_set(&drain.monitor);
}

static int drain_setup(Demo *demo G_GNUC_UNUSED, Error **errp G_GNUC_UNUSED)
{
	event_notifier_init(&drain.client, false);
	event_notifier_init(&drain.monitor, false);
	event_notifier_init(&drain.disk, false);
	drain.timer = aio_timer_new(qemu_get_aio_context(), QEMU_CLOCK_REALTIME, SCALE_NS,
				    request_timer_cb, NULL);
	aio_set_event_notifier(qemu_get_aio_context(), &drain.disk, request_read, NULL, NULL);
	qemu_set_fd_handler(event_notifier_get_fd(&drain.client), client_read, NULL, NULL);
	qemu_set_fd_handler(event_notifier_get_fd(&drain.monitor), monitor_read, NULL, NULL);
	return 0;
}

static void drain_print(Demo *demo G_GNUC_UNUSED)
{
	printf("drains=%u\n", drain.drains);
	printf("waits=%u\n", drain.waits);
	printf("completed=%u\n", drain.completed);
	printf("client_calls=%u\n", drain.client_calls);
	printf("client_calls_in_drain=%u\n", drain.client_calls_in_drain);
}

static void drain_teardown(Demo *demo G_GNUC_UNUSED)
{
	qemu_set_fd_handler(event_notifier_get_fd(&drain.monitor), NULL, NULL, NULL);
	qemu_set_fd_handler(event_notifier_get_fd(&drain.client), NULL, NULL, NULL);
	aio_set_event_notifier(qemu_get_aio_context(), &drain.disk, NULL, NULL, NULL);
	timer_free(drain.timer);
	event_notifier_cleanup(&drain.disk);
	event_notifier_cleanup(&drain.monitor);
	event_notifier_cleanup(&drain.client);
}

/* --- nested-bql --------------------------------------------------------------------------- */

#define VCPUS 2

static struct {
	const Demo *demo;
	QemuThread vcpu[VCPUS], watcher;
	int vcpu_tid[VCPUS]; /* 0: it has not come to the lock yet */
	unsigned in_flight;  /* under the BQL */
	unsigned completed;
} bql;

static void *vcpu_thread(void *opaque)
{
	int *tid = opaque;

	demo_wait_nested(qemu_get_aio_context(), getpid());
	qatomic_set(tid, qemu_get_thread_id());
	bql_lock();
	bql.in_flight--;
	bql.completed++;
	aio_wait_kick();
	bql_unlock();
	return NULL;
}

static void *watcher_thread(void *unused G_GNUC_UNUSED)
{
	for (int i = 0; i < VCPUS; i++)
		demo_wait_blocked(&bql.vcpu_tid[i]);
	if (!demo_stopping())
		demo_ready(bql.demo);
	return NULL;
}

static void drains_with_bql_bh_cb(void *opaque G_GNUC_UNUSED)
{
	AIO_WAIT_WHILE(qemu_get_aio_context(), bql.in_flight > 0 && !demo_stopping());
}

static int bql_setup(Demo *demo, Error **errp G_GNUC_UNUSED)
{
	bql.demo = demo;
	bql.in_flight = VCPUS;
	for (int i = 0; i < VCPUS; i++) {
		char name[] = { 'C', 'P', 'U', ' ', (char)('0' + i), '/', 'D', 'E', 'M', 'O', 0 };

		qemu_thread_create(&bql.vcpu[i], name, vcpu_thread, &bql.vcpu_tid[i],
				   QEMU_THREAD_JOINABLE);
	}
	qemu_thread_create(&bql.watcher, "watcher", watcher_thread, NULL, QEMU_THREAD_JOINABLE);
	aio_bh_schedule_oneshot(qemu_get_aio_context(), drains_with_bql_bh_cb, NULL);
	return 0;
}

static void bql_print(Demo *demo G_GNUC_UNUSED)
{
	printf("completed=%u\n", bql.completed);
}

static void bql_teardown(Demo *demo G_GNUC_UNUSED)
{
	bql_unlock();
	for (int i = 0; i < VCPUS; i++)
		qemu_thread_join(&bql.vcpu[i]);
	qemu_thread_join(&bql.watcher);
	bql_lock();
	/* A signal that came before the first iteration leaves the bottom half. */
	while (aio_poll(qemu_get_aio_context(), false))
		;
}

const DemoScenario demo_scenarios_drain[] = {
	{
		.name = "nested-drain",
		.summary = "a handler waits in aio_poll; iohandler_ctx waits for it",
		.setup = drain_setup,
		.stimulate = drain_stimulate,
		.print = drain_print,
		.teardown = drain_teardown,
	},
	{
		.name = "nested-bql",
		.summary = "a nested aio_poll keeps the BQL from the vCPUs it waits for",
		.verdict = "BQL HOLD",
		.hangs = true,
		.setup = bql_setup,
		.print = bql_print,
		.teardown = bql_teardown,
	},
	{},
};
