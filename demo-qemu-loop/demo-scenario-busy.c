/* SPDX-License-Identifier: MIT */
/*
 * busy: much to do, and all of it gets done.  Nothing here is ill, however often the same callbacks
 * run: each fd is drained, each bottom half was asked for by somebody else, each timer is armed
 * ahead, and the loop sleeps in between.  What takes this for a fault raises false alarms.
 *
 * With --iterations the script does one step before each; otherwise the thread "load" does two
 * thousand a second, and the timers go on by themselves.
 */
#include "osdep.h"
#include "atomic.h"
#include "demo.h"

#define N_FDS	 8
#define N_BHS	 4
#define N_TIMERS 4

static struct {
	bool scripted;
	EventNotifier fds[N_FDS];
	QEMUBH *bhs[N_BHS];
	QEMUTimer *timers[N_TIMERS];
	QemuThread load;
	bool stop;
	unsigned fd_calls, bh_calls, timer_calls;
	uint64_t checksum; /* of what they worked on */
} busy;

/* Some microseconds of work, with a result. */
static void work_on(uint64_t number)
{
	for (int i = 0; i < 2000; i++)
		number = (number ^ i) * 0x100000001b3;
	busy.checksum += number;
}

static void busy_fd_cb(void *opaque)
{
	EventNotifier *fd = opaque;

	if (event_notifier_test_and_clear(fd)) {
		busy.fd_calls++;
		work_on(fd - busy.fds);
	}
}

static void busy_bh_cb(void *opaque)
{
	busy.bh_calls++;
	work_on(GPOINTER_TO_UINT(opaque));
}

/* Periods of 1 to 4 ms. */
static void busy_timer_cb(void *opaque)
{
	unsigned i = GPOINTER_TO_UINT(opaque);

	busy.timer_calls++;
	work_on(i);
	if (!busy.scripted)
		timer_mod(busy.timers[i], qemu_clock_get_ms(QEMU_CLOCK_REALTIME) + i + 1);
}

/* Any thread. */
static void busy_step(uint64_t i)
{
	event_notifier_set(&busy.fds[i % N_FDS]);
	if (i % 2 == 0)
		qemu_bh_schedule(busy.bhs[i / 2 % N_BHS]);
	if (i % 20 == 0)
		demo_vnc_connect();
}

static void *busy_load(void *unused G_GNUC_UNUSED)
{
	for (uint64_t i = 0; !qatomic_read(&busy.stop); i++) {
		busy_step(i);
		g_usleep(500);
	}
	return NULL;
}

static void busy_stimulate(Demo *demo)
{
	uint64_t i = demo->iterations;

	busy_step(i);
	if (i % 3 == 0)
		timer_mod(busy.timers[i / 3 % N_TIMERS], qemu_clock_get_ms(QEMU_CLOCK_REALTIME));
}

static int busy_setup(Demo *demo, Error **errp)
{
	int ret = demo_vnc_open(demo->options, errp);

	if (ret < 0)
		return ret;
	busy.scripted = demo->options->iterations >= 0;
	for (int i = 0; i < N_FDS; i++) {
		event_notifier_init(&busy.fds[i], false);
		qemu_set_fd_handler(event_notifier_get_fd(&busy.fds[i]), busy_fd_cb, NULL,
				    &busy.fds[i]);
	}
	for (unsigned i = 0; i < N_BHS; i++)
		busy.bhs[i] = qemu_bh_new(busy_bh_cb, GUINT_TO_POINTER(i));
	for (unsigned i = 0; i < N_TIMERS; i++)
		busy.timers[i] =
			timer_new_ms(QEMU_CLOCK_REALTIME, busy_timer_cb, GUINT_TO_POINTER(i));
	if (busy.scripted)
		return 0;

	for (int i = 0; i < N_TIMERS; i++)
		timer_mod(busy.timers[i], qemu_clock_get_ms(QEMU_CLOCK_REALTIME) + i + 1);
	qemu_thread_create(&busy.load, "load", busy_load, NULL, QEMU_THREAD_JOINABLE);
	return 0;
}

static void busy_print(Demo *demo G_GNUC_UNUSED)
{
	printf("fd_calls=%u\n", busy.fd_calls);
	printf("bh_calls=%u\n", busy.bh_calls);
	printf("timer_calls=%u\n", busy.timer_calls);
	printf("vnc_connections=%u\n", demo_vnc_connections());
	printf("checksum=%016" PRIx64 "\n", busy.checksum);
}

static void busy_teardown(Demo *demo G_GNUC_UNUSED)
{
	if (!busy.scripted) {
		qatomic_set(&busy.stop, true);
		qemu_thread_join(&busy.load);
	}
	for (int i = 0; i < N_TIMERS; i++)
		timer_free(busy.timers[i]);
	for (int i = 0; i < N_BHS; i++)
		qemu_bh_delete(busy.bhs[i]);
	for (int i = 0; i < N_FDS; i++) {
		qemu_set_fd_handler(event_notifier_get_fd(&busy.fds[i]), NULL, NULL, NULL);
		event_notifier_cleanup(&busy.fds[i]);
	}
	demo_vnc_close();
}

const DemoScenario demo_scenarios_busy[] = {
	{
		.name = "busy",
		.summary = "BHs, timers, eventfds, VNC clients: thousands a second",
		.setup = busy_setup,
		.stimulate = busy_stimulate,
		.print = busy_print,
		.teardown = busy_teardown,
	},
	{},
};
