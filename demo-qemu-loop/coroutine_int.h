/* SPDX-License-Identifier: MIT */
/*
 * A coroutine's state, and what the switching (coroutine-ucontext.c) gives to the rest.  Private to
 * the loop (QEMU: qemu/coroutine_int.h).
 */
#ifndef DEMO_COROUTINE_INT_H
#define DEMO_COROUTINE_INT_H

#include "coroutine.h"

typedef enum CoroutineAction {
	COROUTINE_YIELD = 1,
	COROUTINE_TERMINATE = 2,
	COROUTINE_ENTER = 3,
} CoroutineAction;

struct Coroutine {
	CoroutineEntry *entry;
	void *entry_arg;
	Coroutine *caller; /* who entered it, and NULL while it is not entered */

	AioContext *ctx; /* it was entered in last; where aio_co_wake() brings it */

	/*
	 * The function that has it in a list, to be entered; NULL: it is in none.  A coroutine that
	 * two would enter is a bug, and this says who the first was.
	 */
	const char *scheduled;

	QSIMPLEQ_ENTRY(Coroutine) co_queue_next;    /* on a CoQueue or a co_queue_wakeup */
	QSIMPLEQ_HEAD(, Coroutine) co_queue_wakeup; /* to be entered when this one yields */
	QSLIST_ENTRY(Coroutine) co_scheduled_next;  /* on ctx->scheduled_coroutines */
};

Coroutine *qemu_coroutine_new(void);
void qemu_coroutine_delete(Coroutine *co);

/* Goes on in @to; returns when somebody switches to @from again: why. */
CoroutineAction qemu_coroutine_switch(Coroutine *from, Coroutine *to, CoroutineAction action);

#endif
