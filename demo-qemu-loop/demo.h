/* SPDX-License-Identifier: MIT */
/*
 * What the demo program's files share.  demo.c reads the options and picks a scenario, demo-run.c
 * sets the loop up and drives it, each demo-scenario-*.c is one family of scenarios.
 *
 * A scenario is scripted: before each iteration stimulate() provides exactly what that iteration
 * shall find, so that its counts are the same in every run.  Without --iterations there is no
 * stimulus, and the loop sleeps until the outside does something.
 */
#ifndef DEMO_H
#define DEMO_H

#include "main-loop.h"

typedef struct DemoOptions {
	int64_t iterations; /* -1: until a signal ends it */
	uint32_t seed;
	unsigned fds;
	int64_t hold_ns;	  /* of callbacks that last too long */
	const char *vnc_path;	  /* NULL: a private place */
	const LoopEra *era;	  /* NULL: the scenario's */
	enum loop_fdmon fdmon;	  /* LOOP_FDMON_UNKNOWN: the scenario's */
	const char *monitor_path; /* NULL: none */
} DemoOptions;

#define DEMO_ERA "8.2"

typedef struct DemoScenario DemoScenario;

typedef struct Demo {
	const DemoScenario *scenario;
	const DemoOptions *options;
	GRand *rand;	    /* for choices, from options->seed */
	int64_t iterations; /* done */
} Demo;

struct DemoScenario {
	const char *name;
	const char *summary;
	const char *verdict; /* what the doctor must say; NULL: healthy */
	bool hangs;	     /* calls demo_ready() itself, when it does; only a signal ends it */

	/* The loop that it is about; none: that of DEMO_ERA with poll, as Debian 12's QEMU. */
	const char *era;
	enum loop_fdmon fdmon;
	bool busy_polling; /* IOThreads may, as QEMU's do; their waits cannot be counted, then */

	/* Each may be NULL.  The main loop exists, the BQL is held. */
	int (*setup)(Demo *demo, Error **errp); /* 0 or -errno with *errp set */
	void (*stimulate)(Demo *demo);		/* for iteration demo->iterations */
	void (*print)(Demo *demo);		/* its counts, "key=value" lines */
	void (*teardown)(Demo *demo);
};

/* All families, ended by NULL; each is ended by an entry without a name. */
extern const DemoScenario *const demo_families[];
extern const DemoScenario demo_scenarios_loop[];
extern const DemoScenario demo_scenarios_handlers[];
extern const DemoScenario demo_scenarios_busy[];
extern const DemoScenario demo_scenarios_blocked[];
extern const DemoScenario demo_scenarios_spin[];
extern const DemoScenario demo_scenarios_lost[];
extern const DemoScenario demo_scenarios_drain[];
extern const DemoScenario demo_scenarios_wait[];
extern const DemoScenario demo_scenarios_pool[];
extern const DemoScenario demo_scenarios_coroutine[];
extern const DemoScenario demo_scenarios_context[];
extern const DemoScenario demo_scenarios_iothread[];
extern const DemoScenario demo_scenarios_fdmon[];
extern const DemoScenario demo_scenarios_aio[];
extern const DemoScenario demo_scenarios_device[];
extern const DemoScenario demo_scenarios_nbd[];
extern const DemoScenario demo_scenarios_hold[];
extern const DemoScenario demo_scenarios_races[];
extern const DemoScenario demo_scenarios_dead[];
extern const DemoScenario demo_scenarios_leak[];
extern const DemoScenario demo_scenarios_client[];
extern const DemoScenario demo_scenarios_kick[];
extern const DemoScenario demo_scenarios_starved[];
extern const DemoScenario demo_scenarios_late[];
extern const DemoScenario demo_scenarios_drawn[];

const DemoScenario *demo_scenario_by_name(const char *name); /* or NULL */

/* Runs it to its end.  Returns the exit status. */
int demo_run(const DemoScenario *scenario, const DemoOptions *options);

/* Prints the line that says so: whoever waits for it may look at the loop now. */
void demo_ready(const Demo *demo);

/* SIGINT or SIGTERM came: whatever waits in a loop of its own must return. */
bool demo_stopping(void);

/*
 * Hand-over: returns when the thread that polls @ctx sleeps in that poll, beyond the point where it
 * looked for work.  What is done to it next finds it so in every run.  Or when a signal ends the
 * program.
 */
void demo_wait_asleep(AioContext *ctx, int thread_id);

/* The same of an aio_poll() that the main thread, say, has called from a callback. */
void demo_wait_nested(AioContext *ctx, int thread_id);

/* The same of a thread that has nothing to wait for but a lock, once *@thread_id is not 0. */
void demo_wait_blocked(const int *thread_id);

/* So that @n more fds can be open; the hard limit, too, if it must be and we may. */
int demo_raise_fd_limit(unsigned n, Error **errp);

/* A VNC listener in the loop, and a client that connects to it and hangs up.  One at a time. */
int demo_vnc_open(const DemoOptions *options, Error **errp);
void demo_vnc_connect(void);
unsigned demo_vnc_connections(void);
void demo_vnc_close(void);

/*
 * A thread that stands for a vCPU: it takes the BQL for what it does to devices.  demo_vcpu_run()
 * has it call @fn so, once; @fn runs while the main loop sleeps in its poll, because nowhere else
 * does the loop let go of the BQL.  One @fn at a time.  All three with the BQL held, which
 * demo_vcpu_destroy() lets go of until the last @fn is done.
 */
void demo_vcpu_create(void);
void demo_vcpu_run(void (*fn)(void *opaque), void *opaque);
void demo_vcpu_destroy(void);

#endif
