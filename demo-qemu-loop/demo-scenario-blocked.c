/* SPDX-License-Identifier: MIT */
/*
 * Callbacks that do not return for 400 ms (--hold), and the loop with them: asleep in a system
 * call, busy computing, waiting for a lock.  The loop has nothing else to do; 5 ms after such a
 * call it begins the next.  With --iterations it is one call an iteration.
 */
#include "osdep.h"
#include "demo.h"

#define PAUSE_NS (5LL * SCALE_MS)

static struct {
	void (*start)(void); /* makes the loop call the slow callback */
	QEMUTimer *again;    /* NULL if there is a script */
	int64_t hold_ns;     /* how long a call lasts */
	unsigned calls;
} blocked;

static void again_timer_cb(void *opaque G_GNUC_UNUSED)
{
	blocked.start();
}

static void begin_pause(void)
{
	if (blocked.again)
		timer_mod(blocked.again, qemu_clock_get_ns(QEMU_CLOCK_REALTIME) + PAUSE_NS);
}

static void blocked_setup(const Demo *demo, void (*start)(void))
{
	blocked.start = start;
	blocked.hold_ns = demo->options->hold_ns;
	if (demo->options->iterations >= 0)
		return;
	blocked.again = aio_timer_new(qemu_get_aio_context(), QEMU_CLOCK_REALTIME, SCALE_NS,
				      again_timer_cb, NULL);
	begin_pause();
}

static void blocked_stimulate(Demo *demo G_GNUC_UNUSED)
{
	blocked.start();
}

static void blocked_print(Demo *demo G_GNUC_UNUSED)
{
	printf("calls=%u\n", blocked.calls);
}

/* At the end of a slow callback. */
static void blocked_done(void)
{
	blocked.calls++;
	begin_pause();
}

/* --- blocked-sleep ------------------------------------------------------------------------ */

static QEMUBH *slow_bh;

static void slow_bh_cb(void *opaque G_GNUC_UNUSED)
{
	g_usleep(blocked.hold_ns / SCALE_US);
	blocked_done();
}

static void start_slow_bh(void)
{
	qemu_bh_schedule(slow_bh);
}

static int sleep_setup(Demo *demo, Error **errp G_GNUC_UNUSED)
{
	slow_bh = qemu_bh_new(slow_bh_cb, NULL);
	blocked_setup(demo, start_slow_bh);
	return 0;
}

static void sleep_teardown(Demo *demo G_GNUC_UNUSED)
{
	timer_free(blocked.again);
	qemu_bh_delete(slow_bh);
}

/* --- blocked-cpu -------------------------------------------------------------------------- */

static EventNotifier work; /* what the slow handlers of both are for */

static int64_t thread_cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return ts.tv_sec * NANOSECONDS_PER_SECOND + ts.tv_nsec;
}

/* A function of its own, to be found on the stack. */
static __attribute__((noinline)) uint64_t compute_checksum(int64_t cpu_ns)
{
	int64_t end = thread_cpu_ns() + cpu_ns;
	volatile uint64_t sum = 1;

	while (thread_cpu_ns() < end) {
		for (int i = 0; i < 100000; i++)
			sum = sum * 31 + i;
	}
	return sum;
}

static void computes_long_cb(void *opaque G_GNUC_UNUSED)
{
	event_notifier_test_and_clear(&work);
	compute_checksum(blocked.hold_ns);
	blocked_done();
}

static void start_work(void)
{
	event_notifier_set(&work);
}

static int watch_work(IOHandler *cb, Error **errp)
{
	int ret = event_notifier_init(&work, false);

	if (ret < 0) {
		error_setg_errno(errp, -ret, "cannot make an eventfd");
		return ret;
	}
	qemu_set_fd_handler(event_notifier_get_fd(&work), cb, NULL, NULL);
	return 0;
}

static int cpu_setup(Demo *demo, Error **errp)
{
	blocked_setup(demo, start_work);
	return watch_work(computes_long_cb, errp);
}

static void work_teardown(Demo *demo G_GNUC_UNUSED)
{
	timer_free(blocked.again);
	qemu_set_fd_handler(event_notifier_get_fd(&work), NULL, NULL, NULL);
	event_notifier_cleanup(&work);
}

/* --- blocked-lock ------------------------------------------------------------------------- */

static struct {
	QemuMutex lock;
	QemuThread thread;
	QemuSemaphore take, taken;
	bool stop; /* ordered by take */
} holder;

static void *lock_holder(void *unused G_GNUC_UNUSED)
{
	for (;;) {
		qemu_sem_wait(&holder.take);
		if (holder.stop)
			return NULL;
		qemu_mutex_lock(&holder.lock);
		qemu_sem_post(&holder.taken);
		g_usleep(blocked.hold_ns / SCALE_US);
		qemu_mutex_unlock(&holder.lock);
	}
}

static void waits_for_lock_cb(void *opaque G_GNUC_UNUSED)
{
	event_notifier_test_and_clear(&work);
	qemu_mutex_lock(&holder.lock);
	qemu_mutex_unlock(&holder.lock);
	blocked_done();
}

/* Hand-over: the lock is held before the handler can ask for it. */
static void start_lock(void)
{
	qemu_sem_post(&holder.take);
	qemu_sem_wait(&holder.taken);
	start_work();
}

static int lock_setup(Demo *demo, Error **errp)
{
	qemu_mutex_init(&holder.lock);
	qemu_sem_init(&holder.take, 0);
	qemu_sem_init(&holder.taken, 0);
	qemu_thread_create(&holder.thread, "lock-holder", lock_holder, NULL, QEMU_THREAD_JOINABLE);
	blocked_setup(demo, start_lock);
	return watch_work(waits_for_lock_cb, errp);
}

static void lock_teardown(Demo *demo)
{
	holder.stop = true;
	qemu_sem_post(&holder.take);
	qemu_thread_join(&holder.thread);
	work_teardown(demo);
	qemu_sem_destroy(&holder.taken);
	qemu_sem_destroy(&holder.take);
	qemu_mutex_destroy(&holder.lock);
}

const DemoScenario demo_scenarios_blocked[] = {
	{
		.name = "blocked-sleep",
		.summary = "a bottom half sleeps in a system call",
		.verdict = "BLOCKED CALLBACK",
		.setup = sleep_setup,
		.stimulate = blocked_stimulate,
		.print = blocked_print,
		.teardown = sleep_teardown,
	},
	{
		.name = "blocked-cpu",
		.summary = "a handler computes for long",
		.verdict = "BLOCKED CALLBACK",
		.setup = cpu_setup,
		.stimulate = blocked_stimulate,
		.print = blocked_print,
		.teardown = work_teardown,
	},
	{
		.name = "blocked-lock",
		.summary = "a handler waits for a lock of the thread lock-holder",
		.verdict = "BLOCKED CALLBACK",
		.setup = lock_setup,
		.stimulate = blocked_stimulate,
		.print = blocked_print,
		.teardown = lock_teardown,
	},
	{},
};
