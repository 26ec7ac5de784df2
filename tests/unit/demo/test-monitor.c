/* SPDX-License-Identifier: MIT */
/* The monitor: what it answers, and what a client cannot do to the loop. */
#include "loop-test.h"
#include <glib/gstdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include "atomic.h"
#include "era.h"
#include "iothread.h"
#include "loop-trace.h"
#include "monitor.h"

static char *path;
static Monitor *monitor;
static IOThread *io0;
static unsigned quits;

static void count_quit(void)
{
	quits++;
}

/* --- a client, in the loop's own thread --------------------------------------------------- */

static int connect_only(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	g_strlcpy(addr.sun_path, path, sizeof(addr.sun_path));
	g_assert_cmpint(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), ==, 0);
	return fd;
}

static void send_text(int fd, const char *text)
{
	g_assert_cmpint(send(fd, text, strlen(text), MSG_NOSIGNAL), ==, strlen(text));
}

static void some_iterations(void)
{
	for (int i = 0; i < 20; i++)
		main_loop_wait(true);
}

/* Runs the loop until the client has a line; g_free() it.  NULL at the end. */
static char *get_line(int fd)
{
	GString *line = g_string_new(NULL);
	char c;
	ssize_t n;

	for (;;) {
		n = recv(fd, &c, 1, MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN) {
			main_loop_wait(true);
			continue;
		}
		if (n <= 0) {
			g_assert_cmpuint(line->len, ==, 0);
			g_string_free(line, TRUE);
			return NULL;
		}
		if (c == '\n')
			return g_string_free(line, FALSE);
		g_string_append_c(line, c);
	}
}

static void expect_line(int fd, const char *expected)
{
	char *line = get_line(fd);

	g_assert_cmpstr(line, ==, expected);
	g_free(line);
}

static void expect_line_like(int fd, const char *pattern)
{
	char *line = get_line(fd);

	if (!g_regex_match_simple(pattern, line, 0, 0))
		g_error("'%s' is not like '%s'", line, pattern);
	g_free(line);
}

static int new_client(void)
{
	int fd = connect_only();
	char *greeting = get_line(fd);
	char *expected =
		g_strdup_printf("demo-qemu-loop, pid %d: help lists the commands", getpid());

	g_assert_cmpstr(greeting, ==, expected);
	g_free(greeting);
	g_free(expected);
	return fd;
}

/* The whole answer to a line, each of its lines ended; g_free() it. */
static char *ask(int fd, const char *command)
{
	GString *answer = g_string_new(NULL);
	bool last = false;

	send_text(fd, command);
	send_text(fd, "\n");
	while (!last) {
		char *line = get_line(fd);

		g_assert_nonnull(line);
		g_string_append_printf(answer, "%s\n", line);
		last = g_str_equal(line, "ok") || g_str_has_prefix(line, "error: ");
		g_free(line);
	}
	return g_string_free(answer, FALSE);
}

static void expect(int fd, const char *command, const char *expected)
{
	char *answer = ask(fd, command);

	g_assert_cmpstr(answer, ==, expected);
	g_free(answer);
}

/* The answer has such a line. */
static void expect_match(int fd, const char *command, const char *pattern)
{
	char *answer = ask(fd, command);

	if (!g_regex_match_simple(pattern, answer, G_REGEX_MULTILINE, 0))
		g_error("%s: no '%s' in\n%s", command, pattern, answer);
	g_free(answer);
}

/* --- answers ------------------------------------------------------------------------------ */

static void test_bad_lines(void)
{
	static const struct {
		const char *line, *error;
	} bad[] = {
		{ "foo", "no command 'foo'; help lists the commands" },
		{ "help me", "type: help" },
		{ "info", "type: info contexts, info handlers, info bhs, info timers or info "
			  "iothreads" },
		{ "info fds", "type: info contexts, info handlers, info bhs, info timers or info "
			      "iothreads" },
		{ "kick nobody",
		  "no context 'nobody'; there are qemu_aio_context, iohandler_ctx, io0" },
		{ "kick io0 io0", "type: kick [CTX]" },
		{ "block", "type: block TIME [CTX]" },
		{ "block 50", "'50' is no time up to 60s; type for example: block 50ms io0" },
		{ "block 61s", "'61s' is no time up to 60s; type for example: block 50ms io0" },
		{ "block -1ms", "'-1ms' is no time up to 60s; type for example: block 50ms io0" },
		{ "block 99999999999999999999s",
		  "'99999999999999999999s' is no time up to 60s; type for example: block 50ms "
		  "io0" },
		{ "remove-fd 0", "'0' is no fd that add-fd has added" },
		{ "write-fd 4294967296", "'4294967296' is no fd that add-fd has added" },
		{ "set poll-max-ns", "type: set NAME VALUE [CTX]" },
		{ "set poll-max-ns -1", "poll-max-ns is a number from 0 to 1000000000, not '-1'" },
		{ "set speed 1", "nothing to set is called 'speed'; there are poll-max-ns, "
				 "poll-grow, poll-shrink, epoll-threshold, "
				 "mutant-notify-barrier, mutant-bh-not-cancelled, "
				 "mutant-stays-on-poll-list, mutant-unlocked-upgrade, "
				 "mutant-notified-unread" },
		{ "set mutant-notify-barrier 1", "mutant-notify-barrier is off or on, not '1'" },
		{ "h\xc3\xa4lp", "that is not text; help lists the commands" },
		{ "kick\x1b[2J", "that is not text; help lists the commands" },
	};
	int fd = new_client();

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		char *expected = g_strdup_printf("error: %s\n", bad[i].error);

		expect(fd, bad[i].line, expected);
		g_free(expected);
	}
	send_text(fd, "\n  \t \r\n"); /* no commands, no answers */
	expect(fd, "  kick\t qemu_aio_context \r", "ok\n");
	close(fd);
	some_iterations();
}

static void test_long_lines(void)
{
	char *longest = g_strnfill(1023, 'x'), *longer = g_strnfill(1024, 'x');
	char *answer;
	int fd = new_client();

	answer = ask(fd, longest);
	g_assert_true(g_str_has_prefix(answer, "error: no command 'xxx"));
	g_free(answer);
	expect(fd, longer, "error: a line has at most 1023 bytes\n");
	for (int i = 0; i < 100; i++) {
		send_text(fd, longest);
		some_iterations();
	}
	expect(fd, longer, "error: a line has at most 1023 bytes\n");
	expect(fd, "kick", "ok\n");
	g_free(longest);
	g_free(longer);
	close(fd);
	some_iterations();
}

static unsigned notifies;

static void count_notify(struct loop_event *event)
{
	const struct loop_notify *notify = (const struct loop_notify *)event;

	if (event->id == LOOP_EV_NOTIFY && notify->ctx == (uintptr_t)io0->ctx)
		qatomic_inc(&notifies);
}

static void test_kick(void)
{
	int fd = new_client();

	qatomic_set(&notifies, 0);
	probe_set_sink(count_notify);
	expect(fd, "kick io0", "ok\n");
	expect(fd, "kick io0", "ok\n");
	probe_set_sink(NULL);
	g_assert_cmpuint(qatomic_read(&notifies), ==, 2);
	close(fd);
	some_iterations();
}

/* The bottom half runs in the next iteration at the earliest, so both lines come before it. */
static void test_block(void)
{
	int fd = new_client();

	send_text(fd, "block 1ms\nblock 1ms\n");
	expect_line(fd, "a bottom half blocks qemu_aio_context for 1ms");
	expect_line(fd, "ok");
	expect_line(fd, "error: a loop is blocked already; try again when it goes on");
	some_iterations();
	expect(fd, "block 500us", "a bottom half blocks qemu_aio_context for 500us\nok\n");
	some_iterations();
	close(fd);
	some_iterations();
}

static void test_fds(const void *name)
{
	char *add = g_strdup_printf("add-fd %s", (const char *)name);
	char *command, *answer, *row;
	int fd = new_client(), number;

	answer = ask(fd, add);
	g_assert_cmpint(sscanf(answer, "fd %d, an eventfd, is polled by ", &number), ==, 1);
	g_assert_nonnull(strstr(answer, name));
	g_free(answer);
	row = g_strdup_printf("^%s +%d +eventfd +monitor_fd_read +- +- +0x", (const char *)name,
			      number);
	expect_match(fd, "info handlers", row);

	/* Its handler drains it. */
	command = g_strdup_printf("write-fd %d", number);
	expect(fd, command, "ok\n");
	while (fd_readable(number))
		main_loop_wait(true);
	g_free(command);

	command = g_strdup_printf("remove-fd %d", number);
	expect(fd, command, "ok\n");
	while (fcntl(number, F_GETFD) >= 0)
		main_loop_wait(true);
	answer = ask(fd, "info handlers");
	g_assert_false(g_regex_match_simple(row, answer, G_REGEX_MULTILINE, 0));
	g_free(answer);
	g_free(command);
	g_free(row);
	g_free(add);
	close(fd);
	some_iterations();
}

static void test_set(void)
{
	char *answer = NULL;
	int fd = new_client();

	expect(fd, "set poll-max-ns 32768 io0", "ok\n");
	/* Last scheduled, first run: only the second question surely comes after it. */
	g_free(ask(fd, "info bhs io0"));
	expect(fd, "info bhs io0", "none\nok\n");
	g_assert_cmpint(io0->ctx->poll_max_ns, ==, 32768);
	expect_match(fd, "info iothreads", "^io0 +\\d+ +aio_poll +32768 +0 +0$");
	expect(fd, "set poll-max-ns 0 io0", "ok\n");
	expect_match(fd, "info contexts", "^io0 .* fdmon_poll_wait$");
	expect(fd, "set epoll-threshold 1 io0", "ok\n");
	do {
		g_free(answer);
		answer = ask(fd, "info contexts");
	} while (!g_regex_match_simple("^io0 .* fdmon_epoll_wait$", answer, G_REGEX_MULTILINE, 0));
	g_free(answer);
	expect(fd, "set mutant-notify-barrier on", "ok\n");
	expect(fd, "kick", "ok\n");
	expect(fd, "set mutant-notify-barrier off", "ok\n");
	close(fd);
	some_iterations();
}

static void never(void *opaque G_GNUC_UNUSED)
{
}

static void test_info(void)
{
	QEMUTimer *timer = aio_timer_new(io0->ctx, QEMU_CLOCK_REALTIME, SCALE_NS, never, NULL);
	int fd = new_client();

	expect(fd, "info timers", "no timer is armed\nok\n");
	timer_mod(timer, qemu_clock_get_ns(QEMU_CLOCK_REALTIME) + 3600 * NANOSECONDS_PER_SECOND);
	expect_match(fd, "info timers", "^io0 +realtime +0x\\w+ +never +- +in \\d+\\.\\d+ ms$");
	timer_del(timer);
	timer_free(timer);
	expect_match(fd, "info contexts", "^qemu_aio_context +\\d+ +main_loop_wait ");
	expect_match(fd, "info contexts", "^io0 +\\d+ +aio_poll ");

	/* Both lines are obeyed in one dispatch: the bottom half still waits. */
	send_text(fd, "block 1us\ninfo bhs\n");
	expect_line(fd, "a bottom half blocks qemu_aio_context for 1us");
	expect_line(fd, "ok");
	expect_line_like(fd, "^BH +NAME +CALLBACK +OPAQUE +STATE$");
	expect_line_like(fd, "^0x\\w+ +monitor_block_bh +monitor_block_bh +0x\\w+ +to be called$");
	expect_line(fd, "ok");
	some_iterations();
	expect(fd, "info bhs", "none\nok\n");
	expect(fd, "info bhs io0", "none\nok\n");
	close(fd);
	some_iterations();
}

static void test_quit(void)
{
	int fd = new_client();

	quits = 0;
	expect(fd, "quit", "ok\n");
	g_assert_cmpuint(quits, ==, 1);
	close(fd);
	some_iterations();
}

/* --- clients ------------------------------------------------------------------------------ */

static void test_two_clients(void)
{
	int one = new_client(), other = new_client();

	send_text(one, "kick nob");
	some_iterations();
	expect(other, "kick", "ok\n");
	send_text(other, "ki");
	some_iterations();
	expect(one, "ody",
	       "error: no context 'nobody'; there are qemu_aio_context, iohandler_ctx, "
	       "io0\n");
	expect(other, "ck", "ok\n");
	close(one);
	expect(other, "kick", "ok\n");
	close(other);
	some_iterations();
}

/* Whoever says that nothing more comes has its answers; half a line is no command. */
static void test_end_of_input(void)
{
	int fd = new_client();

	quits = 0;
	send_text(fd, "kick\nkick nobody\nkick\nquit");
	shutdown(fd, SHUT_WR);
	expect_line(fd, "ok");
	expect_line(fd, "error: no context 'nobody'; there are qemu_aio_context, iohandler_ctx, "
			"io0");
	expect_line(fd, "ok");
	g_assert_null(get_line(fd));
	g_assert_cmpuint(quits, ==, 0);
	close(fd);
}

typedef struct {
	QemuSemaphore begun, go_on;
} Stop;

static void wait_for_semaphore(void *opaque)
{
	Stop *stop = opaque;

	qemu_sem_post(&stop->begun);
	qemu_sem_wait(&stop->go_on);
}

/* All are told to wait for a thread that does not come; when they have gone there is room again. */
static void test_hang_up_while_waiting(void)
{
	Stop stop;
	int fds[16];

	/* It has to have begun: a question scheduled after it would be called before it. */
	qemu_sem_init(&stop.begun, 0);
	qemu_sem_init(&stop.go_on, 0);
	aio_bh_schedule_oneshot(io0->ctx, wait_for_semaphore, &stop);
	qemu_sem_wait(&stop.begun);
	for (int i = 0; i < 16; i++) {
		fds[i] = new_client();
		send_text(fds[i], "info bhs io0\n");
		some_iterations();
	}
	for (int i = 0; i < 16; i++)
		close(fds[i]);
	for (int i = 0; i < 16; i++) {
		fds[i] = new_client();
		expect(fds[i], "kick", "ok\n");
	}
	qemu_sem_post(&stop.go_on);
	send_text(fds[0], "info bhs io0\n");
	do
		main_loop_wait(true);
	while (!fd_readable(fds[0]));
	for (int i = 0; i < 16; i++)
		close(fds[i]);
	some_iterations();
	qemu_sem_destroy(&stop.go_on);
	qemu_sem_destroy(&stop.begun);
}

static void test_hang_up_before_an_answer(void)
{
	int fd;

	for (int i = 0; i < 50; i++) {
		fd = new_client();
		send_text(fd, i % 2 ? "info bhs io0\ninfo bhs io0\n" : "info handl");
		close(fd);
	}
	fd = new_client();
	expect(fd, "kick", "ok\n");
	close(fd);
	some_iterations();
}

/* It stops taking lines from one who takes no answers; the others go on. */
static void test_a_client_that_never_reads(void)
{
	static const char line[] = "help\n";
	int lazy = new_client(), other;
	unsigned refused = 0;
	size_t sent = 0;

	while (refused < 100) {
		ssize_t n = send(lazy, line, strlen(line), MSG_NOSIGNAL);

		/* A line sent in part would still be one in the end, as the next fills it up. */
		refused = n < 0 ? refused + 1 : 0;
		sent += MAX(n, 0);
		main_loop_wait(true);
		g_assert_cmpuint(sent, <, 64 << 20);
	}
	other = new_client();
	expect(other, "kick", "ok\n");
	close(lazy);
	some_iterations();
	expect(other, "kick", "ok\n");
	close(other);
	some_iterations();
}

static void test_many_clients(void)
{
	int fds[16], late;

	for (int i = 0; i < 16; i++)
		fds[i] = new_client();
	late = connect_only();
	expect_line(late, "error: there are 16 clients already");
	g_assert_null(get_line(late));
	close(late);
	for (int i = 0; i < 16; i++)
		expect(fds[i], "kick", "ok\n");
	close(fds[7]);
	some_iterations();
	fds[7] = new_client();
	for (int i = 0; i < 16; i++)
		close(fds[i]);
	some_iterations();
}

static void test_no_descriptor_left(void)
{
	struct rlimit all, none;
	int fd = connect_only(), next = dup(fd);

	close(next);
	getrlimit(RLIMIT_NOFILE, &all);
	none = all;
	none.rlim_cur = next; /* all below are taken */
	setrlimit(RLIMIT_NOFILE, &none);
	expect_line(fd, "error: the program has no more descriptors");
	g_assert_null(get_line(fd));
	setrlimit(RLIMIT_NOFILE, &all);
	close(fd);
	fd = new_client();
	expect(fd, "kick", "ok\n");
	close(fd);
	some_iterations();
}

/* Bytes of all kinds, commands among them, in pieces of all sizes: it answers the next client. */
static void test_random_bytes(void)
{
	static const char *const words[] = { "info ", "handlers",    "kick",   "add-fd",     " io0",
					     "\n",    "set ",	     "\r\n",   "block ",     "1us",
					     " ",     "poll-max-ns", "help\n", "remove-fd ", "9" };
	char sink[4096];

	for (int round = 0; round < 200; round++) {
		int fd = connect_only();

		for (int i = 0; i < 50; i++) {
			GString *piece = g_string_new(NULL);
			int n = g_test_rand_int_range(0, 60);

			for (int k = 0; k < n; k++) {
				if (g_test_rand_bit())
					g_string_append(
						piece,
						words[g_test_rand_int_range(0, ARRAY_SIZE(words))]);
				else
					g_string_append_c(piece, g_test_rand_int_range(0, 256));
			}
			(void)!send(fd, piece->str, piece->len, MSG_NOSIGNAL);
			g_string_free(piece, TRUE);
			main_loop_wait(true);
			while (g_test_rand_bit() && recv(fd, sink, sizeof(sink), MSG_DONTWAIT) > 0)
				;
		}
		close(fd);
	}
	some_iterations();
	close(new_client());
	some_iterations();
}

/* --- the socket --------------------------------------------------------------------------- */

static void test_socket(void)
{
	Error *err = NULL;
	struct stat st;

	g_assert_cmpint(stat(path, &st), ==, 0);
	g_assert_cmpuint(st.st_mode, ==, S_IFSOCK | 0600);

	g_assert_null(monitor_open(path, count_quit, &err));
	g_assert_nonnull(strstr(error_get_pretty(err), "Address already in use"));
	error_free(err);
	err = NULL;
	g_assert_cmpint(stat(path, &st), ==, 0); /* it is another's: not removed */
	g_assert_null(monitor_open("/nowhere/at/all", count_quit, &err));
	error_free(err);
}

int main(int argc, char **argv)
{
	char *dir = g_dir_make_tmp("monitor-XXXXXX", NULL);
	struct stat st;
	int ret;

	g_test_init(&argc, &argv, NULL);
	path = g_build_filename(dir, "mon", NULL);
	loop_settings.era = loop_era_by_name("8.2"); /* poll, and epoll for many fds */
	qemu_init_cpu_loop();
	bql_lock();
	qemu_init_main_loop(&error_fatal);
	io0 = iothread_create("io0", &error_fatal);
	monitor = monitor_open(path, count_quit, &error_fatal);

	g_test_add_func("/monitor/socket", test_socket);
	g_test_add_func("/monitor/bad-lines", test_bad_lines);
	g_test_add_func("/monitor/long-lines", test_long_lines);
	g_test_add_func("/monitor/kick", test_kick);
	g_test_add_func("/monitor/block", test_block);
	g_test_add_data_func("/monitor/fds/main", "qemu_aio_context", test_fds);
	g_test_add_data_func("/monitor/fds/iohandler", "iohandler_ctx", test_fds);
	g_test_add_data_func("/monitor/fds/iothread", "io0", test_fds);
	g_test_add_func("/monitor/set", test_set);
	g_test_add_func("/monitor/info", test_info);
	g_test_add_func("/monitor/quit", test_quit);
	g_test_add_func("/monitor/two-clients", test_two_clients);
	g_test_add_func("/monitor/end-of-input", test_end_of_input);
	g_test_add_func("/monitor/hang-up-before-an-answer", test_hang_up_before_an_answer);
	g_test_add_func("/monitor/hang-up-while-waiting", test_hang_up_while_waiting);
	g_test_add_func("/monitor/a-client-that-never-reads", test_a_client_that_never_reads);
	g_test_add_func("/monitor/many-clients", test_many_clients);
	g_test_add_func("/monitor/no-descriptor-left", test_no_descriptor_left);
	g_test_add_func("/monitor/random-bytes", test_random_bytes);
	ret = g_test_run();

	monitor_close(monitor);
	g_assert_cmpint(stat(path, &st), <, 0);
	iothread_destroy(io0);
	some_iterations();
	bql_unlock();
	g_rmdir(dir);
	g_free(path);
	g_free(dir);
	return ret;
}
