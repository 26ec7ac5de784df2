/* SPDX-License-Identifier: MIT */
/*
 * A user-mode network stack with a poll set of its own (QEMU: net/slirp.c over libslirp).  It is no
 * GSource and has no AioHandler: the main loop asks it before each poll what to add to the set and
 * how long it may sleep, and shows it the result after: a poll notifier.
 */
#ifndef DEMO_SLIRP_H
#define DEMO_SLIRP_H

#include "main-loop.h"

typedef struct SlirpState {
	Notifier poll_notifier;
	int fd;		  /* a socket of the stack's */
	int pollfds_idx;  /* where that is in the set of this iteration */
	int64_t timer_ns; /* when the stack wants to be called, QEMU_CLOCK_REALTIME; -1: never */
	unsigned fills, polls, packets, timers;
} SlirpState;

/* @fd, a non-blocking socket, belongs to it from here on. */
void net_slirp_init(SlirpState *s, int fd);
void net_slirp_cleanup(SlirpState *s);

#endif
