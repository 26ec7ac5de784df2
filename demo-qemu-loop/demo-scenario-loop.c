/* SPDX-License-Identifier: MIT */
/*
 * The healthy main loop: five-sources, and signal.
 *
 * five-sources is the loop of a QEMU with "-vnc", whose poll set is
 *
 *   fd         owner                      handler or callback
 *   signalfd   iohandler_ctx              sigfd_handler
 *   eventfd    iohandler_ctx's notifier   aio_context_notifier_cb
 *   eventfd    qemu_aio_context's         aio_context_notifier_cb
 *   eventfd    GLib's wake-up             (GLib itself)
 *   socket     the "vnc-listener" source  vnc_listen_io
 *
 * Beside it, in its own thread, the IOThread "io0" sleeps in aio_poll() on its own notifier; and a
 * vCPU-like thread takes the BQL, which the loop lets go only for the poll.
 *
 * Every single event is the same in every run, not only the sums.  What another thread does to the
 * loop it does under the BQL, hence between prepare and check, hence it always writes the notifier
 * and always ends this very poll.  What the loop does to io0 it does when io0 sleeps.  And no timer
 * is a race with its deadline: each is due when it is armed.
 */
#include "osdep.h"
#include "cpu-timers.h"
#include "demo.h"
#include "iothread.h"
#include "loop-trace.h"

static unsigned signals;

static void sigalrm_handler(int signal G_GNUC_UNUSED)
{
	signals++;
}

static void catch_sigalrm(void)
{
	struct sigaction action = { .sa_handler = sigalrm_handler };

	sigaction(SIGALRM, &action, NULL);
}

/* Blocked everywhere, so it stays pending until the signalfd is read. */
static void stimulate_signal(void)
{
	kill(getpid(), SIGALRM);
}

/* --- five-sources ------------------------------------------------------------------------- */

static struct {
	IOThread *io0;
	QEMUBH *bh;
	QEMUTimer *device_timer, *context_timer;
	unsigned bh_calls, device_timers, context_timers, notifies, wakeups, io0_bh_calls, replies;
} five;

static void five_bh_cb(void *opaque G_GNUC_UNUSED)
{
	five.bh_calls++;
}

static void five_device_timer_cb(void *opaque G_GNUC_UNUSED)
{
	five.device_timers++;
}

static void five_context_timer_cb(void *opaque G_GNUC_UNUSED)
{
	five.context_timers++;
}

static void stimulate_bh(void)
{
	qemu_bh_schedule(five.bh);
}

/* In main_loop_tlg, already due: arming it schedules qemu_notify_bh, so the poll does not sleep. */
static void stimulate_device_timer(void)
{
	timer_mod(five.device_timer, qemu_clock_get_ns(QEMU_CLOCK_REALTIME));
}

/* In the context, already due: its prepare finds it, so the poll does not sleep. */
static void stimulate_context_timer(void)
{
	timer_mod(five.context_timer, qemu_clock_get_ns(QEMU_CLOCK_REALTIME));
}

/* Connecting succeeds at once: the kernel queues it for accept. */
static void stimulate_vnc(void)
{
	demo_vnc_connect();
}

static void vcpu_schedule_bh(void *opaque G_GNUC_UNUSED)
{
	qemu_bh_schedule(five.bh);
}

static void stimulate_vcpu_bh(void)
{
	demo_vcpu_run(vcpu_schedule_bh, NULL);
}

static void vcpu_notify(void *opaque G_GNUC_UNUSED)
{
	five.notifies++;
	aio_notify(iohandler_get_aio_context());
}

static void stimulate_notify(void)
{
	demo_vcpu_run(vcpu_notify, NULL);
}

static void stimulate_wakeup(void)
{
	five.wakeups++;
	loop_context_wakeup(NULL);
}

static void five_reply_bh(void *opaque G_GNUC_UNUSED)
{
	five.replies++;
}

/* In io0. */
static void five_io0_bh(void *opaque G_GNUC_UNUSED)
{
	bql_lock();
	five.io0_bh_calls++;
	aio_bh_schedule_oneshot(qemu_get_aio_context(), five_reply_bh, NULL);
	bql_unlock();
}

static void wait_for_io0(void)
{
	demo_wait_asleep(iothread_get_aio_context(five.io0), five.io0->thread_id);
}

static void stimulate_iothread(void)
{
	wait_for_io0();
	aio_bh_schedule_oneshot(iothread_get_aio_context(five.io0), five_io0_bh, NULL);
}

/*
 * One source at a time, round robin.  The one after vnc must be there before its poll, as a signal
 * is: while GLib dispatches a source that cannot recurse it takes its descriptor out of the set,
 * and putting that back signals its own wake-up, so that the next poll does not sleep.
 */
static void five_stimulate(Demo *demo)
{
	static void (*const script[])(void) = {
		stimulate_bh,	  stimulate_device_timer, stimulate_vnc,
		stimulate_signal, stimulate_vcpu_bh,	  stimulate_context_timer,
		stimulate_notify, stimulate_wakeup,	  stimulate_iothread,
	};

	script[demo->iterations % ARRAY_SIZE(script)]();
}

static int five_setup(Demo *demo, Error **errp)
{
	int ret = demo_vnc_open(demo->options, errp);

	if (ret < 0)
		return ret;
	five.bh = qemu_bh_new(five_bh_cb, NULL);
	five.device_timer = timer_new_ns(QEMU_CLOCK_REALTIME, five_device_timer_cb, NULL);
	five.context_timer = aio_timer_new(qemu_get_aio_context(), QEMU_CLOCK_REALTIME, SCALE_NS,
					   five_context_timer_cb, NULL);
	five.io0 = iothread_create("io0", &error_fatal);
	wait_for_io0();
	demo_vcpu_create();
	catch_sigalrm();
	vm_start(); /* tells every context that a clock runs */
	return 0;
}

static void five_print(Demo *demo G_GNUC_UNUSED)
{
	printf("bh_calls=%u\n", five.bh_calls);
	printf("device_timers=%u\n", five.device_timers);
	printf("context_timers=%u\n", five.context_timers);
	printf("vnc_connections=%u\n", demo_vnc_connections());
	printf("signals=%u\n", signals);
	printf("notifies=%u\n", five.notifies);
	printf("wakeups=%u\n", five.wakeups);
	printf("io0_bh_calls=%u\n", five.io0_bh_calls);
	printf("io0_replies=%u\n", five.replies);
}

static void five_teardown(Demo *demo G_GNUC_UNUSED)
{
	demo_vcpu_destroy();
	wait_for_io0();
	/* When a signal ends us io0's bottom half may still wait for the BQL, which we hold. */
	if (demo_stopping()) {
		bql_unlock();
		iothread_destroy(five.io0);
		bql_lock();
	} else {
		iothread_destroy(five.io0);
	}
	timer_free(five.context_timer);
	timer_free(five.device_timer);
	qemu_bh_delete(five.bh);
	demo_vnc_close();
}

/* --- signal ------------------------------------------------------------------------------- */

static int signal_setup(Demo *demo G_GNUC_UNUSED, Error **errp G_GNUC_UNUSED)
{
	catch_sigalrm();
	return 0;
}

static void signal_stimulate(Demo *demo G_GNUC_UNUSED)
{
	stimulate_signal();
}

static void signal_print(Demo *demo G_GNUC_UNUSED)
{
	printf("signals=%u\n", signals);
}

const DemoScenario demo_scenarios_loop[] = {
	{
		.name = "five-sources",
		.summary = "the loop of a QEMU with -vnc: five fds, an IOThread",
		.setup = five_setup,
		.stimulate = five_stimulate,
		.print = five_print,
		.teardown = five_teardown,
	},
	{
		.name = "signal",
		.summary = "SIGALRM by poll, signalfd, sigfd_handler to its handler",
		.setup = signal_setup,
		.stimulate = signal_stimulate,
		.print = signal_print,
	},
	{},
};
