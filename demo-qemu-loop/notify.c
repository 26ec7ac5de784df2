/* SPDX-License-Identifier: MIT */
/* Notifier lists; the header says how they are used. */
#include "osdep.h"
#include "notify.h"

void notifier_list_init(NotifierList *list)
{
	QLIST_INIT(&list->notifiers);
}

void notifier_list_add(NotifierList *list, Notifier *notifier)
{
	QLIST_INSERT_HEAD(&list->notifiers, notifier, node);
}

void notifier_remove(Notifier *notifier)
{
	QLIST_REMOVE(notifier, node);
}

void notifier_list_notify(NotifierList *list, void *data)
{
	Notifier *notifier, *next;

	QLIST_FOREACH_SAFE (notifier, &list->notifiers, node, next)
		notifier->notify(notifier, data);
}

bool notifier_list_empty(NotifierList *list)
{
	return QLIST_EMPTY(&list->notifiers);
}
