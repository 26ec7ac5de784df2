// SPDX-License-Identifier: MIT
/*
 * What one hit costs, measured in a child that hits the probes of its own code. See overhead.h.
 */
#include <errno.h>
#include <glib.h>
#include <link.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tracer/attach.h"
#include "tracer/overhead.h"

#define ROUNDS	9   /* their median: others use the machine too */
#define HITS	300 /* of a pair, in a round */
#define STEPPED 60

/* The places of the probes: a nop, which the kernel emulates, and a move, which it steps. */
extern const char overhead_begin_site[], overhead_end_site[], overhead_stepped_site[];

/* As a callback's probes: begin and end, each with a function and an object. */
static __attribute__((noinline)) void hit_pair(uint64_t a, uint64_t b, uint64_t c)
{
	__asm__ volatile("overhead_begin_site: nop\n\t"
			 "overhead_end_site: nop"
			 :
			 : "D"(a), "S"(b), "d"(c)
			 : "memory");
}

static __attribute__((noinline)) void hit_stepped(uint64_t a, uint64_t b, uint64_t c)
{
	__asm__ volatile("overhead_stepped_site: movl $0, %%eax"
			 :
			 : "D"(a), "S"(b), "d"(c)
			 : "memory", "eax");
}

/* --- the child --- */

struct times {
	double pair_ns, stepped_ns;
};

/* Of this thread only: others use the machine meanwhile. */
static int64_t processor_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

static struct times run_once(void)
{
	int64_t begin = processor_ns(), middle;

	for (int i = 0; i < HITS; i++)
		hit_pair(1, 2, 3);
	middle = processor_ns();
	for (int i = 0; i < STEPPED; i++)
		hit_stepped(1, 2, 3);
	return (struct times){ (double)(middle - begin) / HITS,
			       (double)(processor_ns() - middle) / STEPPED };
}

/* A byte asks for a round; the end of the pipe ends it. */
static void serve(int in, int out)
{
	struct times times;
	char byte;

	while (read(in, &byte, 1) == 1) {
		times = run_once();
		if (write(out, &times, sizeof(times)) != sizeof(times))
			break;
	}
	_exit(0);
}

struct child {
	pid_t pid;
	int in, out; /* of ours: where it is asked, where it answers */
};

static int start(struct child *child, struct failure *why)
{
	int ask[2] = { -1, -1 }, answer[2] = { -1, -1 };

	if (pipe(ask) || pipe(answer)) {
		close(ask[0]);
		close(ask[1]);
		return fail(why, -errno, "pipe: %s", strerror(errno));
	}
	child->pid = fork();
	if (!child->pid) {
		close(ask[1]);
		close(answer[0]);
		serve(ask[0], answer[1]);
	}
	close(ask[0]);
	close(answer[1]);
	child->in = ask[1];
	child->out = answer[0];
	return child->pid < 0 ? fail(why, -errno, "fork: %s", strerror(errno)) : 0;
}

static void stop(const struct child *child)
{
	close(child->in);
	close(child->out);
	if (child->pid > 0)
		waitpid(child->pid, NULL, 0);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* The medians of some rounds; the first warms up. */
static int time_rounds(const struct child *child, struct times *ret, struct failure *why)
{
	double pair[ROUNDS], stepped[ROUNDS];
	struct times t;

	for (int i = -1; i < ROUNDS; i++) {
		if (write(child->in, "", 1) != 1 || read(child->out, &t, sizeof(t)) != sizeof(t))
			return fail(why, -EIO, "the child that measures probes has ended");
		if (i < 0)
			continue;
		pair[i] = t.pair_ns;
		stepped[i] = t.stepped_ns;
	}
	qsort(pair, ROUNDS, sizeof(pair[0]), by_value);
	qsort(stepped, ROUNDS, sizeof(stepped[0]), by_value);
	*ret = (struct times){ pair[ROUNDS / 2], stepped[ROUNDS / 2] };
	return 0;
}

/* --- the probes --- */

/* Where this program lies: of the first object that the linker tells of, which is the program. */
static int take_bias(struct dl_phdr_info *info, size_t size, void *bias)
{
	(void)size;
	*(uint64_t *)bias = info->dlpi_addr;
	return 1;
}

static int find_sites(const struct image *self, struct site *sites)
{
	const char *const places[OVERHEAD_SITES] = { [OVERHEAD_BEGIN] = overhead_begin_site,
						     [OVERHEAD_END] = overhead_end_site,
						     [OVERHEAD_STEPPED] = overhead_stepped_site };
	uint64_t bias = 0;

	dl_iterate_phdr(take_bias, &bias);
	for (int i = 0; i < OVERHEAD_SITES; i++) {
		sites[i] = (struct site){ .img = self,
					  .link = (uintptr_t)places[i] - bias,
					  .cookie = i,
					  .emulated = i != OVERHEAD_STEPPED };
		if (image_file_offset(self, sites[i].link, &sites[i].offset))
			return -ENOENT;
	}
	return 0;
}

static int measure(overhead_load *load, const struct child *child, const struct site *sites,
		   struct overhead_cost *ret, struct failure *why)
{
	struct overhead_program copy = { 0 };
	struct attachment *attachment = NULL;
	struct times without = { 0 }, with = { 0 };
	int err = time_rounds(child, &without, why);

	if (!err)
		err = load(child->pid, &copy, why);
	if (!err)
		err = attach_sites(copy.prog, ATTACH_BEST, child->pid, sites, OVERHEAD_SITES,
				   &attachment, why);
	if (!err)
		err = time_rounds(child, &with, why);
	attach_remove(attachment);
	if (copy.destroy)
		copy.destroy(copy.object);
	if (err)
		return err;
	ret->emulated_ns = MAX((with.pair_ns - without.pair_ns) / 2, 1);
	ret->stepped_ns = MAX(with.stepped_ns - without.stepped_ns, ret->emulated_ns);
	return 0;
}

int overhead_measure(overhead_load *load, struct overhead_cost *ret, struct failure *why)
{
	struct site sites[OVERHEAD_SITES];
	struct image *self = NULL;
	struct child child = { -1, -1, -1 };
	int err = image_open_file("/proc/self/exe", &self, why);

	if (!err && find_sites(self, sites))
		err = fail(why, -ENOENT, "the probes of this program are not in its file");
	if (!err)
		err = start(&child, why);
	if (!err)
		err = measure(load, &child, sites, ret, why);
	stop(&child);
	image_close(self);
	return err;
}
