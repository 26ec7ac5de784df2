/* SPDX-License-Identifier: MIT */
/*
 * A list of callbacks that want to hear of one event (QEMU: qemu/notify.h).  The owner of the list
 * decides which thread may use it; there is no lock.
 */
#ifndef DEMO_NOTIFY_H
#define DEMO_NOTIFY_H

#include "queue.h"

typedef struct Notifier Notifier;

struct Notifier {
	void (*notify)(Notifier *notifier, void *data);
	QLIST_ENTRY(Notifier) node;
};

typedef struct NotifierList {
	QLIST_HEAD(, Notifier) notifiers;
} NotifierList;

#define NOTIFIER_LIST_INITIALIZER(head)                                                            \
	{                                                                                          \
		QLIST_HEAD_INITIALIZER((head).notifiers)                                           \
	}

void notifier_list_init(NotifierList *list);
void notifier_list_add(NotifierList *list, Notifier *notifier);
void notifier_remove(Notifier *notifier);

/* Last added, first called.  A callback may remove itself. */
void notifier_list_notify(NotifierList *list, void *data);
bool notifier_list_empty(NotifierList *list);

#endif
