/* SPDX-License-Identifier: MIT */
/*
 * handler-leak: every 20 ms a client comes and goes, and its handler stays, with its descriptor.
 * Nothing is slow, nothing spins; the list, the poll set and the table of files grow.  With
 * --iterations it is one client an iteration.
 */
#include "osdep.h"
#include <sys/resource.h>
#include "demo.h"

#define PERIOD_NS   (20LL * SCALE_MS)
#define MAX_CLIENTS 100000

static struct {
	GArray *clients; /* EventNotifier */
	QEMUTimer *timer;
	bool full;
} leak;

/* Whoever was to set the eventfd is gone. */
static void leaked_client_read(void *opaque G_GNUC_UNUSED)
{
	g_assert_not_reached();
}

static void accept_client(void)
{
	EventNotifier client;

	leak.full = leak.full || leak.clients->len == MAX_CLIENTS ||
		    event_notifier_init(&client, false) < 0;
	if (leak.full)
		return;
	qemu_set_fd_handler(event_notifier_get_fd(&client), leaked_client_read, NULL, NULL);
	g_array_append_val(leak.clients, client);
}

static void client_comes_cb(void *opaque G_GNUC_UNUSED)
{
	accept_client();
	timer_mod(leak.timer, qemu_clock_get_ns(QEMU_CLOCK_REALTIME) + PERIOD_NS);
}

static int leak_setup(Demo *demo, Error **errp G_GNUC_UNUSED)
{
	struct rlimit limit;

	if (!getrlimit(RLIMIT_NOFILE, &limit)) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	leak.clients = g_array_new(FALSE, FALSE, sizeof(EventNotifier));
	if (demo->options->iterations >= 0)
		return 0;
	leak.timer = timer_new_ns(QEMU_CLOCK_REALTIME, client_comes_cb, NULL);
	timer_mod(leak.timer, qemu_clock_get_ns(QEMU_CLOCK_REALTIME));
	return 0;
}

static void leak_stimulate(Demo *demo G_GNUC_UNUSED)
{
	accept_client();
	qemu_notify_event();
}

static void leak_print(Demo *demo G_GNUC_UNUSED)
{
	printf("handlers=%u\n", leak.clients->len);
}

static void leak_teardown(Demo *demo G_GNUC_UNUSED)
{
	for (unsigned i = 0; i < leak.clients->len; i++) {
		EventNotifier *client = &g_array_index(leak.clients, EventNotifier, i);

		qemu_set_fd_handler(event_notifier_get_fd(client), NULL, NULL, NULL);
		event_notifier_cleanup(client);
	}
	g_array_free(leak.clients, TRUE);
	timer_free(leak.timer);
}

const DemoScenario demo_scenarios_leak[] = {
	{
		.name = "handler-leak",
		.summary = "clients come and go, and their handlers stay",
		.verdict = "HANDLER LEAK",
		.setup = leak_setup,
		.stimulate = leak_stimulate,
		.print = leak_print,
		.teardown = leak_teardown,
	},
	{},
};
