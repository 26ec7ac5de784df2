// SPDX-License-Identifier: MIT
/*
 * SPIN: a loop that never sleeps and gets nothing done.
 *
 * Suspicion: in both halves of the visit its thread turned all the time, on a CPU, and hardly ever
 * slept in a poll. So does a loop under load. What tells them apart has to be proven, in a further
 * half second: that what keeps it awake (doctor-spin-*.c) did so in every single turn, and that
 * nobody took any data from it. No proof, no verdict.
 */
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "tracer/doctor-spin.h"

#define MIN_TURNS_PER_S 100
#define MIN_ARMED_PER_S 1000
#define PROOF_STEPS	10
#define PROOF_STEP_US	50000
#define MAX_LEVELS	64

bool is_all(uint64_t part, uint64_t whole)
{
	return whole && part * 100 >= whole * 99;
}

bool is_eventfd(const struct doctor *d, int fd)
{
	return !strcmp(fds_get(d->fds, fd)->kind, "eventfd");
}

bool in_every_turn(const struct proof *proof, uint64_t n, uint64_t from_turn, uint64_t to_turn)
{
	uint64_t turns = to_turn - from_turn;

	/* The last time it was counted is the last turn, but for what went on while it was read. */
	return is_all(n, turns) && 2 * turns >= proof->turns &&
	       to_turn * 10 >= proof->last_turn * 9;
}

static bool per_second(uint64_t n, int64_t ns, uint64_t at_least)
{
	return n * 1000000000ULL >= (uint64_t)ns * at_least;
}

static struct counts *counts_read(const struct doctor *d)
{
	struct counts *c = g_new(struct counts, 1);

	c->at_ns = doctor_now_ns();
	c->fds = watch_read_fds(d->watch);
	c->bhs = watch_read_bhs(d->watch);
	c->timers = watch_read_timers(d->watch);
	c->sources = watch_read_sources(d->watch);
	return c;
}

static void counts_free(struct counts *c)
{
	if (!c)
		return;
	g_array_free(c->fds, TRUE);
	g_array_free(c->bhs, TRUE);
	g_array_free(c->timers, TRUE);
	g_array_free(c->sources, TRUE);
	g_free(c);
}

static struct watch_thread thread_counts(const struct doctor *d, pid_t tid)
{
	struct watch_thread w = { 0 };

	watch_read_thread(d->watch, tid, &w);
	return w;
}

static void note_counts(struct doctor *d)
{
	for (size_t i = 0; i < d->patients->len; i++) {
		struct patient *p = d->patients->pdata[i];

		p->half = thread_counts(d, p->tid);
		p->at_half = p->now;
	}
	d->half_ns = doctor_now_ns();
}

void spin_half(struct doctor *d)
{
	note_counts(d);
}

/* On a CPU for most of the time in which it could have been. */
static bool runs(const struct thread_now *from, const struct thread_now *to, int64_t ns)
{
	int64_t ran = (int64_t)(to->run_ns - from->run_ns);
	int64_t queued = (int64_t)(to->delay_ns - from->delay_ns);

	return ran > 0 && 2 * ran >= ns - queued;
}

static bool turns_without_sleep(const struct watch_thread *from, const struct watch_thread *to,
				int64_t ns)
{
	uint64_t turns = to->turns - from->turns, slept = to->slept - from->slept;

	return per_second(turns, ns, MIN_TURNS_PER_S) && slept * 100 <= turns;
}

/* A timer that is armed in the past in its own callback may never let its thread poll again. */
static bool turns_in_timers(const struct doctor *d, pid_t tid)
{
	GArray *timers = watch_read_timers(d->watch);
	int64_t ns = doctor_now_ns() - d->start_ns;
	bool turns = false;

	for (size_t i = 0; i < timers->len && !turns; i++) {
		const struct watch_timer *t = &g_array_index(timers, struct watched_timer, i).value;

		turns = t->tid == (uint32_t)tid && per_second(t->armed, ns, MIN_ARMED_PER_S);
	}
	g_array_free(timers, TRUE);
	return turns;
}

static bool is_suspect(const struct doctor *d, const struct patient *p)
{
	static const struct watch_thread none;
	struct watch_thread now = thread_counts(d, p->tid);
	int64_t first = d->half_ns - d->start_ns, second = doctor_now_ns() - d->half_ns;

	if (!p->at_half.tid || !runs(&p->at_start, &p->at_half, first) ||
	    !runs(&p->at_half, &p->now, second))
		return false;
	return (turns_without_sleep(&none, &p->half, first) &&
		turns_without_sleep(&p->half, &now, second)) ||
	       turns_in_timers(d, p->tid);
}

/* Clocks other than the kernel's have to be learnt before "in the past" can be told. */
static void learn_clocks(struct doctor *d)
{
	GArray *timers = watch_read_timers(d->watch);
	int64_t ns = doctor_now_ns() - d->start_ns, offset;

	for (size_t i = 0; i < timers->len; i++) {
		const struct watch_timer *t = &g_array_index(timers, struct watched_timer, i).value;

		if (per_second(t->armed, ns, MIN_TURNS_PER_S))
			watch_learn_clock(d->watch, t->clock, 100, &offset);
	}
	g_array_free(timers, TRUE);
}

static void find_levels(const struct counts *c, GArray *levels)
{
	for (size_t i = 0; i < c->fds->len; i++) {
		const struct watched_fd *fd = &g_array_index(c->fds, struct watched_fd, i);
		struct level level = { .fd = fd->key.fd, .last = -1 };

		if (fd->value.ready >= MIN_TURNS_PER_S && levels->len < MAX_LEVELS)
			g_array_append_val(levels, level);
	}
}

/* What each descriptor that was often ready holds, again and again: it must never get less. */
static void look_at_levels(struct doctor *d, struct proof *proof)
{
	for (size_t i = 0; i < proof->levels->len; i++) {
		struct level *level = &g_array_index(proof->levels, struct level, i);
		int64_t now = spin_fd_level(d, level->fd);

		level->fell |= now < level->last;
		level->last = now;
	}
}

static int gather(struct doctor *d, struct proof *proof)
{
	int err;

	learn_clocks(d);
	err = watch_io_start(d->watch, NULL);
	if (err)
		return err;
	note_counts(d);
	proof->before = counts_read(d);
	find_levels(proof->before, proof->levels);
	for (int i = 0; i < PROOF_STEPS; i++) {
		look_at_levels(d, proof);
		usleep(PROOF_STEP_US);
	}
	look_at_levels(d, proof);
	proof->after = counts_read(d);
	for (size_t i = 0; i < d->patients->len; i++) {
		struct patient *p = d->patients->pdata[i];

		p->done = thread_counts(d, p->tid);
	}
	watch_io_stop(d->watch);
	proof->ios = watch_read_ios(d->watch);
	return 0;
}

bool is_own_fd(const struct doctor *d, int fd)
{
	for (size_t i = 0; i < d->loops->contexts->len; i++)
		if (((struct context *)d->loops->contexts->pdata[i])->notifier_fd == fd)
			return true;
	for (size_t i = 0; i < d->loops->gcontexts->len; i++)
		if (((struct loop_gcontext *)d->loops->gcontexts->pdata[i])->wakeup_fd == fd)
			return true;
	return false;
}

static void count_turns(const struct doctor *d, const struct patient *p, struct proof *proof)
{
	uint64_t polls = p->done.polls - p->half.polls;

	proof->turns = p->done.turns - p->half.turns;
	proof->last_turn = p->done.turns;
	/* A turn without a poll had no time to wait for anything. */
	proof->zero =
		p->done.zero - p->half.zero + (proof->turns > polls ? proof->turns - polls : 0);
	proof->seconds = (double)(proof->after->at_ns - proof->before->at_ns) / 1e9;
	proof->moved = 0;
	for (size_t i = 0; i < proof->ios->len; i++) {
		const struct watched_io *io = &g_array_index(proof->ios, struct watched_io, i);

		if (io->key.tid != (uint32_t)p->tid || is_own_fd(d, io->key.fd))
			continue;
		proof->moved += io->value.in;
		if (!is_eventfd(d, io->key.fd))
			proof->moved += io->value.out;
	}
}

struct finding *spin_finding(struct doctor *d, struct patient *p, const struct proof *proof)
{
	struct finding *f = finding_new(d, "SPIN", p);

	f->span = g_strdup_printf("%.0f turns a second, hardly one asleep",
				  (double)proof->turns / proof->seconds);
	return f;
}

static bool explain(struct doctor *d, struct patient *p, struct proof *proof)
{
	count_turns(d, p, proof);
	return spin_by_timer(d, p, proof) || spin_by_fd(d, p, proof) || spin_by_bh(d, p, proof) ||
	       spin_by_source(d, p, proof) || spin_by_nothing(d, p, proof);
}

void spin_conclude(struct doctor *d)
{
	struct proof proof = { .levels = g_array_new(FALSE, TRUE, sizeof(struct level)) };
	GPtrArray *suspects = g_ptr_array_new();

	for (size_t i = 0; i < d->patients->len; i++)
		if (is_suspect(d, d->patients->pdata[i]))
			g_ptr_array_add(suspects, d->patients->pdata[i]);
	/* Who owns a descriptor is told by the poll sets, also of those that never sleep. */
	if (suspects->len && !gather(d, &proof) && !doctor_read_busy_loops(d, NULL)) {
		for (size_t i = 0; i < suspects->len; i++) {
			struct patient *p = suspects->pdata[i];

			p->spins = explain(d, p, &proof);
		}
	}
	if (proof.ios)
		g_array_free(proof.ios, TRUE);
	counts_free(proof.before);
	counts_free(proof.after);
	g_array_free(proof.levels, TRUE);
	g_ptr_array_free(suspects, TRUE);
}
