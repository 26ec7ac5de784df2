/* SPDX-License-Identifier: MIT */
/* Unix sockets; the header says the rest.  QEMU: util/qemu-sockets.c. */
#include "osdep.h"
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include "qemu-sockets.h"

/* The address of @path and a socket for it, or -errno. */
static int unix_socket(const char *path, int flags, struct sockaddr_un *addr)
{
	int fd;

	*addr = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (g_strlcpy(addr->sun_path, path, sizeof(addr->sun_path)) >= sizeof(addr->sun_path))
		return -ENAMETOOLONG;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
	return fd < 0 ? -errno : fd;
}

/* The file gets the socket's mode, from the moment that it is there. */
static int bind_and_listen(int fd, const struct sockaddr_un *addr)
{
	int err;

	if (fchmod(fd, 0600) < 0 || bind(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0)
		return -errno;
	if (listen(fd, SOMAXCONN) == 0)
		return 0;
	err = errno;
	unlink(addr->sun_path);
	return -err;
}

int unix_listen(const char *path, Error **errp)
{
	struct sockaddr_un addr;
	int fd = unix_socket(path, SOCK_NONBLOCK, &addr);
	int err = fd < 0 ? fd : bind_and_listen(fd, &addr);

	if (!err)
		return fd;
	if (fd >= 0)
		close(fd);
	error_setg_errno(errp, -err, "cannot listen on '%s'", path);
	return -1;
}

int unix_connect(const char *path, Error **errp)
{
	struct sockaddr_un addr;
	int fd = unix_socket(path, 0, &addr);
	int err = fd < 0 ? fd : 0;

	if (!err && connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0)
		err = -errno;
	if (!err)
		return fd;
	if (fd >= 0)
		close(fd);
	error_setg_errno(errp, -err, "cannot connect to '%s'", path);
	return -1;
}
