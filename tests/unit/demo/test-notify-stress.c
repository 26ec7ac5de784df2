/* SPDX-License-Identifier: MIT */
/*
 * The notify protocol, in a race: one thread publishes something for another to do and notifies,
 * the other has it done and goes to sleep, as often as they can.  What is published takes turns: a
 * flag that is looked at after each turn of the loop, a bottom half, a timer.  The pauses in
 * between take turns too, so that the notification falls on each step of going to sleep.  A lost
 * wake-up hangs it.
 *
 * A short run is part of check-unit; "make stress-notify" does 10,000,000 rounds (-m slow), also
 * under ThreadSanitizer.
 */
#include "loop-test.h"
#include "atomic.h"

#define PAUSES 61 /* a prime, so that each meets each way to publish */

enum { BOTTOM_HALF, TIMER, FLAG };

static unsigned rounds, ways;
static unsigned flag; /* the round it was raised in */
static unsigned payload;
static unsigned done; /* rounds; home sets it, the notifier waits for it */
static QEMUBH *bh;
static QEMUTimer *timer;

/* What was written before the notification is there. */
static void do_it(void)
{
	unsigned round = qatomic_read(&done) + 1;

	g_assert_cmpuint(payload, ==, round);
	qatomic_store_release(&done, round);
}

static void do_it_cb(void *opaque G_GNUC_UNUSED)
{
	do_it();
}

static void pause_for(unsigned n)
{
	while (n--)
		cpu_relax();
}

static void *notifier(void *opaque G_GNUC_UNUSED)
{
	for (unsigned round = 1; round <= rounds; round++) {
		payload = round;
		switch (round % ways) {
		case FLAG:
			qatomic_store_release(&flag, round);
			aio_notify(test_ctx);
			break;
		case BOTTOM_HALF:
			qemu_bh_schedule(bh);
			break;
		case TIMER:
			timer_mod(timer, 0);
			break;
		}
		for (unsigned spins = 1; qatomic_load_acquire(&done) != round; spins++) {
			/* Perhaps there is but one CPU. */
			if (spins % 256 == 0)
				sched_yield();
			cpu_relax();
		}
		pause_for(round % PAUSES * 4);
	}
	return NULL;
}

/* One turn may sleep at a time when nothing is to be done: the point of it all. */
static void race(void (*turn)(void *), void *opaque, unsigned n_ways)
{
	unsigned long turns = 0;
	QemuThread thread;

	rounds = g_test_slow() ? 5000000 : 100000;
	ways = n_ways;
	flag = done = 0;
	bh = aio_bh_new(test_ctx, do_it_cb, NULL);
	timer = aio_timer_new(test_ctx, QEMU_CLOCK_REALTIME, SCALE_NS, do_it_cb, NULL);
	qemu_thread_create(&thread, "notifier", notifier, NULL, QEMU_THREAD_JOINABLE);
	while (done < rounds) {
		turn(opaque);
		turns++;
		if (qatomic_load_acquire(&flag) > done)
			do_it();
	}
	qemu_thread_join(&thread);
	timer_free(timer);
	qemu_bh_delete(bh);
	g_test_message("%u rounds in %lu turns of the loop", rounds, turns);
}

static void turn_aio_poll(void *opaque G_GNUC_UNUSED)
{
	aio_poll(test_ctx, true);
}

static void test_aio_poll(void)
{
	race(turn_aio_poll, NULL, 3);
	aio_poll(test_ctx, false);
}

static void turn_glib(void *gcontext)
{
	g_main_context_iteration(gcontext, TRUE);
}

/*
 * No flag: prepare does not look at notified, but after it raised notify_me it looks at all that it
 * knows of.  What it does not know of has to be looked at by somebody else.
 */
static void test_glib(void)
{
	GMainContext *gcontext = g_main_context_new();
	GSource *source = aio_get_g_source(test_ctx);

	g_source_attach(source, gcontext);
	race(turn_glib, gcontext, 2);
	aio_poll(test_ctx, false);
	g_source_unref(source);
	/* The context goes with it: at the end of the program. */
	g_main_context_unref(gcontext);
}

int main(int argc, char **argv)
{
	int ret;

	g_test_init(&argc, &argv, NULL);
	test_ctx_init();
	g_test_add_func("/notify-stress/aio_poll-misses-nothing", test_aio_poll);
	g_test_add_func("/notify-stress/glib-misses-nothing", test_glib);
	ret = g_test_run();
	test_ctx_exit();
	return ret;
}
