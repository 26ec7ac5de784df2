// SPDX-License-Identifier: MIT
/* A GSource that is always ready; and, where nothing that can be counted happens, that it spins at
 * all. */
#include <string.h>

#include "tracer/describe.h"
#include "tracer/doctor-spin.h"

static const struct loop_source *find_source(const struct doctor *d, uint64_t addr)
{
	for (size_t i = 0; i < d->loops->gcontexts->len; i++) {
		const struct loop_gcontext *g = d->loops->gcontexts->pdata[i];

		for (size_t k = 0; k < g->sources->len; k++) {
			const struct loop_source *s = g->sources->pdata[k];

			if (s->addr == addr)
				return s;
		}
	}
	return NULL;
}

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

static uint64_t source_function(const struct doctor *d, const struct loop_source *s, size_t member)
{
	uint64_t addr = 0;

	target_read_u64(d->t, s->funcs + member, &addr);
	return addr;
}

static bool explain_source(struct doctor *d, struct patient *p, const struct proof *proof,
			   const struct watched_source *w)
{
	struct watch_source was = spin_source_before(proof, w);
	unsigned long long n = w->value.dispatched - was.dispatched;
	uint64_t callback;
	const struct loop_source *s = find_source(d, w->source);
	char *name, *prepare;
	struct finding *f;

	if (!s || s->is_aio_context || !in_every_turn(proof, n, was.turn, w->value.turn) ||
	    proof->moved * 10 > n || some_fd_is_ready(d, p, proof))
		return false;
	callback =
		s->callback ? s->callback : source_function(d, s, offsetof(GSourceFuncs, dispatch));
	name = images_name(d->images, callback);
	prepare =
		describe_callback(d->loops, source_function(d, s, offsetof(GSourceFuncs, prepare)));
	f = spin_finding(d, p, proof);
	f->culprit = s->name[0]
			     ? g_strdup_printf("GSource \"%s\" (%s) is always ready", s->name, name)
			     : g_strdup_printf("GSource %u (%s) is always ready", s->id, name);
	finding_say(f, "dispatched %llu times in %llu turns of %.1f s; %llu of them had timeout 0",
		    n, proof->turns, proof->seconds, proof->zero);
	finding_say(f, "no descriptor was ready in more than a tenth of them");
	finding_say(f, "prepare() is %s, the callback %s, the priority %d",
		    prepare ? prepare : "not set", name, s->priority);
	finding_say(f, "the thread moved data in %llu system calls meanwhile", proof->moved);
	f->advice =
		"Its prepare() or check() must say ready only when there is something to be done.";
	g_free(name);
	g_free(prepare);
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

		const struct loop_source *source = find_source(d, s->source);

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
