/* SPDX-License-Identifier: MIT */
/* Coroutines without the switching: create, enter, yield.  QEMU: util/qemu-coroutine.c. */
#include "osdep.h"
#include "aio.h"
#include "coroutine_int.h"
#include "loop-trace.h"

/* QEMU keeps dead ones for the next; here each has its own stack, from birth to death. */
Coroutine *qemu_coroutine_create(CoroutineEntry *entry, void *opaque)
{
	Coroutine *co = qemu_coroutine_new();

	co->entry = entry;
	co->entry_arg = opaque;
	QSIMPLEQ_INIT(&co->co_queue_wakeup);
	return co;
}

static void __attribute__((noreturn)) misused(const char *what, const char *by)
{
	fprintf(stderr, "%s%s%s%s\n", what, by ? " '" : "", by ?: "", by ? "'" : "");
	abort();
}

static void enter_one(AioContext *ctx, Coroutine *from, Coroutine *to)
{
	const char *scheduled = qatomic_load_acquire(&to->scheduled);

	probe_qemu_aio_coroutine_enter(ctx, from, to, to->entry_arg);
	if (scheduled)
		misused("qemu_aio_coroutine_enter: Co-routine was already scheduled in", scheduled);
	if (to->caller)
		misused("qemu_aio_coroutine_enter: Co-routine re-entered recursively", NULL);

	to->caller = from;
	/* Others may learn of it as soon as it runs, and will ask where to wake it. */
	qatomic_store_release(&to->ctx, ctx);
}

void qemu_aio_coroutine_enter(AioContext *ctx, Coroutine *co)
{
	QSIMPLEQ_HEAD(, Coroutine) pending = { NULL, &pending.sqh_first };
	Coroutine *from = qemu_coroutine_self();
	Coroutine *to;

	QSIMPLEQ_INSERT_TAIL(&pending, co, co_queue_next);
	while ((to = QSIMPLEQ_FIRST(&pending))) {
		CoroutineAction action;

		QSIMPLEQ_REMOVE_HEAD(&pending, co_queue_next);
		enter_one(ctx, from, to);
		action = qemu_coroutine_switch(from, to, COROUTINE_ENTER);

		/* Those that it woke come before the others that wait here: depth first. */
		QSIMPLEQ_PREPEND(&pending, &to->co_queue_wakeup);
		if (action == COROUTINE_TERMINATE) {
			probe_qemu_coroutine_terminate(to);
			qemu_coroutine_delete(to);
		}
	}
}

void qemu_coroutine_enter(Coroutine *co)
{
	qemu_aio_coroutine_enter(qemu_get_current_aio_context(), co);
}

void qemu_coroutine_enter_if_inactive(Coroutine *co)
{
	if (!qemu_coroutine_entered(co))
		qemu_coroutine_enter(co);
}

void coroutine_fn qemu_coroutine_yield(void)
{
	Coroutine *self = qemu_coroutine_self();
	Coroutine *to = self->caller;

	probe_qemu_coroutine_yield(self, to);
	if (!to)
		misused("qemu_coroutine_yield: Co-routine is yielding to no one", NULL);
	self->caller = NULL;
	qemu_coroutine_switch(self, to, COROUTINE_YIELD);
}

bool qemu_coroutine_entered(Coroutine *co)
{
	return co->caller;
}

AioContext *qemu_coroutine_get_aio_context(Coroutine *co)
{
	return co->ctx;
}
