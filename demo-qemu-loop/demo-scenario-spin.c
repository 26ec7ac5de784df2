/* SPDX-License-Identifier: MIT */
/*
 * Loops that never sleep, each for one reason.  Their callbacks return at once, nothing gets done,
 * and a CPU is fully busy with it: one call an iteration, as fast as iterations go.  spin-idle-bh
 * is their slow sister: it sleeps, for 10 ms each time, and wakes up a hundred times a second for
 * nothing.
 */
#include "osdep.h"
#include "demo.h"
#include "loop-trace.h"

static unsigned calls;

static void spin_print(Demo *demo G_GNUC_UNUSED)
{
	printf("calls=%u\n", calls);
}

/* --- spin-fd: the handler does not read what makes its fd readable -------------------------- */

static EventNotifier undrained;

static void never_drains_cb(void *opaque G_GNUC_UNUSED)
{
	calls++;
}

static int fd_setup(Demo *demo G_GNUC_UNUSED, Error **errp)
{
	int ret = event_notifier_init(&undrained, true);

	if (ret < 0) {
		error_setg_errno(errp, -ret, "cannot make an eventfd");
		return ret;
	}
	qemu_set_fd_handler(event_notifier_get_fd(&undrained), never_drains_cb, NULL, NULL);
	return 0;
}

static void fd_teardown(Demo *demo G_GNUC_UNUSED)
{
	qemu_set_fd_handler(event_notifier_get_fd(&undrained), NULL, NULL, NULL);
	event_notifier_cleanup(&undrained);
}

/* --- spin-bh ------------------------------------------------------------------------------ */

static QEMUBH *spinning_bh;

static void reschedules_itself_bh_cb(void *opaque G_GNUC_UNUSED)
{
	calls++;
	qemu_bh_schedule(spinning_bh);
}

static int bh_setup(Demo *demo G_GNUC_UNUSED, Error **errp G_GNUC_UNUSED)
{
	spinning_bh = qemu_bh_new(reschedules_itself_bh_cb, NULL);
	qemu_bh_schedule(spinning_bh);
	return 0;
}

static void bh_teardown(Demo *demo G_GNUC_UNUSED)
{
	qemu_bh_delete(spinning_bh);
}

/* --- spin-idle-bh: it looks now and then whether there is something to do ------------------- */

static void looks_again_idle_bh_cb(void *opaque G_GNUC_UNUSED)
{
	calls++;
	qemu_bh_schedule_idle(spinning_bh);
}

static int idle_bh_setup(Demo *demo G_GNUC_UNUSED, Error **errp G_GNUC_UNUSED)
{
	spinning_bh = qemu_bh_new(looks_again_idle_bh_cb, NULL);
	qemu_bh_schedule_idle(spinning_bh);
	return 0;
}

/* --- spin-timer --------------------------------------------------------------------------- */

static QEMUTimer *late_timer;

/* The next time has come before anybody can look.  Not a nanosecond earlier: a timer that is armed
 * for the time at which its run began is called again in that same run, for ever. */
static void late_timer_cb(void *opaque G_GNUC_UNUSED)
{
	calls++;
	timer_mod(late_timer, qemu_clock_get_ns(QEMU_CLOCK_REALTIME) + 1);
}

static int timer_setup(Demo *demo G_GNUC_UNUSED, Error **errp G_GNUC_UNUSED)
{
	late_timer = aio_timer_new(qemu_get_aio_context(), QEMU_CLOCK_REALTIME, SCALE_NS,
				   late_timer_cb, NULL);
	timer_mod(late_timer, 0);
	return 0;
}

static void timer_teardown(Demo *demo G_GNUC_UNUSED)
{
	timer_free(late_timer);
}

/* --- spin-prepare ------------------------------------------------------------------------- */

static GSource *always_ready;

static gboolean always_ready_prepare(GSource *source, gint *timeout)
{
	*timeout = 0;
	loop_source_prepared(source, NULL, true, 0);
	return TRUE;
}

static gboolean always_ready_check(GSource *source)
{
	loop_source_checked(source, true);
	return TRUE;
}

static gboolean always_ready_dispatch(GSource *source, GSourceFunc callback,
				      gpointer user_data G_GNUC_UNUSED)
{
	loop_source_dispatching(source, always_ready_dispatch, callback);
	calls++;
	loop_source_dispatched(source, G_SOURCE_CONTINUE);
	return G_SOURCE_CONTINUE;
}

static int prepare_setup(Demo *demo G_GNUC_UNUSED, Error **errp G_GNUC_UNUSED)
{
	static GSourceFuncs funcs = {
		.prepare = always_ready_prepare,
		.check = always_ready_check,
		.dispatch = always_ready_dispatch,
	};

	always_ready = g_source_new(&funcs, sizeof(GSource));
	g_source_set_name(always_ready, "always-ready");
	loop_source_attach(always_ready, NULL);
	return 0;
}

static void prepare_teardown(Demo *demo G_GNUC_UNUSED)
{
	loop_source_destroy(always_ready);
	g_source_unref(always_ready);
}

const DemoScenario demo_scenarios_spin[] = {
	{
		.name = "spin-fd",
		.summary = "a handler never drains its eventfd",
		.verdict = "SPIN",
		.setup = fd_setup,
		.print = spin_print,
		.teardown = fd_teardown,
	},
	{
		.name = "spin-bh",
		.summary = "a bottom half schedules itself again",
		.verdict = "SPIN",
		.setup = bh_setup,
		.print = spin_print,
		.teardown = bh_teardown,
	},
	{
		.name = "spin-idle-bh",
		.summary = "an idle bottom half, again and again: 100 wake-ups a second",
		.verdict = "SPIN",
		.setup = idle_bh_setup,
		.print = spin_print,
		.teardown = bh_teardown,
	},
	{
		.name = "spin-timer",
		.summary = "a timer is armed in the past, each time it fires",
		.verdict = "SPIN",
		.setup = timer_setup,
		.print = spin_print,
		.teardown = timer_teardown,
	},
	{
		.name = "spin-prepare",
		.summary = "the GSource always-ready says so in each prepare",
		.verdict = "SPIN",
		.setup = prepare_setup,
		.print = spin_print,
		.teardown = prepare_teardown,
	},
	{},
};
