/* SPDX-License-Identifier: MIT */
/* Queues of coroutines that wait.  QEMU: util/qemu-coroutine-lock.c. */
#include "osdep.h"
#include "aio.h"
#include "coroutine_int.h"

void qemu_co_queue_init(CoQueue *queue)
{
	QSIMPLEQ_INIT(&queue->entries);
}

void coroutine_fn qemu_co_queue_wait(CoQueue *queue, QemuMutex *lock)
{
	Coroutine *self = qemu_coroutine_self();

	QSIMPLEQ_INSERT_TAIL(&queue->entries, self, co_queue_next);
	if (lock)
		qemu_mutex_unlock(lock);
	qemu_coroutine_yield();
	if (lock)
		qemu_mutex_lock(lock);
}

bool qemu_co_queue_next(CoQueue *queue)
{
	Coroutine *next = QSIMPLEQ_FIRST(&queue->entries);

	if (!next)
		return false;
	QSIMPLEQ_REMOVE_HEAD(&queue->entries, co_queue_next);
	aio_co_wake(next);
	return true;
}

void qemu_co_queue_restart_all(CoQueue *queue)
{
	while (qemu_co_queue_next(queue))
		;
}

bool qemu_co_queue_empty(CoQueue *queue)
{
	return QSIMPLEQ_EMPTY(&queue->entries);
}
