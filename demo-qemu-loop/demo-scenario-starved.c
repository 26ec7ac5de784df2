/* SPDX-License-Identifier: MIT */
/*
 * starved-source: a GSource of high priority always has work, and does it.  GLib dispatches only
 * what is ready at the highest priority, so the AioContexts, at the default one, never get a turn,
 * although a handler's descriptor is ready all the time.
 */
#include "osdep.h"
#include "demo.h"
#include "loop-trace.h"

static struct {
	EventNotifier client;
	GSource *greedy;
	uint64_t work;
	unsigned greedy_calls, client_calls;
} starved;

static void starved_client_read(void *opaque G_GNUC_UNUSED)
{
	event_notifier_test_and_clear(&starved.client);
	starved.client_calls++;
}

static gboolean greedy_prepare(GSource *source, gint *timeout)
{
	*timeout = 0;
	loop_source_prepared(source, NULL, true, 0);
	return TRUE;
}

static gboolean greedy_check(GSource *source)
{
	loop_source_checked(source, true);
	return TRUE;
}

static gboolean greedy_dispatch(GSource *source, GSourceFunc callback,
				gpointer user_data G_GNUC_UNUSED)
{
	loop_source_dispatching(source, greedy_dispatch, callback);
	starved.greedy_calls++;
	for (int i = 0; i < 1000; i++)
		starved.work = starved.work * 31 + i;
	loop_source_dispatched(source, G_SOURCE_CONTINUE);
	return G_SOURCE_CONTINUE;
}

static int starved_setup(Demo *demo G_GNUC_UNUSED, Error **errp)
{
	static GSourceFuncs funcs = {
		.prepare = greedy_prepare,
		.check = greedy_check,
		.dispatch = greedy_dispatch,
	};
	int ret = event_notifier_init(&starved.client, true);

	if (ret < 0) {
		error_setg_errno(errp, -ret, "cannot make an eventfd");
		return ret;
	}
	qemu_set_fd_handler(event_notifier_get_fd(&starved.client), starved_client_read, NULL,
			    NULL);
	starved.greedy = g_source_new(&funcs, sizeof(GSource));
	g_source_set_name(starved.greedy, "greedy");
	g_source_set_priority(starved.greedy, G_PRIORITY_HIGH);
	loop_source_attach(starved.greedy, NULL);
	return 0;
}

static void starved_print(Demo *demo G_GNUC_UNUSED)
{
	printf("greedy_calls=%u\n", starved.greedy_calls);
	printf("client_calls=%u\n", starved.client_calls);
}

static void starved_teardown(Demo *demo G_GNUC_UNUSED)
{
	loop_source_destroy(starved.greedy);
	g_source_unref(starved.greedy);
	qemu_set_fd_handler(event_notifier_get_fd(&starved.client), NULL, NULL, NULL);
	event_notifier_cleanup(&starved.client);
}

const DemoScenario demo_scenarios_starved[] = {
	{
		.name = "starved-source",
		.summary = "a GSource of high priority leaves the AioContexts no turn",
		.verdict = "STARVED SOURCE",
		.setup = starved_setup,
		.print = starved_print,
		.teardown = starved_teardown,
	},
	{},
};
