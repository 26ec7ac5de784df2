/* SPDX-License-Identifier: MIT */
/*
 * dead-fd: a descriptor is closed and its handler stays.  poll() says POLLNVAL each time, at once,
 * which no handler is called for: the loop turns and turns, and nobody is told.
 */
#include "osdep.h"
#include "demo.h"

static struct {
	EventNotifier client;
	int fd; /* closed */
	unsigned calls;
} dead;

static void closed_client_read(void *opaque G_GNUC_UNUSED)
{
	event_notifier_test_and_clear(&dead.client);
	dead.calls++;
}

static int dead_setup(Demo *demo G_GNUC_UNUSED, Error **errp)
{
	int ret = event_notifier_init(&dead.client, false);

	if (ret < 0) {
		error_setg_errno(errp, -ret, "cannot make an eventfd");
		return ret;
	}
	dead.fd = event_notifier_get_fd(&dead.client);
	qemu_set_fd_handler(dead.fd, closed_client_read, NULL, NULL);
	event_notifier_cleanup(&dead.client); /* and qemu_set_fd_handler() is forgotten */
	return 0;
}

static void dead_print(Demo *demo G_GNUC_UNUSED)
{
	printf("calls=%u\n", dead.calls);
}

static void dead_teardown(Demo *demo G_GNUC_UNUSED)
{
	qemu_set_fd_handler(dead.fd, NULL, NULL, NULL);
}

const DemoScenario demo_scenarios_dead[] = {
	{
		.name = "dead-fd",
		.summary = "a descriptor is closed and its handler stays",
		.verdict = "DEAD FD",
		.setup = dead_setup,
		.print = dead_print,
		.teardown = dead_teardown,
	},
	{},
};
