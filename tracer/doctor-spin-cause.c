// SPDX-License-Identifier: MIT
/*
 * What keeps a loop awake without a descriptor: a timer armed in the past, a bottom half that
 * schedules itself, a source that is always ready. That a callback does it itself is not guessed
 * from counts: stacks taken where it arms or schedules show it.
 */
#include <inttypes.h>
#include <string.h>

#include "tracer/describe.h"
#include "tracer/doctor-spin.h"

#define STACKS_MS 200

static uint64_t address_of(const struct doctor *d, const char *name)
{
	const struct image *img = images_program(d->images);
	const struct symbol *symbol = image_symbol(img, name);

	return symbol ? symbol->link + img->bias : 0;
}

/* A callback that ends in the call leaves no frame: then the callee stands where it would. */
uint64_t spin_caller(struct doctor *d, const struct patient *p, const char *name, int arg,
		     uint64_t value, uint64_t self, struct stack *ret)
{
	uint64_t function = address_of(d, name), found = 0;
	GArray *stacks;

	if (!function || stacks_at_calls(d->stacks, function, arg, value, p->tid, PROOF_STACKS,
					 STACKS_MS, &stacks, NULL))
		return 0;
	for (size_t i = 0; i < stacks->len; i++) {
		const struct stack *stack = &g_array_index(stacks, struct stack, i);
		uint64_t callback = 0;
		struct where w;

		doctor_where(d, stack, &w);
		if (stack_holds(stack, self) || w.callback == 0)
			callback = self;
		else if (w.callback > 0)
			callback = stack->frames[w.callback].function;
		if (!callback || (found && callback != found)) {
			found = 0;
			break;
		}
		found = callback;
		*ret = *stack;
	}
	g_array_free(stacks, TRUE);
	return found;
}

static void keep_stack(struct finding *f, const struct stack *stack)
{
	f->stack = g_new(struct stack, 1);
	*f->stack = *stack;
}

/* --- a bottom half that schedules itself ---------------------------------------------------- */

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

static void since_bh(const struct proof *proof, const struct watch_bh_key *key, struct watch_bh *b)
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

	since_bh(proof, &w->key, &b);
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
	keep_stack(f, &stack);
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

/* --- a timer armed in the past -------------------------------------------------------------- */

static void since_timer(const struct proof *proof, uint64_t timer, struct watch_timer *t)
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

	since_timer(proof, w->timer, &t);
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
	keep_stack(f, &stack);
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

/* --- a source that is always ready ---------------------------------------------------------- */

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

static struct watch_source source_before(const struct proof *proof, const struct watched_source *w)
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
	struct watch_source was = source_before(proof, w);
	unsigned long long n = w->value.dispatched - was.dispatched;
	uint64_t callback;
	const struct loop_source *s = find_source(d, w->source);
	char *name, *prepare;
	struct finding *f;

	if (!s || !in_every_turn(proof, n, was.turn, w->value.turn) || proof->moved * 10 > n ||
	    some_fd_is_ready(d, p, proof))
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

		since_bh(proof, &w->key, &b);
		n += b.scheduled + b.calls;
	}
	for (size_t i = 0; i < proof->after->timers->len; i++) {
		const struct watched_timer *w =
			&g_array_index(proof->after->timers, struct watched_timer, i);
		struct watch_timer t = w->value;

		since_timer(proof, w->timer, &t);
		n += t.armed;
	}
	for (size_t i = 0; i < proof->after->sources->len; i++) {
		const struct watched_source *s =
			&g_array_index(proof->after->sources, struct watched_source, i);

		n += s->value.dispatched - source_before(proof, s).dispatched;
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
