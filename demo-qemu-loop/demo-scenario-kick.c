/* SPDX-License-Identifier: MIT */
/*
 * A driver that kicks a virtqueue of the main loop as fast as it can. In kick-requests each kick
 * has requests behind it, and the driver waits until they are done. In kick-flood there are none,
 * and it waits for nothing: the handler runs for a look at an empty queue.
 *
 * With --iterations the script is the driver: three kicks an iteration, which are one event. The
 * first poll of a program does not sleep, so that one has no stimulus.
 */
#include "osdep.h"
#include "atomic.h"
#include "demo.h"
#include "virtio.h"

#define KICKS	3 /* an iteration */
#define BUFFERS 4 /* for each kick, if there are any */

static struct {
	VirtQueue *vq;
	bool has_requests, scripted, stop;
	QemuThread driver;
	QemuSemaphore irq;
	uint32_t next;
	unsigned kicks, runs, buffers, irqs;
} kick;

/* --- the device --------------------------------------------------------------------------- */

static void kick_irq_bh(void *opaque G_GNUC_UNUSED)
{
	kick.irqs++;
	qemu_sem_post(&kick.irq);
}

static void kick_handle_output(void *vdev G_GNUC_UNUSED, VirtQueue *vq)
{
	uint32_t buffer;

	kick.runs++;
	if (virtio_queue_empty(vq))
		return;
	while (virtqueue_pop(vq, &buffer))
		kick.buffers++;
	aio_bh_schedule_oneshot(qemu_get_aio_context(), kick_irq_bh, NULL);
}

/* --- the driver --------------------------------------------------------------------------- */

static void kick_once(void)
{
	for (int i = 0; kick.has_requests && i < BUFFERS; i++)
		virtio_guest_add(kick.vq, kick.next++);
	kick.kicks++;
	virtio_guest_kick(kick.vq);
}

static void *driver_thread(void *unused G_GNUC_UNUSED)
{
	while (!qatomic_read(&kick.stop)) {
		kick_once();
		if (kick.has_requests)
			qemu_sem_wait(&kick.irq);
	}
	return NULL;
}

static void kick_stimulate(Demo *demo)
{
	for (int i = 0; demo->iterations && i < KICKS; i++)
		kick_once();
}

/* --- the scenarios ------------------------------------------------------------------------ */

static int kick_setup(Demo *demo, bool has_requests, Error **errp)
{
	kick.vq = virtio_add_queue(NULL, kick_handle_output, errp);
	if (!kick.vq)
		return -EMFILE;
	kick.has_requests = has_requests;
	kick.scripted = demo->options->iterations >= 0;
	qemu_sem_init(&kick.irq, 0);
	virtio_device_start_ioeventfd(kick.vq);
	if (!kick.scripted)
		qemu_thread_create(&kick.driver, "CPU 0/DEMO", driver_thread, NULL,
				   QEMU_THREAD_JOINABLE);
	return 0;
}

static int requests_setup(Demo *demo, Error **errp)
{
	return kick_setup(demo, true, errp);
}

static int flood_setup(Demo *demo, Error **errp)
{
	return kick_setup(demo, false, errp);
}

static void kick_print(Demo *demo G_GNUC_UNUSED)
{
	printf("kicks=%u\n", kick.kicks);
	printf("runs=%u\n", kick.runs);
	printf("buffers=%u\n", kick.buffers);
	printf("irqs=%u\n", kick.irqs);
}

static void kick_teardown(Demo *demo G_GNUC_UNUSED)
{
	if (!kick.scripted) {
		qatomic_set(&kick.stop, true);
		qemu_sem_post(&kick.irq);
		qemu_thread_join(&kick.driver);
	}
	virtio_device_stop_ioeventfd(kick.vq);
	virtio_del_queue(kick.vq);
	qemu_sem_destroy(&kick.irq);
}

const DemoScenario demo_scenarios_kick[] = {
	{
		.name = "kick-requests",
		.summary = "a driver kicks a queue with requests, and waits for them",
		.setup = requests_setup,
		.stimulate = kick_stimulate,
		.print = kick_print,
		.teardown = kick_teardown,
	},
	{
		.name = "kick-flood",
		.summary = "a driver kicks a queue with nothing in it, without end",
		.verdict = "SPIN",
		.setup = flood_setup,
		.stimulate = kick_stimulate,
		.print = kick_print,
		.teardown = kick_teardown,
	},
	{},
};
