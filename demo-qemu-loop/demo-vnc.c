/* SPDX-License-Identifier: MIT */
/* The VNC listener of a scenario: where its socket is, and a client. */
#include "osdep.h"
#include <sys/socket.h>
#include "demo.h"
#include "qemu-sockets.h"
#include "vnc.h"

static struct {
	char *dir; /* made for the socket, to be removed */
	char *path;
	VncDisplay *display;
} vnc;

/* Where only this user can get at it. */
static int choose_path(const DemoOptions *options, Error **errp)
{
	const char *runtime = g_getenv("XDG_RUNTIME_DIR");
	char template[] = "/tmp/demo-qemu-loop-XXXXXX";
	int err;

	if (options->vnc_path) {
		vnc.path = g_strdup(options->vnc_path);
	} else if (runtime && access(runtime, W_OK | X_OK) == 0) {
		vnc.path = g_strdup_printf("%s/demo-qemu-loop-%d.vnc", runtime, getpid());
	} else if (mkdtemp(template)) {
		vnc.dir = g_strdup(template);
		vnc.path = g_strdup_printf("%s/vnc", template);
	} else {
		err = errno;
		error_setg_errno(errp, err, "cannot make a directory in /tmp");
		return -err;
	}
	return 0;
}

static void forget_path(void)
{
	if (vnc.dir)
		rmdir(vnc.dir);
	g_free(vnc.dir);
	g_free(vnc.path);
}

int demo_vnc_open(const DemoOptions *options, Error **errp)
{
	int ret = choose_path(options, errp);

	if (ret < 0)
		return ret;
	vnc.display = vnc_display_open(vnc.path, errp);
	if (!vnc.display) {
		forget_path();
		return -EADDRNOTAVAIL;
	}
	return 0;
}

void demo_vnc_connect(void)
{
	Error *err = NULL;
	int fd = unix_connect(vnc.path, &err);

	if (fd < 0)
		error_report_err(err);
	else
		close(fd);
}

unsigned demo_vnc_connections(void)
{
	return vnc_display_connections(vnc.display);
}

void demo_vnc_close(void)
{
	vnc_display_close(vnc.display);
	forget_path();
}
