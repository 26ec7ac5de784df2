/* SPDX-License-Identifier: MIT */
/*
 * nbd-server: a server that is stopped while a client has a request in flight.  Four iterations:
 *
 *   a client connects       nbd_accept, from the top of the loop; its coroutine greets and waits
 *   it sends a request      the coroutine answers
 *   it sends a slow one     the coroutine gives it to the thread pool
 *   the server is freed     from a bottom half: waits in a nested aio_poll until the worker is done
 *                           and the connection closed
 */
#include "osdep.h"
#include <sys/socket.h>
#include "demo.h"
#include "nbd-server.h"
#include "qemu-sockets.h"

static struct {
	char *dir, *path;
	NBDServerData *server; /* NULL: freed */
	int client;	       /* -1: none */
	unsigned servers, sent;
} nbd;

/* Hand-over, in a worker: the answer comes when the server waits for it. */
static int slow_request(void *opaque G_GNUC_UNUSED)
{
	demo_wait_nested(qemu_get_aio_context(), getpid());
	return 0;
}

static int start_server(Error **errp)
{
	nbd.server = nbd_server_start(nbd.path, slow_request, errp);
	if (!nbd.server)
		return -EADDRNOTAVAIL;
	nbd.servers++;
	return 0;
}

static void connect_client(void)
{
	Error *err = NULL;

	if (!nbd.server)
		start_server(&error_abort);
	nbd.client = unix_connect(nbd.path, &err);
	if (nbd.client < 0)
		error_report_err(err);
}

static void send_request(uint32_t request)
{
	if (send(nbd.client, &request, sizeof(request), MSG_NOSIGNAL) == sizeof(request))
		nbd.sent++;
}

static void frees_server_bh_cb(void *opaque G_GNUC_UNUSED)
{
	if (nbd.server)
		nbd_server_free(nbd.server);
	nbd.server = NULL;
	if (nbd.client >= 0)
		close(nbd.client);
	nbd.client = -1;
}

static void nbd_stimulate(Demo *demo)
{
	bool last = demo->iterations + 1 == demo->options->iterations;
	unsigned step = last ? 3 : demo->iterations % 4;

	switch (step) {
	case 0:
		connect_client();
		break;
	case 1:
		send_request(1);
		break;
	case 2:
		send_request(NBD_SLOW + 1);
		break;
	default:
		aio_bh_schedule_oneshot(qemu_get_aio_context(), frees_server_bh_cb, NULL);
		break;
	}
}

static int nbd_setup(Demo *demo G_GNUC_UNUSED, Error **errp)
{
	char template[] = "/tmp/demo-qemu-loop-XXXXXX";
	int err;

	nbd.client = -1;
	if (!mkdtemp(template)) {
		err = errno;
		error_setg_errno(errp, err, "cannot make a directory in /tmp");
		return -err;
	}
	nbd.dir = g_strdup(template);
	nbd.path = g_build_filename(nbd.dir, "nbd", NULL);
	return start_server(errp);
}

static void nbd_print(Demo *demo G_GNUC_UNUSED)
{
	printf("servers=%u\n", nbd.servers);
	printf("accepted=%u\n", nbd_stats.accepted);
	printf("requests=%u\n", nbd.sent);
	printf("answered=%u\n", nbd_stats.answered);
	printf("waits=%u\n", nbd_stats.waits);
}

static void nbd_teardown(Demo *demo G_GNUC_UNUSED)
{
	frees_server_bh_cb(NULL);
	rmdir(nbd.dir);
	g_free(nbd.path);
	g_free(nbd.dir);
}

const DemoScenario demo_scenarios_nbd[] = {
	{
		.name = "nbd-server",
		.summary = "freeing a server waits until its connections are gone",
		.setup = nbd_setup,
		.stimulate = nbd_stimulate,
		.print = nbd_print,
		.teardown = nbd_teardown,
	},
	{},
};
