// SPDX-License-Identifier: MIT
/*
 * BQL HOLD: a thread keeps the big lock from others for too long.
 *
 * The owner stands in the mutex. That it kept the lock all the time, and did not let go of it and
 * take it again, is told by who waits: letting go wakes the first in the queue, so as long as one
 * sleeps the same sleep, and the same owner is found every few ms, nobody else had it. What a loop
 * does with the lock in a callback has a better name (BLOCKED CALLBACK, NESTED WAIT); what is left
 * is mostly a vCPU.
 */
#include <string.h>

#include "tracer/clock.h"
#include "tracer/doctor-hold.h"
#include "tracer/out.h"

#define CONFIRM_NS (50 * 1000000LL)
#define LATER_NS   (250 * 1000000LL) /* once it is sure */
#define TAKE_MS	   60
#define MAX_SAID   8

void hold_clear(struct hold *h)
{
	g_free(h->wait);
	g_free(h->waiters);
	memset(h, 0, sizeof(*h));
}

char *hold_waiters(const struct doctor *d, pid_t tid)
{
	GString *list = g_string_new(NULL);
	char *text = NULL;
	int n = 0;

	for (size_t i = 0; d->bql && i < d->patients->len; i++) {
		const struct patient *p = d->patients->pdata[i];

		if (doctor_waits_for_bql(d, p) && n++ < MAX_SAID) {
			char *name = doctor_thread_name(d, p->tid);

			g_string_append_printf(list, "%s %s", n > 1 ? "," : "",
					       name + strlen("thread "));
			g_free(name);
		}
	}
	if (n && doctor_mutex_owner(d, d->bql) == tid)
		text = g_strdup_printf("%d thread%s wait%s for the big lock, which it holds:%s%s",
				       n, n == 1 ? "" : "s", n == 1 ? "s" : "", list->str,
				       n > MAX_SAID ? " ..." : "");
	g_string_free(list, TRUE);
	return text;
}

static const struct patient *first_waiter(const struct doctor *d)
{
	for (size_t i = 0; i < d->patients->len; i++)
		if (doctor_waits_for_bql(d, d->patients->pdata[i]))
			return d->patients->pdata[i];
	return NULL;
}

static void begin(struct hold *h, const struct patient *owner, const struct patient *waiter)
{
	hold_clear(h);
	h->owner = owner->tid;
	h->waiter = waiter->tid;
	h->switches = waiter->now.switches;
	h->since_ns = now_ns();
	h->delay_ns = owner->now.delay_ns;
}

/* Is it still the same owner, and the same sleep of the same waiter? Else it begins anew. */
static const struct patient *still_held(struct doctor *d)
{
	struct hold *h = &d->hold;
	const struct patient *waiter = doctor_patient(d, h->waiter);
	pid_t tid = d->bql && first_waiter(d) ? doctor_mutex_owner(d, d->bql) : 0;
	const struct patient *owner = tid ? doctor_patient(d, tid) : NULL;

	if (!owner) {
		hold_clear(h);
		return NULL;
	}
	if (tid != h->owner || !waiter || !doctor_waits_for_bql(d, waiter) ||
	    waiter->now.switches != h->switches) {
		begin(h, owner, first_waiter(d));
		return NULL;
	}
	return owner;
}

/* Its time in the queue for a CPU is the host's fault. */
static int64_t held_ns(const struct hold *h, const struct patient *owner)
{
	return now_ns() - h->since_ns - (int64_t)(owner->now.delay_ns - h->delay_ns);
}

static void keep_longest(struct doctor *d)
{
	const struct hold *h = &d->hold;

	if (h->samples < 2 || h->longest_ns < d->held.longest_ns)
		return;
	hold_clear(&d->held);
	d->held = *h;
	d->held.wait = g_strdup(h->wait);
	d->held.waiters = g_strdup(h->waiters);
}

void hold_sample(struct doctor *d)
{
	const struct patient *owner = still_held(d);
	struct hold *h = &d->hold;
	struct stack stack;
	int64_t ns;

	if (!owner)
		return;
	ns = held_ns(h, owner);
	if (h->samples >= 2) {
		h->longest_ns = ns;
		keep_longest(d);
	}
	if (ns < d->min_ns ||
	    now_ns() - h->sampled_ns < (h->samples >= 2 ? LATER_NS : CONFIRM_NS) ||
	    stacks_take(d->stacks, h->owner, TAKE_MS, &stack, NULL))
		return;
	h->sampled_ns = now_ns();
	/* It may have let go while the stack was taken. */
	if (doctor_look(d, NULL) || !still_held(d))
		return;
	h->samples++;
	h->longest_ns = ns;
	h->stack = stack;
	g_free(h->wait);
	g_free(h->waiters);
	h->wait = doctor_describe_wait(d, &stack, NULL);
	h->waiters = hold_waiters(d, h->owner);
	keep_longest(d);
}

/* Of the program's own functions that have a name, the innermost. */
static char *inner_name(const struct doctor *d, const struct stack *stack)
{
	for (int i = 0; i < stack->n; i++) {
		const struct frame *f = &stack->frames[i];
		char *name;

		if (images_at(d->images, f->pc) != images_program(d->images))
			continue;
		name = frame_name(d, f);
		if (!strstr(name, "+0x"))
			return name;
		g_free(name);
	}
	return NULL;
}

char *hold_culprit(const struct doctor *d, pid_t tid, const struct stack *stack)
{
	char *inner = inner_name(d, stack), *thread = doctor_thread_name(d, tid), *text;

	text = g_strdup_printf("%s holds the big lock%s%s", thread, inner ? ", in " : "",
			       inner ?: "");
	g_free(inner);
	g_free(thread);
	return text;
}

void hold_conclude(struct doctor *d)
{
	struct patient *owner = doctor_patient(d, d->held.owner);
	struct hold *h = &d->held;
	struct finding *f;
	char *span, *chain;

	if (h->samples < 2 || !owner || doctor_has_finding(d, h->owner, NULL))
		return;
	f = finding_new(d, "BQL HOLD", owner);
	span = out_duration(h->longest_ns);
	f->span = g_strdup_printf("for at least %s", span);
	f->culprit = hold_culprit(d, h->owner, &h->stack);
	chain = doctor_callers(d, &h->stack, 0, 8);
	finding_say(f, "meanwhile it is %s: %s", h->wait, chain);
	finding_say(f, "%s", h->waiters);
	finding_say(f, "thread %d sleeps for it all that time, and each look found the same holder",
		    h->waiter);
	f->stack = g_new(struct stack, 1);
	*f->stack = h->stack;
	f->advice = "What it does there must not wait with the lock held: hand it to a thread or a "
		    "bottom half, or make the call asynchronous.";
	g_free(chain);
	g_free(span);
}
