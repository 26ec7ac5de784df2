/* SPDX-License-Identifier: MIT */
/*
 * A vhost device; the header says what that is.  QEMU: hw/virtio/vhost.c.  The other side is a
 * thread here, called "vhost-" and our pid, as the kernel calls its own.
 */
#include "osdep.h"
#include "main-loop.h"
#include "vhost.h"

struct vhost_virtqueue {
	EventNotifier error_notifier; /* the loop's */
	unsigned errors;

	QemuMutex lock;
	QemuCond kicked;
	GQueue buffers; /* of numbers */
	unsigned handled;
};

struct vhost_dev {
	struct vhost_virtqueue vq;
	QemuThread worker;
	bool stop; /* under vq.lock */
};

static void vhost_virtqueue_error_notifier(EventNotifier *n)
{
	struct vhost_virtqueue *vq = container_of(n, struct vhost_virtqueue, error_notifier);

	if (event_notifier_test_and_clear(n))
		vq->errors++;
}

/* --- the other side ----------------------------------------------------------------------- */

static void *vhost_worker(void *opaque)
{
	vhost_dev *dev = opaque;
	struct vhost_virtqueue *vq = &dev->vq;

	qemu_mutex_lock(&vq->lock);
	while (!dev->stop) {
		if (g_queue_is_empty(&vq->buffers)) {
			qemu_cond_wait(&vq->kicked, &vq->lock);
		} else {
			gpointer buffer = g_queue_pop_head(&vq->buffers);

			vq->handled++;
			if (GPOINTER_TO_UINT(buffer) == VHOST_BAD_BUFFER)
				event_notifier_set(&vq->error_notifier);
		}
	}
	qemu_mutex_unlock(&vq->lock);
	return NULL;
}

void vhost_guest_add(vhost_dev *dev, uint32_t buffer)
{
	struct vhost_virtqueue *vq = &dev->vq;

	qemu_mutex_lock(&vq->lock);
	g_queue_push_tail(&vq->buffers, GUINT_TO_POINTER(buffer));
	qemu_cond_signal(&vq->kicked);
	qemu_mutex_unlock(&vq->lock);
}

/* --- the device --------------------------------------------------------------------------- */

vhost_dev *vhost_dev_init(Error **errp)
{
	vhost_dev *dev = g_new0(vhost_dev, 1);
	int ret = event_notifier_init(&dev->vq.error_notifier, false);
	char *name;

	if (ret < 0) {
		error_setg_errno(errp, -ret, "cannot make an error notifier");
		g_free(dev);
		return NULL;
	}
	qemu_mutex_init(&dev->vq.lock);
	qemu_cond_init(&dev->vq.kicked);
	g_queue_init(&dev->vq.buffers);
	event_notifier_set_handler(&dev->vq.error_notifier, vhost_virtqueue_error_notifier);

	name = g_strdup_printf("vhost-%d", getpid());
	qemu_thread_create(&dev->worker, name, vhost_worker, dev, QEMU_THREAD_JOINABLE);
	g_free(name);
	return dev;
}

void vhost_dev_cleanup(vhost_dev *dev)
{
	qemu_mutex_lock(&dev->vq.lock);
	dev->stop = true;
	qemu_cond_signal(&dev->vq.kicked);
	qemu_mutex_unlock(&dev->vq.lock);
	qemu_thread_join(&dev->worker);

	event_notifier_set_handler(&dev->vq.error_notifier, NULL);
	event_notifier_cleanup(&dev->vq.error_notifier);
	g_queue_clear(&dev->vq.buffers);
	qemu_cond_destroy(&dev->vq.kicked);
	qemu_mutex_destroy(&dev->vq.lock);
	g_free(dev);
}

unsigned vhost_dev_handled(vhost_dev *dev)
{
	unsigned handled;

	qemu_mutex_lock(&dev->vq.lock);
	handled = dev->vq.handled;
	qemu_mutex_unlock(&dev->vq.lock);
	return handled;
}

unsigned vhost_dev_errors(vhost_dev *dev)
{
	return dev->vq.errors;
}
