/* SPDX-License-Identifier: MIT */
/* main_loop_wait(): the order inside an iteration, what wakes it, what it lets go of meanwhile. */
#include "loop-test.h"
#include "atomic.h"
#include "main-loop.h"
#include "replay.h"

static EventNotifier io_fd, block_fd;

static void io_read(void *opaque G_GNUC_UNUSED)
{
	event_notifier_test_and_clear(&io_fd);
	note("io ");
}

static void block_read(EventNotifier *e)
{
	event_notifier_test_and_clear(e);
	note("block ");
}

static void watch(void)
{
	qemu_set_fd_handler(event_notifier_get_fd(&io_fd), io_read, NULL, NULL);
	aio_set_event_notifier(qemu_get_aio_context(), &block_fd, block_read, NULL, NULL);
}

static void unwatch(void)
{
	qemu_set_fd_handler(event_notifier_get_fd(&io_fd), NULL, NULL, NULL);
	aio_set_event_notifier(qemu_get_aio_context(), &block_fd, NULL, NULL, NULL);
}

/* Both contexts are sources of equal priority: the one attached first goes first, with all it has.
 * The device timer is not in a context and comes last. */
static void test_order(void)
{
	int64_t now = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
	QEMUTimer *device = timer_new_ns(QEMU_CLOCK_REALTIME, note_cb, (void *)"device-timer");
	QEMUTimer *context = aio_timer_new(qemu_get_aio_context(), QEMU_CLOCK_REALTIME, SCALE_NS,
					   note_cb, (void *)"context-timer ");

	watch();
	timer_mod(device, now);
	timer_mod(context, now);
	event_notifier_set(&io_fd);
	event_notifier_set(&block_fd);
	aio_bh_schedule_oneshot(qemu_get_aio_context(), note_cb, (void *)"bh ");

	main_loop_wait(false);
	assert_order("bh block context-timer io device-timer");

	main_loop_wait(true);
	assert_order("");
	unwatch();
	timer_free(device);
	timer_free(context);
}

static void nested_cb(void *opaque G_GNUC_UNUSED)
{
	note("(");
	while (aio_poll(qemu_get_aio_context(), false))
		;
	note(")");
}

/* What is registered with qemu_set_fd_handler() does not run in the middle of something else. */
static void test_iohandler_not_nested(void)
{
	watch();
	event_notifier_set(&io_fd);
	event_notifier_set(&block_fd);
	aio_bh_schedule_oneshot(qemu_get_aio_context(), nested_cb, NULL);
	main_loop_wait(false);
	assert_order("(block )io ");
	unwatch();
}

static void test_notify_event(void)
{
	/* Without it these would sleep for ever: before the poll ... */
	qemu_notify_event();
	main_loop_wait(false);

	/* ... and as a timer's first deadline changes. */
	QEMUTimer *timer = timer_new_ms(QEMU_CLOCK_REALTIME, note_cb, (void *)"never");

	timer_mod(timer, INT64_MAX / SCALE_MS);
	main_loop_wait(false);
	timer_free(timer);
	assert_order("");
}

/* --- signals ------------------------------------------------------------------------------ */

static int sender;

static void siginfo_handler(int signal, siginfo_t *info, void *unused G_GNUC_UNUSED)
{
	note(signal == SIGALRM ? "alrm " : signal == SIGIO ? "io-signal " : "? ");
	sender = info->si_pid;
}

static void plain_handler(int signal)
{
	note(signal == SIGALRM ? "plain " : "? ");
}

static void handle(int signal, void (*handler)(int))
{
	struct sigaction action = { .sa_handler = handler };

	sigaction(signal, &action, NULL);
}

static void test_signalfd(void)
{
	struct sigaction action = { .sa_sigaction = siginfo_handler, .sa_flags = SA_SIGINFO };

	sigaction(SIGALRM, &action, NULL);
	sigaction(SIGIO, &action, NULL);

	kill(getpid(), SIGALRM);
	assert_order(""); /* blocked: nothing interrupts us */
	main_loop_wait(false);
	assert_order("alrm ");
	g_assert_cmpint(sender, ==, getpid());

	/* Two pending ones are one readable descriptor. */
	kill(getpid(), SIGIO);
	kill(getpid(), SIGALRM);
	main_loop_wait(false);
	g_assert_true(strstr(test_noted->str, "io-signal ") && strstr(test_noted->str, "alrm "));
	g_string_truncate(test_noted, 0);

	handle(SIGALRM, plain_handler);
	kill(getpid(), SIGALRM);
	main_loop_wait(false);
	assert_order("plain ");

	/* Its default would kill the process; read from the descriptor it does nothing. */
	handle(SIGALRM, SIG_DFL);
	kill(getpid(), SIGALRM);
	main_loop_wait(false);
	assert_order("");
	handle(SIGIO, SIG_DFL);
}

/* --- locks -------------------------------------------------------------------------------- */

static bool took_replay;

/* Gets the BQL only while the loop polls, and ends that poll. */
static void *vcpu(void *opaque G_GNUC_UNUSED)
{
	replay_mutex_lock();
	took_replay = replay_mutex_locked();
	bql_lock();
	g_assert_cmpuint(qemu_get_aio_context()->notify_me, ==, 1);
	g_assert_true(qemu_get_current_aio_context() == qemu_get_aio_context());
	aio_bh_schedule_oneshot(qemu_get_aio_context(), note_cb, (void *)"vcpu");
	bql_unlock();
	g_assert_null(qemu_get_current_aio_context());
	replay_mutex_unlock();
	return NULL;
}

static void run_vcpu(void)
{
	QemuThread thread;

	qemu_thread_create(&thread, "CPU 0/TEST", vcpu, NULL, QEMU_THREAD_JOINABLE);
	main_loop_wait(false);
	g_assert_true(bql_locked());
	assert_order("vcpu");
	qemu_thread_join(&thread);
	/* Its write to the notifier was used up by that same poll. */
	g_assert_false(fd_readable(event_notifier_get_fd(&qemu_get_aio_context()->notifier)));
}

static void test_bql(void)
{
	run_vcpu();
	g_assert_false(took_replay);
}

static void test_replay_lock(void)
{
	bql_unlock();
	replay_mode = REPLAY_MODE_RECORD;
	replay_mutex_lock();
	bql_lock();

	run_vcpu();
	g_assert_true(took_replay);
	g_assert_true(replay_mutex_locked());

	bql_unlock();
	replay_mutex_unlock();
	replay_mode = REPLAY_MODE_NONE;
	bql_lock();
}

/* As QEMU's tools, which have no BQL. */
static void test_without_bql(void)
{
	bql_unlock();
	qemu_notify_event();
	main_loop_wait(false);
	g_assert_false(bql_locked());
	bql_lock();
}

/* --- poll notifiers ----------------------------------------------------------------------- */

static guint own_index;

static void poll_notify(Notifier *notifier G_GNUC_UNUSED, void *data)
{
	MainLoopPoll *poll = data;
	GPollFD pfd = { .fd = event_notifier_get_fd(&io_fd), .events = G_IO_IN };

	switch (poll->state) {
	case MAIN_LOOP_POLL_FILL:
		note("fill ");
		own_index = poll->pollfds->len;
		g_array_append_val(poll->pollfds, pfd);
		poll->timeout = 0;
		break;
	case MAIN_LOOP_POLL_OK:
		note(g_array_index(poll->pollfds, GPollFD, own_index).revents ? "ready " : "idle ");
		g_assert_cmpuint(poll->pollfds->len, >, own_index + 1); /* GLib's are behind */
		break;
	default:
		note("error ");
	}
}

static void test_poll_notifier(void)
{
	Notifier notifier = { .notify = poll_notify };

	main_loop_poll_add_notifier(&notifier);
	main_loop_wait(false); /* its timeout is 0 */
	assert_order("fill idle ");

	event_notifier_set(&io_fd);
	aio_bh_schedule_oneshot(qemu_get_aio_context(), note_cb, (void *)"bh ");
	main_loop_wait(false);
	assert_order("fill bh ready ");
	event_notifier_test_and_clear(&io_fd);

	main_loop_poll_remove_notifier(&notifier);
	main_loop_wait(true);
	assert_order("");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	bql_lock();
	qemu_init_main_loop(&error_abort);
	event_notifier_init(&io_fd, false);
	event_notifier_init(&block_fd, false);

	g_test_add_func("/main-loop/bh-handlers-context-timers-then-device-timers", test_order);
	g_test_add_func("/main-loop/iohandlers-do-not-run-in-a-nested-poll",
			test_iohandler_not_nested);
	g_test_add_func("/main-loop/notify-event-ends-the-sleep", test_notify_event);
	g_test_add_func("/main-loop/signals-arrive-as-calls-from-the-loop", test_signalfd);
	g_test_add_func("/main-loop/bql-is-free-during-the-poll-only", test_bql);
	g_test_add_func("/main-loop/replay-lock-is-free-during-the-poll-only", test_replay_lock);
	g_test_add_func("/main-loop/runs-without-bql-too", test_without_bql);
	g_test_add_func("/main-loop/poll-notifiers-see-fill-and-result", test_poll_notifier);
	return g_test_run();
}
