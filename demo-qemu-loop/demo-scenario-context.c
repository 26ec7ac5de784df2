/* SPDX-License-Identifier: MIT */
/*
 * Bottom halves, and who runs the context they are scheduled in.
 *
 * bh-wrong-context: the last step of a job is a bottom half, and who cancels the job waits for it.
 * The step is scheduled in iohandler_ctx, the wait is a nested aio_poll() of qemu_aio_context. Both
 * belong to the main thread, but a nested poll runs one context only: it waits for ever.  Jobs that
 * save a snapshot came to that (QEMU's issue 2111).  In bh-right-context the step is scheduled in
 * the context that is polled.
 *
 * context-without-thread: an IOThread has ended, and work is still scheduled in its context: nobody
 * will ever run it.  In context-moved the work goes to another context, and the old one has none.
 */
#include "osdep.h"
#include "aio-wait.h"
#include "demo.h"
#include "iothread.h"

#define PAUSE_MS 20

/* Without a script: what stimulate() does, again and again. */
static QEMUTimer *again;

static void again_timer_cb(void *opaque)
{
	const Demo *demo = opaque;

	demo->scenario->stimulate(opaque);
	timer_mod(again, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) + PAUSE_MS);
}

static void again_start(Demo *demo)
{
	if (demo->options->iterations >= 0)
		return;
	again = timer_new_ms(QEMU_CLOCK_REALTIME, again_timer_cb, demo);
	timer_mod(again, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) + PAUSE_MS);
}

static void again_stop(void)
{
	if (again)
		timer_free(again);
}

/* --- bh-right-context, bh-wrong-context --------------------------------------------------- */

static struct {
	const Demo *demo;
	AioContext *ctx; /* that the job's last step is scheduled in */
	QemuThread watcher;
	bool runs;
	unsigned asked, cancels, waits, exits;
} job;

static void job_exit_bh_cb(void *opaque G_GNUC_UNUSED)
{
	job.exits++;
	job.runs = false;
	aio_wait_kick();
}

static void cancels_job_bh_cb(void *opaque G_GNUC_UNUSED)
{
	job.cancels++;
	job.runs = true;
	aio_bh_schedule_oneshot(job.ctx, job_exit_bh_cb, NULL);
	job.waits += AIO_WAIT_WHILE(qemu_get_aio_context(), job.runs && !demo_stopping());
}

static void cancel_stimulate(Demo *demo G_GNUC_UNUSED)
{
	job.asked++;
	aio_bh_schedule_oneshot(qemu_get_aio_context(), cancels_job_bh_cb, NULL);
}

static void *watcher_thread(void *unused G_GNUC_UNUSED)
{
	demo_wait_nested(qemu_get_aio_context(), getpid());
	if (!demo_stopping())
		demo_ready(job.demo);
	return NULL;
}

static int right_setup(Demo *demo, Error **errp G_GNUC_UNUSED)
{
	job.ctx = qemu_get_aio_context();
	again_start(demo);
	return 0;
}

static int wrong_setup(Demo *demo, Error **errp G_GNUC_UNUSED)
{
	job.demo = demo;
	job.ctx = iohandler_get_aio_context();
	cancel_stimulate(demo);
	qemu_thread_create(&job.watcher, "watcher", watcher_thread, NULL, QEMU_THREAD_JOINABLE);
	return 0;
}

static void job_print(Demo *demo G_GNUC_UNUSED)
{
	printf("cancels=%u\n", job.cancels);
	printf("waits=%u\n", job.waits);
	printf("exits=%u\n", job.exits);
}

/* A signal may have ended the wait, or come before the command. */
static void job_end(void)
{
	while (job.cancels < job.asked)
		aio_poll(qemu_get_aio_context(), false);
	while (job.runs)
		main_loop_wait(false);
}

static void right_teardown(Demo *demo G_GNUC_UNUSED)
{
	again_stop();
	job_end();
}

static void wrong_teardown(Demo *demo G_GNUC_UNUSED)
{
	qemu_thread_join(&job.watcher);
	job_end();
}

/* --- context-moved, context-without-thread ------------------------------------------------ */

static struct {
	IOThread *ended;
	QEMUBH *bh;
	unsigned scheduled, calls;
} work;

static void orphan_bh_cb(void *opaque G_GNUC_UNUSED)
{
	work.calls++;
}

static void work_stimulate(Demo *demo G_GNUC_UNUSED)
{
	work.scheduled++;
	qemu_bh_schedule(work.bh);
	qemu_notify_event();
}

static void work_setup(Demo *demo, bool moved)
{
	work.ended = iothread_create("io0", &error_fatal);
	iothread_stop(work.ended);
	work.bh = aio_bh_new(moved ? qemu_get_aio_context() : work.ended->ctx, orphan_bh_cb, NULL);
	again_start(demo);
}

static int moved_setup(Demo *demo, Error **errp G_GNUC_UNUSED)
{
	work_setup(demo, true);
	return 0;
}

static int without_setup(Demo *demo, Error **errp G_GNUC_UNUSED)
{
	work_setup(demo, false);
	return 0;
}

static void work_print(Demo *demo G_GNUC_UNUSED)
{
	printf("scheduled=%u\n", work.scheduled);
	printf("calls=%u\n", work.calls);
}

static void work_teardown(Demo *demo G_GNUC_UNUSED)
{
	again_stop();
	qemu_bh_delete(work.bh);
	/* Nobody else frees a bottom half of a context without a thread: its end does. */
	iothread_destroy(work.ended);
}

const DemoScenario demo_scenarios_context[] = {
	{
		.name = "bh-right-context",
		.summary = "a wait for a job's last BH polls the context it is in",
		.setup = right_setup,
		.stimulate = cancel_stimulate,
		.print = job_print,
		.teardown = right_teardown,
	},
	{
		.name = "bh-wrong-context",
		.summary = "a wait for a job's last BH polls another context",
		.verdict = "WRONG CONTEXT",
		.hangs = true,
		.setup = wrong_setup,
		.print = job_print,
		.teardown = wrong_teardown,
	},
	{
		.name = "context-moved",
		.summary = "an IOThread has ended, and its work goes to another context",
		.setup = moved_setup,
		.stimulate = work_stimulate,
		.print = work_print,
		.teardown = work_teardown,
	},
	{
		.name = "context-without-thread",
		.summary = "an IOThread has ended, and work still goes to its context",
		.verdict = "WRONG CONTEXT",
		.setup = without_setup,
		.stimulate = work_stimulate,
		.print = work_print,
		.teardown = work_teardown,
	},
	{},
};
