/* SPDX-License-Identifier: MIT */
/*
 * What reading the loops of a process costs, without asking the kernel what their descriptors are
 * and without showing them: tables-bare PID WAY RUNS (mem, iter) prints the median of so many
 * readings in ms of the processor, and how many handlers were read. For tests/bench/tables.py.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tracer/attach.h"
#include "tracer/session.h"

static double cpu_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static unsigned handlers_of(const struct loops *loops)
{
	unsigned n = 0;

	for (guint i = 0; i < loops->contexts->len; i++)
		n += ((struct context *)loops->contexts->pdata[i])->handlers->len;
	return n;
}

int main(int argc, char **argv)
{
	struct options options = { .pid = argc > 1 ? atoi(argv[1]) : 0 };
	int runs = argc > 3 ? atoi(argv[3]) : 0;
	double *took = g_new(double, runs + 1);
	struct failure why = { 0 };
	unsigned handlers = 0;
	struct session s;
	int err;

	options.way = argc > 2 && !strcmp(argv[2], "iter") ? READ_ITER : READ_MEM;
	attach_set_verbose(false);
	err = session_begin(&s, &options, &why);
	for (int i = 0; !err && i < runs; i++) {
		struct loops *loops;
		double begin = cpu_ms();

		err = loops_read(s.t, s.images, s.l, s.fds, options.way, 0, &loops, &why);
		took[i] = cpu_ms() - begin;
		handlers = err ? 0 : handlers_of(loops);
		if (!err)
			loops_free(loops);
	}
	session_close(&s);
	if (err || !runs) {
		fprintf(stderr, "tables-bare: %s\n", err ? why.text : "PID WAY RUNS");
		return 1;
	}
	qsort(took, runs, sizeof(*took), by_value);
	printf("%.2f %u\n", took[runs / 2], handlers);
	g_free(took);
	return 0;
}
