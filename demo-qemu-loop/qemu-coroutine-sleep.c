/* SPDX-License-Identifier: MIT */
/* Coroutines that sleep.  QEMU: util/qemu-coroutine-sleep.c. */
#include "osdep.h"
#include "aio.h"
#include "coroutine_int.h"

/* In co->scheduled while it sleeps: whoever else enters it is told so. */
static const char sleeps[] = "qemu_co_sleep_ns";

void qemu_co_sleep_wake(QemuCoSleep *w)
{
	Coroutine *co = w->to_wake;

	w->to_wake = NULL;
	if (co) {
		const char *scheduled = qatomic_cmpxchg(&co->scheduled, sleeps, NULL);

		assert(scheduled == sleeps);
		aio_co_wake(co);
	}
}

void coroutine_fn qemu_co_sleep(QemuCoSleep *w)
{
	Coroutine *co = qemu_coroutine_self();
	const char *scheduled = qatomic_cmpxchg(&co->scheduled, NULL, sleeps);

	if (scheduled) {
		fprintf(stderr, "%s: Co-routine was already scheduled in '%s'\n", __func__,
			scheduled);
		abort();
	}
	w->to_wake = co;
	qemu_coroutine_yield();
	assert(!w->to_wake);
}

static void co_sleep_cb(void *opaque)
{
	qemu_co_sleep_wake(opaque);
}

void coroutine_fn qemu_co_sleep_ns_wakeable(QemuCoSleep *w, QEMUClockType type, int64_t ns)
{
	QEMUTimer timer;

	aio_timer_init(qemu_get_current_aio_context(), &timer, type, SCALE_NS, co_sleep_cb, w);
	timer_mod(&timer, qemu_clock_get_ns(type) + ns);
	qemu_co_sleep(w);
	timer_del(&timer);
}
