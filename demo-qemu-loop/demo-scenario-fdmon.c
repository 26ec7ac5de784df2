/* SPDX-License-Identifier: MIT */
/*
 * The fd monitors that poll is not: an IOThread with --fds N handlers, of which one at a time
 * becomes ready.
 *
 *   epoll      an older QEMU: poll at first, and epoll from the first wait with 64 handlers on
 *   io-uring   today's: a ring for each context, also those of the main loop, which GLib polls; and
 *              a request of ours (aio_add_sqe) beside the handlers'
 */
#include "osdep.h"
#include "aio-posix.h"
#include "demo.h"
#include "iothread.h"

#define PAUSE_MS 20

static struct {
	Demo *demo;
	IOThread *io0;
	EventNotifier *notifiers;
	QEMUTimer *again; /* NULL if there is a script */
	QemuSemaphore done;
	unsigned n, calls, completions;
	uint64_t order; /* a hash of which were called, in order */
	CqeHandler nop;
} fdmon;

/* In io0. */
static void fdmon_read(EventNotifier *e)
{
	if (!event_notifier_test_and_clear(e))
		return;
	fdmon.calls++;
	fdmon.order = fdmon.order * 31 + (e - fdmon.notifiers);
	qemu_sem_post(&fdmon.done);
}

static void nop_prepare(struct io_uring_sqe *sqe, void *opaque G_GNUC_UNUSED)
{
	io_uring_prep_nop(sqe);
}

static void nop_complete(CqeHandler *handler)
{
	assert(handler->cqe.res == 0);
	fdmon.completions++;
}

static void fdmon_ring(void)
{
	event_notifier_set(&fdmon.notifiers[g_rand_int_range(fdmon.demo->rand, 0, fdmon.n)]);
	qemu_sem_wait(&fdmon.done);
	if (aio_has_io_uring())
		aio_add_sqe(nop_prepare, NULL, &fdmon.nop);
	else
		qemu_notify_event();
}

static void again_timer_cb(void *opaque G_GNUC_UNUSED)
{
	fdmon_ring();
	timer_mod(fdmon.again, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) + PAUSE_MS);
}

static void fdmon_stimulate(Demo *demo G_GNUC_UNUSED)
{
	fdmon_ring();
}

static int fdmon_setup(Demo *demo, Error **errp)
{
	int ret = demo_raise_fd_limit(demo->options->fds, errp);

	if (ret < 0)
		return ret;
	fdmon.demo = demo;
	fdmon.nop.cb = nop_complete;
	qemu_sem_init(&fdmon.done, 0);
	fdmon.io0 = iothread_create("io0", &error_fatal);
	fdmon.notifiers = g_new0(EventNotifier, demo->options->fds);
	for (fdmon.n = 0; fdmon.n < demo->options->fds; fdmon.n++) {
		EventNotifier *notifier = &fdmon.notifiers[fdmon.n];

		ret = event_notifier_init(notifier, false);
		if (ret < 0) {
			error_setg_errno(errp, -ret, "cannot make eventfd number %u", fdmon.n);
			return ret;
		}
		aio_set_event_notifier(fdmon.io0->ctx, notifier, fdmon_read, NULL, NULL);
	}
	demo_wait_asleep(fdmon.io0->ctx, fdmon.io0->thread_id);

	if (demo->options->iterations < 0) {
		fdmon.again = timer_new_ms(QEMU_CLOCK_REALTIME, again_timer_cb, NULL);
		timer_mod(fdmon.again, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) + PAUSE_MS);
	}
	return 0;
}

static const char *monitor_of(AioContext *ctx)
{
	const FDMonOps *ops = aio_fdmon(ctx);

	return ops == &fdmon_io_uring_ops ? "io_uring" : ops == &fdmon_epoll_ops ? "epoll" : "poll";
}

static void fdmon_print(Demo *demo G_GNUC_UNUSED)
{
	printf("main_monitor=%s\n", monitor_of(qemu_get_aio_context()));
	printf("io0_monitor=%s\n", monitor_of(fdmon.io0->ctx));
	printf("handlers=%u\n", fdmon.n);
	printf("calls=%u\n", fdmon.calls);
	printf("completions=%u\n", fdmon.completions);
	printf("order=%016" PRIx64 "\n", fdmon.order);
}

static void fdmon_teardown(Demo *demo G_GNUC_UNUSED)
{
	if (fdmon.again)
		timer_free(fdmon.again);
	for (unsigned i = 0; i < fdmon.n; i++)
		aio_set_event_notifier(fdmon.io0->ctx, &fdmon.notifiers[i], NULL, NULL, NULL);
	iothread_destroy(fdmon.io0);
	while (fdmon.n > 0)
		event_notifier_cleanup(&fdmon.notifiers[--fdmon.n]);
	g_free(fdmon.notifiers);
	qemu_sem_destroy(&fdmon.done);
}

const DemoScenario demo_scenarios_fdmon[] = {
	{
		.name = "epoll",
		.summary = "an IOThread with --fds N eventfds (1000): epoll, from 64 on",
		.era = "8.2",
		.setup = fdmon_setup,
		.stimulate = fdmon_stimulate,
		.print = fdmon_print,
		.teardown = fdmon_teardown,
	},
	{
		.name = "io-uring",
		.summary = "the same by io_uring, and the main loop too",
		.era = "10.2",
		.setup = fdmon_setup,
		.stimulate = fdmon_stimulate,
		.print = fdmon_print,
		.teardown = fdmon_teardown,
	},
	{},
};
