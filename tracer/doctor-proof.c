// SPDX-License-Identifier: MIT
/*
 * Gathering the proof that a loop spins: half a second in which everything is counted, also what
 * would cost a healthy loop too much, system calls on descriptors among it.
 */
#include <string.h>
#include <unistd.h>

#include "tracer/clock.h"
#include "tracer/doctor-spin.h"

#define OFTEN_PER_S   100
#define PROOF_STEPS   10
#define PROOF_STEP_US 50000
#define MAX_LEVELS    64

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
	/* Where nothing was counted before, it began with the first turn. */
	uint64_t turns = to_turn - (from_turn ? from_turn : proof->first_turn);

	if (proof->silent)
		return is_all(n, proof->turns);
	/* The last time it was counted is the last turn, but for what went on while it was read. */
	return is_all(n, turns) && 2 * turns >= proof->turns &&
	       to_turn * 10 >= proof->last_turn * 9;
}

static struct counts *counts_read(const struct doctor *d)
{
	struct counts *c = g_new(struct counts, 1);

	c->at_ns = now_ns();
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

struct watch_thread spin_thread_counts(const struct doctor *d, pid_t tid)
{
	struct watch_thread w = { 0 };

	watch_read_thread(d->watch, tid, &w);
	return w;
}

void spin_half(struct doctor *d)
{
	for (size_t i = 0; i < d->patients->len; i++) {
		struct patient *p = d->patients->pdata[i];

		p->half = spin_thread_counts(d, p->tid);
		p->at_half = p->now;
	}
	if (d->fds_at_half)
		g_array_free(d->fds_at_half, TRUE);
	d->fds_at_half = watch_read_fds(d->watch);
	d->half_ns = now_ns();
}

/* Clocks other than the kernel's have to be learnt before "in the past" can be told. */
static void learn_clocks(struct doctor *d)
{
	GArray *timers = watch_read_timers(d->watch);
	int64_t ns = now_ns() - d->start_ns, offset;

	for (size_t i = 0; i < timers->len; i++) {
		const struct watch_timer *t = &g_array_index(timers, struct watched_timer, i).value;

		if (t->armed * 1000000000ULL >= (uint64_t)ns * OFTEN_PER_S)
			watch_learn_clock(d->watch, t->clock, 100, &offset);
	}
	g_array_free(timers, TRUE);
}

static void find_levels(const struct counts *c, GArray *levels)
{
	for (size_t i = 0; i < c->fds->len; i++) {
		const struct watched_fd *fd = &g_array_index(c->fds, struct watched_fd, i);
		struct level level = { .fd = fd->key.fd, .last = -1 };

		if (fd->value.ready >= OFTEN_PER_S && levels->len < MAX_LEVELS)
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
		level->lowest = level->looks++ ? MIN(now, level->lowest) : now;
		level->last = now;
	}
}

static void add_dispatch(const struct doctor *d, const struct loop_source *s, GArray *functions)
{
	uint64_t dispatch = 0;

	target_read_u64(d->t, s->funcs + offsetof(GSourceFuncs, dispatch), &dispatch);
	for (size_t i = 0; i < functions->len; i++)
		if (g_array_index(functions, uint64_t, i) == dispatch)
			return;
	if (dispatch)
		g_array_append_val(functions, dispatch);
}

static int watch_suspects(struct doctor *d)
{
	GArray *functions = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	int err;

	for (size_t i = 0; i < d->loops->gcontexts->len; i++) {
		const struct loop_gcontext *g = d->loops->gcontexts->pdata[i];

		for (size_t k = 0; k < g->sources->len; k++) {
			const struct loop_source *s = g->sources->pdata[k];

			add_dispatch(d, s, functions);
		}
	}
	err = watch_callbacks(d->watch, functions, NULL);
	g_array_free(functions, TRUE);
	return err;
}

int proof_gather(struct doctor *d, struct proof *proof)
{
	int err;

	learn_clocks(d);
	err = d->proofs++ ? 0 : watch_suspects(d);
	if (err)
		return err;
	/* Each count needs one turn before it can be compared with another. */
	usleep(PROOF_STEP_US);
	err = watch_io_start(d->watch, NULL);
	if (!err)
		err = doctor_look(d, NULL);
	if (err)
		return err;
	spin_half(d);
	proof->hungry = starved_look(d);
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

		p->done = spin_thread_counts(d, p->tid);
	}
	doctor_look(d, NULL);
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

/* A source is dispatched at most once in a turn: so many there were at least. */
static unsigned long long turns_by_sources(const struct proof *proof, pid_t tid)
{
	unsigned long long most = 0;

	for (size_t i = 0; i < proof->after->sources->len; i++) {
		const struct watched_source *s =
			&g_array_index(proof->after->sources, struct watched_source, i);

		if (s->value.tid == (uint32_t)tid)
			most = MAX(most,
				   s->value.dispatched - spin_source_before(proof, s).dispatched);
	}
	return most;
}

void proof_of(const struct doctor *d, const struct patient *p, struct proof *proof)
{
	uint64_t polls = p->done.polls - p->half.polls;

	proof->turns = p->done.turns - p->half.turns;
	proof->first_turn = p->half.turns;
	proof->last_turn = p->done.turns;
	/* A turn without a poll had no time to wait for anything. */
	proof->zero =
		p->done.zero - p->half.zero + (proof->turns > polls ? proof->turns - polls : 0);
	proof->silent = !proof->turns;
	if (proof->silent)
		proof->turns = proof->zero = turns_by_sources(proof, p->tid);
	proof->turn_ns = proof->turns ? (p->now.run_ns - p->at_half.run_ns) / proof->turns : 0;
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

void proof_clear(struct proof *proof)
{
	counts_free(proof->before);
	counts_free(proof->after);
	if (proof->ios)
		g_array_free(proof->ios, TRUE);
	if (proof->hungry)
		g_array_free(proof->hungry, TRUE);
	g_array_free(proof->levels, TRUE);
}
