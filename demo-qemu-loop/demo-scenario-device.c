/* SPDX-License-Identifier: MIT */
/*
 * Devices, and three ways to be in the main loop.  virtio: a descriptor of a context, kicked by the
 * guest; one queue in the main loop, one in the IOThread "io0".  vhost: another works on the queue,
 * and the loop hears of errors only.  slirp: neither source nor handler, but a poll notifier.
 *
 * The first poll of a program does not sleep, as sources were attached, which sets GLib's wake-up;
 * so that one has no stimulus.
 */
#include "osdep.h"
#include <sys/socket.h>
#include "demo.h"
#include "iothread.h"
#include "slirp.h"
#include "vhost.h"
#include "virtio.h"

/* --- virtio ------------------------------------------------------------------------------- */

#define BUFFERS 3 /* for each kick */

static struct {
	IOThread *io0;
	VirtQueue *net, *blk;
	uint32_t next;
	unsigned kicks, net_buffers, blk_buffers, irqs;
	uint64_t net_sum, blk_sum;
} virtio;

/* Without kicks while it is at it; once more after they are on again, for what came in between. */
static void drain_queue(VirtQueue *vq, unsigned *buffers, uint64_t *sum)
{
	uint32_t buffer;

	do {
		virtio_queue_set_notification(vq, false);
		while (virtqueue_pop(vq, &buffer)) {
			(*buffers)++;
			*sum += buffer;
		}
		virtio_queue_set_notification(vq, true);
	} while (!virtio_queue_empty(vq));
}

static void virtio_net_handle_tx(void *vdev G_GNUC_UNUSED, VirtQueue *vq)
{
	drain_queue(vq, &virtio.net_buffers, &virtio.net_sum);
}

static void virtio_irq_bh(void *opaque G_GNUC_UNUSED)
{
	virtio.irqs++;
}

/* In io0.  The main loop holds the BQL but for its poll: so this always ends a poll. */
static void virtio_blk_handle_output(void *vdev G_GNUC_UNUSED, VirtQueue *vq)
{
	if (virtio_queue_empty(vq))
		return;
	bql_lock();
	drain_queue(vq, &virtio.blk_buffers, &virtio.blk_sum);
	aio_bh_schedule_oneshot(qemu_get_aio_context(), virtio_irq_bh, NULL);
	bql_unlock();
}

static void vcpu_kick(void *opaque)
{
	VirtQueue *vq = opaque;

	for (int i = 0; i < BUFFERS; i++)
		virtio_guest_add(vq, virtio.next++);
	virtio.kicks++;
	virtio_guest_kick(vq);
}

static void wait_for_io0(void)
{
	demo_wait_asleep(iothread_get_aio_context(virtio.io0), virtio.io0->thread_id);
}

static void virtio_stimulate(Demo *demo)
{
	if (demo->iterations == 0)
		return;
	wait_for_io0();
	demo_vcpu_run(vcpu_kick, demo->iterations % 2 ? virtio.net : virtio.blk);
}

static int virtio_setup(Demo *demo G_GNUC_UNUSED, Error **errp)
{
	virtio.net = virtio_add_queue(NULL, virtio_net_handle_tx, errp);
	if (!virtio.net)
		return -EMFILE;
	virtio.blk = virtio_add_queue(NULL, virtio_blk_handle_output, errp);
	if (!virtio.blk) {
		virtio_del_queue(virtio.net);
		return -EMFILE;
	}
	virtio.io0 = iothread_create("io0", &error_fatal);
	virtio_device_start_ioeventfd(virtio.net);
	virtio_queue_aio_attach_host_notifier(virtio.blk, iothread_get_aio_context(virtio.io0));
	demo_vcpu_create();
	return 0;
}

static void virtio_print(Demo *demo G_GNUC_UNUSED)
{
	printf("kicks=%u\n", virtio.kicks);
	printf("net_buffers=%u\n", virtio.net_buffers);
	printf("net_sum=%" PRIu64 "\n", virtio.net_sum);
	printf("blk_buffers=%u\n", virtio.blk_buffers);
	printf("blk_sum=%" PRIu64 "\n", virtio.blk_sum);
	printf("blk_irqs=%u\n", virtio.irqs);
}

static void virtio_teardown(Demo *demo G_GNUC_UNUSED)
{
	demo_vcpu_destroy();
	/* When a signal ends us io0 may wait for the BQL, which we hold. */
	bql_unlock();
	iothread_stop(virtio.io0);
	bql_lock();
	virtio_queue_aio_detach_host_notifier(virtio.blk, iothread_get_aio_context(virtio.io0));
	virtio_device_stop_ioeventfd(virtio.net);
	iothread_destroy(virtio.io0);
	virtio_del_queue(virtio.blk);
	virtio_del_queue(virtio.net);
}

/* --- vhost -------------------------------------------------------------------------------- */

#define GOOD_BUFFERS 4 /* before each bad one */

static vhost_dev *vhost;

/* The loop does not wake for the good ones. */
static void vhost_stimulate(Demo *demo)
{
	if (demo->iterations == 0)
		return;
	for (uint32_t i = 0; i < GOOD_BUFFERS; i++)
		vhost_guest_add(vhost, i);
	vhost_guest_add(vhost, VHOST_BAD_BUFFER);
}

static int vhost_setup(Demo *demo G_GNUC_UNUSED, Error **errp)
{
	vhost = vhost_dev_init(errp);
	return vhost ? 0 : -EMFILE;
}

static void vhost_print(Demo *demo G_GNUC_UNUSED)
{
	printf("handled=%u\n", vhost_dev_handled(vhost));
	printf("errors=%u\n", vhost_dev_errors(vhost));
}

static void vhost_teardown(Demo *demo G_GNUC_UNUSED)
{
	vhost_dev_cleanup(vhost);
}

/* --- slirp -------------------------------------------------------------------------------- */

static struct {
	SlirpState state;
	int peer;
	unsigned bhs;
} slirp;

static void slirp_bh(void *opaque G_GNUC_UNUSED)
{
	slirp.bhs++;
}

/* By turns a packet for it, a timer of its own, and something that it has nothing to do with. */
static void slirp_stimulate(Demo *demo)
{
	int64_t now = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);

	if (demo->iterations == 0)
		return;
	switch (demo->iterations % 3) {
	case 1:
		send(slirp.peer, "packet", 6, MSG_NOSIGNAL);
		break;
	case 2:
		slirp.state.timer_ns = now + SCALE_MS;
		break;
	default:
		aio_bh_schedule_oneshot(qemu_get_aio_context(), slirp_bh, NULL);
		break;
	}
}

static int slirp_setup(Demo *demo G_GNUC_UNUSED, Error **errp)
{
	int fds[2], err;

	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds) < 0) {
		err = errno;
		error_setg_errno(errp, err, "cannot make a pair of sockets");
		return -err;
	}
	slirp.peer = fds[1];
	net_slirp_init(&slirp.state, fds[0]);
	return 0;
}

static void slirp_print(Demo *demo G_GNUC_UNUSED)
{
	printf("fills=%u\n", slirp.state.fills);
	printf("polls=%u\n", slirp.state.polls);
	printf("packets=%u\n", slirp.state.packets);
	printf("timers=%u\n", slirp.state.timers);
	printf("bh_calls=%u\n", slirp.bhs);
}

static void slirp_teardown(Demo *demo G_GNUC_UNUSED)
{
	net_slirp_cleanup(&slirp.state);
	close(slirp.peer);
}

const DemoScenario demo_scenarios_device[] = {
	{
		.name = "virtio",
		.summary = "a vCPU kicks queues: in the main loop, in an IOThread",
		.setup = virtio_setup,
		.stimulate = virtio_stimulate,
		.print = virtio_print,
		.teardown = virtio_teardown,
	},
	{
		.name = "vhost",
		.summary = "another thread works on the queue; errors by a notifier",
		.setup = vhost_setup,
		.stimulate = vhost_stimulate,
		.print = vhost_print,
		.teardown = vhost_teardown,
	},
	{
		.name = "slirp",
		.summary = "a poll notifier adds an fd and lowers the timeout",
		.setup = slirp_setup,
		.stimulate = slirp_stimulate,
		.print = slirp_print,
		.teardown = slirp_teardown,
	},
	{},
};
