/* SPDX-License-Identifier: MIT */
/*
 * Healthy loops to predict.  What is ready in an iteration is drawn, by --seed, and all that
 * follows from it is the loop's doing:
 *
 *   drawn-order     bottom halves, handlers and timers made ready in one order, called in another;
 *                   west_read removes the handler of east_read, which may be ready too
 *   drawn-timeout   timers, a poll notifier, a GSource, bottom halves: who comes first?
 */
#include "osdep.h"
#include <sys/socket.h>
#include "demo.h"
#include "loop-trace.h"
#include "slirp.h"

#define ABSENT (-1)

static struct {
	GRand *rand;
	unsigned calls;
	uint64_t order; /* a hash of what was called, in order */
} drawn;

static void called(unsigned number)
{
	drawn.calls++;
	drawn.order = drawn.order * 31 + number;
}

static bool one_in(int n)
{
	return g_rand_int_range(drawn.rand, 0, n) == 0;
}

/* Some of 0 ... n-1, in some order; returns how many. */
static unsigned draw_some(unsigned *ret, unsigned n)
{
	unsigned some = g_rand_int_range(drawn.rand, 0, n + 1);

	for (unsigned i = 0; i < n; i++)
		ret[i] = i;
	for (unsigned i = 0; i < n; i++) {
		unsigned j = g_rand_int_range(drawn.rand, i, n), swap = ret[i];

		ret[i] = ret[j];
		ret[j] = swap;
	}
	return some;
}

static int64_t now_ns(void)
{
	return qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
}

/* --- drawn-order: callbacks ----------------------------------------------------------------- */

static QEMUBH *chained;

static void red_bh(void *opaque G_GNUC_UNUSED)
{
	called(1);
}

static void green_bh(void *opaque G_GNUC_UNUSED)
{
	called(2);
}

static void blue_bh(void *opaque G_GNUC_UNUSED)
{
	called(3);
}

static void chained_bh(void *opaque G_GNUC_UNUSED)
{
	called(4);
}

static void chain_bh(void *opaque G_GNUC_UNUSED)
{
	called(5);
	qemu_bh_schedule(chained);
}

enum { NORTH, SOUTH, EAST, WEST, TAP, SERIAL, FDS };

static void order_read(void *opaque);

static void north_read(void *opaque)
{
	called(6);
	order_read(opaque);
}

static void south_read(void *opaque)
{
	called(7);
	order_read(opaque);
}

static void east_read(void *opaque)
{
	called(8);
	order_read(opaque);
}

static void west_read(void *opaque);

static void tap_read(void *opaque)
{
	called(9);
	order_read(opaque);
}

static void serial_read(void *opaque)
{
	called(10);
	order_read(opaque);
}

static void tea_timer(void *opaque G_GNUC_UNUSED)
{
	called(11);
}

static void egg_timer(void *opaque G_GNUC_UNUSED)
{
	called(12);
}

static void sand_timer(void *opaque G_GNUC_UNUSED)
{
	called(13);
}

static void device_timer(void *opaque G_GNUC_UNUSED)
{
	called(14);
}

/* --- drawn-order: what is ready ------------------------------------------------------------- */

static struct {
	QEMUBH *bhs[4];
	EventNotifier fds[FDS];
	bool registered[FDS];
	QEMUTimer *timers[3], *device_timer;
	unsigned removed;
} order;

static IOHandler *const order_reads[FDS] = {
	north_read, south_read, east_read, west_read, tap_read, serial_read,
};

static void order_read(void *opaque)
{
	event_notifier_test_and_clear(opaque);
}

static AioContext *context_of(unsigned fd)
{
	return fd >= TAP ? iohandler_get_aio_context() : qemu_get_aio_context();
}

/* A handler that there is already gets a new node, too, and is the first of its list. */
static void order_register(unsigned fd, bool handle)
{
	EventNotifier *e = &order.fds[fd];

	aio_set_fd_handler(context_of(fd), event_notifier_get_fd(e),
			   handle ? order_reads[fd] : NULL, NULL, NULL, NULL, e);
	order.registered[fd] = handle;
}

static void west_read(void *opaque)
{
	called(15);
	order_read(opaque);
	if (order.registered[EAST]) {
		order_register(EAST, false);
		order.removed++;
	}
}

static void order_stimulate(Demo *demo G_GNUC_UNUSED)
{
	unsigned some[FDS], n, fd;

	if (one_in(2)) {
		fd = g_rand_int_range(drawn.rand, NORTH, WEST + 1);
		event_notifier_test_and_clear(&order.fds[fd]);
		order_register(fd, true);
	}
	n = draw_some(some, FDS);
	for (unsigned i = 0; i < n; i++) {
		if (order.registered[some[i]])
			event_notifier_set(&order.fds[some[i]]);
	}
	n = draw_some(some, ARRAY_SIZE(order.bhs));
	for (unsigned i = 0; i < n; i++)
		qemu_bh_schedule(order.bhs[some[i]]);
	if (n == 0) /* so that no poll sleeps */
		qemu_bh_schedule(order.bhs[0]);
	/* All are due, each since another time: the later it is armed, the later it was to be. */
	n = draw_some(some, ARRAY_SIZE(order.timers));
	for (unsigned i = 0; i < n; i++)
		timer_mod(order.timers[i], now_ns() - (some[i] + 1) * SCALE_MS);
	if (one_in(3))
		timer_mod(order.device_timer, now_ns());
}

static int order_setup(Demo *demo, Error **errp G_GNUC_UNUSED)
{
	static QEMUBHFunc *const bhs[] = { red_bh, green_bh, blue_bh, chain_bh };
	static QEMUTimerCB *const timers[] = { tea_timer, egg_timer, sand_timer };
	unsigned first[FDS];

	drawn.rand = demo->rand;
	chained = qemu_bh_new(chained_bh, NULL);
	for (unsigned i = 0; i < ARRAY_SIZE(bhs); i++)
		order.bhs[i] = qemu_bh_new(bhs[i], NULL);
	for (unsigned i = 0; i < FDS; i++)
		event_notifier_init(&order.fds[i], false);
	draw_some(first, FDS);
	for (unsigned i = 0; i < FDS; i++)
		order_register(first[i], true);
	for (unsigned i = 0; i < ARRAY_SIZE(timers); i++)
		order.timers[i] = aio_timer_new(qemu_get_aio_context(), QEMU_CLOCK_REALTIME,
						SCALE_NS, timers[i], NULL);
	order.device_timer = timer_new_ns(QEMU_CLOCK_REALTIME, device_timer, NULL);
	return 0;
}

static void order_print(Demo *demo G_GNUC_UNUSED)
{
	printf("calls=%u\n", drawn.calls);
	printf("removed=%u\n", order.removed);
	printf("order=%016" PRIx64 "\n", drawn.order);
}

static void order_teardown(Demo *demo G_GNUC_UNUSED)
{
	timer_free(order.device_timer);
	for (unsigned i = 0; i < ARRAY_SIZE(order.timers); i++)
		timer_free(order.timers[i]);
	for (unsigned i = 0; i < FDS; i++) {
		if (order.registered[i])
			order_register(i, false);
		event_notifier_cleanup(&order.fds[i]);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(order.bhs); i++)
		qemu_bh_delete(order.bhs[i]);
	qemu_bh_delete(chained);
}

/* --- drawn-timeout -------------------------------------------------------------------------- */

/*
 * A round: three of four get a time each, so far apart that only one can be first; its iteration
 * sleeps that long.  Arming a device timer takes an iteration more, as qemu_notify_event()
 * schedules a bottom half.  Sometimes an idle bottom half is there, too, or one that lets nobody
 * sleep.
 */
#define FIRST_MS 60
#define STEP_MS	 700
#define SOME	 3

typedef struct {
	GSource source;
	int64_t due_ns; /* or ABSENT */
} PatientSource;

static struct {
	SlirpState slirp;
	int peer;
	QEMUTimer *context_timer, *device_timer;
	PatientSource *source;
	QEMUBH *bh, *idle_bh;
	bool waiting; /* somebody of this round has yet to come */
	unsigned rounds;
} times;

static void round_is_over(unsigned number)
{
	called(number);
	times.waiting = false;
}

static void context_timer_cb(void *opaque G_GNUC_UNUSED)
{
	round_is_over(1);
}

static void device_timer_cb(void *opaque G_GNUC_UNUSED)
{
	round_is_over(2);
}

static void hurries_bh(void *opaque G_GNUC_UNUSED)
{
	round_is_over(3);
}

static void idles_bh(void *opaque G_GNUC_UNUSED)
{
	round_is_over(4);
}

static gboolean patient_prepare(GSource *source, int *timeout_ms)
{
	PatientSource *self = (PatientSource *)source;
	int64_t left = self->due_ns == ABSENT ? ABSENT : MAX(self->due_ns - now_ns(), 0);

	*timeout_ms = left == ABSENT ? -1 : (int)DIV_ROUND_UP(left, SCALE_MS);
	loop_source_prepared(source, NULL, left == 0, *timeout_ms);
	return left == 0;
}

static gboolean patient_check(GSource *source)
{
	PatientSource *self = (PatientSource *)source;
	bool ready = self->due_ns != ABSENT && now_ns() >= self->due_ns;

	loop_source_checked(source, ready);
	return ready;
}

static gboolean patient_dispatch(GSource *source, GSourceFunc callback,
				 gpointer opaque G_GNUC_UNUSED)
{
	loop_source_dispatching(source, patient_dispatch, callback);
	((PatientSource *)source)->due_ns = ABSENT;
	round_is_over(5);
	loop_source_dispatched(source, true);
	return G_SOURCE_CONTINUE;
}

static GSourceFuncs patient_funcs = {
	.prepare = patient_prepare,
	.check = patient_check,
	.dispatch = patient_dispatch,
};

/* Those of the last round that did not come first do not come. */
static void disarm(void)
{
	timer_del(times.context_timer);
	timer_del(times.device_timer);
	times.slirp.timer_ns = ABSENT;
	times.source->due_ns = ABSENT;
	qemu_bh_cancel(times.bh);
	qemu_bh_cancel(times.idle_bh);
}

static void arm(unsigned which, int64_t due_ns)
{
	switch (which) {
	case 0:
		timer_mod(times.context_timer, due_ns);
		break;
	case 1:
		timer_mod(times.device_timer, due_ns);
		break;
	case 2:
		times.slirp.timer_ns = due_ns;
		break;
	default:
		times.source->due_ns = due_ns;
		break;
	}
}

static void timeout_stimulate(Demo *demo G_GNUC_UNUSED)
{
	unsigned some[SOME + 1];

	/* A poll notifier is no callback: its time is over once it has no timer. */
	if (times.waiting && times.slirp.timer_ns == ABSENT && times.slirp.timers > 0) {
		times.slirp.timers = 0;
		round_is_over(6);
	}
	if (times.waiting)
		return;
	disarm();
	times.rounds++;
	times.waiting = true;
	draw_some(some, SOME + 1);
	for (unsigned i = 0; i < SOME; i++)
		arm(some[i], now_ns() + (FIRST_MS + i * STEP_MS) * SCALE_MS);
	if (one_in(5))
		qemu_bh_schedule_idle(times.idle_bh);
	if (one_in(6))
		qemu_bh_schedule(times.bh);
}

static int timeout_setup(Demo *demo, Error **errp)
{
	int fds[2], err;

	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds) < 0) {
		err = errno;
		error_setg_errno(errp, err, "cannot make a pair of sockets");
		return -err;
	}
	drawn.rand = demo->rand;
	times.peer = fds[1];
	net_slirp_init(&times.slirp, fds[0]);
	times.context_timer = aio_timer_new(qemu_get_aio_context(), QEMU_CLOCK_REALTIME, SCALE_NS,
					    context_timer_cb, NULL);
	times.device_timer = timer_new_ns(QEMU_CLOCK_REALTIME, device_timer_cb, NULL);
	times.bh = qemu_bh_new(hurries_bh, NULL);
	times.idle_bh = qemu_bh_new(idles_bh, NULL);
	times.source = (PatientSource *)g_source_new(&patient_funcs, sizeof(PatientSource));
	times.source->due_ns = ABSENT;
	g_source_set_name(&times.source->source, "patient");
	loop_source_attach(&times.source->source, NULL);
	return 0;
}

static void timeout_print(Demo *demo G_GNUC_UNUSED)
{
	printf("rounds=%u\n", times.rounds);
	printf("calls=%u\n", drawn.calls);
	printf("order=%016" PRIx64 "\n", drawn.order);
}

static void timeout_teardown(Demo *demo G_GNUC_UNUSED)
{
	loop_source_destroy(&times.source->source);
	g_source_unref(&times.source->source);
	qemu_bh_delete(times.idle_bh);
	qemu_bh_delete(times.bh);
	timer_free(times.device_timer);
	timer_free(times.context_timer);
	net_slirp_cleanup(&times.slirp);
	close(times.peer);
}

const DemoScenario demo_scenarios_drawn[] = {
	{
		.name = "drawn-order",
		.summary = "ready in an order that --seed draws, and called in another",
		.setup = order_setup,
		.stimulate = order_stimulate,
		.print = order_print,
		.teardown = order_teardown,
	},
	{
		.name = "drawn-timeout",
		.summary = "timers, a notifier, a GSource: --seed draws who comes first",
		.setup = timeout_setup,
		.stimulate = timeout_stimulate,
		.print = timeout_print,
		.teardown = timeout_teardown,
	},
	{},
};
