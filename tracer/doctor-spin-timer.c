// SPDX-License-Identifier: MIT
/*
 * A timer that its own callback arms in the past. What "past" is, its clock says: the kernel's own
 * clocks are known, the virtual one is learnt from what the target itself reads.
 */
#include "tracer/doctor-spin.h"

void spin_timer_since(const struct proof *proof, uint64_t timer, struct watch_timer *t)
{
	for (size_t i = 0; i < proof->before->timers->len; i++) {
		const struct watched_timer *was =
			&g_array_index(proof->before->timers, struct watched_timer, i);

		if (was->timer != timer)
			continue;
		t->armed -= was->value.armed;
		t->turn -= was->value.turn;
		t->past -= was->value.past;
	}
}

static bool explain_timer(struct doctor *d, struct patient *p, const struct proof *proof,
			  const struct watched_timer *w)
{
	static const char *const clocks[] = { "REALTIME", "VIRTUAL", "HOST", "VIRTUAL_RT" };
	struct watch_timer t = w->value;
	struct finding *f;
	struct stack stack;
	char *name;

	spin_timer_since(proof, w->timer, &t);
	if (!is_all(t.past, t.armed) || !is_all(t.armed, t.turn + 50) ||
	    spin_caller(d, p, "timer_mod_ns", 0, w->timer, t.cb, &stack) != t.cb)
		return false;
	name = images_name(d->images, t.cb);
	f = spin_finding(d, p, proof);
	if (proof->turns * 10 < t.armed) {
		g_free(f->span);
		f->span = g_strdup_printf(
			"%.0f times a second, with hardly a turn of the loop between",
			(double)t.armed / proof->seconds);
	}
	f->culprit = g_strdup_printf("timer %s arms itself in the past", name);
	finding_say(
		f,
		"armed %llu times in %.1f s, %llu of them with an expiry that had passed (clock %s)",
		t.armed, proof->seconds, t.past,
		t.clock >= 0 && t.clock < WATCH_CLOCKS ? clocks[t.clock] : "unknown");
	finding_say(f, "%llu turns of the loop in that time, %llu with timeout 0", proof->turns,
		    proof->zero);
	finding_say(f, "stacks taken at timer_mod_ns(): always in its own callback");
	spin_keep_stack(f, &stack);
	f->advice = "Compute the next expiry from the clock's now, not from the last expiry, and "
		    "later than it.";
	g_free(name);
	return true;
}

bool spin_by_timer(struct doctor *d, struct patient *p, const struct proof *proof)
{
	for (size_t i = 0; i < proof->after->timers->len; i++) {
		const struct watched_timer *timer =
			&g_array_index(proof->after->timers, struct watched_timer, i);

		if (timer->value.tid == (uint32_t)p->tid && explain_timer(d, p, proof, timer))
			return true;
	}
	return false;
}
