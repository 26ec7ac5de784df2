/* SPDX-License-Identifier: MIT */
/*
 * A server with connections; the header says how it is used.
 *
 * Connections are accepted by a handler of iohandler_ctx, hence from the top of the loop only. They
 * are read in qemu_aio_context, so that a nested poll of that context brings them to their end
 * while no new ones come in: what nbd_server_free() relies on.
 */
#include "osdep.h"
#include <sys/socket.h>
#include "aio-wait.h"
#include "coroutine.h"
#include "main-loop.h"
#include "nbd-server.h"
#include "qemu-sockets.h"

typedef struct NBDConn NBDConn;

struct NBDServerData {
	int listen_fd;
	char *path;
	ThreadPoolFunc *slow;
	QLIST_HEAD(, NBDConn) conns;
	unsigned connections;
};

struct NBDConn {
	NBDServerData *server;
	int fd;
	Coroutine *co;
	QLIST_ENTRY(NBDConn) next;
};

NBDStats nbd_stats;

/* --- a connection ------------------------------------------------------------------------- */

static void nbd_restart_coroutine(void *opaque)
{
	NBDConn *conn = opaque;

	aio_co_wake(conn->co);
}

static void coroutine_fn nbd_co_wait_readable(NBDConn *conn)
{
	AioContext *ctx = qemu_get_aio_context();

	aio_set_fd_handler(ctx, conn->fd, nbd_restart_coroutine, NULL, NULL, NULL, conn);
	qemu_coroutine_yield();
	aio_set_fd_handler(ctx, conn->fd, NULL, NULL, NULL, NULL, NULL);
}

/* All of @len, or an end or error: false. */
static bool coroutine_fn nbd_co_read(NBDConn *conn, void *buf, size_t len)
{
	char *next = buf;

	while (len > 0) {
		ssize_t n = recv(conn->fd, next, len, MSG_DONTWAIT);

		if (n > 0) {
			next += n;
			len -= n;
		} else if (n < 0 && errno == EAGAIN) {
			nbd_co_wait_readable(conn);
		} else if (n == 0 || errno != EINTR) {
			return false;
		}
	}
	return true;
}

/* A client that does not read its answers is cut off: they are few and small. */
static bool nbd_write(NBDConn *conn, const void *buf, size_t len)
{
	return send(conn->fd, buf, len, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)len;
}

static void nbd_conn_closed(NBDConn *conn)
{
	NBDServerData *server = conn->server;

	close(conn->fd);
	QLIST_REMOVE(conn, next);
	g_free(conn);
	server->connections--;
	aio_wait_kick(); /* somebody may wait until it is 0 */
}

static void coroutine_fn nbd_co_client(void *opaque)
{
	NBDConn *conn = opaque;
	bool alive = nbd_write(conn, NBD_GREETING, strlen(NBD_GREETING));
	uint32_t request;

	while (alive && nbd_co_read(conn, &request, sizeof(request))) {
		if (request > NBD_SLOW)
			thread_pool_submit_co(conn->server->slow, NULL);
		alive = nbd_write(conn, &request, sizeof(request));
		nbd_stats.answered += alive;
	}
	nbd_conn_closed(conn);
}

/* --- the server --------------------------------------------------------------------------- */

/* One a call: the socket stays readable while there are more. */
static void nbd_accept(void *opaque)
{
	NBDServerData *server = opaque;
	int fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	NBDConn *conn;

	if (fd < 0)
		return;
	conn = g_new0(NBDConn, 1);
	conn->server = server;
	conn->fd = fd;
	QLIST_INSERT_HEAD(&server->conns, conn, next);
	server->connections++;
	nbd_stats.accepted++;
	conn->co = qemu_coroutine_create(nbd_co_client, conn);
	aio_co_enter(qemu_get_aio_context(), conn->co);
}

NBDServerData *nbd_server_start(const char *path, ThreadPoolFunc *slow, Error **errp)
{
	int fd = unix_listen(path, errp);
	NBDServerData *server;

	if (fd < 0)
		return NULL;
	server = g_new0(NBDServerData, 1);
	server->listen_fd = fd;
	server->path = g_strdup(path);
	server->slow = slow;
	QLIST_INIT(&server->conns);
	qemu_set_fd_handler(fd, nbd_accept, NULL, server);
	return server;
}

void nbd_server_free(NBDServerData *server)
{
	NBDConn *conn;

	qemu_set_fd_handler(server->listen_fd, NULL, NULL, NULL);
	close(server->listen_fd);
	unlink(server->path);

	/* Not closed: their coroutines do that, when they find the end. */
	QLIST_FOREACH (conn, &server->conns, next)
		shutdown(conn->fd, SHUT_RDWR);
	nbd_stats.waits += AIO_WAIT_WHILE_UNLOCKED(NULL, server->connections > 0);

	g_free(server->path);
	g_free(server);
}
