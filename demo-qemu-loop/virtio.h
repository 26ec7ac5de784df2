/* SPDX-License-Identifier: MIT */
/*
 * A virtqueue, as far as the event loop sees it (QEMU: hw/virtio/virtio.h).  The guest puts buffers
 * into the queue and kicks; KVM turns the kick into a write to the queue's host notifier, an
 * eventfd
 * ("ioeventfd"), so that the vCPU goes on at once and the loop that watches the notifier works.
 */
#ifndef DEMO_VIRTIO_H
#define DEMO_VIRTIO_H

#include "aio.h"

#define VIRTQUEUE_SIZE 256

typedef struct VirtQueue VirtQueue;
typedef void VirtIOHandleOutput(void *vdev, VirtQueue *vq);

VirtQueue *virtio_add_queue(void *vdev, VirtIOHandleOutput *handle_output, Error **errp);
void virtio_del_queue(VirtQueue *vq);

/* --- the device ------------------------------------------------------------------------------- */

/* In the main loop: its notifier is one of iohandler_ctx. */
void virtio_device_start_ioeventfd(VirtQueue *vq);
void virtio_device_stop_ioeventfd(VirtQueue *vq);

/* In an IOThread, which may busy-poll the queue instead of waiting for kicks. */
void virtio_queue_aio_attach_host_notifier(VirtQueue *vq, AioContext *ctx);
void virtio_queue_aio_detach_host_notifier(VirtQueue *vq, AioContext *ctx);

/* The next buffer; false if there is none. */
bool virtqueue_pop(VirtQueue *vq, uint32_t *buffer);
bool virtio_queue_empty(VirtQueue *vq);

/* Whether the guest should kick.  After switching it on look once more: see virtio.c. */
void virtio_queue_set_notification(VirtQueue *vq, bool enable);

/* --- the guest; one thread -------------------------------------------------------------------- */

bool virtio_guest_add(VirtQueue *vq, uint32_t buffer); /* false: the queue is full */
void virtio_guest_kick(VirtQueue *vq);

#endif
