/* SPDX-License-Identifier: MIT */
/* The rows of the table as a program for QEMU's loop does them; see bench-loop.h. */
#include "qemu/osdep.h"
#include "block/aio.h"
#include "qapi/error.h"
#include "qemu/event_notifier.h"
#include "qemu/main-loop.h"
#include "qemu/thread.h"
#include "qemu/timer.h"
#include "bench-loop.h"

typedef struct AioBench {
	AioContext *ctx;
	GMainContext *gcontext; /* where ctx is attached, in the row that needs it */
	unsigned n;
	unsigned seed;
	unsigned left;
	QEMUBH *bh;
	EventNotifier *notifiers;
	QEMUTimer *timers;
	/* The other thread of the cross-thread rows. */
	QemuThread thread;
	QemuSemaphore ready;
	AioContext *other_ctx;
	QEMUBH *other_bh;
	int64_t poll_max_ns;
	bool stop;
} AioBench;

void bench_aio_init(void)
{
	qemu_init_main_loop(&error_abort);
}

/* Each row has a thread of its own: a thread becomes home once. */
static AioBench *aio_setup(const BenchParam *param)
{
	AioBench *b = g_new0(AioBench, 1);

	b->n = param->n;
	b->ctx = aio_context_new(&error_abort);
	qemu_set_current_aio_context(b->ctx);
	return b;
}

static void aio_teardown(void *opaque)
{
	AioBench *b = opaque;

	while (aio_poll(b->ctx, false))
		;
	aio_context_unref(b->ctx);
	g_free(b);
}

/* --- bottom halves ------------------------------------------------------------------------ */

static void bh_again(void *opaque)
{
	AioBench *b = opaque;

	if (--b->left)
		qemu_bh_schedule(b->bh);
}

static void *bh_setup(const BenchParam *param)
{
	AioBench *b = aio_setup(param);

	b->bh = aio_bh_new(b->ctx, bh_again, b);
	return b;
}

static void bh_run(void *opaque, unsigned ops)
{
	AioBench *b = opaque;

	b->left = ops;
	qemu_bh_schedule(b->bh);
	while (b->left)
		aio_poll(b->ctx, true);
}

static void bh_teardown(void *opaque)
{
	AioBench *b = opaque;

	qemu_bh_delete(b->bh);
	aio_teardown(b);
}

static void oneshot_cb(void *opaque)
{
	AioBench *b = opaque;

	b->left--;
}

static void *oneshot_setup(const BenchParam *param)
{
	return aio_setup(param);
}

static void oneshot_run(void *opaque, unsigned ops)
{
	AioBench *b = opaque;

	for (; ops; ops -= b->n) {
		b->left = b->n;
		for (unsigned i = 0; i < b->n; i++)
			aio_bh_schedule_oneshot(b->ctx, oneshot_cb, b);
		while (b->left)
			aio_poll(b->ctx, true);
	}
}

/* --- descriptors -------------------------------------------------------------------------- */

/* QEMU's has no place for an opaque: there is one row at a time. */
static unsigned notified;

static void notifier_read(EventNotifier *e)
{
	notified += event_notifier_test_and_clear(e);
}

static void *fds_setup(const BenchParam *param)
{
	AioBench *b = aio_setup(param);

	b->notifiers = g_new0(EventNotifier, b->n);
	for (unsigned i = 0; i < b->n; i++) {
		event_notifier_init_fd(&b->notifiers[i], param->fds[i]);
		aio_set_event_notifier(b->ctx, &b->notifiers[i], notifier_read, NULL, NULL);
	}
	return b;
}

static void fds_poll_run(void *opaque, unsigned ops)
{
	AioBench *b = opaque;

	notified = 0;
	for (unsigned i = 1; i <= ops; i++) {
		event_notifier_set(&b->notifiers[bench_next(&b->seed, b->n)]);
		while (notified < i)
			aio_poll(b->ctx, true);
	}
}

static void fds_teardown(void *opaque)
{
	AioBench *b = opaque;

	for (unsigned i = 0; i < b->n; i++)
		aio_set_event_notifier(b->ctx, &b->notifiers[i], NULL, NULL, NULL);
	g_free(b->notifiers);
	aio_teardown(b);
}

static void *fds_source_setup(const BenchParam *param)
{
	AioBench *b = fds_setup(param);
	GSource *source = aio_get_g_source(b->ctx);

	b->gcontext = g_main_context_new();
	g_source_attach(source, b->gcontext);
	g_source_unref(source);
	return b;
}

static void fds_source_run(void *opaque, unsigned ops)
{
	AioBench *b = opaque;

	notified = 0;
	for (unsigned i = 1; i <= ops; i++) {
		event_notifier_set(&b->notifiers[bench_next(&b->seed, b->n)]);
		while (notified < i)
			g_main_context_iteration(b->gcontext, TRUE);
	}
}

static void fds_source_teardown(void *opaque)
{
	AioBench *b = opaque;
	GMainContext *gcontext = b->gcontext;

	for (unsigned i = 0; i < b->n; i++)
		aio_set_event_notifier(b->ctx, &b->notifiers[i], NULL, NULL, NULL);
	while (g_main_context_iteration(gcontext, FALSE))
		;
	g_free(b->notifiers);
	g_source_destroy((GSource *)b->ctx);
	aio_context_unref(b->ctx);
	g_main_context_unref(gcontext);
	g_free(b);
}

/* --- timers ------------------------------------------------------------------------------- */

static void timer_cb(void *opaque)
{
	AioBench *b = opaque;

	b->left--;
}

static void *timers_setup(const BenchParam *param)
{
	AioBench *b = aio_setup(param);

	b->timers = g_new0(QEMUTimer, b->n);
	for (unsigned i = 0; i < b->n; i++)
		aio_timer_init(b->ctx, &b->timers[i], QEMU_CLOCK_REALTIME, SCALE_NS, timer_cb, b);
	return b;
}

static void timers_run(void *opaque, unsigned ops)
{
	AioBench *b = opaque;

	for (; ops; ops -= b->n) {
		int64_t now = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);

		b->left = b->n;
		for (unsigned i = 0; i < b->n; i++)
			timer_mod(&b->timers[i], now - bench_next(&b->seed, 1000000));
		while (b->left)
			aio_poll(b->ctx, true);
	}
}

static void timers_teardown(void *opaque)
{
	AioBench *b = opaque;

	for (unsigned i = 0; i < b->n; i++)
		timer_del(&b->timers[i]);
	g_free(b->timers);
	aio_teardown(b);
}

/* --- two threads -------------------------------------------------------------------------- */

static void back_cb(void *opaque)
{
	AioBench *b = opaque;

	b->left--;
}

static void other_cb(void *opaque)
{
	AioBench *b = opaque;

	qemu_bh_schedule(b->bh);
}

static void stop_cb(void *opaque)
{
	AioBench *b = opaque;

	b->stop = true;
}

static void *other_thread(void *opaque)
{
	AioBench *b = opaque;

	bench_pin_other();
	qemu_set_current_aio_context(b->other_ctx);
	qemu_sem_post(&b->ready);
	while (!b->stop)
		aio_poll(b->other_ctx, true);
	return NULL;
}

static void *cross_setup_poll(const BenchParam *param, int64_t poll_max_ns)
{
	AioBench *b = aio_setup(param);

	b->other_ctx = aio_context_new(&error_abort);
	aio_context_set_poll_params(b->ctx, poll_max_ns, 0, 0, &error_abort);
	aio_context_set_poll_params(b->other_ctx, poll_max_ns, 0, 0, &error_abort);
	b->bh = aio_bh_new(b->ctx, back_cb, b);
	b->other_bh = aio_bh_new(b->other_ctx, other_cb, b);
	qemu_sem_init(&b->ready, 0);
	qemu_thread_create(&b->thread, "bench-other", other_thread, b, QEMU_THREAD_JOINABLE);
	qemu_sem_wait(&b->ready);
	return b;
}

static void *cross_setup(const BenchParam *param)
{
	return cross_setup_poll(param, 0);
}

/* Long enough for the other's answer even where waking a CPU takes a virtual machine 100 us. */
static void *cross_busy_setup(const BenchParam *param)
{
	return cross_setup_poll(param, SCALE_MS);
}

static void cross_run(void *opaque, unsigned ops)
{
	AioBench *b = opaque;

	for (b->left = ops; ops; ops--) {
		qemu_bh_schedule(b->other_bh);
		while (b->left == ops)
			aio_poll(b->ctx, true);
	}
}

static void cross_teardown(void *opaque)
{
	AioBench *b = opaque;

	aio_bh_schedule_oneshot(b->other_ctx, stop_cb, b);
	qemu_thread_join(&b->thread);
	qemu_sem_destroy(&b->ready);
	qemu_bh_delete(b->other_bh);
	qemu_bh_delete(b->bh);
	aio_context_unref(b->other_ctx);
	aio_teardown(b);
}

const BenchContestant bench_aio[BENCH_ROWS] = {
	[BENCH_BH] = { bh_setup, bh_run, bh_teardown },
	[BENCH_ONESHOT] = { oneshot_setup, oneshot_run, aio_teardown },
	[BENCH_NOTIFIER] = { fds_setup, fds_poll_run, fds_teardown },
	[BENCH_FDS_POLL] = { fds_setup, fds_poll_run, fds_teardown },
	[BENCH_FDS_SOURCE] = { fds_source_setup, fds_source_run, fds_source_teardown },
	[BENCH_TIMERS] = { timers_setup, timers_run, timers_teardown },
	[BENCH_CROSS] = { cross_setup, cross_run, cross_teardown },
	[BENCH_CROSS_BUSY_POLL] = { cross_busy_setup, cross_run, cross_teardown },
};
