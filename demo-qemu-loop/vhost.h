/* SPDX-License-Identifier: MIT */
/*
 * A vhost device (QEMU: hw/virtio/vhost.h): another than QEMU, the kernel or a process, works on
 * the virtqueue.  Kicks go there, so the event loop sees nothing of the traffic.  It hears only of
 * what goes wrong: the error notifier.
 */
#ifndef DEMO_VHOST_H
#define DEMO_VHOST_H

#include "aio.h"

#define VHOST_BAD_BUFFER UINT32_MAX /* the other side cannot make sense of it */

typedef struct vhost_dev vhost_dev;

vhost_dev *vhost_dev_init(Error **errp);
void vhost_dev_cleanup(vhost_dev *dev);

/* As a guest: adds a buffer and kicks. */
void vhost_guest_add(vhost_dev *dev, uint32_t buffer);

/* Buffers the other side is done with, and errors that the loop has heard of. */
unsigned vhost_dev_handled(vhost_dev *dev);
unsigned vhost_dev_errors(vhost_dev *dev);

#endif
