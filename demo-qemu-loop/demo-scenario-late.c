/* SPDX-License-Identifier: MIT */
/*
 * timer-late: no callback blocks for long, but there are many in each iteration, and device timers
 * come last in it.  A timer that is armed for in 1 ms runs after 50.
 */
#include "osdep.h"
#include "demo.h"

#define PERIOD_MS 1
#define N_BHS	  5
#define BH_MS	  10

static struct {
	QEMUTimer *timer;
	unsigned timer_calls, bh_calls;
} late;

static void one_of_many_bh_cb(void *opaque G_GNUC_UNUSED)
{
	g_usleep(BH_MS * 1000);
	late.bh_calls++; /* last, so that the stack has this function */
}

static void punctual_timer_cb(void *opaque G_GNUC_UNUSED)
{
	late.timer_calls++;
	for (int i = 0; i < N_BHS; i++)
		aio_bh_schedule_oneshot(qemu_get_aio_context(), one_of_many_bh_cb, NULL);
	timer_mod(late.timer, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) + PERIOD_MS);
}

static int late_setup(Demo *demo G_GNUC_UNUSED, Error **errp G_GNUC_UNUSED)
{
	late.timer = timer_new_ms(QEMU_CLOCK_REALTIME, punctual_timer_cb, NULL);
	timer_mod(late.timer, 0);
	return 0;
}

static void late_print(Demo *demo G_GNUC_UNUSED)
{
	printf("timer_calls=%u\nbh_calls=%u\n", late.timer_calls, late.bh_calls);
}

static void late_teardown(Demo *demo G_GNUC_UNUSED)
{
	timer_free(late.timer);
}

const DemoScenario demo_scenarios_late[] = {
	{
		.name = "timer-late",
		.summary = "short callbacks, so many that each timer comes late",
		.verdict = "TIMER LATE",
		.setup = late_setup,
		.print = late_print,
		.teardown = late_teardown,
	},
	{},
};
