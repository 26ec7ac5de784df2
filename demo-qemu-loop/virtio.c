/* SPDX-License-Identifier: MIT */
/*
 * A virtqueue and its host notifier; the header says how it is used.  QEMU: hw/virtio/virtio.c.
 *
 * Kicks cost an exit from the guest, so a device that looks at the queue anyway switches them off.
 * Switching them on again is the notify protocol once more: each side stores, then looks.
 *
 *   guest                               device
 *   avail_idx++                         notification = true
 *   full barrier                        full barrier
 *   notification? then kick             avail_idx? then go on
 */
#include "osdep.h"
#include "atomic.h"
#include "main-loop.h"
#include "virtio.h"

struct VirtQueue {
	/* Shared with the guest. */
	uint32_t ring[VIRTQUEUE_SIZE];
	uint32_t avail_idx; /* the guest's: how many it has added */
	uint32_t used_idx;  /* the device's: how many it has taken */
	bool notification;

	EventNotifier host_notifier;
	VirtIOHandleOutput *handle_output;
	void *vdev;
};

/* --- the device --------------------------------------------------------------------------- */

bool virtio_queue_empty(VirtQueue *vq)
{
	return qatomic_load_acquire(&vq->avail_idx) == vq->used_idx;
}

bool virtqueue_pop(VirtQueue *vq, uint32_t *buffer)
{
	if (virtio_queue_empty(vq))
		return false;
	*buffer = vq->ring[vq->used_idx % VIRTQUEUE_SIZE];
	qatomic_store_release(&vq->used_idx, vq->used_idx + 1);
	return true;
}

void virtio_queue_set_notification(VirtQueue *vq, bool enable)
{
	qatomic_set(&vq->notification, enable);
	smp_mb(); /* pairs with virtio_guest_kick() */
}

static void virtio_queue_notify_vq(VirtQueue *vq)
{
	vq->handle_output(vq->vdev, vq);
}

static void virtio_queue_host_notifier_read(EventNotifier *n)
{
	VirtQueue *vq = container_of(n, VirtQueue, host_notifier);

	if (event_notifier_test_and_clear(n))
		virtio_queue_notify_vq(vq);
}

static bool virtio_queue_host_notifier_aio_poll(void *opaque)
{
	return !virtio_queue_empty(container_of((EventNotifier *)opaque, VirtQueue, host_notifier));
}

static void virtio_queue_host_notifier_aio_poll_ready(EventNotifier *n)
{
	virtio_queue_notify_vq(container_of(n, VirtQueue, host_notifier));
}

/* While it is busy-polled nobody needs to kick. */
static void virtio_queue_host_notifier_aio_poll_begin(EventNotifier *n)
{
	virtio_queue_set_notification(container_of(n, VirtQueue, host_notifier), false);
}

/* The caller polls once more after this. */
static void virtio_queue_host_notifier_aio_poll_end(EventNotifier *n)
{
	virtio_queue_set_notification(container_of(n, VirtQueue, host_notifier), true);
}

void virtio_queue_aio_attach_host_notifier(VirtQueue *vq, AioContext *ctx)
{
	aio_set_event_notifier(ctx, &vq->host_notifier, virtio_queue_host_notifier_read,
			       virtio_queue_host_notifier_aio_poll,
			       virtio_queue_host_notifier_aio_poll_ready);
	aio_set_event_notifier_poll(ctx, &vq->host_notifier,
				    virtio_queue_host_notifier_aio_poll_begin,
				    virtio_queue_host_notifier_aio_poll_end);

	/* What was kicked before anybody watched. */
	event_notifier_set(&vq->host_notifier);
}

void virtio_queue_aio_detach_host_notifier(VirtQueue *vq, AioContext *ctx)
{
	aio_set_event_notifier(ctx, &vq->host_notifier, NULL, NULL, NULL);
}

void virtio_device_start_ioeventfd(VirtQueue *vq)
{
	event_notifier_set_handler(&vq->host_notifier, virtio_queue_host_notifier_read);
}

void virtio_device_stop_ioeventfd(VirtQueue *vq)
{
	event_notifier_set_handler(&vq->host_notifier, NULL);
}

VirtQueue *virtio_add_queue(void *vdev, VirtIOHandleOutput *handle_output, Error **errp)
{
	VirtQueue *vq = g_new0(VirtQueue, 1);
	int ret = event_notifier_init(&vq->host_notifier, false);

	if (ret < 0) {
		error_setg_errno(errp, -ret, "cannot make a host notifier");
		g_free(vq);
		return NULL;
	}
	vq->notification = true;
	vq->handle_output = handle_output;
	vq->vdev = vdev;
	return vq;
}

void virtio_del_queue(VirtQueue *vq)
{
	event_notifier_cleanup(&vq->host_notifier);
	g_free(vq);
}

/* --- the guest ---------------------------------------------------------------------------- */

bool virtio_guest_add(VirtQueue *vq, uint32_t buffer)
{
	if (vq->avail_idx - qatomic_load_acquire(&vq->used_idx) == VIRTQUEUE_SIZE)
		return false;
	vq->ring[vq->avail_idx % VIRTQUEUE_SIZE] = buffer;
	qatomic_store_release(&vq->avail_idx, vq->avail_idx + 1);
	return true;
}

void virtio_guest_kick(VirtQueue *vq)
{
	smp_mb(); /* pairs with virtio_queue_set_notification() */
	if (qatomic_read(&vq->notification))
		event_notifier_set(&vq->host_notifier);
}
