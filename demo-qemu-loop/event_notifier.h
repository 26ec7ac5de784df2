/* SPDX-License-Identifier: MIT */
/*
 * EventNotifier: a flag with a file descriptor, so that a poll can wait for it (QEMU:
 * qemu/event_notifier.h).  Here it is always an eventfd, hence rfd == wfd; QEMU falls back to a
 * pipe where there is none.  Setting it twice before it is cleared is one event.
 */
#ifndef DEMO_EVENT_NOTIFIER_H
#define DEMO_EVENT_NOTIFIER_H

typedef struct EventNotifier {
	int rfd;
	int wfd;
	bool initialized;
} EventNotifier;

typedef void EventNotifierHandler(EventNotifier *);

/* 0 or -errno; set from the start if @active. */
int event_notifier_init(EventNotifier *e, int active);
void event_notifier_init_fd(EventNotifier *e, int fd);
void event_notifier_cleanup(EventNotifier *e);

/* 0 or -errno.  Never blocks, safe in a signal handler. */
int event_notifier_set(EventNotifier *e);

/* Clears it; 1 if it was set. */
int event_notifier_test_and_clear(EventNotifier *e);

int event_notifier_get_fd(const EventNotifier *e);
int event_notifier_get_wfd(const EventNotifier *e);

#endif
