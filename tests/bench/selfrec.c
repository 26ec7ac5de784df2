/* SPDX-License-Identifier: MIT */
/*
 * What it costs a program to record itself, and how much it can record:  selfrec DIR [SECONDS]
 *
 * The events are those of an iteration with one ready fd, eight of them.  "Added" is what a probe
 * costs more than when nobody listens: the fastest and the middle of many bursts, with the writer
 * thread at its work.  Beside it, in the same run, what cannot be left out (reading the clock) and
 * what a tracer in the kernel would at least need (a bare system call).
 */
#include "osdep.h"
#include <sys/syscall.h>
#include "record-ring.h"
#include "self-record.h"
#include "tests/bench/selfrec-burst.h"
#include "trace/loop_probes.h"

#define RATE 2000000

static void __attribute__((noinline)) fire_iteration(const void *ctx)
{
	probe_iteration_begin(ctx, LOOP_LOOP_KIND_AIO_POLL, 1);
	probe_timeout_chosen(ctx, -1, LOOP_CHOOSER_NOBODY, NULL, NULL);
	probe_poll_enter(ctx, 5, -1, LOOP_FDMON_POLL, 1, LOOP_HELD_NO);
	probe_poll_exit(ctx, 1);
	probe_fd_ready(ctx, 7, 1, 1);
	probe_handler_begin(ctx, &ctx, 7, LOOP_HANDLER_OP_READ, fire_iteration, NULL);
	probe_handler_end(ctx, &ctx, 7, LOOP_HANDLER_OP_READ, fire_iteration);
	probe_iteration_end(ctx, LOOP_LOOP_KIND_AIO_POLL, 1);
}

static double cost_of_clock(void)
{
	int64_t start = now_ns();

	for (int i = 0; i < 1000000; i++)
		now_ns();
	return (now_ns() - start) / 1e6;
}

static double cost_of_syscall(void)
{
	int64_t start = now_ns();

	for (int i = 0; i < 1000000; i++)
		syscall(SYS_getppid);
	return (now_ns() - start) / 1e6;
}

/* Each iteration when its time has come: RATE events a second, late ones in a row. */
static uint64_t fire_paced(int seconds)
{
	uint64_t iterations = (uint64_t)seconds * RATE / KINDS;
	int64_t start = now_ns();

	for (uint64_t i = 0; i < iterations; i++) {
		while (now_ns() < start + (int64_t)(i * KINDS * 1000000000LL / RATE))
			;
		fire_iteration(&iterations);
	}
	return iterations * KINDS;
}

static void failed(int err)
{
	fprintf(stderr, "selfrec: %s\n", strerror(-err));
	exit(1);
}

int main(int argc, char **argv)
{
	int seconds = argc > 2 ? atoi(argv[2]) : 5;
	uint64_t fired, burst_events = (uint64_t)BURST * BURSTS;
	SelfRecordStats stats;
	Cost idle, recorded;
	int64_t start;

	if (argc < 2) {
		fprintf(stderr, "usage: selfrec DIR [SECONDS]\n");
		return 2;
	}
	idle = measure(fire_iteration, 0);
	self_record_begin(argv[1], SELF_RECORD_BUFFER, failed, &error_fatal);
	measure(fire_iteration, 1000); /* once through the ring: its pages are there */
	recorded = measure(fire_iteration, 1000);
	start = now_ns();
	fired = fire_paced(seconds);
	printf("paced    %" PRIu64 " events in %.2f s", fired, (now_ns() - start) / 1e9);
	self_record_end(&stats);
	printf(" (%d a second wanted)\n", RATE);
	printf("lost     %" PRIu64 " of %" PRIu64 "\n", stats.lost, fired + 2 * burst_events);
	printf("added    %.1f ns an event in the fastest burst, %.1f in the middle one\n",
	       recorded.fastest - idle.fastest, recorded.middle - idle.middle);
	printf("beside   %.1f ns a probe nobody listens to, %.1f ns reading the clock,"
	       " %.1f ns a bare system call\n",
	       idle.middle, cost_of_clock(), cost_of_syscall());
	return 0;
}
