/* SPDX-License-Identifier: MIT */
/*
 * The thread that stands for a vCPU.  QEMU's run guest code without the BQL and take it for device
 * emulation; ours sleeps instead of running a guest.
 */
#include "osdep.h"
#include "demo.h"

static struct {
	QemuThread thread;
	QemuSemaphore work; /* fn and opaque are set */
	void (*fn)(void *opaque);
	void *opaque;
} vcpu;

static void *vcpu_thread(void *unused G_GNUC_UNUSED)
{
	for (;;) {
		qemu_sem_wait(&vcpu.work);
		if (!vcpu.fn)
			return NULL;
		bql_lock();
		vcpu.fn(vcpu.opaque);
		bql_unlock();
	}
}

void demo_vcpu_create(void)
{
	qemu_sem_init(&vcpu.work, 0);
	qemu_thread_create(&vcpu.thread, "CPU 0/DEMO", vcpu_thread, NULL, QEMU_THREAD_JOINABLE);
}

void demo_vcpu_run(void (*fn)(void *opaque), void *opaque)
{
	vcpu.fn = fn;
	vcpu.opaque = opaque;
	qemu_sem_post(&vcpu.work);
}

/* Called with the BQL held, so it must not be waiting for that: its last work is done. */
void demo_vcpu_destroy(void)
{
	demo_vcpu_run(NULL, NULL);
	qemu_thread_join(&vcpu.thread);
	qemu_sem_destroy(&vcpu.work);
}
