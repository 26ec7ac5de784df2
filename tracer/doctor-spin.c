// SPDX-License-Identifier: MIT
/*
 * SPIN: a loop that never sleeps and gets nothing done.
 *
 * Suspicion: in both halves of the visit its thread turned all the time, on a CPU, and hardly ever
 * slept in a poll. So does a loop under load. What tells them apart has to be proven, in a further
 * half second (doctor-proof.c): that what keeps it awake (doctor-spin-*.c) did so in every single
 * turn, and that nobody took any data from it. No proof, no verdict.
 */
#include "tracer/clock.h"
#include "tracer/doctor-glib.h"
#include "tracer/doctor-spin.h"

#define MIN_TURNS_PER_S 100
#define MIN_ARMED_PER_S 1000
#define MAX_PROOFS	3 /* on a busy machine one may fail for that alone */

static bool per_second(uint64_t n, int64_t ns, uint64_t at_least)
{
	return n * 1000000000ULL >= (uint64_t)ns * at_least;
}

/*
 * On a CPU for most of the time in which it could have been. A queue is counted only when it ends;
 * but who did not go to sleep by itself in all that time had no other time.
 */
static bool runs(const struct thread_now *from, const struct thread_now *to, int64_t ns)
{
	int64_t ran = (int64_t)(to->run_ns - from->run_ns);
	int64_t queued = (int64_t)(to->delay_ns - from->delay_ns);

	return ran > 0 && (2 * ran >= ns - queued || (from->state == 'R' && to->state == 'R' &&
						      from->switches == to->switches));
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
	int64_t ns = now_ns() - d->start_ns;
	bool turns = false;

	for (size_t i = 0; i < timers->len && !turns; i++) {
		const struct watch_timer *t = &g_array_index(timers, struct watched_timer, i).value;

		turns = t->tid == (uint32_t)tid && per_second(t->armed, ns, MIN_ARMED_PER_S);
	}
	g_array_free(timers, TRUE);
	return turns;
}

/*
 * A loop of GLib's does not even poll as long as what is ready has a higher priority than all that
 * has a descriptor, its own wake-up among them. Some context then is polled by nobody.
 */
static bool never_polls(const struct doctor *d, const struct patient *p,
			const struct watch_thread *now)
{
	if (!glib_only(d) || now->polls != p->half.polls)
		return false;
	for (size_t i = 0; i < d->loops->gcontexts->len; i++) {
		const struct loop_gcontext *g = d->loops->gcontexts->pdata[i];

		if (!g->tid)
			return true;
	}
	return false;
}

static bool is_suspect(const struct doctor *d, const struct patient *p)
{
	static const struct watch_thread none;
	struct watch_thread now = spin_thread_counts(d, p->tid);
	int64_t first = d->half_ns - d->start_ns, second = now_ns() - d->half_ns;

	if (!p->at_half.tid || !runs(&p->at_start, &p->at_half, first) ||
	    !runs(&p->at_half, &p->now, second))
		return false;
	return (turns_without_sleep(&none, &p->half, first) &&
		turns_without_sleep(&p->half, &now, second)) ||
	       turns_in_timers(d, p->tid) || never_polls(d, p, &now);
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
	proof_of(d, p, proof);
	return starved_by_source(d, p, proof) || spin_by_timer(d, p, proof) ||
	       spin_by_fd(d, p, proof) || spin_by_bh(d, p, proof) || spin_by_source(d, p, proof) ||
	       spin_by_nothing(d, p, proof);
}

/* It wanted a CPU and got none in a fifth of the time and more. */
static bool was_kept_off(const struct patient *p, const struct proof *proof)
{
	int64_t ns = proof->after->at_ns - proof->before->at_ns;

	return (int64_t)(p->now.delay_ns - p->at_half.delay_ns) * 5 > ns;
}

/* Takes from @suspects whoever needs no further proof. */
static int prove(struct doctor *d, GPtrArray *suspects)
{
	struct proof proof = { .levels = g_array_new(FALSE, TRUE, sizeof(struct level)) };
	int err = proof_gather(d, &proof);

	/* Who owns a descriptor is told by the poll sets, also of those that never sleep. */
	if (!err)
		err = doctor_read_busy_loops(d, NULL);
	for (size_t i = suspects->len; !err && i-- > 0;) {
		struct patient *p = suspects->pdata[i];

		p->spins = doctor_has_finding(d, p->tid, "DEAD FD") ||
			   (p->may_spin && explain(d, p, &proof)) || flood_explain(d, p, &proof);
		if (p->spins || !was_kept_off(p, &proof))
			g_ptr_array_remove_index(suspects, i);
	}
	proof_clear(&proof);
	return err;
}

void spin_conclude(struct doctor *d)
{
	GPtrArray *suspects = g_ptr_array_new();
	int err = 0;

	d->looked_ns = now_ns();
	for (size_t i = 0; i < d->patients->len; i++) {
		struct patient *p = d->patients->pdata[i];

		p->may_spin = is_suspect(d, p);
		if (p->may_spin || flood_is_suspect(d, p))
			g_ptr_array_add(suspects, p);
	}
	for (int i = 0; !err && i < MAX_PROOFS && suspects->len; i++)
		err = prove(d, suspects);
	g_ptr_array_free(suspects, TRUE);
}
