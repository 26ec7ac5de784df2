// SPDX-License-Identifier: MIT
/*
 * NESTED WAIT in GLib's terms: a callback runs a loop of its own, by g_main_loop_run() or
 * g_main_context_iteration(), and sleeps there for something that does not come.
 *
 * Stacks of a sleeping thread show such a loop below a callback that another loop called, and all
 * of them are in one call of that callback (doctor-call.c). If both loops run one GMainContext,
 * then its other sources go on meanwhile, as under a dialogue that is waited for: there it has to
 * last ten times as long to be said.
 */
#include <inttypes.h>
#include <string.h>

#include "tracer/clock.h"
#include "tracer/describe.h"
#include "tracer/doctor-glib.h"
#include "tracer/out.h"

#define SAMPLE_NS (100 * 1000000LL)
#define TAKE_MS	  60
#define SAME	  10 /* times the limit */
#define MAX_SAID  4  /* descriptors */
#define MAX_CHAIN 10

void glib_nested_clear(struct glib_nested *n)
{
	g_clear_pointer(&n->culprit, g_free);
	g_clear_pointer(&n->chain, g_free);
	if (n->evidence)
		g_ptr_array_free(n->evidence, TRUE);
	n->evidence = NULL;
}

/* --- what can be seen of it while it sleeps --------------------------------------------------- */

static int say_fds(struct doctor *d, const struct loop_gcontext *inner, const struct poll_set *set,
		   GPtrArray *evidence)
{
	int n = 0;

	for (size_t i = 0; i < set->fds->len; i++) {
		int fd = g_array_index(set->fds, GPollFD, i).fd;
		struct owner owner;
		char *what, *source = NULL;

		if (fd == inner->wakeup_fd || n++ >= MAX_SAID)
			continue;
		loops_owner(d->loops, set->tid, fd, &owner);
		if (owner.source)
			source = glib_source_name(d, owner.source);
		what = doctor_describe_fd(d, fd);
		g_ptr_array_add(evidence, g_strdup_printf("the nested loop polls %s%s%s", what,
							  source ? " for " : "", source ?: ""));
		g_free(what);
		g_free(source);
	}
	if (n > MAX_SAID)
		g_ptr_array_add(evidence, g_strdup_printf("and %d descriptors more", n - MAX_SAID));
	return n;
}

/* How many sources a context has beside those that are being dispatched. */
static int others_of(const struct loop_gcontext *g)
{
	int n = 0;

	for (size_t i = 0; i < g->sources->len; i++)
		n += !(((struct loop_source *)g->sources->pdata[i])->flags &
		       (SOURCE_IN_CALL | SOURCE_BLOCKED));
	return n;
}

static void say_turns(const struct loop_gcontext *inner, const struct loop_gcontext *outer,
		      struct glib_nested *n)
{
	char *inside = glib_context_name(inner), *outside = glib_context_name(outer);
	int others = others_of(outer);

	n->same = inner == outer;
	if (n->same && others)
		g_ptr_array_add(n->evidence,
				g_strdup_printf("the nested loop runs %s too: %d other source%s "
						"of it go%s on, what waits for this callback does "
						"not",
						inside, others, others == 1 ? "" : "s",
						others == 1 ? "es" : ""));
	else if (n->same)
		g_ptr_array_add(n->evidence,
				g_strdup_printf("the nested loop runs %s too, which has no other "
						"source",
						inside));
	else
		g_ptr_array_add(n->evidence,
				g_strdup_printf("the nested loop runs %s; %d source%s of %s, which "
						"this thread runs otherwise, %s no turn meanwhile",
						inside, others, others == 1 ? "" : "s", outside,
						others == 1 ? "gets" : "get"));
	g_free(inside);
	g_free(outside);
}

/* Called while it sleeps; the reading counts only if it did so all the time. */
static void look_around(struct doctor *d, struct patient *p, uint64_t callback)
{
	struct glib_nested *n = &p->glib_nested;
	const struct loop_gcontext *outer = NULL, *inner = NULL;
	uint64_t switches = p->now.switches;
	const struct loop_source *s;
	const struct poll_set *set;
	char *words;

	if (doctor_read_loops(d, NULL) || doctor_look(d, NULL) || p->now.switches != switches)
		return;
	for (size_t i = 0; i < d->loops->gcontexts->len; i++) {
		const struct loop_gcontext *g = d->loops->gcontexts->pdata[i];

		inner = g->tid == p->tid ? g : inner;
	}
	s = glib_source_called(d, callback, &outer);
	set = find_set(d->loops, p->tid);
	if (s) {
		words = glib_source_words(d, outer, s);
		g_ptr_array_add(n->evidence, g_strdup_printf("it is %s", words));
		g_free(words);
	}
	if (s && inner)
		say_turns(inner, outer, n);
	if (set && inner && !say_fds(d, inner, set, n->evidence) && set->timeout_ns < 0)
		g_ptr_array_add(n->evidence, g_strdup("the nested loop polls nothing but its "
						      "wake-up, without a timeout: only another "
						      "thread can end this"));
}

/* --- sampling --------------------------------------------------------------------------------- */

static void note_stack(struct doctor *d, struct patient *p, const struct stack *stack,
		       const struct nest *nest)
{
	struct glib_nested *n = &p->glib_nested;
	char *callback, *run;

	n->stack = *stack;
	if (++n->samples != 2)
		return;
	glib_nested_clear(n);
	n->evidence = g_ptr_array_new_with_free_func(g_free);
	callback = doctor_callback_name(d, stack->frames[nest->callback].function, stack);
	run = frame_name(d, &stack->frames[nest->poll]);
	n->culprit = g_strdup_printf("%s waits in %s()", callback, run);
	n->chain = doctor_callers(d, stack, nest->poll,
				  MIN(nest->callback - nest->poll + 1, MAX_CHAIN));
	look_around(d, p, stack->frames[nest->callback].function);
	g_free(callback);
	g_free(run);
}

static void sample(struct doctor *d, struct patient *p)
{
	struct glib_nested *n = &p->glib_nested;
	uint64_t since = (uint64_t)p->first_ns, function;
	int64_t now = now_ns(), lasted;
	struct stack stack;
	struct nest nest;

	if (!p->is_loop || p->now.state != 'S' || !is_wait_call(p->now.nr) ||
	    p->now.switches == n->own_switches || now - n->sampled_ns < SAMPLE_NS)
		return;
	n->sampled_ns = now;
	if (stacks_take(d->stacks, p->tid, TAKE_MS, &stack, NULL) ||
	    stack.thread.switches != p->now.switches)
		return; /* it woke up meanwhile */
	if (!doctor_glib_nest(d, &stack, &nest)) {
		n->own_switches = p->now.switches;
		n->samples = 0;
		return;
	}
	function = stack.frames[nest.callback].function;
	if (!n->call.is_known || n->call.function != function)
		n->samples = 0;
	lasted = call_seen(d, &n->call, &p->now, function, since);
	if (lasted < d->min_ns)
		return;
	n->longest_ns = lasted;
	note_stack(d, p, &stack, &nest);
}

void glib_nested_sample(struct doctor *d)
{
	for (size_t i = 0; i < d->patients->len; i++)
		sample(d, d->patients->pdata[i]);
}

/* --- verdict ---------------------------------------------------------------------------------- */

static int64_t limit_ns(const struct doctor *d, const struct glib_nested *n)
{
	return d->min_ns * (n->same ? SAME : 1);
}

bool glib_nested_is_open(const struct doctor *d, const struct patient *p)
{
	const struct glib_nested *n = &p->glib_nested;

	return n->samples == 1 || (n->samples > 1 && n->longest_ns < limit_ns(d, n));
}

static void conclude(struct doctor *d, struct patient *p)
{
	struct glib_nested *n = &p->glib_nested;
	struct finding *f;
	char *span;

	if (n->samples < 2 || n->longest_ns < limit_ns(d, n) ||
	    doctor_has_finding(d, p->tid, "LOST WAKEUP") ||
	    doctor_has_finding(d, p->tid, "NESTED WAIT"))
		return;
	f = finding_new(d, "NESTED WAIT", p);
	span = out_duration(n->longest_ns);
	f->span = g_strdup_printf("for at least %s", span);
	f->culprit = g_strdup(n->culprit);
	finding_say(f, "%d stacks show it, all in one call of that callback", n->samples);
	finding_say(f, "the wait: %s", n->chain);
	for (size_t i = 0; i < n->evidence->len; i++)
		finding_say(f, "%s", (char *)n->evidence->pdata[i]);
	f->stack = g_new(struct stack, 1);
	*f->stack = n->stack;
	f->advice = "A callback must not wait for an event: begin the operation, return, and go on "
		    "in the callback of what it waits for.";
	g_free(span);
}

void glib_nested_conclude(struct doctor *d)
{
	for (size_t i = 0; i < d->patients->len; i++)
		conclude(d, d->patients->pdata[i]);
}
