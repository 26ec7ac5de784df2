/* SPDX-License-Identifier: MIT */
/*
 * Reading the host's clocks and sleeping by them.  The loop computes in nanoseconds; GLib, until
 * lately, in milliseconds: hence the rounding.
 */
#include "osdep.h"
#include <poll.h>
#include "timer.h"

static int64_t read_clock(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return ts.tv_sec * NANOSECONDS_PER_SECOND + ts.tv_nsec;
}

int64_t get_clock(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

int64_t get_clock_realtime(void)
{
	return read_clock(CLOCK_REALTIME);
}

int qemu_timeout_ns_to_ms(int64_t ns)
{
	int64_t ms;

	if (ns < 0)
		return -1;
	ms = ns / SCALE_MS + (ns % SCALE_MS != 0);
	return MIN(ms, (int64_t)INT32_MAX);
}

int qemu_poll_ns(GPollFD *fds, guint nfds, int64_t timeout)
{
	struct timespec ts = {
		.tv_sec = MIN(timeout / NANOSECONDS_PER_SECOND, (int64_t)INT32_MAX),
		.tv_nsec = timeout % NANOSECONDS_PER_SECOND,
	};

	G_STATIC_ASSERT(sizeof(GPollFD) == sizeof(struct pollfd));
	G_STATIC_ASSERT(offsetof(GPollFD, revents) == offsetof(struct pollfd, revents));

	return ppoll((struct pollfd *)fds, nfds, timeout < 0 ? NULL : &ts, NULL);
}
