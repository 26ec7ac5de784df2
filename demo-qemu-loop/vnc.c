/* SPDX-License-Identifier: MIT */
/*
 * The listener that plays VNC; the header says what for.  In QEMU the source's type is that of
 * qio_channel_create_watch() (io/channel-watch.c) and the callback is ui/vnc.c's.
 *
 * It is also the smallest complete GSource: prepare says whether it is ready without polling and
 * how long the poll may last, check whether the poll made it ready, dispatch calls the callback.
 */
#include "osdep.h"
#include <sys/socket.h>
#include "loop-trace.h"
#include "qemu-sockets.h"
#include "vnc.h"

typedef struct VncListener {
	GSource source;
	GPollFD pfd; /* GLib polls it and fills revents in */
} VncListener;

struct VncDisplay {
	VncListener *listener;
	char *path;
	unsigned connections;
};

/* --- the source --------------------------------------------------------------------------- */

static gboolean vnc_listener_prepare(GSource *source, gint *timeout)
{
	*timeout = -1;
	loop_source_prepared(source, NULL, false, -1);
	return FALSE;
}

static gboolean vnc_listener_check(GSource *source)
{
	VncListener *listener = (VncListener *)source;

	/* Errors too, whether asked for or not; unread they would make the poll spin. */
	bool ready = listener->pfd.revents != 0;

	loop_source_checked(source, ready);
	return ready;
}

static gboolean vnc_listener_dispatch(GSource *source, GSourceFunc callback, gpointer user_data)
{
	gboolean again;

	loop_source_dispatching(source, vnc_listener_dispatch, callback);
	again = callback ? callback(user_data) : G_SOURCE_REMOVE;
	loop_progress = true;
	loop_source_dispatched(source, again);
	return again;
}

static void vnc_listener_finalize(GSource *source)
{
	VncListener *listener = (VncListener *)source;

	close(listener->pfd.fd);
}

static GSourceFuncs vnc_listener_funcs = {
	.prepare = vnc_listener_prepare,
	.check = vnc_listener_check,
	.dispatch = vnc_listener_dispatch,
	.finalize = vnc_listener_finalize,
};

/* --- the display -------------------------------------------------------------------------- */

/* Accepts all who wait: one event may stand for many. */
static gboolean vnc_listen_io(gpointer opaque)
{
	static const char greeting[] = "RFB 003.008\n";
	VncDisplay *vd = opaque;
	int listen_fd = vd->listener->pfd.fd;
	int fd;

	while ((fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		vd->connections++;
		send(fd, greeting, strlen(greeting), MSG_NOSIGNAL);
		close(fd);
	}
	return G_SOURCE_CONTINUE;
}

VncDisplay *vnc_display_open(const char *path, Error **errp)
{
	int fd = unix_listen(path, errp);
	VncListener *listener;
	VncDisplay *vd;

	if (fd < 0)
		return NULL;

	listener = (VncListener *)g_source_new(&vnc_listener_funcs, sizeof(VncListener));
	listener->pfd.fd = fd;
	listener->pfd.events = G_IO_IN;

	vd = g_new0(VncDisplay, 1);
	vd->listener = listener;
	vd->path = g_strdup(path);

	g_source_set_name(&listener->source, "vnc-listener");
	g_source_set_callback(&listener->source, vnc_listen_io, vd, NULL);
	g_source_add_poll(&listener->source, &listener->pfd);
	probe_source_add_fd(&listener->source, fd, G_IO_IN);
	loop_source_attach(&listener->source, NULL);
	return vd;
}

void vnc_display_close(VncDisplay *vd)
{
	if (!vd)
		return;
	unlink(vd->path);
	loop_source_destroy(&vd->listener->source);
	g_source_unref(&vd->listener->source);
	g_free(vd->path);
	g_free(vd);
}

unsigned vnc_display_connections(VncDisplay *vd)
{
	return vd->connections;
}
