/* SPDX-License-Identifier: MIT */
/*
 * bql-hold: a vCPU does slow work for a device with the BQL held, 400 ms each time (--hold).  An
 * event that comes meanwhile ends the main loop's poll, and there it waits for the lock: nothing is
 * wrong in the loop.  With --iterations it is one such write an iteration.
 */
#include "osdep.h"
#include "demo.h"

#define PAUSE_NS (5LL * SCALE_MS)

static struct {
	QEMUTimer *again; /* NULL if there is a script */
	int64_t ns;	  /* how long a write lasts */
	unsigned writes;
} hold;

/* In the vCPU's thread. */
static void slow_device_write(void *opaque G_GNUC_UNUSED)
{
	qemu_notify_event(); /* the loop is asleep: only there does it let go of the lock */
	g_usleep(hold.ns / SCALE_US);
	hold.writes++;
	if (hold.again)
		timer_mod(hold.again, qemu_clock_get_ns(QEMU_CLOCK_REALTIME) + PAUSE_NS);
}

static void write_again_cb(void *opaque G_GNUC_UNUSED)
{
	demo_vcpu_run(slow_device_write, NULL);
}

static int hold_setup(Demo *demo, Error **errp G_GNUC_UNUSED)
{
	hold.ns = demo->options->hold_ns;
	demo_vcpu_create();
	/* GLib's wake-up is set by now: no iteration of ours is to end by that. */
	g_main_context_iteration(NULL, FALSE);
	if (demo->options->iterations >= 0)
		return 0;
	hold.again = timer_new_ns(QEMU_CLOCK_REALTIME, write_again_cb, NULL);
	timer_mod(hold.again, qemu_clock_get_ns(QEMU_CLOCK_REALTIME) + PAUSE_NS);
	return 0;
}

static void hold_stimulate(Demo *demo G_GNUC_UNUSED)
{
	demo_vcpu_run(slow_device_write, NULL);
}

static void hold_print(Demo *demo G_GNUC_UNUSED)
{
	printf("writes=%u\n", hold.writes);
}

static void hold_teardown(Demo *demo G_GNUC_UNUSED)
{
	demo_vcpu_destroy();
	timer_free(hold.again);
}

const DemoScenario demo_scenarios_hold[] = {
	{
		.name = "bql-hold",
		.summary = "a vCPU keeps the BQL while it waits for a slow device",
		.verdict = "BQL HOLD",
		.setup = hold_setup,
		.stimulate = hold_stimulate,
		.print = hold_print,
		.teardown = hold_teardown,
	},
	{},
};
