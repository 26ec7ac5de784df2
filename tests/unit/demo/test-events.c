/* SPDX-License-Identifier: MIT */
/*
 * The known workload: every event of five-sources, from the program's first line to its last, is
 * the same in each run.  And listening changes nothing: a scenario computes the same with probes
 * that somebody listens to, with idle ones, and without any.
 */
#include "scenario-events.h"

/*
 * With k of 9 sources in turn, N iterations have the source k (N + 8 - k) / 9 times, below n_k:
 *
 *	k = 0 bh, 1 device timer, 2 vnc, 3 signal, 4 vcpu bh, 5 context timer, 6 notify, 7 wake-up,
 *	8 iothread
 *
 * Main thread: a timeline of one iteration is prepare, query, timeout_chosen, poll_enter,
 *poll_exit, check, dispatch_begin, dispatch_end, for each of the N.  Three sources are prepared;
 *those not ready then, all but aio-context in k = 0, 1, 5, are checked.  One is dispatched, but
 *none in k = 7.  Beyond that: 13 for 115 (3 for 23) times the five_bh_cb, twice; and qemu_notify_bh
 *is scheduled by each device timer and by vm_start(), five_reply_bh n_8 times.
 *
 * io0: one iteration when it starts, without a wait, as it has been notified; one for vm_start();
 * n_8; one for its stop.  Others: the vCPU, n_4 + n_6 times.
 */
typedef struct {
	int id;
	unsigned in_23[N_THREADS], in_115[N_THREADS];
} Expected;

static const Expected five_sources[] = {
	{ LOOP_EV_ITERATION_BEGIN, { 23, 5, 0 }, { 115, 15, 0 } },
	{ LOOP_EV_ITERATION_END, { 23, 5, 0 }, { 115, 15, 0 } },
	{ LOOP_EV_PREPARE, { 23, 0, 0 }, { 115, 0, 0 } },
	{ LOOP_EV_QUERY, { 23, 0, 0 }, { 115, 0, 0 } },
	{ LOOP_EV_TIMEOUT_CHOSEN, { 23, 5, 0 }, { 115, 15, 0 } },
	{ LOOP_EV_POLL_ENTER, { 23, 4, 0 }, { 115, 14, 0 } },
	{ LOOP_EV_POLL_EXIT, { 23, 4, 0 }, { 115, 14, 0 } },
	{ LOOP_EV_FD_READY, { 22, 4, 0 }, { 103, 14, 0 } },
	{ LOOP_EV_CHECK, { 23, 0, 0 }, { 115, 0, 0 } },
	{ LOOP_EV_DISPATCH_BEGIN, { 23, 5, 0 }, { 115, 15, 0 } },
	{ LOOP_EV_DISPATCH_END, { 23, 5, 0 }, { 115, 15, 0 } },
	{ LOOP_EV_SOURCE_ATTACH, { 4, 0, 0 }, { 4, 0, 0 } },
	{ LOOP_EV_SOURCE_DESTROY, { 2, 0, 0 }, { 2, 0, 0 } },
	{ LOOP_EV_SOURCE_ADD_FD, { 5, 0, 0 }, { 5, 0, 0 } },
	{ LOOP_EV_SOURCE_PREPARE, { 69, 0, 0 }, { 345, 0, 0 } },
	{ LOOP_EV_SOURCE_CHECK, { 61, 0, 0 }, { 306, 0, 0 } },
	{ LOOP_EV_SOURCE_DISPATCH_BEGIN, { 21, 0, 0 }, { 103, 0, 0 } },
	{ LOOP_EV_SOURCE_DISPATCH_END, { 21, 0, 0 }, { 103, 0, 0 } },
	{ LOOP_EV_CONTEXT_WAKEUP, { 2, 0, 0 }, { 12, 0, 0 } },
	{ LOOP_EV_HANDLER_SET, { 5, 0, 0 }, { 5, 0, 0 } },
	{ LOOP_EV_HANDLER_ADD, { 4, 0, 0 }, { 4, 0, 0 } },
	{ LOOP_EV_HANDLER_REMOVE, { 1, 0, 0 }, { 1, 0, 0 } },
	{ LOOP_EV_HANDLER_BEGIN, { 13, 4, 0 }, { 64, 14, 0 } },
	{ LOOP_EV_HANDLER_END, { 13, 4, 0 }, { 64, 14, 0 } },
	{ LOOP_EV_SIGNAL_DISPATCH, { 3, 0, 0 }, { 13, 0, 0 } },
	{ LOOP_EV_BH_SCHEDULE, { 10, 2, 3 }, { 40, 12, 13 } },
	{ LOOP_EV_BH_DELETE, { 2, 0, 0 }, { 2, 0, 0 } },
	{ LOOP_EV_BH_BEGIN, { 12, 3, 0 }, { 52, 13, 0 } },
	{ LOOP_EV_BH_END, { 12, 3, 0 }, { 52, 13, 0 } },
	{ LOOP_EV_TIMER_ARM, { 5, 0, 0 }, { 26, 0, 0 } },
	{ LOOP_EV_TIMER_BEGIN, { 5, 0, 0 }, { 26, 0, 0 } },
	{ LOOP_EV_TIMER_END, { 5, 0, 0 }, { 26, 0, 0 } },
	{ LOOP_EV_CLOCK_ENABLE, { 1, 0, 0 }, { 1, 0, 0 } },
	{ LOOP_EV_NOTIFY, { 23, 2, 5 }, { 64, 12, 26 } },
	{ LOOP_EV_NOTIFY_ACCEPT, { 38, 5, 0 }, { 191, 15, 0 } },
	{ LOOP_EV_NOTIFY_ME, { 84, 10, 0 }, { 421, 30, 0 } },
	{ LOOP_EV_EVENT_NOTIFIER_SET, { 7, 2, 5 }, { 27, 12, 26 } },
	{ LOOP_EV_EVENT_NOTIFIER_CLEAR, { 10, 4, 0 }, { 51, 14, 0 } },
	{ LOOP_EV_BQL_WAIT, { 24, 2, 5 }, { 116, 12, 26 } },
	{ LOOP_EV_BQL_ACQUIRED, { 24, 2, 5 }, { 116, 12, 26 } },
	{ LOOP_EV_BQL_RELEASED, { 24, 2, 5 }, { 116, 12, 26 } },
	{ LOOP_EV_CONTEXT_NEW, { 3, 0, 0 }, { 3, 0, 0 } },
	{ LOOP_EV_CONTEXT_FREE, { 1, 0, 0 }, { 1, 0, 0 } },
	{ LOOP_EV_IOTHREAD_STATE, { 2, 2, 0 }, { 2, 2, 0 } },
	{},
};

/* Every id: those that the table does not have must not occur. */
static void expect_counts(const ScenarioEvents *events, int iterations)
{
	for (int id = 0; id < LOOP_EV_END; id++) {
		static const unsigned none[N_THREADS];
		const unsigned *expected = none;

		for (const Expected *e = five_sources; e->id; e++) {
			if (e->id == id)
				expected = iterations == 23 ? e->in_23 : e->in_115;
		}
		for (int t = 0; t < N_THREADS; t++) {
			if (events->counts[t][id] != expected[t])
				g_error("%s: %u in thread %d, not %u", loop_event_desc(id)->name,
					events->counts[t][id], t, expected[t]);
		}
	}
}

static void test_five_sources(void)
{
	ScenarioEvents events;

	for (int run = 0; run < 20; run++) {
		scenario_run(&events, "five-sources", 23, count_event);
		expect_counts(&events, 23);
	}
	g_assert_cmpuint(events.chosen[LOOP_CHOOSER_NOBODY], ==, 15);
	g_assert_cmpuint(events.chosen[LOOP_CHOOSER_TIMER], ==, 5);
	g_assert_cmpuint(events.chosen[LOOP_CHOOSER_BH], ==, 3);

	scenario_run(&events, "five-sources", 115, count_event);
	expect_counts(&events, 115);
	g_assert_cmpuint(events.chosen[LOOP_CHOOSER_NOBODY], ==, 76);
	g_assert_cmpuint(events.chosen[LOOP_CHOOSER_TIMER], ==, 26);
	g_assert_cmpuint(events.chosen[LOOP_CHOOSER_BH], ==, 13);
}

/* --- the same results --------------------------------------------------------------------- */

/* What the program named by @variable prints, from "iterations=" on. */
static char *program_summary(const char *variable, const char *scenario, int iterations)
{
	char *command = g_strdup_printf("%s --scenario %s --iterations %d --fds 100",
					g_getenv(variable), scenario, iterations);
	GError *error = NULL;
	char *out, *summary;

	g_spawn_command_line_sync(command, &out, NULL, NULL, &error);
	g_assert_no_error(error);
	summary = strstr(out, "iterations=");
	g_assert_nonnull(summary);
	summary = g_strdup(summary);
	g_free(out);
	g_free(command);
	return summary;
}

static void expect_same_results(gconstpointer opaque)
{
	const DemoScenario *scenario = opaque;
	ScenarioEvents traced;

	/* 0.4 s each, otherwise milliseconds. */
	int step = g_str_has_prefix(scenario->name, "blocked-") ||
				   g_str_equal(scenario->name, "bql-hold")
			   ? 1
			   : 23;

	for (int iterations = 0; iterations <= 2 * step; iterations += step) {
		char *bare = program_summary("DEMO_QEMU_LOOP_NOPROBES", scenario->name, iterations);
		char *idle = program_summary("DEMO_QEMU_LOOP", scenario->name, iterations);

		scenario_run(&traced, scenario->name, iterations, count_event);
		g_assert_cmpuint(traced.counts[MAIN_THREAD][LOOP_EV_ITERATION_END], ==, iterations);
		g_assert_cmpstr(bare, ==, idle);
		g_assert_cmpstr(bare, ==, traced.summary);
		g_free(bare);
		g_free(idle);
	}
}

/* For every scenario that ends by itself. */
static void add_same_results_tests(void)
{
	for (const DemoScenario *const *family = demo_families; *family; family++) {
		for (const DemoScenario *s = *family; s->name; s++) {
			char *path = g_strdup_printf("/events/same-results/%s", s->name);

			if (!s->hangs)
				g_test_add_data_func(path, s, expect_same_results);
			g_free(path);
		}
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	if (!g_getenv("DEMO_QEMU_LOOP") || !g_getenv("DEMO_QEMU_LOOP_NOPROBES")) {
		g_printerr("DEMO_QEMU_LOOP and DEMO_QEMU_LOOP_NOPROBES must name the programs\n");
		return 1;
	}
	g_test_add_func("/events/five-sources-counts-are-exact", test_five_sources);
	add_same_results_tests();
	return g_test_run();
}
