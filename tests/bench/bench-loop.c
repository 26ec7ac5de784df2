/* SPDX-License-Identifier: MIT */
/*
 * make bench-loop: what an operation of the loop costs, beside plain GLib and beside the bare
 * system calls that it needs; bench-loop.h says which file is who.
 *
 *   bench-loop [--rounds N] [--batch-ms MS] [ROW...]     ROW: a word of the row's name
 *
 * In each round every contestant of every row runs one batch, so that a disturbance meets all of
 * them; the figures are the medians.  Only those with 10,000 fds run one after the other, at the
 * end.
 */
#include <sched.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include <glib.h>
#include "bench-loop.h"

enum { LOOP, GLIB, BARE, CONTESTANTS };

#define TOO_MANY_AT_ONCE 10000

typedef struct Row {
	BenchRow what;
	const char *name;
	unsigned n;
	unsigned step; /* operations are run in multiples of it */
	bool has_fds;
	bool wanted;   /* by the command line */
	unsigned cpus; /* 0: where the scheduler likes; 1 or 2: for the two threads */

	/* A row's thread is home to its context.  It runs a round each time it is told to. */
	GThread *thread;
	sem_t go, done;
	bool over;

	struct Lane {
		BenchParam param;
		void *state;
		unsigned ops; /* a batch */
		double *samples;
		double ns; /* the result; 0: takes no part */
	} lanes[CONTESTANTS];
	const char *missing; /* why there is no result */
} Row;

static Row rows[] = {
	{ .what = BENCH_BH, .name = "BH, reschedule", .step = 1 },
	{ .what = BENCH_ONESHOT, .name = "BH, one-shot, bursts of 5,000", .n = 5000, .step = 5000 },
	{ .what = BENCH_NOTIFIER, .name = "notifier round trip", .n = 1, .has_fds = true },
	{ .what = BENCH_FDS_POLL, .name = "1 fd of 10, aio_poll", .n = 10, .has_fds = true },
	{ .what = BENCH_FDS_POLL, .name = "1 fd of 1,000, aio_poll", .n = 1000, .has_fds = true },
	{ .what = BENCH_FDS_POLL, .name = "1 fd of 10,000, aio_poll", .n = 10000, .has_fds = true },
	{ .what = BENCH_FDS_SOURCE, .name = "1 fd of 10, GSource", .n = 10, .has_fds = true },
	{ .what = BENCH_FDS_SOURCE, .name = "1 fd of 1,000, GSource", .n = 1000, .has_fds = true },
	{ .what = BENCH_FDS_SOURCE,
	  .name = "1 fd of 10,000, GSource",
	  .n = 10000,
	  .has_fds = true },
	{ .what = BENCH_TIMERS, .name = "timers, 1,000", .n = 1000, .step = 1000 },
	{ .what = BENCH_CROSS, .name = "cross-thread BH, on one CPU", .cpus = 1 },
	{ .what = BENCH_CROSS, .name = "cross-thread BH, on two", .cpus = 2 },
	{ .what = BENCH_CROSS_BUSY_POLL, .name = "cross-thread BH, busy polling", .cpus = 2 },
};

static unsigned rounds = 41;
static double batch_ms = 1;

static const BenchContestant *contestant(const Row *row, int who)
{
	const BenchContestant *all[] = { bench_aio, bench_glib, bench_bare };

	return &all[who][row->what];
}

static double now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1e9 + ts.tv_nsec;
}

static double batch_ns(const BenchContestant *c, void *state, unsigned ops)
{
	double start = now_ns();

	c->run(state, ops);
	return now_ns() - start;
}

/* As many operations as take a batch's time.  What is done once, the first time, is over then. */
static unsigned calibrate(const BenchContestant *c, void *state, unsigned step)
{
	unsigned ops = step;

	c->run(state, step);
	while (batch_ns(c, state, ops) < batch_ms * 1e6 && ops < (1u << 30))
		ops *= 2;
	return ops;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *values, unsigned n)
{
	qsort(values, n, sizeof(*values), compare);
	return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

/* --- CPUs --------------------------------------------------------------------------------- */

static int cpus[2]; /* the first two we may use; the same twice if there is one */
static const Row *pinned_row;

static void find_cpus(void)
{
	cpu_set_t set;
	unsigned n = 0;

	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		return;
	for (int cpu = 0; cpu < CPU_SETSIZE && n < 2; cpu++) {
		if (CPU_ISSET(cpu, &set))
			cpus[n++] = cpu;
	}
	if (n == 1)
		cpus[1] = cpus[0];
}

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		g_error("sched_setaffinity: %m");
}

void bench_pin_other(void)
{
	pin(cpus[pinned_row->cpus - 1]);
}

/* --- one row ------------------------------------------------------------------------------ */

static void close_fds(int *fds, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		close(fds[i]);
	g_free(fds);
}

static int *open_fds(unsigned n)
{
	int *fds = g_new(int, n);

	for (unsigned i = 0; i < n; i++) {
		fds[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		if (fds[i] < 0) {
			close_fds(fds, i);
			return NULL;
		}
	}
	return fds;
}

static bool open_lane(Row *row, int who)
{
	const BenchContestant *c = contestant(row, who);
	struct Lane *lane = &row->lanes[who];

	if (!c->run)
		return true;
	lane->param.n = row->n;
	if (row->has_fds) {
		lane->param.fds = open_fds(row->n);
		if (!lane->param.fds) {
			row->missing = "more descriptors than this process may open";
			return false;
		}
	}
	lane->samples = g_new(double, rounds);
	lane->state = c->setup(&lane->param);
	lane->ops = calibrate(c, lane->state, MAX(row->step, 1));
	return true;
}

/* Once to have the caches to itself, then measured. */
static void run_lane(Row *row, int who, unsigned round)
{
	const BenchContestant *c = contestant(row, who);
	struct Lane *lane = &row->lanes[who];

	if (!lane->state)
		return;
	c->run(lane->state, lane->ops);
	lane->samples[round] = batch_ns(c, lane->state, lane->ops) / lane->ops;
}

static void close_lane(Row *row, int who)
{
	struct Lane *lane = &row->lanes[who];

	if (!lane->state)
		return;
	lane->ns = row->missing ? 0 : median(lane->samples, rounds);
	contestant(row, who)->teardown(lane->state);
	if (row->has_fds)
		close_fds(lane->param.fds, row->n);
	g_free(lane->samples);
}

/* All three side by side, a round each time @go is posted. */
static gpointer row_thread(gpointer opaque)
{
	Row *row = opaque;

	if (row->cpus) {
		pinned_row = row;
		pin(cpus[0]);
	}
	for (int who = 0; who < CONTESTANTS && open_lane(row, who); who++)
		;
	sem_post(&row->done);
	for (unsigned round = 0;; round++) {
		sem_wait(&row->go);
		if (row->over)
			break;
		for (int who = 0; who < CONTESTANTS && !row->missing; who++)
			run_lane(row, who, round);
		sem_post(&row->done);
	}
	for (int who = 0; who < CONTESTANTS; who++)
		close_lane(row, who);
	return NULL;
}

/* One after the other. */
static gpointer large_row_thread(gpointer opaque)
{
	Row *row = opaque;

	for (int who = 0; who < CONTESTANTS && open_lane(row, who); who++) {
		for (unsigned round = 0; round < rounds; round++)
			run_lane(row, who, round);
		close_lane(row, who);
	}
	return NULL;
}

/* --- all rows ----------------------------------------------------------------------------- */

static bool runs(const Row *row)
{
	return row->thread;
}

static void start_row(Row *row)
{
	if (row->cpus > 1 && cpus[0] == cpus[1]) {
		row->missing = "only one CPU";
		return;
	}
	sem_init(&row->go, 0, 0);
	sem_init(&row->done, 0, 0);
	row->thread = g_thread_new("bench-row", row_thread, row);
	sem_wait(&row->done);
}

static void end_row(Row *row)
{
	row->over = true;
	sem_post(&row->go);
	g_thread_join(row->thread);
}

static void run_rows(void)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		if (rows[i].wanted && rows[i].n < TOO_MANY_AT_ONCE)
			start_row(&rows[i]);
	}
	for (unsigned round = 0; round < rounds; round++) {
		for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
			if (runs(&rows[i])) {
				sem_post(&rows[i].go);
				sem_wait(&rows[i].done);
			}
		}
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		if (runs(&rows[i]))
			end_row(&rows[i]);
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		if (rows[i].wanted && rows[i].n >= TOO_MANY_AT_ONCE)
			g_thread_join(g_thread_new("bench-row", large_row_thread, &rows[i]));
	}
}

/* --- the table ---------------------------------------------------------------------------- */

static void print_ns(double ns)
{
	if (ns > 0)
		printf(" %10.0f", ns);
	else
		printf(" %10s", "-");
}

static void print_ratio(double ns, double other)
{
	if (ns > 0 && other > 0)
		printf(" %8.2f", ns / other);
	else
		printf(" %8s", "-");
}

static void print_row(const Row *row)
{
	if (row->missing) {
		printf("%-30s  not run: %s\n", row->name, row->missing);
		return;
	}
	printf("%-30s", row->name);
	for (int who = 0; who < CONTESTANTS; who++)
		print_ns(row->lanes[who].ns);
	print_ratio(row->lanes[LOOP].ns, row->lanes[GLIB].ns);
	print_ratio(row->lanes[LOOP].ns, row->lanes[BARE].ns);
	printf("\n");
}

static const Row *find_row(BenchRow what, unsigned n)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		if (rows[i].what == what && rows[i].n == n)
			return &rows[i];
	}
	return NULL;
}

/* Says so if 1,000 idle descriptors make one ready much dearer than 10 do. */
static unsigned check_idle_fds(BenchRow what, const char *how)
{
	const Row *few = find_row(what, 10), *many = find_row(what, 1000);

	if (few->lanes[LOOP].ns <= 0 || many->lanes[LOOP].ns <= 0)
		return 0;
	printf("1,000 fds, %s: %.2f times the cost of 10", how,
	       many->lanes[LOOP].ns / few->lanes[LOOP].ns);
	if (many->lanes[LOOP].ns <= 1.5 * few->lanes[LOOP].ns) {
		printf("\n");
		return 0;
	}
	printf("  MISSED: at most 1.5\n");
	return 1;
}

static void print_goals(void)
{
	unsigned missed = 0;

	printf("\n");
	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		if (rows[i].lanes[LOOP].ns > 0 && rows[i].lanes[LOOP].ns > rows[i].lanes[GLIB].ns) {
			printf("%s: slower than GLib  MISSED\n", rows[i].name);
			missed++;
		}
	}
	missed += check_idle_fds(BENCH_FDS_POLL, "aio_poll");
	missed += check_idle_fds(BENCH_FDS_SOURCE, "GSource");
	printf("%u goals missed\n", missed);
}

/* --- the program -------------------------------------------------------------------------- */

static bool wanted(const Row *row, char **words)
{
	if (!words || !*words)
		return true;
	for (; *words; words++) {
		if (strstr(row->name, *words))
			return true;
	}
	return false;
}

int main(int argc, char **argv)
{
	int n_rounds = (int)rounds;
	char **words = NULL;
	const GOptionEntry entries[] = {
		{ "rounds", 0, 0, G_OPTION_ARG_INT, &n_rounds, "rounds (41)", "N" },
		{ "batch-ms", 0, 0, G_OPTION_ARG_DOUBLE, &batch_ms, "time of a batch (1)", "MS" },
		{ G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_STRING_ARRAY, &words, "", "[ROW...]" },
		{ NULL },
	};
	GOptionContext *options = g_option_context_new(NULL);
	struct rlimit nofile;
	GError *error = NULL;
	bool parsed;

	g_option_context_add_main_entries(options, entries, NULL);
	parsed = g_option_context_parse(options, &argc, &argv, &error);
	g_option_context_free(options);
	if (!parsed || n_rounds < 1) {
		fprintf(stderr, "bench-loop: %s\n",
			error ? error->message : "--rounds: must be at least 1");
		g_clear_error(&error);
		g_strfreev(words);
		return 2;
	}
	rounds = (unsigned)n_rounds;

	if (getrlimit(RLIMIT_NOFILE, &nofile) == 0) {
		nofile.rlim_cur = nofile.rlim_max;
		setrlimit(RLIMIT_NOFILE, &nofile);
	}
	find_cpus();
	bench_aio_init();
	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++)
		rows[i].wanted = wanted(&rows[i], words);
	run_rows();

	printf("ns per operation, medians of %u interleaved rounds\n\n", rounds);
	printf("%-30s %10s %10s %10s %8s %8s\n", "", "loop", "GLib", "syscalls", "/GLib", "/sysc.");
	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		if (rows[i].wanted)
			print_row(&rows[i]);
	}
	print_goals();
	g_strfreev(words);
	return 0;
}
