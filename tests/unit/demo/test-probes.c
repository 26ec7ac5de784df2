/* SPDX-License-Identifier: MIT */
/*
 * What the events say, and in which order, in this thread's loop: who chose the timeout, what was
 * deferred, who was woken, who called.
 */
#include "loop-test.h"
#include "atomic.h"
#include "iothread.h"
#include "loop-trace.h"
#include "main-loop.h"
#include "trace/loop-table.h"

typedef union {
	struct loop_event h;
	char bytes[80];
} Event;

static Event events[512];
static unsigned n_events, next_event;

static void keep_event(struct loop_event *event)
{
	if (getpid() != gettid() || n_events == ARRAY_SIZE(events))
		return;
	g_assert_cmpuint(event->size, <=, sizeof(Event));
	memcpy(&events[n_events++], event, event->size);
}

static void listen_to_events(void)
{
	n_events = next_event = 0;
	probe_set_sink(keep_event);
}

static void stop_listening(void)
{
	probe_set_sink(NULL);
}

/* The next event of that name, which must be there. */
static const void *find_event(unsigned id)
{
	while (next_event < n_events && events[next_event].h.id != id)
		next_event++;
	if (next_event == n_events)
		g_error("no %s", loop_event_desc(id)->name);
	return &events[next_event++];
}

#define FIND(name, id) ((const struct loop_##name *)find_event(LOOP_EV_##id))

static unsigned count_events(unsigned id)
{
	unsigned n = 0;

	for (unsigned i = 0; i < n_events; i++)
		n += events[i].h.id == id;
	return n;
}

/* The names of those kept events that @expected has at all, in their order. */
static void assert_events(const char *expected)
{
	char **wanted = g_strsplit(expected, " ", -1);
	GString *found = g_string_new(NULL);

	for (unsigned i = 0; i < n_events; i++) {
		const char *name = loop_event_desc(events[i].h.id)->name;

		if (g_strv_contains((const char *const *)wanted, name))
			g_string_append_printf(found, "%s%s", found->len ? " " : "", name);
	}
	g_assert_cmpstr(found->str, ==, expected);
	g_string_free(found, TRUE);
	g_strfreev(wanted);
}

#define ADDRESS(pointer) ((uint64_t)(uintptr_t)(pointer))

/* @site, a return address, is in @function, which is not long. */
#define assert_called_from(site, function) assert_in(site, ADDRESS(function))

static void assert_in(uint64_t site, uint64_t function)
{
	g_assert_cmpuint(site, >, function);
	g_assert_cmpuint(site, <, function + 8192);
}

static void no_op(void *opaque G_GNUC_UNUSED)
{
}

/* --- iterations --------------------------------------------------------------------------- */

static void poll_again(void *opaque)
{
	aio_poll(opaque, false);
	barrier(); /* a call, not a jump: so the call is from here */
}

static void test_main_loop_order(void)
{
	QEMUTimer *device = timer_new_ns(QEMU_CLOCK_REALTIME, no_op, NULL);
	const struct loop_iteration_begin *begin;
	const struct loop_iteration_end *end;

	main_loop_wait(true);
	listen_to_events();
	timer_mod(device, 0);
	main_loop_wait(false);
	stop_listening();
	assert_events("iteration_begin prepare query timeout_chosen poll_enter poll_exit check "
		      "dispatch_begin source_dispatch_begin bh_begin bh_end source_dispatch_end "
		      "timer_begin timer_end dispatch_end iteration_end");
	begin = FIND(iteration_begin, ITERATION_BEGIN);
	g_assert_cmpuint(begin->ctx, ==, ADDRESS(g_main_context_default()));
	g_assert_cmpuint(begin->kind, ==, LOOP_LOOP_KIND_MAIN_LOOP_WAIT);
	g_assert_cmpuint(begin->blocking, ==, 1);
	end = FIND(iteration_end, ITERATION_END);
	g_assert_cmpuint(end->progress, ==, 1);

	listen_to_events();
	main_loop_wait(true);
	stop_listening();
	begin = FIND(iteration_begin, ITERATION_BEGIN);
	g_assert_cmpuint(begin->blocking, ==, 0);
	end = FIND(iteration_end, ITERATION_END);
	g_assert_cmpuint(end->progress, ==, 0);
	timer_free(device);
}

/* An aio_poll in a callback is no iteration, whatever it runs. */
static void test_nested(void)
{
	AioContext *ctx = qemu_get_aio_context();
	const struct loop_aio_poll_enter *enter;
	const struct loop_poll_enter *poll;

	aio_bh_schedule_oneshot(ctx, poll_again, ctx);
	listen_to_events();
	main_loop_wait(false);
	stop_listening();
	assert_events("iteration_begin poll_enter poll_exit dispatch_begin bh_begin aio_poll_enter "
		      "dispatch_begin dispatch_end aio_poll_exit bh_end dispatch_end "
		      "iteration_end");
	enter = FIND(aio_poll_enter, AIO_POLL_ENTER);
	g_assert_cmpuint(enter->depth, ==, 2);
	g_assert_cmpuint(enter->ctx, ==, ADDRESS(ctx));
	assert_called_from(enter->site, poll_again);

	/* At the top it is an iteration itself; deeper than that, it is counted. */
	aio_bh_schedule_oneshot(ctx, poll_again, ctx);
	aio_bh_schedule_oneshot(ctx, poll_again, ctx);
	listen_to_events();
	aio_poll(ctx, true);
	aio_poll(iohandler_get_aio_context(), false);
	stop_listening();
	assert_events("iteration_begin aio_poll_enter aio_poll_enter aio_poll_exit aio_poll_exit "
		      "iteration_end iteration_begin iteration_end");
	g_assert_cmpuint(FIND(aio_poll_enter, AIO_POLL_ENTER)->depth, ==, 2);
	g_assert_cmpuint(FIND(aio_poll_enter, AIO_POLL_ENTER)->depth, ==, 3);
	g_assert_cmpuint(FIND(aio_poll_exit, AIO_POLL_EXIT)->depth, ==, 3);
	g_assert_cmpuint(FIND(aio_poll_exit, AIO_POLL_EXIT)->depth, ==, 2);

	/* The BQL is free during the main loop's wait, and kept in aio_poll's. */
	poll = FIND(poll_enter, POLL_ENTER);
	g_assert_cmpuint(poll->bql, ==, LOOP_HELD_YES);
	g_assert_cmpuint(poll->depth, ==, 1);
	listen_to_events();
	main_loop_wait(true);
	stop_listening();
	poll = FIND(poll_enter, POLL_ENTER);
	g_assert_cmpuint(poll->bql, ==, LOOP_HELD_NO);
	g_assert_cmpint(poll->timeout_ns, ==, 0);
}

/* --- who chose the timeout ---------------------------------------------------------------- */

static void expect_choice(enum loop_chooser by, const void *what, const void *cb)
{
	const struct loop_timeout_chosen *chosen = FIND(timeout_chosen, TIMEOUT_CHOSEN);

	g_assert_cmpuint(chosen->by, ==, by);
	g_assert_cmpuint(chosen->what, ==, ADDRESS(what));
	g_assert_cmpuint(chosen->cb, ==, ADDRESS(cb));
	switch (by) {
	case LOOP_CHOOSER_NOBODY:
		g_assert_cmpint(chosen->timeout_ns, ==, -1);
		break;
	case LOOP_CHOOSER_IDLE_BH:
		g_assert_cmpint(chosen->timeout_ns, ==, 10 * SCALE_MS);
		break;
	case LOOP_CHOOSER_TIMER:
	case LOOP_CHOOSER_POLL_NOTIFIER:
		g_assert_cmpint(chosen->timeout_ns, >=, 0);
		break;
	default:
		g_assert_cmpint(chosen->timeout_ns, ==, 0);
	}
	g_assert_cmpuint(count_events(LOOP_EV_TIMEOUT_CHOSEN), ==, 1);
}

static void wait_and_expect(bool nonblocking, enum loop_chooser by, const void *what,
			    const void *cb)
{
	listen_to_events();
	main_loop_wait(nonblocking);
	stop_listening();
	expect_choice(by, what, cb);
}

static void lower_to_1_ms(Notifier *notifier G_GNUC_UNUSED, void *data)
{
	MainLoopPoll *poll = data;

	if (poll->state == MAIN_LOOP_POLL_FILL)
		poll->timeout = MIN(poll->timeout, 1);
}

static void ring(void *opaque G_GNUC_UNUSED)
{
}

static gboolean remove_source(gpointer opaque G_GNUC_UNUSED)
{
	return G_SOURCE_REMOVE;
}

static void test_main_loop_chooser(void)
{
	AioContext *ctx = qemu_get_aio_context();
	QEMUTimer *device = timer_new_ns(QEMU_CLOCK_REALTIME, no_op, NULL);
	QEMUTimer *timer = aio_timer_new(ctx, QEMU_CLOCK_REALTIME, SCALE_NS, ring, NULL);
	QEMUBH *bh = qemu_bh_new(no_op, NULL);
	Notifier notifier = { .notify = lower_to_1_ms };

	main_loop_wait(true);
	wait_and_expect(true, LOOP_CHOOSER_CALLER, NULL, NULL);

	g_main_context_wakeup(NULL);
	wait_and_expect(false, LOOP_CHOOSER_NOBODY, NULL, NULL);

	qemu_bh_schedule(bh);
	wait_and_expect(false, LOOP_CHOOSER_BH, bh, no_op);
	qemu_bh_schedule_idle(bh);
	aio_notify_accept(ctx);
	wait_and_expect(false, LOOP_CHOOSER_IDLE_BH, bh, no_op);

	timer_mod(device, 0); /* before its bottom half, which is there, too */
	wait_and_expect(false, LOOP_CHOOSER_TIMER, device, no_op);
	timer_mod(timer, 0);
	wait_and_expect(false, LOOP_CHOOSER_TIMER, timer, ring);
	timer_mod(timer, qemu_clock_get_ns(QEMU_CLOCK_REALTIME) + 3 * SCALE_MS);
	wait_and_expect(false, LOOP_CHOOSER_TIMER, timer, ring);

	main_loop_poll_add_notifier(&notifier);
	wait_and_expect(false, LOOP_CHOOSER_POLL_NOTIFIER, &notifier, lower_to_1_ms);
	assert_events("poll_notifier_begin poll_notifier_end poll_notifier_begin "
		      "poll_notifier_end");
	main_loop_poll_remove_notifier(&notifier);

	timer_del(timer);
	g_idle_add(remove_source, NULL);
	wait_and_expect(false, LOOP_CHOOSER_SOURCE, NULL, NULL); /* not of our making */

	qemu_bh_delete(bh);
	main_loop_wait(true);
	timer_free(timer);
	timer_free(device);
}

static void poll_and_expect(bool blocking, enum loop_chooser by, const void *what, const void *cb)
{
	listen_to_events();
	aio_poll(qemu_get_aio_context(), blocking);
	stop_listening();
	expect_choice(by, what, cb);
}

static void test_aio_poll_chooser(void)
{
	AioContext *ctx = qemu_get_aio_context();
	QEMUTimer *timer = aio_timer_new(ctx, QEMU_CLOCK_REALTIME, SCALE_NS, no_op, NULL);
	QEMUBH *bh = qemu_bh_new(no_op, NULL);

	while (aio_poll(ctx, false))
		;
	poll_and_expect(false, LOOP_CHOOSER_CALLER, NULL, NULL);
	aio_notify(ctx);
	poll_and_expect(true, LOOP_CHOOSER_NOTIFIED, NULL, NULL);
	qemu_bh_schedule(bh);
	poll_and_expect(true, LOOP_CHOOSER_BH, bh, no_op);
	timer_mod(timer, 0);
	aio_notify_accept(ctx);
	poll_and_expect(true, LOOP_CHOOSER_TIMER, timer, no_op);
	event_notifier_set(&ctx->notifier);
	poll_and_expect(true, LOOP_CHOOSER_NOBODY, NULL, NULL);
	qemu_bh_schedule_idle(bh);
	aio_notify_accept(ctx);
	poll_and_expect(true, LOOP_CHOOSER_IDLE_BH, bh, no_op);

	qemu_bh_delete(bh);
	aio_poll(ctx, false);
	timer_free(timer);
}

/* --- handlers ----------------------------------------------------------------------------- */

static EventNotifier fd;

static void removes_itself(EventNotifier *e)
{
	event_notifier_test_and_clear(e);
	aio_set_event_notifier(qemu_get_aio_context(), e, NULL, NULL, NULL);
}

static void test_handlers(void)
{
	AioContext *ctx = qemu_get_aio_context();
	const struct loop_handler_modify *modify;
	const struct loop_handler_begin *begin;
	const struct loop_handler_add *add;
	const struct loop_fd_ready *ready;

	event_notifier_init(&fd, false);
	listen_to_events();
	aio_set_fd_handler(ctx, fd.rfd, no_op, NULL, NULL, NULL, &fd);
	aio_set_fd_handler(ctx, fd.rfd, (IOHandler *)removes_itself, NULL, NULL, NULL, &fd);
	event_notifier_set(&fd);
	aio_poll(ctx, true);
	aio_set_fd_handler(ctx, fd.rfd, NULL, NULL, NULL, NULL, NULL); /* there is none */
	aio_set_fd_handler(ctx, fd.rfd, no_op, no_op, NULL, NULL, NULL);
	aio_set_fd_handler(ctx, fd.rfd, NULL, NULL, NULL, NULL, NULL);
	stop_listening();

	assert_events("handler_set source_add_fd handler_add handler_set source_add_fd "
		      "source_remove_fd handler_modify event_notifier_set fd_ready handler_begin "
		      "event_notifier_clear handler_set source_remove_fd handler_remove "
		      "handler_end handler_free handler_set handler_set source_add_fd handler_add "
		      "handler_set source_remove_fd handler_remove");
	assert_called_from(FIND(handler_set, HANDLER_SET)->site, test_handlers);
	add = FIND(handler_add, HANDLER_ADD);
	g_assert_cmpint(add->fd, ==, fd.rfd);
	g_assert_cmpuint(add->io_read, ==, ADDRESS(no_op));
	g_assert_cmpuint(add->opaque, ==, ADDRESS(&fd));
	modify = FIND(handler_modify, HANDLER_MODIFY);
	g_assert_cmpuint(modify->node, !=, add->node);
	ready = FIND(fd_ready, FD_READY);
	g_assert_cmpint(ready->fd, ==, fd.rfd);
	g_assert_cmpuint(ready->events, ==, G_IO_IN | G_IO_HUP | G_IO_ERR);
	g_assert_cmpuint(ready->revents, ==, G_IO_IN);
	begin = FIND(handler_begin, HANDLER_BEGIN);
	g_assert_cmpuint(begin->node, ==, modify->node);
	g_assert_cmpuint(begin->op, ==, LOOP_HANDLER_OP_READ);
	g_assert_cmpuint(begin->cb, ==, ADDRESS(removes_itself));
	g_assert_cmpuint(FIND(handler_remove, HANDLER_REMOVE)->deferred, ==, 1);
	g_assert_cmpuint(FIND(handler_free, HANDLER_FREE)->node, ==, modify->node);
	g_assert_cmpuint(FIND(handler_remove, HANDLER_REMOVE)->deferred, ==, 0);
	event_notifier_cleanup(&fd);
}

static void on_alarm(int signal G_GNUC_UNUSED)
{
}

static void test_signal(void)
{
	struct sigaction action = { .sa_handler = on_alarm };
	const struct loop_signal_dispatch *dispatch;

	sigaction(SIGALRM, &action, NULL);
	kill(getpid(), SIGALRM);
	listen_to_events();
	main_loop_wait(false);
	stop_listening();
	assert_events("handler_begin signal_dispatch handler_end");
	dispatch = FIND(signal_dispatch, SIGNAL_DISPATCH);
	g_assert_cmpint(dispatch->signo, ==, SIGALRM);
	g_assert_cmpuint(dispatch->sender, ==, getpid());
	g_assert_cmpuint(dispatch->action, ==, ADDRESS(on_alarm));
}

/* --- bottom halves ------------------------------------------------------------------------ */

static QEMUBH *gone_bh;

/* Freed by the nested poll, so bh_end must not look at it. */
static void deletes_itself(void *opaque)
{
	qemu_bh_delete(gone_bh);
	aio_poll(opaque, false);
}

static void test_bottom_halves(void)
{
	AioContext *ctx = qemu_get_aio_context();
	const struct loop_bh_schedule *schedule;
	QEMUBH *bh = qemu_bh_new(no_op, NULL);

	gone_bh = qemu_bh_new(deletes_itself, ctx);
	listen_to_events();
	qemu_bh_schedule(bh);
	qemu_bh_schedule(bh);
	qemu_bh_cancel(bh);
	aio_poll(ctx, false); /* takes it off the list, calls nothing */
	qemu_bh_schedule_idle(bh);
	aio_poll(ctx, false);
	qemu_bh_schedule(gone_bh);
	aio_poll(ctx, false);
	stop_listening();

	assert_events("bh_schedule bh_schedule bh_cancel bh_schedule bh_begin bh_end bh_schedule "
		      "bh_begin bh_delete bh_end");
	schedule = FIND(bh_schedule, BH_SCHEDULE);
	g_assert_cmpuint(schedule->bh, ==, ADDRESS(bh));
	g_assert_cmpuint(schedule->cb, ==, ADDRESS(no_op));
	g_assert_cmpuint(schedule->flags, ==, LOOP_BH_BITS_PENDING | LOOP_BH_BITS_SCHEDULED);
	g_assert_cmpuint(schedule->queued, ==, 1);
	assert_called_from(schedule->site, test_bottom_halves);
	schedule = FIND(bh_schedule, BH_SCHEDULE);
	g_assert_cmpuint(schedule->queued, ==, 0);
	schedule = FIND(bh_schedule, BH_SCHEDULE);
	g_assert_cmpuint(schedule->queued, ==, 1);
	g_assert_cmpuint(FIND(bh_begin, BH_BEGIN)->flags, ==,
			 LOOP_BH_BITS_PENDING | LOOP_BH_BITS_SCHEDULED | LOOP_BH_BITS_IDLE);
	g_assert_cmpuint(FIND(bh_begin, BH_BEGIN)->cb, ==, ADDRESS(deletes_itself));
	g_assert_cmpuint(FIND(bh_end, BH_END)->cb, ==, ADDRESS(deletes_itself));
	qemu_bh_delete(bh);
	aio_poll(ctx, false);
}

static void test_reentrant(void)
{
	MemReentrancyGuard guard = { .engaged_in_io = true };
	QEMUBH *bh = qemu_bh_new_guarded(no_op, NULL, &guard);
	const struct loop_reentrant_aio *reentrant;

	qemu_bh_schedule(bh);
	listen_to_events();
	main_loop_wait(false);
	stop_listening();
	assert_events("bh_begin reentrant_aio bh_end");
	reentrant = FIND(reentrant_aio, REENTRANT_AIO);
	g_assert_cmpstr((const char *)(uintptr_t)reentrant->name, ==, "no_op");
	qemu_bh_delete(bh);
	main_loop_wait(true);
}

/* --- timers ------------------------------------------------------------------------------- */

static void test_timers(void)
{
	int64_t now = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
	QEMUTimer *timer = timer_new_ms(QEMU_CLOCK_REALTIME, no_op, NULL);
	const struct loop_timer_begin *begin;
	const struct loop_timer_arm *arm;

	listen_to_events();
	timer_mod_ns(timer, now - SCALE_MS);
	timer_mod_anticipate_ns(timer, now); /* it is earlier already */
	main_loop_wait(false);
	timer_mod_ns(timer, now + NANOSECONDS_PER_SECOND);
	timer_mod_anticipate_ns(timer, now);
	timer_del(timer);
	timer_del(timer); /* is not armed */
	qemu_clock_enable(QEMU_CLOCK_VIRTUAL, true);
	qemu_clock_enable(QEMU_CLOCK_VIRTUAL, true); /* is so already */
	qemu_clock_enable(QEMU_CLOCK_VIRTUAL, false);
	stop_listening();

	assert_events("timer_arm timer_begin timer_end timer_arm timer_arm timer_del clock_enable "
		      "clock_enable");
	arm = FIND(timer_arm, TIMER_ARM);
	g_assert_cmpint(arm->expire_ns, ==, now - SCALE_MS);
	g_assert_cmpint(arm->in_ns, <=, -SCALE_MS);
	assert_called_from(arm->site, test_timers);
	begin = FIND(timer_begin, TIMER_BEGIN);
	g_assert_cmpint(begin->expire_ns, ==, now - SCALE_MS);
	g_assert_cmpint(begin->late_ns, >=, SCALE_MS);
	g_assert_cmpuint(begin->list, ==, ADDRESS(main_loop_tlg.tl[QEMU_CLOCK_REALTIME]));
	timer_free(timer);
	main_loop_wait(true);
}

/* --- wake-ups, the lock ------------------------------------------------------------------- */

static void test_notify(void)
{
	AioContext *ctx = qemu_get_aio_context();
	const struct loop_notify_accept *accept;
	const struct loop_notify *notify;

	main_loop_wait(true);
	listen_to_events();
	aio_notify(ctx);      /* nobody sleeps */
	main_loop_wait(true); /* raises notify_me, and lowers it */
	qemu_notify_event();
	main_loop_wait(true); /* ready at prepare: stays raised */
	aio_notify(ctx);
	main_loop_wait(true);
	stop_listening();

	notify = FIND(notify, NOTIFY);
	g_assert_cmpuint(notify->notify_me, ==, 0);
	g_assert_cmpuint(notify->written, ==, 0);
	assert_called_from(notify->site, test_notify);
	g_assert_cmpuint(FIND(notify_me, NOTIFY_ME)->value, ==, 1);
	do
		accept = FIND(notify_accept, NOTIFY_ACCEPT);
	while (accept->ctx != ADDRESS(ctx));
	g_assert_cmpuint(accept->notified, ==, 1);
	g_assert_cmpuint(accept->notify_me, ==, 0);

	g_assert_cmpuint(FIND(notify, NOTIFY)->written, ==, 0);
	notify = FIND(notify, NOTIFY);
	g_assert_cmpuint(notify->notify_me, ==, 1);
	g_assert_cmpuint(notify->written, ==, 1);
	g_assert_cmpint(FIND(event_notifier_set, EVENT_NOTIFIER_SET)->fd, ==, ctx->notifier.wfd);
	g_assert_cmpuint(FIND(event_notifier_clear, EVENT_NOTIFIER_CLEAR)->was_set, ==, 1);
}

static void test_bql(void)
{
	const struct loop_bql_acquired *acquired;
	unsigned line;

	listen_to_events();
	bql_unlock();
	line = __LINE__ + 1;
	bql_lock();
	stop_listening();
	assert_events("bql_released bql_wait bql_acquired");
	acquired = FIND(bql_acquired, BQL_ACQUIRED);
	g_assert_cmpstr((const char *)(uintptr_t)acquired->file, ==, __FILE__);
	g_assert_cmpuint(acquired->line, ==, line);
	assert_called_from(acquired->site, test_bql);
}

/* --- contexts, sources, IOThreads --------------------------------------------------------- */

static gboolean stop_polling(gpointer stopped)
{
	*(bool *)stopped = true;
	return G_SOURCE_REMOVE;
}

static void test_sources(void)
{
	AioContext *ctx = aio_context_new(&error_abort);
	GSource *idle = g_idle_source_new();
	const struct loop_source_attach *attach;
	bool stopped = false;

	g_source_set_callback(idle, stop_polling, &stopped, NULL);
	listen_to_events();
	loop_source_attach(&ctx->source, NULL);
	loop_source_attach(idle, NULL);
	while (!stopped)
		main_loop_wait(false);
	loop_source_destroy(&ctx->source);
	aio_context_unref(ctx);
	stop_listening();

	assert_events("source_attach source_attach source_destroy handler_remove context_free");
	attach = FIND(source_attach, SOURCE_ATTACH);
	g_assert_cmpuint(attach->source, ==, ADDRESS(ctx));
	g_assert_cmpuint(attach->cb, ==, 0);
	attach = FIND(source_attach, SOURCE_ATTACH);
	g_assert_cmpuint(attach->cb, ==, ADDRESS(stop_polling));
	g_assert_cmpint(attach->priority, ==, G_PRIORITY_DEFAULT_IDLE);
	g_assert_cmpuint(attach->ctx, ==, ADDRESS(g_main_context_default()));
	g_source_unref(idle);
}

/* Of io1's thread; the main thread's events are not of interest. */
static unsigned phases[8], glib_polls, glib_depth;

static void watch_iothread(struct loop_event *event)
{
	if (event->id == LOOP_EV_IOTHREAD_STATE)
		qatomic_inc(&phases[((struct loop_iothread_state *)event)->phase]);
	if (event->id == LOOP_EV_POLL_ENTER && qatomic_read(&phases[LOOP_IOTHREAD_PHASE_GLIB])) {
		qatomic_set(&glib_depth, ((struct loop_poll_enter *)event)->depth);
		qatomic_inc(&glib_polls);
	}
}

static void test_iothread(void)
{
	IOThread *io1;

	probe_set_sink(watch_iothread);
	io1 = iothread_create("io1", &error_abort);
	iothread_get_g_main_context(io1);
	while (!qatomic_read(&glib_polls))
		g_usleep(100);
	iothread_destroy(io1);
	probe_set_sink(NULL);

	g_assert_cmpuint(phases[LOOP_IOTHREAD_PHASE_CREATED], ==, 1);
	g_assert_cmpuint(phases[LOOP_IOTHREAD_PHASE_POLLING], ==, 1);
	g_assert_cmpuint(phases[LOOP_IOTHREAD_PHASE_GLIB], ==, 1);
	g_assert_cmpuint(phases[LOOP_IOTHREAD_PHASE_STOPPING], ==, 1);
	g_assert_cmpuint(phases[LOOP_IOTHREAD_PHASE_STOPPED], ==, 1);
	g_assert_cmpuint(glib_depth, ==, 1);
}

/* --- eras --------------------------------------------------------------------------------- */

/* Before 2.12 a vCPU could have the BQL during those polls only that may sleep. */
static void test_bql_of_an_older_era(void)
{
	const LoopEra *era = qemu_get_aio_context()->era;

	qemu_get_aio_context()->era = loop_era_by_name("2.11");
	listen_to_events();
	main_loop_wait(true);
	g_main_context_wakeup(NULL);
	main_loop_wait(false);
	stop_listening();
	qemu_get_aio_context()->era = era;
	assert_events("poll_enter poll_exit bql_released poll_enter poll_exit bql_wait "
		      "bql_acquired");
	g_assert_cmpuint(FIND(poll_enter, POLL_ENTER)->bql, ==, LOOP_HELD_YES);
	g_assert_cmpuint(FIND(poll_enter, POLL_ENTER)->bql, ==, LOOP_HELD_NO);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	loop_settings.era = loop_era_by_name("8.2"); /* all events of a wait, each handler's too */
	bql_lock();
	qemu_init_main_loop(&error_abort);

	g_test_add_func("/probes/main-loop-in-its-order", test_main_loop_order);
	g_test_add_func("/probes/a-nested-poll-is-no-iteration", test_nested);
	g_test_add_func("/probes/who-chose-the-main-loops-timeout", test_main_loop_chooser);
	g_test_add_func("/probes/who-chose-the-timeout-of-aio-poll", test_aio_poll_chooser);
	g_test_add_func("/probes/handlers-from-set-to-free", test_handlers);
	g_test_add_func("/probes/signal-with-sender-and-action", test_signal);
	g_test_add_func("/probes/bottom-halves-from-schedule-to-end", test_bottom_halves);
	g_test_add_func("/probes/reentered-bottom-half-by-name", test_reentrant);
	g_test_add_func("/probes/timers-are-armed-late-and-disarmed-once", test_timers);
	g_test_add_func("/probes/notify-written-or-suppressed", test_notify);
	g_test_add_func("/probes/bql-with-file-and-line", test_bql);
	g_test_add_func("/probes/sources-with-callback-and-context", test_sources);
	g_test_add_func("/probes/iothread-through-its-phases", test_iothread);
	g_test_add_func("/probes/bql-is-kept-by-an-older-era", test_bql_of_an_older_era);
	return g_test_run();
}
