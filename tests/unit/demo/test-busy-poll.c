/* SPDX-License-Identifier: MIT */
/*
 * Busy polling: whom it asks, what ends it, how long it lasts.  The clock is the test's: it goes on
 * by clock_step each time that somebody looks.
 */
#include "loop-test.h"
#include "aio-posix.h"
#include "loop-trace.h"

static int64_t clock_now, clock_step;

static int64_t test_clock(void)
{
	clock_now += clock_step;
	return clock_now;
}

/* --- a handler that notes what it is asked ------------------------------------------------ */

static EventNotifier fd;
static unsigned polls_until_true; /* its io_poll says yes the so-many-th time; 0: never */
static void (*in_poll)(void), (*in_ready)(void);

static void fd_read(EventNotifier *e)
{
	event_notifier_test_and_clear(e);
	note("read ");
}

static bool fd_poll(void *opaque G_GNUC_UNUSED)
{
	note("poll ");
	if (in_poll)
		in_poll();
	return polls_until_true && --polls_until_true == 0;
}

static void fd_ready(EventNotifier *e G_GNUC_UNUSED)
{
	note("ready ");
	if (in_ready)
		in_ready();
}

static void fd_begin(EventNotifier *e G_GNUC_UNUSED)
{
	note("begin ");
}

static void fd_end(EventNotifier *e G_GNUC_UNUSED)
{
	note("end ");
}

static void watch(void)
{
	aio_set_event_notifier(test_ctx, &fd, fd_read, fd_poll, fd_ready);
	aio_set_event_notifier_poll(test_ctx, &fd, fd_begin, fd_end);
}

static AioHandler *node_of(int number)
{
	AioHandler *node;

	QLIST_FOREACH (node, &test_ctx->aio_handlers, node) {
		if (node->pfd.fd == number && !aio_handler_deleted(node))
			return node;
	}
	g_assert_not_reached();
}

static void set_poll_ns(int64_t ns)
{
	test_ctx->poll_ns = ns;
	node_of(fd.rfd)->poll.ns = ns;
}

static void poll_now(void)
{
	event_notifier_set(&fd);
	aio_poll(test_ctx, true);
}

/* Its handler has had an event, hence is polled busily; for @ns, of at most 32768. */
static void begin(int64_t ns)
{
	polls_until_true = 0;
	in_poll = NULL;
	in_ready = NULL;
	clock_now = 1000;
	clock_step = 0;
	aio_poll_clock = test_clock;
	test_ctx = aio_context_new(&error_abort);
	qemu_set_current_aio_context(test_ctx);
	event_notifier_init(&fd, false);
	watch();
	aio_poll(test_ctx, false);
	poll_now();
	assert_order("read ");
	aio_context_set_poll_params(test_ctx, 32768, 0, 0, &error_abort);
	while (qatomic_read(&test_ctx->notified) || node_of(fd.rfd)->poll_ready)
		aio_poll(test_ctx, false);
	if (test_noted)
		g_string_truncate(test_noted, 0);
	set_poll_ns(ns);
	clock_step = 1000;
}

static void end(void)
{
	in_poll = NULL;
	in_ready = NULL;
	aio_set_event_notifier(test_ctx, &fd, NULL, NULL, NULL);
	aio_context_unref(test_ctx);
	event_notifier_cleanup(&fd);
	aio_poll_clock = get_clock;
	if (test_noted)
		g_string_truncate(test_noted, 0);
}

/* --- events ------------------------------------------------------------------------------- */

static unsigned waits, grows[32], n_grows, shrinks[32], n_shrinks, added, removed, chosen;

static void keep_event(struct loop_event *event)
{
	switch (event->id) {
	case LOOP_EV_POLL_ENTER:
		waits++;
		break;
	case LOOP_EV_POLL_GROW:
		grows[n_grows++] = ((struct loop_poll_grow *)event)->new_ns;
		break;
	case LOOP_EV_POLL_SHRINK:
		shrinks[n_shrinks++] = ((struct loop_poll_shrink *)event)->new_ns;
		break;
	case LOOP_EV_POLL_ADD:
		added++;
		break;
	case LOOP_EV_POLL_REMOVE:
		removed++;
		break;
	case LOOP_EV_TIMEOUT_CHOSEN:
		chosen = ((struct loop_timeout_chosen *)event)->by;
		break;
	default:
		break;
	}
}

static void listen_to_events(void)
{
	waits = n_grows = n_shrinks = added = removed = chosen = 0;
	probe_set_sink(keep_event);
}

static void stop_listening(void)
{
	probe_set_sink(NULL);
}

/* --- asking ------------------------------------------------------------------------------- */

static void test_found(void)
{
	begin(10000);
	polls_until_true = 3;
	listen_to_events();
	g_assert_true(aio_poll(test_ctx, true));
	stop_listening();
	assert_order("begin poll poll poll ready ");
	g_assert_cmpuint(waits, ==, 0);
	g_assert_cmpuint(chosen, ==, LOOP_CHOOSER_BUSY_POLL);

	/* It is still in poll mode, and asks again at once. */
	set_poll_ns(10000);
	polls_until_true = 1;
	g_assert_true(aio_poll(test_ctx, true));
	assert_order("poll ready ");
	end();
}

static void ring(void)
{
	event_notifier_set(&fd);
}

/* In vain: the last look, after "end", is what the sleep can rely on. */
static void test_not_found(void)
{
	begin(1500);
	event_notifier_set(&fd);
	if (test_monitor->fdmon == LOOP_FDMON_IO_URING) {
		/* A ring shows events in memory: nothing to ask about. */
		g_assert_true(aio_poll(test_ctx, true));
		assert_order("read ");
	} else {
		g_assert_true(aio_poll(test_ctx, true));
		assert_order("begin poll poll end poll read ");
	}
	g_assert_false(test_ctx->poll_started);
	end();
}

/* Without the last look this would sleep for ever. */
static void test_last_look(void)
{
	begin(1500);
	polls_until_true = 3;
	g_assert_true(aio_poll(test_ctx, true));
	assert_order("begin poll poll end poll ready ");
	end();
}

static void notify(void)
{
	in_poll = NULL;
	aio_notify(test_ctx);
}

/* The context's own notifier, polled busily as well, ends it and is no progress. */
static void test_notified(void)
{
	begin(1000000);
	event_notifier_set(&test_ctx->notifier);
	aio_poll(test_ctx, true);
	g_string_truncate(test_noted, 0);
	set_poll_ns(1000000);
	in_poll = notify;
	g_assert_false(aio_poll(test_ctx, true));
	g_assert_cmpuint(test_ctx->notify_me, ==, 0);
	g_assert_false(fd_readable(test_ctx->notifier.rfd)); /* not written: nobody slept */
	end();
}

static void test_nonblocking_does_not_poll(void)
{
	begin(10000);
	polls_until_true = 1;
	g_assert_false(aio_poll(test_ctx, false));
	assert_order("");
	end();
}

static void other_read(EventNotifier *e)
{
	event_notifier_test_and_clear(e);
	note("other ");
}

static EventNotifier other;

static void ring_other(void)
{
	in_poll = NULL;
	event_notifier_set(&other);
}

/* A handler without io_poll cannot be asked; with a ring, its event is seen all the same. */
static void test_one_without_io_poll(void)
{
	begin(10000);
	event_notifier_init(&other, false);
	aio_set_event_notifier(test_ctx, &other, other_read, NULL, NULL);
	aio_notify_accept(test_ctx);
	in_poll = ring_other;
	if (test_monitor->fdmon == LOOP_FDMON_IO_URING) {
		g_assert_true(aio_poll(test_ctx, true));
		assert_order("begin poll end poll other ");
	} else {
		event_notifier_set(&other);
		g_assert_true(aio_poll(test_ctx, true));
		assert_order("other ");
	}
	aio_set_event_notifier(test_ctx, &other, NULL, NULL, NULL);
	event_notifier_cleanup(&other);
	end();
}

/* --- removal, nesting --------------------------------------------------------------------- */

static void wake_by_timer(void *opaque G_GNUC_UNUSED)
{
	note("timer ");
}

static QEMUTimer *timer;

/* The removed node is on the list still, as an outer poll walks. */
static void test_removed_is_not_asked(void)
{
	begin(10000);
	timer = aio_timer_new(test_ctx, QEMU_CLOCK_REALTIME, SCALE_NS, wake_by_timer, NULL);
	/* The notifier's handler is polled busily too, so that there is a reason to poll. */
	event_notifier_set(&test_ctx->notifier);
	aio_poll(test_ctx, true);
	g_string_truncate(test_noted, 0);

	qemu_lockcnt_inc(&test_ctx->list_lock);
	aio_set_event_notifier(test_ctx, &fd, NULL, NULL, NULL);
	aio_notify_accept(test_ctx);
	test_ctx->poll_ns = 5000;
	node_of(test_ctx->notifier.rfd)->poll.ns = 5000;
	timer_mod(timer, qemu_clock_get_ns(QEMU_CLOCK_REALTIME) + SCALE_MS);
	while (!aio_poll(test_ctx, true))
		;
	qemu_lockcnt_dec(&test_ctx->list_lock);
	assert_order("timer ");
	timer_free(timer);
	end();
}

/* What polls again from io_poll_ready() is not called again in there. */
static void poll_nested(void)
{
	in_ready = NULL;
	polls_until_true = 1; /* it would say yes at once */
	set_poll_ns(10000);
	note("( ");
	timer_mod(timer, qemu_clock_get_ns(QEMU_CLOCK_REALTIME) + SCALE_MS);
	while (!aio_poll(test_ctx, true))
		;
	note(") ");
}

static void test_no_recursion(void)
{
	begin(10000);
	timer = aio_timer_new(test_ctx, QEMU_CLOCK_REALTIME, SCALE_NS, wake_by_timer, NULL);
	polls_until_true = 1;
	in_ready = poll_nested;
	g_assert_true(aio_poll(test_ctx, true));
	assert_order("begin poll ready ( timer ) ");
	set_poll_ns(10000);
	g_assert_true(aio_poll(test_ctx, true)); /* it is asked again after that */
	g_assert_true(g_str_has_suffix(test_noted->str, "poll ready "));
	timer_free(timer);
	end();
}

/* --- idle handlers ------------------------------------------------------------------------ */

static void test_idle(void)
{
	bool ring_fdmon = test_monitor->fdmon == LOOP_FDMON_IO_URING;

	begin(2000);
	listen_to_events();
	polls_until_true = 1;
	g_assert_true(aio_poll(test_ctx, true)); /* from now on, 7 s */
	clock_now += 6 * NANOSECONDS_PER_SECOND;
	set_poll_ns(2000);
	polls_until_true = 1;
	g_assert_true(aio_poll(test_ctx, true));
	clock_now += 6 * NANOSECONDS_PER_SECOND;
	g_string_truncate(test_noted, 0);
	g_assert_cmpuint(removed, ==, 0);

	clock_now += NANOSECONDS_PER_SECOND;
	set_poll_ns(2000);
	in_poll = ring;
	g_assert_true(aio_poll(test_ctx, true));
	stop_listening();
	/* Where there is no ring, who is not asked busily would have to wait for the others. */
	g_assert_cmpuint(removed, ==, ring_fdmon);
	g_assert_cmpuint(added, ==, ring_fdmon); /* and had an event at once */
	g_assert_true(g_str_has_suffix(test_noted->str, "read "));
	end();
}

/* --- how long ----------------------------------------------------------------------------- */

static void test_grow_and_shrink(void)
{
	static const unsigned doubled[] = { 4000, 8000, 16000, 32000, 32768 };
	int64_t ns = 0;

	begin(0);
	listen_to_events();
	for (int i = 0; i < 10; i++)
		aio_adjust_poll_ns(test_ctx, &ns, 32767);
	stop_listening();
	g_assert_cmpuint(n_grows, ==, ARRAY_SIZE(doubled));
	for (unsigned i = 0; i < n_grows; i++)
		g_assert_cmpuint(grows[i], ==, doubled[i]);

	/* Longer than would ever be polled: not at all, then. */
	listen_to_events();
	aio_adjust_poll_ns(test_ctx, &ns, 32768); /* just right */
	g_assert_cmpint(ns, ==, 32768);
	aio_adjust_poll_ns(test_ctx, &ns, 32769);
	g_assert_cmpint(ns, ==, 0);
	aio_adjust_poll_ns(test_ctx, &ns, 32769);
	stop_listening();
	g_assert_cmpuint(n_shrinks, ==, 1);

	/* With factors. */
	aio_context_set_poll_params(test_ctx, 1000000, 10, 4, &error_abort);
	ns = 0;
	aio_adjust_poll_ns(test_ctx, &ns, 5000);
	g_assert_cmpint(ns, ==, 4000);
	aio_adjust_poll_ns(test_ctx, &ns, 5000);
	g_assert_cmpint(ns, ==, 40000);
	aio_adjust_poll_ns(test_ctx, &ns, 40000);
	g_assert_cmpint(ns, ==, 40000);
	aio_adjust_poll_ns(test_ctx, &ns, 2000000);
	g_assert_cmpint(ns, ==, 10000);
	end();
}

/* A wait that was over soon makes the next one be polled: for the handler, or for all. */
static void test_adapts(void)
{
	begin(0);
	g_assert_cmpint(node_of(fd.rfd)->poll.ns, ==, 0);
	poll_now(); /* 1 us by this clock */
	if (test_ctx->era->poll_per_handler) {
		g_assert_cmpint(node_of(fd.rfd)->poll.ns, ==, 4000);
		g_assert_cmpint(node_of(test_ctx->notifier.rfd)->poll.ns, ==, 0);
		g_assert_cmpint(test_ctx->poll_ns, ==, 0);
	} else {
		g_assert_cmpint(node_of(fd.rfd)->poll.ns, ==, 0);
		g_assert_cmpint(test_ctx->poll_ns, ==, 4000);
	}
	aio_context_set_poll_params(test_ctx, 32768, 0, 0, &error_abort);
	g_assert_cmpint(node_of(fd.rfd)->poll.ns, ==, 0);
	g_assert_cmpint(test_ctx->poll_ns, ==, 0);
	end();
}

static void test_bad_parameters(void)
{
	Error *err = NULL;

	begin(0);
	aio_context_set_poll_params(test_ctx, -1, 0, 0, &err);
	g_assert_nonnull(err);
	error_free(err);
	g_assert_cmpint(test_ctx->poll_max_ns, ==, 32768);
	aio_context_set_poll_params(test_ctx, 0, 0, 0, &error_abort); /* off */
	g_string_truncate(test_noted, 0);
	poll_now();
	poll_now();
	g_assert_null(strstr(test_noted->str, "poll"));
	end();
}

/* --- on to GLib --------------------------------------------------------------------------- */

/* The last look is in GLib's prepare, what it found is called by its dispatch. */
static void test_leaves_for_glib(void)
{
	GMainContext *gcontext = g_main_context_new();

	begin(10000);
	polls_until_true = 1;
	g_assert_true(aio_poll(test_ctx, true));
	assert_order("begin poll ready ");
	g_assert_true(test_ctx->poll_started);

	g_source_attach(&test_ctx->source, gcontext);
	polls_until_true = 1;
	g_assert_true(g_main_context_iteration(gcontext, TRUE));
	assert_order("end poll ready ");
	g_assert_false(test_ctx->poll_started);
	event_notifier_set(&fd);
	g_assert_true(g_main_context_iteration(gcontext, TRUE));
	assert_order("read "); /* not asked, under GLib */

	g_source_destroy(&test_ctx->source);
	g_main_context_unref(gcontext);
	end();
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	init_clocks(NULL);

#define ADD(name, test) add_monitor_tests("busy-poll", name, test)
	ADD("what-it-finds-needs-no-sleep", test_found);
	ADD("in-vain-it-looks-a-last-time-and-sleeps", test_not_found);
	ADD("last-look-finds-what-came-in-between", test_last_look);
	ADD("a-notification-ends-it-and-is-no-progress", test_notified);
	ADD("non-blocking-does-not-ask", test_nonblocking_does_not_poll);
	ADD("one-without-io-poll-forbids-it-unless-by-ring", test_one_without_io_poll);
	ADD("removed-one-is-not-asked-in-a-nested-poll", test_removed_is_not_asked);
	ADD("poll-ready-that-polls-is-not-entered-again", test_no_recursion);
	ADD("idle-for-7-s-leaves-the-list-of-a-ring", test_idle);
	ADD("grows-and-shrinks", test_grow_and_shrink);
	ADD("adapts-for-the-handler-or-for-all", test_adapts);
	ADD("parameters-must-not-be-negative", test_bad_parameters);
	ADD("ends-in-glibs-prepare", test_leaves_for_glib);
	return g_test_run();
}
