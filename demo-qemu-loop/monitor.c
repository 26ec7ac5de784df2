/* SPDX-License-Identifier: MIT */
/*
 * The monitor's socket, clients and lines; the header says what it is for.
 *
 * Whatever comes from a client is bytes of a stranger.  Nothing it sends or leaves unread may stop
 * the loop or make it grow: a line has a limit, an answer is sent before the next line is obeyed,
 * no more is read meanwhile, and there is a limit to clients.
 */
#include "osdep.h"
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include "atomic.h"
#include "monitor-int.h"
#include "qemu-sockets.h"

#define LINE_MAX_BYTES 1024 /* its end included */
#define CLIENTS_MAX    16

struct MonitorClient {
	Monitor *mon; /* NULL: it is gone, or the monitor is */
	unsigned refs;
	int fd;
	char in[LINE_MAX_BYTES];
	size_t in_len;
	bool skipping; /* the rest of a line that is too long */
	bool waiting;  /* for the answer to a call that takes its time */
	bool ended;    /* it will send nothing any more */
	GString *out;  /* not yet taken by the socket */
	size_t out_sent;
};

static void client_go_on(MonitorClient *c);

MonitorClient *monitor_client_ref(MonitorClient *client)
{
	client->refs++;
	return client;
}

static void client_unref(MonitorClient *c)
{
	if (--c->refs)
		return;
	g_string_free(c->out, TRUE);
	g_free(c);
}

/* Its connection ends; what is under way for it knows that by its mon. */
static void client_disconnect(MonitorClient *c)
{
	qemu_set_fd_handler(c->fd, NULL, NULL, NULL);
	close(c->fd);
	c->mon = NULL;
	client_unref(c);
}

static void client_close(MonitorClient *c)
{
	g_ptr_array_remove_fast(c->mon->clients, c);
	client_disconnect(c);
}

/* --- sending ------------------------------------------------------------------------------ */

static bool output_left(const MonitorClient *c)
{
	return c->out_sent < c->out->len;
}

/* False: the client is gone. */
static bool client_send(MonitorClient *c)
{
	ssize_t n = 0;

	while (output_left(c)) {
		n = send(c->fd, c->out->str + c->out_sent, c->out->len - c->out_sent,
			 MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0)
			break;
		c->out_sent += n;
	}
	if (!output_left(c)) {
		g_string_truncate(c->out, 0);
		c->out_sent = 0;
		return true;
	}
	return errno == EAGAIN || errno == EINTR;
}

static void client_say(MonitorClient *c, MonitorResult result, const char *text)
{
	g_string_append_printf(c->out, "%s%s%s", result == MONITOR_ERROR ? "error: " : "", text,
			       result == MONITOR_ERROR ? "\n" : "ok\n");
}

void monitor_answer(MonitorClient *client, GString *out)
{
	if (client->mon) {
		client->waiting = false;
		client_say(client, MONITOR_OK, out->str);
		client_go_on(client);
	}
	g_string_free(out, TRUE);
	client_unref(client);
}

/* --- lines -------------------------------------------------------------------------------- */

static bool is_text(const char *line, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		if (!g_ascii_isprint(line[i]) && line[i] != '\t')
			return false;
	}
	return true;
}

static void client_obey(MonitorClient *c, char *line, size_t length)
{
	GString *out = g_string_new(NULL);
	MonitorResult result;

	if (length && line[length - 1] == '\r')
		length--;
	line[length] = '\0';
	if (is_text(line, length)) {
		result = monitor_obey(c->mon, c, line, out);
	} else {
		result = MONITOR_ERROR;
		g_string_assign(out, "that is not text; help lists the commands");
	}
	c->waiting = result == MONITOR_LATER;
	/* An empty line is no command, and has no answer. */
	if (!c->waiting && line[strspn(line, " \t")])
		client_say(c, result, out->str);
	g_string_free(out, TRUE);
}

/* Takes a whole line from what was read.  False if there is none. */
static bool client_take_line(MonitorClient *c)
{
	char *end = memchr(c->in, '\n', c->in_len);
	char line[LINE_MAX_BYTES];
	size_t length = end ? end - c->in : 0;

	if (!end) {
		if (c->in_len == sizeof(c->in)) {
			c->skipping = true;
			c->in_len = 0;
		}
		return false;
	}
	memcpy(line, c->in, length);
	c->in_len -= length + 1;
	memmove(c->in, end + 1, c->in_len);
	if (c->skipping) {
		c->skipping = false;
		g_string_append_printf(c->out, "error: a line has at most %d bytes\n",
				       LINE_MAX_BYTES - 1);
		return true;
	}
	client_obey(c, line, length);
	return true;
}

static void client_read(void *opaque)
{
	MonitorClient *c = opaque;
	ssize_t n = recv(c->fd, c->in + c->in_len, sizeof(c->in) - c->in_len, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		client_close(c);
		return;
	}
	c->ended = n == 0;
	c->in_len += n;
	client_go_on(c);
}

static void client_write(void *opaque)
{
	client_go_on(opaque);
}

/*
 * Obeys what was read, as long as the client takes the answers; then waits for whatever comes next.
 * Half a line before the end is no command: who knows what the rest was?
 */
static void client_go_on(MonitorClient *c)
{
	bool more = true;

	while (more && !c->waiting) {
		if (!client_send(c)) {
			client_close(c);
			return;
		}
		more = !output_left(c) && client_take_line(c);
	}
	if (c->ended && !c->waiting && !output_left(c)) {
		client_close(c);
		return;
	}
	qemu_set_fd_handler(c->fd, c->ended || c->waiting || output_left(c) ? NULL : client_read,
			    output_left(c) ? client_write : NULL, c);
}

/* --- clients ------------------------------------------------------------------------------ */

static void client_new(Monitor *mon, int fd)
{
	MonitorClient *c = g_new0(MonitorClient, 1);

	c->mon = mon;
	c->refs = 1;
	c->fd = fd;
	c->out = g_string_new(NULL);
	g_ptr_array_add(mon->clients, c);
	g_string_printf(c->out, "demo-qemu-loop, pid %d: help lists the commands\n", getpid());
	client_go_on(c);
}

static void refuse(int fd, const char *why)
{
	send(fd, why, strlen(why), MSG_NOSIGNAL | MSG_DONTWAIT);
	close(fd);
}

/* One that stays unaccepted would make every poll find the socket ready. */
static void refuse_without_descriptors(Monitor *mon)
{
	int fd;

	close(mon->spare_fd);
	fd = accept4(mon->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd >= 0)
		refuse(fd, "error: the program has no more descriptors\n");
	mon->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* One that waits for an answer is not polled meanwhile; so whether it has gone is asked here. */
static void close_clients_that_are_gone(Monitor *mon)
{
	for (unsigned i = mon->clients->len; i-- > 0;) {
		MonitorClient *c = mon->clients->pdata[i];
		struct pollfd pfd = { .fd = c->fd };

		if (c->waiting && poll(&pfd, 1, 0) == 1 && pfd.revents & (POLLHUP | POLLERR))
			client_close(c);
	}
}

static void monitor_accept(void *opaque)
{
	Monitor *mon = opaque;
	int fd;

	if (mon->clients->len >= CLIENTS_MAX)
		close_clients_that_are_gone(mon);
	fd = accept4(mon->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0 && (errno == EMFILE || errno == ENFILE))
		refuse_without_descriptors(mon);
	else if (fd >= 0 && mon->clients->len >= CLIENTS_MAX)
		refuse(fd, "error: there are " stringify(CLIENTS_MAX) " clients already\n");
	else if (fd >= 0)
		client_new(mon, fd);
}

/* --- the monitor -------------------------------------------------------------------------- */

Monitor *monitor_ref(Monitor *mon)
{
	qatomic_inc(&mon->refs);
	return mon;
}

void monitor_unref(Monitor *mon)
{
	if (qatomic_fetch_dec(&mon->refs) != 1)
		return;
	self_symbols_free(mon->symbols);
	g_free(mon);
}

Monitor *monitor_open(const char *path, void (*quit)(void), Error **errp)
{
	int fd = unix_listen(path, errp);
	Monitor *mon;

	if (fd < 0)
		return NULL;
	mon = g_new0(Monitor, 1);
	mon->refs = 1;
	mon->listen_fd = fd;
	mon->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	mon->path = g_strdup(path);
	mon->quit = quit;
	mon->symbols = self_symbols_new();
	mon->clients = g_ptr_array_new();
	mon->fds = g_hash_table_new(NULL, NULL);
	qemu_set_fd_handler(fd, monitor_accept, NULL, mon);
	return mon;
}

void monitor_close(Monitor *mon)
{
	if (!mon)
		return;
	qemu_set_fd_handler(mon->listen_fd, NULL, NULL, NULL);
	close(mon->listen_fd);
	close(mon->spare_fd);
	unlink(mon->path);
	for (unsigned i = 0; i < mon->clients->len; i++)
		client_disconnect(mon->clients->pdata[i]);
	monitor_remove_fds(mon);
	g_ptr_array_free(mon->clients, TRUE);
	g_hash_table_destroy(mon->fds);
	g_free(mon->path);
	monitor_unref(mon);
}
