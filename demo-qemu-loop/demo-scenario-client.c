/* SPDX-License-Identifier: MIT */
/*
 * Clients of a command socket, which the loop reads byte by byte, as QEMU reads a monitor's: a
 * reader that takes one more byte than it can use could not leave it to the next. client-asks sends
 * a command, waits for its answer, and sends the next at once: a busy client, and a healthy loop.
 * client-flood sends on and on and looks at no answer: the loop gets no rest, and whoever else
 * wants something waits behind the commands that lie in the socket.
 *
 * With --iterations the script is the client: a command's bytes for as many iterations.
 */
#include "osdep.h"
#include <poll.h>
#include <sys/socket.h>
#include "demo.h"

#define COMMAND	 "{\"execute\": \"query-status\"}\n"
#define ANSWER	 "{\"return\": {\"status\": \"running\"}}\n"
#define COMMANDS 128 /* at a time, of the one that floods */

enum { LENGTH = sizeof(COMMAND) - 1 };

static struct {
	int fd, peer; /* the loop's end, and the client's */
	bool floods, scripted;
	QemuThread thread;
	unsigned bytes, commands, answers;
} client;

/* --- the loop's side ---------------------------------------------------------------------- */

static void command_read(void *opaque G_GNUC_UNUSED)
{
	char byte;

	if (recv(client.fd, &byte, 1, MSG_DONTWAIT) != 1)
		return;
	client.bytes++;
	if (byte != '\n')
		return;
	client.commands++;
	/* Whoever does not read its answers gets no more of them. */
	if (send(client.fd, ANSWER, sizeof(ANSWER) - 1, MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
		client.answers++;
}

/* --- the client's ------------------------------------------------------------------------- */

/* False: the other end is gone. */
static bool take_answers(int flags)
{
	char answers[4096];
	ssize_t n = recv(client.peer, answers, sizeof(answers), flags);

	return n > 0 || (n < 0 && errno == EAGAIN);
}

static bool send_commands(unsigned n, int flags)
{
	char commands[COMMANDS * LENGTH];
	ssize_t sent;

	for (unsigned i = 0; i < n; i++)
		memcpy(commands + i * LENGTH, COMMAND, LENGTH);
	sent = send(client.peer, commands, n * LENGTH, flags | MSG_NOSIGNAL);
	return sent > 0 || (sent < 0 && errno == EAGAIN);
}

static bool ask(void)
{
	return send_commands(1, 0) && take_answers(0);
}

/* It takes the answers, too, or they would end it all: it is in haste, not asleep. */
static bool flood(void)
{
	struct pollfd pfd = { .fd = client.peer, .events = POLLIN | POLLOUT };

	if (poll(&pfd, 1, -1) < 0)
		return errno == EINTR;
	if (pfd.revents & POLLIN && !take_answers(MSG_DONTWAIT))
		return false;
	return !(pfd.revents & POLLOUT) || send_commands(COMMANDS, MSG_DONTWAIT);
}

static void *client_thread(void *unused G_GNUC_UNUSED)
{
	while (client.floods ? flood() : ask())
		;
	return NULL;
}

/* The one that floods is a command ahead. */
static void client_stimulate(Demo *demo)
{
	if (demo->iterations % LENGTH)
		return;
	take_answers(MSG_DONTWAIT);
	send_commands(1 + (client.floods && demo->iterations == 0), MSG_DONTWAIT);
}

/* --- the scenarios ------------------------------------------------------------------------ */

static int client_setup(Demo *demo, bool floods, Error **errp)
{
	int fds[2], err;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0) {
		err = errno;
		error_setg_errno(errp, err, "cannot make a pair of sockets");
		return -err;
	}
	client.fd = fds[0];
	client.peer = fds[1];
	client.floods = floods;
	client.scripted = demo->options->iterations >= 0;
	qemu_set_fd_handler(client.fd, command_read, NULL, NULL);
	if (!client.scripted)
		qemu_thread_create(&client.thread, "client", client_thread, NULL,
				   QEMU_THREAD_JOINABLE);
	return 0;
}

static int asks_setup(Demo *demo, Error **errp)
{
	return client_setup(demo, false, errp);
}

static int flood_setup(Demo *demo, Error **errp)
{
	return client_setup(demo, true, errp);
}

static void client_print(Demo *demo G_GNUC_UNUSED)
{
	printf("bytes=%u\n", client.bytes);
	printf("commands=%u\n", client.commands);
	printf("answers=%u\n", client.answers);
}

static void client_teardown(Demo *demo G_GNUC_UNUSED)
{
	qemu_set_fd_handler(client.fd, NULL, NULL, NULL);
	shutdown(client.fd, SHUT_RDWR);
	if (!client.scripted)
		qemu_thread_join(&client.thread);
	close(client.fd);
	close(client.peer);
}

const DemoScenario demo_scenarios_client[] = {
	{
		.name = "client-asks",
		.summary = "a client sends commands, each after the answer to the last",
		.setup = asks_setup,
		.stimulate = client_stimulate,
		.print = client_print,
		.teardown = client_teardown,
	},
	{
		.name = "client-flood",
		.summary = "a client sends commands and waits for no answer",
		.verdict = "SPIN",
		.setup = flood_setup,
		.stimulate = client_stimulate,
		.print = client_print,
		.teardown = client_teardown,
	},
	{},
};
