/* SPDX-License-Identifier: MIT */
/* The life of a scenario: main loop, set-up, iterations, counts, clean end. */
#include "osdep.h"
#include "atomic.h"
#include "demo.h"
#include "monitor.h"

const DemoScenario *const demo_families[] = {
	demo_scenarios_loop,	demo_scenarios_handlers,
	demo_scenarios_busy,	demo_scenarios_blocked,
	demo_scenarios_spin,	demo_scenarios_lost,
	demo_scenarios_drain,	demo_scenarios_wait,
	demo_scenarios_pool,	demo_scenarios_coroutine,
	demo_scenarios_context, demo_scenarios_iothread,
	demo_scenarios_fdmon,	demo_scenarios_aio,
	demo_scenarios_device,	demo_scenarios_nbd,
	demo_scenarios_hold,	demo_scenarios_races,
	demo_scenarios_dead,	demo_scenarios_leak,
	demo_scenarios_client,	demo_scenarios_kick,
	demo_scenarios_starved, demo_scenarios_late,
	demo_scenarios_drawn,	NULL,
};

static bool stop_requested;

const DemoScenario *demo_scenario_by_name(const char *name)
{
	for (const DemoScenario *const *family = demo_families; *family; family++) {
		for (const DemoScenario *s = *family; s->name; s++) {
			if (g_str_equal(s->name, name))
				return s;
		}
	}
	return NULL;
}

/* As QEMU's: only a flag and a wake-up, both allowed in a signal handler. */
static void termsig_handler(int signal G_GNUC_UNUSED)
{
	qatomic_set(&stop_requested, true);
	qemu_notify_event();
}

bool demo_stopping(void)
{
	return qatomic_read(&stop_requested);
}

static void stop(void)
{
	qatomic_set(&stop_requested, true);
}

static void catch_termination(void)
{
	struct sigaction action = { .sa_handler = termsig_handler };

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	/* A reader of our output who leaves early must not leave our socket behind. */
	signal(SIGPIPE, SIG_IGN);
}

void demo_ready(const Demo *demo)
{
	printf("demo-qemu-loop: %s, pid %d, ready\n", demo->scenario->name, getpid());
	fflush(stdout);
}

static bool more_to_do(const Demo *demo)
{
	if (demo_stopping())
		return false;
	return demo->options->iterations < 0 || demo->iterations < demo->options->iterations;
}

/* Who names a monitor wants to see it: in the main loop, too, which is today's QEMU. */
static void choose_loop(const DemoScenario *scenario, const DemoOptions *options)
{
	loop_settings.era = loop_era_by_name(scenario->era ?: DEMO_ERA);
	loop_settings.fdmon = scenario->era ? scenario->fdmon : LOOP_FDMON_POLL;
	if (options->era || options->fdmon) {
		loop_settings.era = options->era ?: loop_era_today();
		loop_settings.fdmon = options->fdmon;
	}
	if (!scenario->busy_polling)
		loop_settings.iothread_poll_max_ns = 0;
}

int demo_run(const DemoScenario *scenario, const DemoOptions *options)
{
	Demo demo = {
		.scenario = scenario,
		.options = options,
		.rand = g_rand_new_with_seed(options->seed),
	};
	Monitor *monitor = NULL;
	Error *err = NULL;
	int ret = 0;

	choose_loop(scenario, options);
	qemu_init_cpu_loop();
	bql_lock();
	qemu_init_main_loop(&error_fatal);
	catch_termination();

	if (options->monitor_path) {
		monitor = monitor_open(options->monitor_path, stop, &err);
		ret = monitor ? 0 : -EADDRNOTAVAIL;
	}
	if (ret == 0 && scenario->setup)
		ret = scenario->setup(&demo, &err);
	if (ret < 0) {
		error_report_err(err);
		goto out;
	}

	if (!scenario->hangs)
		demo_ready(&demo);
	while (more_to_do(&demo)) {
		if (options->iterations >= 0 && scenario->stimulate)
			scenario->stimulate(&demo);
		main_loop_wait(false);
		demo.iterations++;
	}

	printf("iterations=%" PRId64 "\n", demo.iterations);
	if (scenario->print)
		scenario->print(&demo);
	monitor_close(monitor);
	monitor = NULL;
	if (scenario->teardown)
		scenario->teardown(&demo);
out:
	monitor_close(monitor);
	bql_unlock();
	g_rand_free(demo.rand);
	return ret < 0 ? 1 : 0;
}
