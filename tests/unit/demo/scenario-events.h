/* SPDX-License-Identifier: MIT */
/*
 * A scenario's events, counted from its first line to its last.  Each run is a process of its own:
 * there is one main loop in a process.
 */
#ifndef SCENARIO_EVENTS_H
#define SCENARIO_EVENTS_H

#include "loop-test.h"
#include <sys/mman.h>
#include <sys/wait.h>
#include "demo.h"
#include "trace/loop-table.h"
#include "trace/loop_probes.h"

/* The threads of a scenario, told apart by their names. */
enum { MAIN_THREAD, IO0_THREAD, OTHER_THREAD, N_THREADS };

typedef struct ScenarioEvents {
	unsigned counts[N_THREADS][LOOP_EV_END];
	unsigned chosen[16]; /* timeout_chosen of the main thread, by enum loop_chooser */
	char summary[4096];  /* what it printed after the line that has the pid in it */
} ScenarioEvents;

static ScenarioEvents *scenario_events; /* of this run, shared with the process that waits for it */

static inline int this_thread(void)
{
	static __thread int thread = -1;
	char name[16];

	if (thread < 0) {
		pthread_getname_np(pthread_self(), name, sizeof(name));
		thread = getpid() == gettid()	  ? MAIN_THREAD
			 : strcmp(name, "IO io0") ? OTHER_THREAD
						  : IO0_THREAD;
	}
	return thread;
}

/* Also called in a signal handler.  Names are not counted: they are no probes. */
static inline void count_event(struct loop_event *event)
{
	int thread = this_thread();

	if (!loop_event_desc(event->id)->is_probe)
		return;
	qatomic_inc(&scenario_events->counts[thread][event->id]);
	if (event->id == LOOP_EV_TIMEOUT_CHOSEN && thread == MAIN_THREAD)
		qatomic_inc(&scenario_events->chosen[((struct loop_timeout_chosen *)event)->by]);
}

static inline void scenario_child(const char *name, const DemoOptions *options, int out,
				  probe_sink_fn *sink)
{
	dup2(out, STDOUT_FILENO);
	probe_set_sink(sink);
	if (demo_run(demo_scenario_by_name(name), options) != 0)
		_exit(1);
	probe_set_sink(NULL);
	fflush(stdout);
	_exit(0);
}

/* Runs it with every event given to @sink, or NULL. */
static inline void scenario_run(ScenarioEvents *events, const char *name, int iterations,
				probe_sink_fn *sink)
{
	DemoOptions options = { .iterations = iterations, .seed = 1, .fds = 100 };
	char text[sizeof(events->summary)] = "", *ready;
	int out = memfd_create("out", MFD_CLOEXEC);
	int status;
	pid_t pid;

	scenario_events = mmap(NULL, sizeof(*events), PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	fflush(NULL);
	pid = fork();
	if (pid == 0)
		scenario_child(name, &options, out, sink);
	g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
	g_assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);

	g_assert_cmpint(pread(out, text, sizeof(text) - 1, 0), >, 0);
	close(out);
	ready = strstr(text, ", ready\n");
	g_assert_nonnull(ready);
	*events = *scenario_events;
	g_strlcpy(events->summary, ready + strlen(", ready\n"), sizeof(events->summary));
	munmap(scenario_events, sizeof(*events));
}

#endif
