// SPDX-License-Identifier: MIT
/*
 * What is seen of a stall while it lasts: the stack that the kernel copied, of a thread that ran,
 * or that is taken here, of one that sleeps on. See stalls-inside.h.
 */
#include <bpf/bpf.h>
#include <string.h>

#include "bpf/stalls.skel.h"
#include "tracer/clock.h"
#include "tracer/stalls-inside.h"

#define BACKLOG_NS (100 * 1000000LL) /* the tables are not read more often */
#define MAX_MISSES 50 /* stacks of a thread that neither say that it is a loop nor that not */

static void set_view(struct watched *w, int which, struct stall_view *v)
{
	/* Those of an earlier time away go. */
	for (int i = 0; i < 2; i++) {
		if (w->views[i] && (i == which || w->views[i]->seq != v->seq)) {
			stall_view_free(w->views[i]);
			w->views[i] = NULL;
		}
	}
	w->views[which] = v;
}

/* Reading the tables takes milliseconds: not for each of many stalls. */
static void add_backlog(struct stalls *s, const struct watched *w, struct stall_view *v)
{
	struct stalls_thread t;

	if (now_ns() < s->backlog_ns + BACKLOG_NS)
		return;
	stall_view_add_backlog(s->d, v, w->tid);
	s->backlog_ns = now_ns();
	/* It has come back meanwhile: then what was read is of another time. */
	if (!stalls_look_up(s, w->tid, &t) || !t.away.begin_ns || t.away.seq != v->seq)
		v->backlog.known = false;
}

void stalls_take_stack(struct stalls *s, const struct stalls_stack *in)
{
	struct watched *w = stalls_find(s, (pid_t)in->tid);
	struct stall_view *v;
	struct stack stack;
	struct where where;

	if (!w || stacks_unwind(s->d->stacks, &in->copy, &stack))
		return;
	if (in->at_exit)
		stack.thread.state = 'S';
	if (doctor_is_own_wait(s->d, &stack)) { /* one that was not known */
		w->void_seq = in->seq;
		stalls_learn_own(s, w, stack.thread.sp);
		return;
	}
	doctor_where(s->d, &stack, &where);
	if (where.busy_polling) {
		w->void_seq = in->seq;
		return;
	}
	if (!s->views)
		return;
	/* What was seen in its sleep says more: whose lock, what was left waiting. */
	if (in->at_exit && w->views[SLEPT] && w->views[SLEPT]->seq == in->seq)
		return;
	v = stall_view_new(s->d, &stack, in->at_exit);
	v->seq = in->seq;
	v->away_ns = in->away_ns;
	add_backlog(s, w, v);
	set_view(w, in->at_exit ? SLEPT : RAN, v);
}

static struct stall_view *view_of(const struct watched *w, const struct stalls_away *away)
{
	bool ran = away->ns[STALLS_RUNNING] + away->ns[STALLS_RUNNABLE] >
		   away->ns[STALLS_BLOCKED] + away->ns[STALLS_STOPPED];
	struct stall_view *v = w->views[ran ? RAN : SLEPT], *other = w->views[ran ? SLEPT : RAN];

	if (v && v->seq == away->seq)
		return v;
	return other && other->seq == away->seq ? other : NULL;
}

void stalls_tell(struct stalls *s, const struct watched *w, const struct stalls_away *away,
		 bool since_attach, int64_t end_ns, bool goes_on)
{
	struct patient *p = doctor_patient(s->d, w->tid);
	struct stall stall = { .tid = w->tid,
			       .role = p ? doctor_role(s->d, p) : "thread",
			       .since_attach = since_attach,
			       .goes_on = goes_on,
			       .begin_ns = away->begin_ns,
			       .ns = end_ns - (int64_t)away->begin_ns,
			       .view = view_of(w, away) };

	for (int i = 0; i < STALLS_STATES; i++)
		stall.split[i] = (int64_t)away->ns[i];
	memcpy(stall.calls, away->calls, sizeof(stall.calls));
	s->took(s->data, &stall);
}

/* A thread that sleeps on, for twice as long as when its stack was taken last. */
static bool is_due(const struct stalls *s, const struct watched *w, const struct stalls_thread *t)
{
	int64_t away = now_ns() - (int64_t)t->away.begin_ns;
	int64_t then = (int64_t)w->sampled_ns - (int64_t)t->away.begin_ns;

	/* Who wants no stack of a stall may still need one of what could be its own wait. */
	if (!s->views && !is_wait_call(t->nr) && t->nr != NR_RESTART_SYSCALL)
		return false;
	return t->away.begin_ns && t->away.seq != w->void_seq && t->state != STALLS_RUNNING &&
	       away >= s->min_ns && (then < 0 || away >= 2 * then);
}

void stalls_sample(struct stalls *s, struct watched *w)
{
	struct stalls_thread t, again;
	struct stall_view *v;
	struct stack stack;

	if (!stalls_look_up(s, w->tid, &t))
		return;
	if (!w->knows_own && !t.away.begin_ns && w->misses < MAX_MISSES) {
		w->misses++;
		if (!stacks_take(s->d->stacks, w->tid, 1, &stack, NULL) &&
		    doctor_is_own_wait(s->d, &stack))
			stalls_learn_own(s, w, stack.thread.sp);
		return;
	}
	if (!is_due(s, w, &t))
		return;
	doctor_look(s->d, NULL); /* whose lock, and who waits, is told by what they do now */
	if (stacks_take(s->d->stacks, w->tid, STALLS_TAKE_MS, &stack, NULL))
		return;
	ring_buffer__consume(s->ring);
	if (!stalls_look_up(s, w->tid, &again) || again.away.seq != t.away.seq ||
	    !again.away.begin_ns)
		return;
	w->sampled_ns = now_ns();
	if (stack.thread.state == 'T')
		return; /* whoever stopped it is to blame, whatever it was in */
	if (doctor_is_own_wait(s->d, &stack)) {
		w->void_seq = t.away.seq;
		stalls_learn_own(s, w, stack.thread.sp);
		return;
	}
	if (!s->views)
		return;
	v = stall_view_new(s->d, &stack, false);
	v->seq = t.away.seq;
	v->away_ns = w->sampled_ns - t.away.begin_ns;
	add_backlog(s, w, v);
	set_view(w, stack.thread.state == 'R' ? RAN : SLEPT, v);
}
