/* SPDX-License-Identifier: MIT */
/*
 * The system calls that the rows cannot do without; see bench-loop.h.  Bottom halves and timers
 * that are due need none.
 */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <glib.h>
#include "bench-loop.h"

/* From here on epoll is the cheaper way; the loop changes over at the same number. */
#define EPOLL_THRESHOLD 64

typedef struct BareBench {
	unsigned n;
	unsigned seed;
	const int *fds;
	struct pollfd *pfds;
	int epollfd; /* -1: ppoll */
	/* The other thread of the cross-thread row. */
	GThread *thread;
	int here, there;
} BareBench;

static const uint64_t one = 1;

static void must(bool ok)
{
	if (!ok)
		g_error("a system call of the bench failed: %m");
}

static void *fds_setup(const BenchParam *param)
{
	BareBench *b = g_new0(BareBench, 1);

	b->n = param->n;
	b->fds = param->fds;
	b->epollfd = -1;
	if (b->n >= EPOLL_THRESHOLD) {
		b->epollfd = epoll_create1(EPOLL_CLOEXEC);
		must(b->epollfd >= 0);
	}
	b->pfds = g_new0(struct pollfd, b->n);
	for (unsigned i = 0; i < b->n; i++) {
		struct epoll_event event = { .events = EPOLLIN, .data.u32 = i };

		b->pfds[i] = (struct pollfd){ .fd = b->fds[i], .events = POLLIN };
		if (b->epollfd >= 0)
			must(epoll_ctl(b->epollfd, EPOLL_CTL_ADD, b->fds[i], &event) == 0);
	}
	return b;
}

static void fds_run(void *opaque, unsigned ops)
{
	BareBench *b = opaque;

	while (ops--) {
		unsigned i = bench_next(&b->seed, b->n);
		struct epoll_event event;
		uint64_t count;

		must(write(b->fds[i], &one, sizeof(one)) == sizeof(one));
		if (b->epollfd >= 0)
			must(epoll_wait(b->epollfd, &event, 1, -1) == 1);
		else
			must(ppoll(b->pfds, b->n, NULL, NULL) == 1);
		must(read(b->fds[i], &count, sizeof(count)) == sizeof(count));
	}
}

static void fds_teardown(void *opaque)
{
	BareBench *b = opaque;

	if (b->epollfd >= 0)
		close(b->epollfd);
	g_free(b->pfds);
	g_free(b);
}

/* Sleeps until @fd is set, and clears it: false if that was by more than one. */
static bool wait_for(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	uint64_t count;

	must(ppoll(&pfd, 1, NULL, NULL) == 1);
	must(read(fd, &count, sizeof(count)) == sizeof(count));
	return count == 1;
}

static gpointer other_thread(gpointer opaque)
{
	BareBench *b = opaque;

	bench_pin_other();
	while (wait_for(b->there))
		must(write(b->here, &one, sizeof(one)) == sizeof(one));
	return NULL;
}

static void *cross_setup(const BenchParam *param G_GNUC_UNUSED)
{
	BareBench *b = g_new0(BareBench, 1);

	b->here = eventfd(0, EFD_CLOEXEC);
	b->there = eventfd(0, EFD_CLOEXEC);
	must(b->here >= 0 && b->there >= 0);
	b->thread = g_thread_new("bench-other", other_thread, b);
	return b;
}

static void cross_run(void *opaque, unsigned ops)
{
	BareBench *b = opaque;

	while (ops--) {
		must(write(b->there, &one, sizeof(one)) == sizeof(one));
		wait_for(b->here);
	}
}

static void cross_teardown(void *opaque)
{
	static const uint64_t stop = 2;
	BareBench *b = opaque;

	must(write(b->there, &stop, sizeof(stop)) == sizeof(stop));
	g_thread_join(b->thread);
	close(b->here);
	close(b->there);
	g_free(b);
}

const BenchContestant bench_bare[BENCH_ROWS] = {
	[BENCH_NOTIFIER] = { fds_setup, fds_run, fds_teardown },
	[BENCH_FDS_POLL] = { fds_setup, fds_run, fds_teardown },
	[BENCH_FDS_SOURCE] = { fds_setup, fds_run, fds_teardown },
	[BENCH_CROSS] = { cross_setup, cross_run, cross_teardown },
};
