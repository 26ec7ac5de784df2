/* SPDX-License-Identifier: MIT */
/*
 * The thread that stands for a vCPU.  QEMU's run guest code without the BQL and take it for device
 * emulation; ours sleeps instead of running a guest.
 */
#include "osdep.h"
#include "demo.h"

static struct {
	QemuThread thread;
	QemuSemaphore running;	  /* it has its name, for whoever looks */
	QemuSemaphore work;	  /* posted for each fn, and once without one, to end */
	void (*fn)(void *opaque); /* not done yet; under the BQL */
	void *opaque;
} vcpu;

static void *vcpu_thread(void *unused G_GNUC_UNUSED)
{
	qemu_sem_post(&vcpu.running);
	for (;;) {
		qemu_sem_wait(&vcpu.work);
		if (!vcpu.fn)
			return NULL;
		bql_lock();
		vcpu.fn(vcpu.opaque);
		vcpu.fn = NULL;
		bql_unlock();
	}
}

void demo_vcpu_create(void)
{
	qemu_sem_init(&vcpu.running, 0);
	qemu_sem_init(&vcpu.work, 0);
	qemu_thread_create(&vcpu.thread, "CPU 0/DEMO", vcpu_thread, NULL, QEMU_THREAD_JOINABLE);
	qemu_sem_wait(&vcpu.running);
}

void demo_vcpu_run(void (*fn)(void *opaque), void *opaque)
{
	assert(!vcpu.fn);
	vcpu.fn = fn;
	vcpu.opaque = opaque;
	qemu_sem_post(&vcpu.work);
}

void demo_vcpu_destroy(void)
{
	/* Work that a signal kept from being done waits for the BQL, which we hold. */
	bool pending = vcpu.fn != NULL;

	qemu_sem_post(&vcpu.work);
	if (pending)
		bql_unlock();
	qemu_thread_join(&vcpu.thread);
	if (pending)
		bql_lock();
	qemu_sem_destroy(&vcpu.work);
	qemu_sem_destroy(&vcpu.running);
}
