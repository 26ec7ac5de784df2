/* SPDX-License-Identifier: MIT */
/* What fds.c says of descriptors of this very process, opened for that. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tracer/fds.h"

#define CLOSED_FD 999

static void assert_kind(int fd, const char *kind, const char *detail)
{
	struct fds *fds = fds_new(getpid(), true);
	const struct fd_info *info = fds_get(fds, fd);

	g_assert_cmpint(fd, >=, 0);
	g_assert_true(info->open);
	g_assert_cmpstr(info->kind, ==, kind);
	if (detail)
		g_assert_cmpstr(info->detail, ==, detail);
	fds_free(fds);
	close(fd);
}

static int signalfd_of(int number)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, number);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void test_kinds(void)
{
	int pipes[2];

	assert_kind(eventfd(0, EFD_CLOEXEC), "eventfd", "");
	assert_kind(signalfd_of(SIGUSR1), "signalfd", "");
	assert_kind(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC), "timerfd", "");
	assert_kind(epoll_create1(EPOLL_CLOEXEC), "epoll", "");
	assert_kind(open("/dev/null", O_RDWR | O_CLOEXEC), "chr", "/dev/null");
	assert_kind(open("/", O_RDONLY | O_CLOEXEC), "dir", "/");
	assert_kind(open("/etc/passwd", O_RDONLY | O_CLOEXEC), "file", "/etc/passwd");
	g_assert_cmpint(pipe2(pipes, O_CLOEXEC), ==, 0);
	assert_kind(pipes[0], "pipe", "");
	assert_kind(pipes[1], "pipe", "");
}

static void test_unix_listener(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	g_autofree char *detail = NULL;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "/tmp/test-fds-%d \033[m", getpid());
	g_assert_cmpint(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), ==, 0);
	g_assert_cmpint(listen(fd, 1), ==, 0);
	detail = g_strdup_printf("listens on /tmp/test-fds-%d ?[m", getpid());
	assert_kind(fd, "unix", detail);
	unlink(addr.sun_path);
}

static void test_tcp_listener(void)
{
	struct sockaddr_in addr = { .sin_family = AF_INET };
	socklen_t len = sizeof(addr);
	g_autofree char *detail = NULL;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	g_assert_cmpint(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), ==, 0);
	g_assert_cmpint(listen(fd, 1), ==, 0);
	g_assert_cmpint(getsockname(fd, (struct sockaddr *)&addr, &len), ==, 0);
	detail = g_strdup_printf("listens on port %u", ntohs(addr.sin_port));
	assert_kind(fd, "tcp", detail);
}

/* What was handed out stays valid while others are asked for, and the same one again. */
static void test_what_was_handed_out_stays_valid(void)
{
	struct fds *fds = fds_new(getpid(), true);
	const struct fd_info *closed = fds_get(fds, CLOSED_FD);

	g_assert_false(closed->open);
	for (int fd = CLOSED_FD; fd < CLOSED_FD + 100; fd++)
		fds_get(fds, fd);
	g_assert_cmpint(fds_ready(fds, CLOSED_FD, POLLIN), <, 0);
	g_assert_cmpstr(closed->kind, ==, "unknown");
	g_assert_cmpstr(closed->detail, ==, "");
	g_assert_true(fds_get(fds, CLOSED_FD) == closed);
	fds_free(fds);
}

static void test_one_that_was_closed_may_be_open_by_now(void)
{
	struct fds *fds = fds_new(getpid(), true);
	int fd = eventfd(0, EFD_CLOEXEC);

	g_assert_false(fds_get(fds, CLOSED_FD)->open);
	g_assert_cmpint(dup3(fd, CLOSED_FD, O_CLOEXEC), ==, CLOSED_FD);
	g_assert_true(fds_get(fds, CLOSED_FD)->open);
	g_assert_cmpstr(fds_get(fds, CLOSED_FD)->kind, ==, "eventfd");
	close(CLOSED_FD);
	close(fd);
	fds_free(fds);
}

static void test_odd_numbers_are_not_open(void)
{
	static const int odd[] = { -1, -2, G_MAXINT, G_MININT };
	struct fds *fds = fds_new(getpid(), true);

	for (size_t i = 0; i < G_N_ELEMENTS(odd); i++) {
		g_assert_false(fds_get(fds, odd[i])->open);
		/* poll() passes over a negative number: never ready, and no error. */
		if (odd[i] < 0)
			g_assert_cmpint(fds_ready(fds, odd[i], POLLIN), ==, 0);
		else
			g_assert_cmpint(fds_ready(fds, odd[i], POLLIN), <, 0);
	}
	fds_free(fds);
}

static void test_of_a_core_everything_is_unknown(void)
{
	struct fds *fds = fds_new(getpid(), false);

	g_assert_false(fds_get(fds, STDIN_FILENO)->open);
	g_assert_cmpstr(fds_get(fds, STDIN_FILENO)->kind, ==, "unknown");
	g_assert_cmpint(fds_ready(fds, STDIN_FILENO, POLLIN), ==, -ENOSYS);
	fds_free(fds);
}

/* Asking changes nothing: the eventfd still has its value. */
static void test_ready(void)
{
	struct fds *fds = fds_new(getpid(), true);
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	eventfd_t value = 0;

	g_assert_cmpint(fds_ready(fds, fd, POLLIN), ==, 0);
	g_assert_cmpint(fds_ready(fds, fd, POLLIN | POLLOUT), ==, POLLOUT);
	eventfd_write(fd, 23);
	g_assert_cmpint(fds_ready(fds, fd, POLLIN), ==, POLLIN);
	g_assert_cmpint(eventfd_read(fd, &value), ==, 0);
	g_assert_cmpuint(value, ==, 23);
	close(fd);
	fds_free(fds);
}

/* A child's signalfd and a child's signal: nothing is pending here. */
static void test_signalfd_of_another_process(void)
{
	int fd = signalfd_of(SIGUSR2), wait_for[2];
	struct fds *fds;
	pid_t child;

	g_assert_cmpint(pipe2(wait_for, O_CLOEXEC), ==, 0);
	child = fork();
	if (!child) {
		char byte;

		close(wait_for[1]);
		if (read(wait_for[0], &byte, 1) < 0)
			_exit(1);
		_exit(0);
	}
	fds = fds_new(child, true);
	g_assert_cmpint(fds_ready(fds, fd, POLLIN), ==, 0);
	kill(child, SIGUSR2);
	g_assert_cmpint(fds_ready(fds, fd, POLLIN), ==, POLLIN);
	fds_free(fds);
	fds = fds_new(getpid(), true);
	g_assert_cmpint(fds_ready(fds, fd, POLLIN), ==, 0);
	fds_free(fds);
	close(wait_for[1]);
	close(wait_for[0]);
	close(fd);
	waitpid(child, NULL, 0);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_set_nonfatal_assertions();
	g_test_add_func("/fds/kinds", test_kinds);
	g_test_add_func("/fds/unix-listener", test_unix_listener);
	g_test_add_func("/fds/tcp-listener", test_tcp_listener);
	g_test_add_func("/fds/stay-valid", test_what_was_handed_out_stays_valid);
	g_test_add_func("/fds/open-by-now", test_one_that_was_closed_may_be_open_by_now);
	g_test_add_func("/fds/odd-numbers", test_odd_numbers_are_not_open);
	g_test_add_func("/fds/of-a-core", test_of_a_core_everything_is_unknown);
	g_test_add_func("/fds/ready", test_ready);
	g_test_add_func("/fds/signalfd", test_signalfd_of_another_process);
	return g_test_run();
}
