// SPDX-License-Identifier: MIT
/* A GSource that is always ready; and, where nothing that can be counted happens, that it spins at
 * all. */
#include <string.h>

#include "tracer/describe.h"
#include "tracer/doctor-glib.h"
#include "tracer/doctor-spin.h"

struct watch_source spin_source_before(const struct proof *proof, const struct watched_source *w)
{
	static const struct watch_source none;

	for (size_t i = 0; i < proof->before->sources->len; i++) {
		const struct watched_source *was =
			&g_array_index(proof->before->sources, struct watched_source, i);

		if (was->source == w->source)
			return was->value;
	}
	return none;
}

/* Was a descriptor of this thread ready more than now and then? Then it may be the reason. */
static bool some_fd_is_ready(const struct doctor *d, const struct patient *p,
			     const struct proof *proof)
{
	for (size_t i = 0; i < proof->after->fds->len; i++) {
		const struct watched_fd *fd =
			&g_array_index(proof->after->fds, struct watched_fd, i);

		if (fd->key.tid == (uint32_t)p->tid && !is_own_fd(d, fd->key.fd) &&
		    (fd->value.ready - spin_fd_before(proof, &fd->key).ready) * 10 > proof->turns)
			return true;
	}
	return false;
}

#define WORK_NS	      (100 * 1000) /* a turn that takes so long may get something done */
#define AT_ONCE_PER_S 1500	   /* no timeout of a millisecond and more is due that often */

/* Why a source of one of GLib's own kinds is ready each time, and what to do; by what is known of
 * the kind. */
static const char *always(const struct doctor *d, const struct loop_source *s,
			  const struct proof *proof, unsigned long long n, const char **ret_advice)
{
	const char *kind = loops_source_kind(d->loops, s);

	if (!g_strcmp0(kind, "timeout")) {
		*ret_advice = "Give it an interval, or let the event that it looks for call it; "
			      "an interval of 0 is an idle source of high priority.";
		return (double)n > AT_ONCE_PER_S * proof->seconds
			       ? "is due again at once: a timeout of 0 ms"
			       : "is due in every turn";
	}
	if (!g_strcmp0(kind, "idle")) {
		*ret_advice = "Its callback has to return G_SOURCE_REMOVE when there is nothing "
			      "more to do, and be added again when there is.";
		return "is an idle source that stays";
	}
	if (!kind && glib_ready_now(d, s) >= 0) {
		*ret_advice = "Its dispatch() has to set the next ready time, or -1: "
			      "g_source_set_ready_time().";
		return "is due in every turn: its ready time has come and stays";
	}
	*ret_advice = "Its prepare() or check() must say ready only when there is something to be "
		      "done.";
	return "is always ready";
}

static bool explain_source(struct doctor *d, struct patient *p, const struct proof *proof,
			   const struct watched_source *w)
{
	struct watch_source was = spin_source_before(proof, w);
	unsigned long long n = w->value.dispatched - was.dispatched;
	const struct loop_gcontext *g;
	const struct loop_source *s = glib_source_at(d, w->source, &g);
	char *name, *words, *prepare;
	struct finding *f;
	const char *why;

	if (!s || s->is_aio_context || !in_every_turn(proof, n, was.turn, w->value.turn) ||
	    proof->moved * 10 > n || proof->turn_ns > WORK_NS || some_fd_is_ready(d, p, proof))
		return false;
	name = glib_source_name(d, s);
	words = glib_source_words(d, g, s);
	f = spin_finding(d, p, proof);
	why = always(d, s, proof, n, &f->advice);
	f->culprit = g_strdup_printf("%s %s", name, why);
	finding_say(f, "it is %s", words);
	if (!loops_source_kind(d->loops, s)) {
		prepare = describe_callback(d->loops, s->prepare);
		finding_say(f, "its prepare() is %s", prepare ?: "not set");
		g_free(prepare);
	}
	if (proof->silent)
		finding_say(f,
			    "dispatched %llu times in %.1f s, and the loop did not even poll: "
			    "nothing of lower priority was looked at",
			    n, proof->seconds);
	else
		finding_say(f,
			    "dispatched %llu times in %llu turns of %.1f s; %llu of them had "
			    "timeout 0",
			    n, proof->turns, proof->seconds, proof->zero);
	if (!proof->silent)
		finding_say(f, "no descriptor was ready in more than a tenth of them");
	finding_say(f, "the thread moved data in %llu system calls meanwhile", proof->moved);
	g_free(name);
	g_free(words);
	return true;
}

bool spin_by_source(struct doctor *d, struct patient *p, const struct proof *proof)
{
	for (size_t i = 0; i < proof->after->sources->len; i++) {
		const struct watched_source *s =
			&g_array_index(proof->after->sources, struct watched_source, i);

		if (s->value.tid == (uint32_t)p->tid && explain_source(d, p, proof, s))
			return true;
	}
	return false;
}

/* --- a timeout of 0 that nothing explains --------------------------------------------------- */

/* Did anything that is counted happen in more than a tenth of the turns? */
static bool something_happens(const struct doctor *d, const struct patient *p,
			      const struct proof *proof)
{
	unsigned long long n = proof->moved;

	for (size_t i = 0; i < proof->after->bhs->len; i++) {
		const struct watched_bh *w =
			&g_array_index(proof->after->bhs, struct watched_bh, i);
		struct watch_bh b = w->value;

		spin_bh_since(proof, &w->key, &b);
		n += b.scheduled + b.calls;
	}
	for (size_t i = 0; i < proof->after->timers->len; i++) {
		const struct watched_timer *w =
			&g_array_index(proof->after->timers, struct watched_timer, i);
		struct watch_timer t = w->value;

		spin_timer_since(proof, w->timer, &t);
		n += t.armed;
	}
	for (size_t i = 0; i < proof->after->sources->len; i++) {
		const struct watched_source *s =
			&g_array_index(proof->after->sources, struct watched_source, i);

		const struct loop_source *source = glib_source_at(d, s->source, NULL);

		/* An AioContext's dispatch is no event: what it calls is counted. */
		if (source && source->is_aio_context)
			continue;
		n += s->value.dispatched - spin_source_before(proof, s).dispatched;
	}
	return n * 10 > proof->turns || some_fd_is_ready(d, p, proof);
}

bool spin_by_nothing(struct doctor *d, struct patient *p, const struct proof *proof)
{
	struct finding *f;

	if (!is_all(proof->zero, proof->turns) || something_happens(d, p, proof))
		return false;
	f = spin_finding(d, p, proof);
	f->culprit = g_strdup("unproven: something asks for a timeout of 0 in every turn");
	finding_say(f, "%llu of %llu turns of %.1f s had timeout 0", proof->zero, proof->turns,
		    proof->seconds);
	finding_say(f, "no descriptor was ready, no bottom half scheduled, no timer armed and no "
		       "source dispatched in more than a tenth of them");
	f->advice = "Look at what may choose the timeout without doing anything: prepare() of the "
		    "GSources, poll notifiers, a nonblocking main_loop_wait().";
	return true;
}
