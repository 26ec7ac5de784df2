// SPDX-License-Identifier: MIT
/*
 * A bottom half that schedules itself. That it does is not guessed from counts: stacks taken where
 * it is scheduled show its own callback. A handler that schedules one each time is a loop at work.
 */
#include <string.h>

#include "tracer/doctor-spin.h"

/* What other threads scheduled of the same. */
static unsigned long long others_scheduled(const struct counts *c, const struct watch_bh_key *key)
{
	unsigned long long sum = 0;

	for (size_t i = 0; i < c->bhs->len; i++) {
		const struct watched_bh *b = &g_array_index(c->bhs, struct watched_bh, i);

		if (b->key.ctx == key->ctx && b->key.cb == key->cb && b->key.tid != key->tid)
			sum += b->value.scheduled;
	}
	return sum;
}

void spin_bh_since(const struct proof *proof, const struct watch_bh_key *key, struct watch_bh *b)
{
	for (size_t i = 0; i < proof->before->bhs->len; i++) {
		const struct watched_bh *was =
			&g_array_index(proof->before->bhs, struct watched_bh, i);

		if (memcmp(&was->key, key, sizeof(*key)) != 0)
			continue;
		b->calls -= was->value.calls;
		b->scheduled -= was->value.scheduled;
		b->turn -= was->value.turn;
	}
}

static bool explain_bh(struct doctor *d, struct patient *p, const struct proof *proof,
		       const struct watched_bh *w)
{
	const char *function =
		w->value.oneshot ? "aio_bh_schedule_oneshot_full" : "qemu_bh_schedule";
	unsigned long long others =
		others_scheduled(proof->after, &w->key) - others_scheduled(proof->before, &w->key);
	struct watch_bh b = w->value;
	struct finding *f;
	struct stack stack;
	char *name, *who;
	uint64_t caller;

	spin_bh_since(proof, &w->key, &b);
	if (!in_every_turn(proof, b.scheduled, w->value.turn - b.turn, w->value.turn) ||
	    others * 100 > b.scheduled || proof->moved * 10 > b.scheduled)
		return false;
	caller = spin_caller(d, p, function, b.oneshot, b.oneshot ? w->key.cb : b.bh, w->key.cb,
			     &stack);
	if (!caller)
		return false;
	name = doctor_callback_name(d, w->key.cb, NULL);
	who = doctor_callback_name(d, caller, NULL);
	/* Scheduled by a handler it may be a loop at work; by another bottom half they chase. */
	if (caller != w->key.cb && !g_str_has_prefix(who, "BH ")) {
		g_free(name);
		g_free(who);
		return false;
	}
	f = spin_finding(d, p, proof);
	f->culprit = caller == w->key.cb ? g_strdup_printf("%s schedules itself", name)
					 : g_strdup_printf("%s schedules %s each time", who, name);
	finding_say(f,
		    "scheduled %llu times by this thread and %llu times by others, in %llu turns "
		    "of %.1f s; %llu of them had timeout 0",
		    b.scheduled, others, proof->turns, proof->seconds, proof->zero);
	finding_say(f, "stacks taken at %s(): always in %s", function, who);
	finding_say(f, "the thread moved data in %llu system calls meanwhile", proof->moved);
	spin_keep_stack(f, &stack);
	f->advice =
		"A bottom half that waits for something must not schedule itself: let the event, "
		"or a timer, schedule it.";
	g_free(name);
	g_free(who);
	return true;
}

bool spin_by_bh(struct doctor *d, struct patient *p, const struct proof *proof)
{
	for (size_t i = 0; i < proof->after->bhs->len; i++) {
		const struct watched_bh *b =
			&g_array_index(proof->after->bhs, struct watched_bh, i);

		if (b->key.tid == (uint32_t)p->tid && explain_bh(d, p, proof, b))
			return true;
	}
	return false;
}
