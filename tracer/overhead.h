/* SPDX-License-Identifier: MIT */
/*
 * What watching costs a target, and what a budget allows.
 *
 * A hit of a probe costs the thread that hits it a trap and what the bpf program does. That is
 * measured here, on this machine, with the very program, in a child of our own: never in the
 * target. With the rate of hits it gives the share of one processor that the target loses.
 */
#ifndef TRACER_OVERHEAD_H
#define TRACER_OVERHEAD_H

#include <bpf/libbpf.h>
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "tracer/failure.h"
#include "tracer/site.h"

/* Of one hit, in ns: where the kernel emulates the probed instruction, and where it steps it. */
struct overhead_cost {
	double emulated_ns, stepped_ns;
};

/* One more copy of a command's program, for the process @pid. */
struct overhead_program {
	void *object;
	struct bpf_program *prog;
	void (*destroy)(void *object);
};

/* The cookies of the probes that a copy gets hits of. */
enum { OVERHEAD_BEGIN, OVERHEAD_END, OVERHEAD_STEPPED, OVERHEAD_SITES };

typedef int overhead_load(pid_t pid, struct overhead_program *ret, struct failure *why);

/*
 * Measure what a hit costs, in some 50 ms. Errors: those of @load and of attach_sites(), -EIO (the
 * child did not answer).
 */
int overhead_measure(overhead_load *load, struct overhead_cost *ret, struct failure *why);

/* The share of a processor, in percent, that a target with work of its own loses to so many hits a
 * second: more than they cost in the loop where they were measured. */
double overhead_percent(const struct overhead_cost *cost, double emulated, double stepped);

struct overhead_site {
	struct site site;
	bool ends;     /* where its calls come back to is wanted, too */
	uint64_t hits; /* the result */
};

/* So many of the hits of site number @site come back to @addr. */
struct overhead_end {
	size_t site;
	uint64_t addr, hits;
};

/*
 * Count the hits of @sites in process @pid for @ms milliseconds, by a program that does nothing
 * else. *ret_ends, to be freed, has struct overhead_end. Errors: those of attach_sites().
 */
int overhead_count(pid_t pid, struct overhead_site *sites, size_t n, int ms, GArray **ret_ends,
		   double *ret_seconds, struct failure *why);

/*
 * What may be left out of a recording: a unit is whatever makes sense only together, such as the
 * begins and ends of a callback.
 */
struct overhead_unit {
	int rank;	/* the higher, the sooner it is left out; 0: never */
	double percent; /* what it costs */
	bool left_out;	/* the result */
};

/*
 * Leave out the dearest units of the highest rank, then of the next, until the rest costs at most
 * @budget percent; what costs nothing stays, and what there is room for again. Returns what the
 * rest costs.
 */
double overhead_choose(struct overhead_unit *units, size_t n, double budget);

#endif
