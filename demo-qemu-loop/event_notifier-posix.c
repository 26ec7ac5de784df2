/* SPDX-License-Identifier: MIT */
/* EventNotifier over eventfd(2); the header says how it is used. */
#include "osdep.h"
#include <sys/eventfd.h>
#include "event_notifier.h"
#include "loop-trace.h"

void event_notifier_init_fd(EventNotifier *e, int fd)
{
	e->rfd = fd;
	e->wfd = fd;
	e->initialized = true;
}

int event_notifier_init(EventNotifier *e, int active)
{
	int fd = eventfd(active ? 1 : 0, EFD_NONBLOCK | EFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	event_notifier_init_fd(e, fd);
	return 0;
}

void event_notifier_cleanup(EventNotifier *e)
{
	if (!e->initialized)
		return;
	close(e->rfd);
	e->rfd = -1;
	e->wfd = -1;
	e->initialized = false;
}

int event_notifier_set(EventNotifier *e)
{
	static const uint64_t one = 1;
	ssize_t n;

	if (!e->initialized)
		return -EBADF;
	probe_event_notifier_set(e, e->wfd, loop_caller());
	do {
		n = write(e->wfd, &one, sizeof(one));
	} while (n < 0 && errno == EINTR);

	/* EAGAIN: the counter is full.  It is set, then, which is all that was asked for. */
	return n < 0 && errno != EAGAIN ? -errno : 0;
}

int event_notifier_test_and_clear(EventNotifier *e)
{
	uint64_t count;
	ssize_t n;

	if (!e->initialized)
		return 0;
	do {
		n = read(e->rfd, &count, sizeof(count));
	} while (n < 0 && errno == EINTR);
	probe_event_notifier_clear(e, e->rfd, n == sizeof(count));
	return n == sizeof(count);
}

int event_notifier_get_fd(const EventNotifier *e)
{
	return e->rfd;
}

int event_notifier_get_wfd(const EventNotifier *e)
{
	return e->wfd;
}
