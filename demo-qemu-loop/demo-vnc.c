/* SPDX-License-Identifier: MIT */
/* The VNC listener of a scenario: where its socket is, and a client. */
#include "osdep.h"
#include <sys/socket.h>
#include <sys/un.h>
#include "demo.h"
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
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	g_strlcpy(addr.sun_path, vnc.path, sizeof(addr.sun_path));
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		perror("demo-qemu-loop: connect");
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
