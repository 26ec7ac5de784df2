/* SPDX-License-Identifier: MIT */
/*
 * Timers, on a clock that stands still: QEMU_CLOCK_VIRTUAL, enabled here without a running VM, is 0
 * for ever.  So what is due and what is not does not depend on the machine.
 */
#include "loop-test.h"
#include "cpu-timers.h"

static QEMUTimer *timer_noting(const char *what)
{
	return aio_timer_new(test_ctx, QEMU_CLOCK_VIRTUAL, SCALE_NS, note_cb, (void *)what);
}

static bool run(void)
{
	return timerlistgroup_run_timers(&test_ctx->tlg);
}

static void test_order_of_expiry(void)
{
	QEMUTimer *a = timer_noting("A"), *b = timer_noting("B"), *c = timer_noting("C"),
		  *later = timer_noting("never");

	timer_mod(a, 0);
	timer_mod(later, 1);
	timer_mod(b, 0);
	timer_mod(c, 0);
	g_assert_true(run());
	assert_order("ABC");
	g_assert_false(timer_pending(a));
	g_assert_true(timer_pending(later));
	g_assert_false(run());
	assert_order("");

	/* Armed anew it goes behind its equals. */
	timer_mod(a, 0);
	timer_mod(b, 0);
	timer_mod(a, 0);
	g_assert_true(run());
	assert_order("BA");

	timer_free(a);
	timer_free(b);
	timer_free(c);
	timer_free(later);
}

#define MANY 300

static struct Many {
	QEMUTimer timer;
	int64_t time;	   /* -1: not armed */
	unsigned armed_as; /* counts all armings */
} many[MANY];
static unsigned n_armings;

static bool is_before(const struct Many *a, const struct Many *b)
{
	return a->time != b->time ? a->time < b->time : a->armed_as < b->armed_as;
}

static void fired_cb(void *opaque)
{
	struct Many *m = opaque;

	/* It is the first of those that are still to fire. */
	for (unsigned i = 0; i < MANY; i++)
		g_assert_true(&many[i] == m || many[i].time < 0 || is_before(m, &many[i]));
	m->time = -1;
}

/* Armed, armed anew and disarmed at random, from few to many, with few different times. */
static void test_many(void)
{
	for (unsigned i = 0; i < MANY; i++) {
		aio_timer_init(test_ctx, &many[i].timer, QEMU_CLOCK_HOST, SCALE_NS, fired_cb,
			       &many[i]);
		many[i].time = -1;
	}
	for (unsigned round = 1; round <= MANY; round++) {
		for (unsigned step = 0; step < 2 * round; step++) {
			struct Many *m = &many[g_test_rand_int_range(0, (int)round)];
			int64_t time = g_test_rand_int_range(1, 40);

			if (g_test_rand_int_range(0, 4) == 0) {
				timer_del(&m->timer);
				m->time = -1;
			} else if (time % 2) {
				timer_mod(&m->timer, time);
				m->time = time;
				m->armed_as = n_armings++;
			} else if (m->time < 0 || time < m->time) {
				timer_mod_anticipate(&m->timer, time);
				m->time = time;
				m->armed_as = n_armings++;
			}
			g_assert_true(timer_pending(&m->timer) == (m->time >= 0));
		}
		run();
		for (unsigned i = 0; i < MANY; i++)
			g_assert_cmpint(many[i].time, ==, -1);
	}
}

static int rearms;

static void rearm_cb(void *opaque)
{
	QEMUTimer **self = opaque;

	note("R");
	if (--rearms > 0)
		timer_mod(*self, 0);
}

static void test_rearm_same_run(void)
{
	QEMUTimer *self = aio_timer_new(test_ctx, QEMU_CLOCK_VIRTUAL, SCALE_NS, rearm_cb, &self);

	rearms = 4;
	timer_mod(self, 0);
	g_assert_true(run());
	assert_order("RRRR");
	timer_free(self);
}

static QEMUTimer *victim;

static void del_cb(void *opaque G_GNUC_UNUSED)
{
	note("D");
	timer_del(victim);
}

static void test_del(void)
{
	QEMUTimer *killer = aio_timer_new(test_ctx, QEMU_CLOCK_VIRTUAL, SCALE_NS, del_cb, NULL);

	victim = timer_noting("victim");
	timer_mod(killer, 0);
	timer_mod(victim, 0);
	g_assert_true(run());
	assert_order("D");
	timer_del(victim); /* again: nothing */
	timer_free(victim);
	timer_free(killer);
}

static void test_anticipate(void)
{
	QEMUTimer *a = timer_noting("A");

	timer_mod_anticipate(a, 50);
	g_assert_cmpuint(timer_expire_time_ns(a), ==, 50);
	timer_mod_anticipate(a, 60);
	g_assert_cmpuint(timer_expire_time_ns(a), ==, 50);
	timer_mod_anticipate(a, 40);
	g_assert_cmpuint(timer_expire_time_ns(a), ==, 40);
	timer_mod(a, -5); /* there is no time before 0, and -1 would read "not armed" */
	g_assert_cmpuint(timer_expire_time_ns(a), ==, 0);
	timer_free(a);
}

static void test_scale(void)
{
	QEMUTimer ms, us;

	aio_timer_init(test_ctx, &ms, QEMU_CLOCK_VIRTUAL, SCALE_MS, note_cb, NULL);
	aio_timer_init(test_ctx, &us, QEMU_CLOCK_VIRTUAL, SCALE_US, note_cb, NULL);
	timer_mod(&ms, 7);
	timer_mod(&us, 7);
	g_assert_cmpuint(timer_expire_time_ns(&ms), ==, 7000000);
	g_assert_cmpuint(timer_expire_time_ns(&us), ==, 7000);
	g_assert_cmpint(timerlistgroup_deadline_ns(&test_ctx->tlg), ==, 7000);
	g_assert_cmpint(aio_compute_timeout(test_ctx), ==, 7000);
	timer_del(&ms);
	timer_del(&us);
	g_assert_cmpint(timerlistgroup_deadline_ns(&test_ctx->tlg), ==, -1);
	timer_deinit(&ms);
	timer_deinit(&us);
}

static void count_notify(void *opaque, QEMUClockType type)
{
	g_assert_cmpint(type, ==, QEMU_CLOCK_VIRTUAL);
	(*(int *)opaque)++;
}

static void test_notifies(void)
{
	QEMUTimerListGroup tlg;
	QEMUTimer a, b;
	int n = 0;

	timerlistgroup_init(&tlg, count_notify, &n);
	timer_init_full(&a, &tlg, QEMU_CLOCK_VIRTUAL, SCALE_NS, 0, note_cb, NULL);
	timer_init_full(&b, &tlg, QEMU_CLOCK_VIRTUAL, SCALE_NS, 0, note_cb, NULL);

	timer_mod(&a, 50);
	g_assert_cmpint(n, ==, 1);
	timer_mod(&b, 60); /* the sleeper wakes early enough */
	g_assert_cmpint(n, ==, 1);
	timer_mod(&b, 40);
	g_assert_cmpint(n, ==, 2);
	timer_mod_anticipate(&b, 45);
	g_assert_cmpint(n, ==, 2);
	timer_del(&b);
	g_assert_cmpint(n, ==, 2);

	timer_del(&a);
	timerlistgroup_deinit(&tlg);
}

static void test_stopped_clock(void)
{
	QEMUTimer *a = timer_noting("A");

	timer_mod(a, 0);
	g_assert_cmpint(timerlistgroup_deadline_ns(&test_ctx->tlg), ==, 0);
	qemu_clock_enable(QEMU_CLOCK_VIRTUAL, false);
	g_assert_cmpint(timerlistgroup_deadline_ns(&test_ctx->tlg), ==, -1);
	g_assert_false(run());

	/* Enabling it makes every loop look again. */
	aio_notify_accept(test_ctx);
	qemu_clock_enable(QEMU_CLOCK_VIRTUAL, true);
	g_assert_true(test_ctx->notified);
	g_assert_true(run());
	assert_order("A");
	timer_free(a);
}

static void test_all_lists(void)
{
	QEMUTimer *guest = timer_noting("G");
	QEMUTimer *host = aio_timer_new_with_attrs(test_ctx, QEMU_CLOCK_VIRTUAL, SCALE_NS,
						   QEMU_TIMER_ATTR_EXTERNAL, note_cb, (void *)"H");

	g_assert_cmpint(qemu_clock_deadline_ns_all(QEMU_CLOCK_VIRTUAL, QEMU_TIMER_ATTR_ALL), ==,
			-1);
	timer_mod(host, 30);
	timer_mod(guest, 70);
	g_assert_cmpint(qemu_clock_deadline_ns_all(QEMU_CLOCK_VIRTUAL, QEMU_TIMER_ATTR_ALL), ==,
			30);
	g_assert_cmpint(qemu_clock_deadline_ns_all(QEMU_CLOCK_VIRTUAL, ~QEMU_TIMER_ATTR_EXTERNAL),
			==, 70);
	timer_free(guest);
	timer_free(host);
}

static void test_rounding(void)
{
	g_assert_cmpint(qemu_timeout_ns_to_ms(-1), ==, -1);
	g_assert_cmpint(qemu_timeout_ns_to_ms(0), ==, 0);
	g_assert_cmpint(qemu_timeout_ns_to_ms(1), ==, 1);
	g_assert_cmpint(qemu_timeout_ns_to_ms(1000000), ==, 1);
	g_assert_cmpint(qemu_timeout_ns_to_ms(1000001), ==, 2);
	g_assert_cmpint(qemu_timeout_ns_to_ms(INT64_MAX), ==, INT32_MAX);

	g_assert_cmpint(qemu_soonest_timeout(-1, 5), ==, 5);
	g_assert_cmpint(qemu_soonest_timeout(5, -1), ==, 5);
	g_assert_cmpint(qemu_soonest_timeout(-1, -1), ==, -1);
	g_assert_cmpint(qemu_soonest_timeout(0, -1), ==, 0);
	g_assert_cmpint(qemu_soonest_timeout(7, 5), ==, 5);
}

/* 3 ms and 1 ns are 4 ms for GLib: with 3 it would wake too early and turn for nothing. */
static void test_gsource_rounds_up(void)
{
	QEMUTimer *a = timer_noting("A");
	gint timeout = -2;

	timer_mod(a, 3 * SCALE_MS + 1);
	g_assert_false(test_ctx->source.source_funcs->prepare(&test_ctx->source, &timeout));
	g_assert_cmpint(timeout, ==, 4);
	g_assert_false(test_ctx->source.source_funcs->check(&test_ctx->source));

	timer_mod(a, 3 * SCALE_MS);
	g_assert_false(test_ctx->source.source_funcs->prepare(&test_ctx->source, &timeout));
	g_assert_cmpint(timeout, ==, 3);
	g_assert_false(test_ctx->source.source_funcs->check(&test_ctx->source));

	timer_mod(a, 0);
	g_assert_true(test_ctx->source.source_funcs->prepare(&test_ctx->source, &timeout));
	g_assert_cmpint(timeout, ==, 0);
	g_assert_true(test_ctx->source.source_funcs->check(&test_ctx->source));
	timer_free(a);
}

static void test_guest_time(void)
{
	int64_t stopped = qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL);

	g_assert_cmpint(stopped, ==, 0);
	vm_start();
	while (qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL) == stopped)
		;
	vm_stop();
	stopped = qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL);
	g_assert_cmpint(stopped, >, 0);
	g_assert_cmpint(qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL), ==, stopped);
}

int main(int argc, char **argv)
{
	int ret;

	g_test_init(&argc, &argv, NULL);
	test_ctx_init();
	qemu_clock_enable(QEMU_CLOCK_VIRTUAL, true);
	g_test_add_func("/timer/equal-expiry-runs-in-the-order-armed", test_order_of_expiry);
	g_test_add_func("/timer/many-run-by-time-then-in-the-order-armed", test_many);
	g_test_add_func("/timer/rearmed-in-the-past-runs-in-the-same-run", test_rearm_same_run);
	g_test_add_func("/timer/deleted-by-an-earlier-one-does-not-run", test_del);
	g_test_add_func("/timer/anticipate-never-delays", test_anticipate);
	g_test_add_func("/timer/scale-is-the-timers-own", test_scale);
	g_test_add_func("/timer/only-a-new-first-one-notifies", test_notifies);
	g_test_add_func("/timer/stopped-clock-has-no-deadline", test_stopped_clock);
	g_test_add_func("/timer/deadline-over-all-lists-heeds-attributes", test_all_lists);
	g_test_add_func("/timer/timeouts-round-up-and-never-is-longest", test_rounding);
	g_test_add_func("/timer/gsource-sleeps-whole-milliseconds-rounded-up",
			test_gsource_rounds_up);
	g_test_add_func("/timer/guest-time-runs-only-with-the-vm", test_guest_time);
	ret = g_test_run();
	test_ctx_exit();
	return ret;
}
