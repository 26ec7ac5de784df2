/* SPDX-License-Identifier: MIT */
/* A poll notifier; the header says what for.  QEMU: net/slirp.c. */
#include "osdep.h"
#include <sys/socket.h>
#include "slirp.h"

/* Adds the descriptor, and lowers the timeout to the stack's next timer. */
static void slirp_pollfds_fill(SlirpState *s, MainLoopPoll *poll)
{
	GPollFD pfd = { .fd = s->fd, .events = G_IO_IN | G_IO_HUP | G_IO_ERR };
	int64_t left;

	s->fills++;
	s->pollfds_idx = poll->pollfds->len;
	g_array_append_val(poll->pollfds, pfd);

	if (s->timer_ns < 0)
		return;
	left = MAX(s->timer_ns - qemu_clock_get_ns(QEMU_CLOCK_REALTIME), 0);
	/* Rounded up, or it would be asked through the last millisecond again and again. */
	left = MIN(DIV_ROUND_UP(left, SCALE_MS), INT32_MAX);
	if ((uint32_t)left < poll->timeout)
		poll->timeout = left;
}

static void slirp_pollfds_poll(SlirpState *s, MainLoopPoll *poll)
{
	char packet[2048];

	s->polls++;
	/* The set of a poll that failed says nothing. */
	if (poll->state == MAIN_LOOP_POLL_OK &&
	    g_array_index(poll->pollfds, GPollFD, s->pollfds_idx).revents) {
		while (recv(s->fd, packet, sizeof(packet), MSG_DONTWAIT) > 0)
			s->packets++;
	}
	if (s->timer_ns >= 0 && qemu_clock_get_ns(QEMU_CLOCK_REALTIME) >= s->timer_ns) {
		s->timer_ns = -1;
		s->timers++;
	}
}

static void net_slirp_poll_notify(Notifier *notifier, void *data)
{
	SlirpState *s = container_of(notifier, SlirpState, poll_notifier);
	MainLoopPoll *poll = data;

	if (poll->state == MAIN_LOOP_POLL_FILL)
		slirp_pollfds_fill(s, poll);
	else
		slirp_pollfds_poll(s, poll);
}

void net_slirp_init(SlirpState *s, int fd)
{
	*s = (SlirpState){ .fd = fd, .timer_ns = -1 };
	s->poll_notifier.notify = net_slirp_poll_notify;
	main_loop_poll_add_notifier(&s->poll_notifier);
}

void net_slirp_cleanup(SlirpState *s)
{
	main_loop_poll_remove_notifier(&s->poll_notifier);
	close(s->fd);
}
