// SPDX-License-Identifier: MIT
/*
 * What tests/bench/overhead_top.py watches: a loop that runs 500 bottom halves each millisecond.
 *
 *	run SECONDS      answers "CALLBACKS SECONDS CPU_SECONDS" of the loop's thread
 */
#include <stdio.h>

#include "osdep.h"
#include "aio.h"
#include "main-loop.h"

#define N_BHS	 500
#define ROUND_NS 1000000

static uint64_t called;

static void counting_bh_cb(void *opaque)
{
	(void)opaque;
	called++;
}

static int64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

static void run(AioContext *ctx, QEMUBH *const *bhs, double seconds)
{
	int64_t begin = clock_ns(CLOCK_MONOTONIC), cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	int64_t next = begin, end = begin + (int64_t)(seconds * 1e9), now = begin;
	uint64_t before = called;

	while (now < end) {
		for (int i = 0; i < N_BHS; i++)
			qemu_bh_schedule(bhs[i]);
		while (aio_poll(ctx, false))
			;
		next += ROUND_NS;
		now = clock_ns(CLOCK_MONOTONIC);
		if (now < next)
			g_usleep((next - now) / 1000);
		else if (now > next + 100 * ROUND_NS)
			next = now; /* it is slower than that */
	}
	now = clock_ns(CLOCK_MONOTONIC);
	printf("%" PRIu64 " %.6f %.6f\n", called - before, (now - begin) / 1e9,
	       (clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu) / 1e9);
	fflush(stdout);
}

int main(void)
{
	QEMUBH *bhs[N_BHS];
	AioContext *ctx;
	char line[64];
	double seconds;

	qemu_init_main_loop(&error_abort);
	ctx = qemu_get_aio_context();
	for (int i = 0; i < N_BHS; i++)
		bhs[i] = aio_bh_new(ctx, counting_bh_cb, NULL);
	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin))
		if (sscanf(line, "run %lf", &seconds) == 1)
			run(ctx, bhs, seconds);
	return 0;
}
