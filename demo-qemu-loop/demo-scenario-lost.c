/* SPDX-License-Identifier: MIT */
/*
 * lost-wakeup: the loop sleeps for ever although a bottom half is scheduled.  That is what QEMU did
 * before 5710a3e09f, about once a day.  Each step here waits for the one before it:
 *
 *   thread "bh-scheduler"                      main loop
 *   qemu_bh_schedule
 *     aio_notify's load, early: notify_me == 0
 *                                              aio_ctx_prepare: notify_me = 1
 *                                                bh_list is empty: may sleep for ever
 *     bh_list gets the bottom half
 *     nobody sleeps: the eventfd is not written
 *                                              ppoll
 *
 * The load comes first because the mutant of mutants.h is on in that thread.  The main loop's side
 * needs none: a source whose turn in prepare is after the context's is where it waits.
 */
#include "osdep.h"
#include "demo.h"
#include "loop-trace.h"
#include "mutants.h"

static struct {
	const Demo *demo;
	QemuThread thread;
	QemuSemaphore loaded, prepared, published;
	GSource *source;
	bool armed; /* the next prepare is the one that must not see the bottom half */
	QEMUBH *bh;
	unsigned bh_calls;
} lost;

static void lost_bh_cb(void *opaque G_GNUC_UNUSED)
{
	lost.bh_calls++;
}

/* Between aio_notify()'s load and the store that ought to come before it. */
static void after_early_load(AioContext *ctx G_GNUC_UNUSED)
{
	qemu_sem_post(&lost.loaded);
	qemu_sem_wait(&lost.prepared);
}

static void *bh_scheduler(void *unused G_GNUC_UNUSED)
{
	mutant_notify_barrier = after_early_load;
	qemu_bh_schedule(lost.bh);
	mutant_notify_barrier = NULL;
	qemu_sem_post(&lost.published);

	/* The loop keeps the BQL up to its poll, and takes it after that. */
	bql_lock();
	bql_unlock();
	demo_wait_asleep(qemu_get_aio_context(), getpid());
	bql_lock();
	if (!demo_stopping()) {
		assert(lost.bh_calls == 0);
		demo_ready(lost.demo);
	}
	bql_unlock();
	return NULL;
}

static gboolean hand_over_prepare(GSource *source, gint *timeout)
{
	if (lost.armed) {
		lost.armed = false;
		qemu_sem_post(&lost.prepared);
		qemu_sem_wait(&lost.published);
	}
	*timeout = -1;
	loop_source_prepared(source, NULL, false, -1);
	return FALSE;
}

static gboolean hand_over_check(GSource *source)
{
	loop_source_checked(source, false);
	return FALSE;
}

static gboolean hand_over_dispatch(GSource *source G_GNUC_UNUSED,
				   GSourceFunc callback G_GNUC_UNUSED,
				   gpointer user_data G_GNUC_UNUSED)
{
	g_assert_not_reached();
}

static int lost_setup(Demo *demo, Error **errp G_GNUC_UNUSED)
{
	static GSourceFuncs funcs = {
		.prepare = hand_over_prepare,
		.check = hand_over_check,
		.dispatch = hand_over_dispatch,
	};

	lost.demo = demo;
	qemu_sem_init(&lost.loaded, 0);
	qemu_sem_init(&lost.prepared, 0);
	qemu_sem_init(&lost.published, 0);
	lost.bh = qemu_bh_new(lost_bh_cb, NULL);
	lost.source = g_source_new(&funcs, sizeof(GSource));
	g_source_set_name(lost.source, "hand-over");
	loop_source_attach(lost.source, NULL);

	/* GLib's wake-up is set, by the sources that were attached: this poll uses it up. */
	main_loop_wait(true);
	assert(qemu_get_aio_context()->notify_me == 0);

	qemu_thread_create(&lost.thread, "bh-scheduler", bh_scheduler, NULL, QEMU_THREAD_JOINABLE);
	qemu_sem_wait(&lost.loaded);
	lost.armed = true;
	return 0;
}

static void lost_print(Demo *demo G_GNUC_UNUSED)
{
	printf("bh_calls=%u\n", lost.bh_calls);
}

static void lost_teardown(Demo *demo G_GNUC_UNUSED)
{
	/* Ended before it began: play it, so that the thread gets to its end. */
	if (lost.armed)
		main_loop_wait(true);
	bql_unlock();
	qemu_thread_join(&lost.thread);
	bql_lock();
	loop_source_destroy(lost.source);
	g_source_unref(lost.source);
	qemu_bh_delete(lost.bh);
	qemu_sem_destroy(&lost.published);
	qemu_sem_destroy(&lost.prepared);
	qemu_sem_destroy(&lost.loaded);
}

const DemoScenario demo_scenarios_lost[] = {
	{
		.name = "lost-wakeup",
		.summary = "asleep with a bottom half scheduled (QEMU 5710a3e09f)",
		.verdict = "LOST WAKEUP",
		.hangs = true,
		.setup = lost_setup,
		.print = lost_print,
		.teardown = lost_teardown,
	},
	{},
};
