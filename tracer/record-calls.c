// SPDX-License-Identifier: MIT
/*
 * The ends of calls, without return probes.
 *
 * At its entry a call tells where it will come back to: the return address. That place is probed
 * (site_after_call()), once for all calls that come back to it, and a hit there ends the call whose
 * return address lay just below the stack pointer. A place that was never seen before is probed
 * some milliseconds later; calls that were over by then end with the next thing their thread does
 * on the same stack. So ends are exact but for the first short calls from each place, which may
 * seem to last up to the thread's next event.
 *
 * Return probes themselves are left to leaves, the waits of libc: see site_at_return().
 */
#include <errno.h>

#include "tracer/clock.h"
#include "tracer/record-functions.h"
#include "tracer/record-glib.h"
#include "tracer/record.h"

#define REFRESH_NS 100000000 /* the target's maps are not read again sooner */

/* The mapping that @sp lies in stands for the stack (guard pages keep them apart); 0: unknown. */
static uint64_t stack_of(struct recorder *r, uint64_t sp, uint64_t time_ns)
{
	const struct map *map = target_map_at(r->s->t, sp);

	if (!map && time_ns > r->maps_ns + REFRESH_NS) {
		r->maps_ns = now_ns();
		target_refresh(r->s->t, NULL);
		map = target_map_at(r->s->t, sp);
	}
	return map ? map->start : 0;
}

/* The probe that is at @site already: calls that come back to several addresses may meet there. */
static struct record_probe *find_resume(const struct recorder *r, const struct site *site)
{
	for (size_t i = 0; i < r->probes->len; i++) {
		struct record_probe *p = r->probes->pdata[i];

		if (p->resumes && p->site.img == site->img && p->site.link == site->link)
			return p;
	}
	return NULL;
}

/* Is what it returns told? Then it has to be there still where the end is seen. */
static bool tells_value(const struct record_probe *p)
{
	return p->function ? function_tells_value(p->function) : p->dispatches;
}

int record_end_site(struct recorder *r, const struct record_probe *probe, uint64_t addr,
		    struct site *ret)
{
	struct image *img = images_at(r->s->images, addr);

	return img ? site_after_call(img, addr - img->bias, tells_value(probe), ret, NULL)
		   : -ENOENT;
}

/* The probe where calls of @of that return to @addr end; NULL if it cannot be placed. */
static const struct record_probe *resume_at(struct recorder *r, const struct record_probe *of,
					    uint64_t addr)
{
	struct record_probe p = { .resumes = true }, *probe;
	gpointer known;

	if (g_hash_table_lookup_extended(r->resumes, (void *)addr, NULL, &known))
		return known;
	if (record_end_site(r, of, addr, &p.site)) {
		g_hash_table_insert(r->resumes, (void *)addr, NULL);
		return NULL;
	}
	probe = find_resume(r, &p.site);
	if (!probe) {
		r->stepped += !p.site.emulated;
		probe = record_add_probe(r, &p);
	}
	g_hash_table_insert(r->resumes, (void *)addr, probe);
	return probe;
}

void record_begin_call(struct recorder *r, struct thread_state *t, const struct record_entry *hit,
		       const struct call *call)
{
	const struct function_probe *fn = call->probe->function;
	const struct record_probe *end = call->probe;
	struct call *c;

	if (t->n_calls == MAX_CALLS_DEEP)
		return; /* deeper than any loop nests; its end is not told either */
	c = &t->calls[t->n_calls++];
	*c = *call;
	c->sp = hit->sp;
	c->stack = stack_of(r, hit->sp, hit->h.time_ns);
	if (!fn || !function_is_leaf(fn))
		end = resume_at(r, call->probe, hit->stack[0]);
	c->awaited = end && end->attached_ns && hit->h.time_ns > end->attached_ns;
}

static void end_call(struct recorder *r, struct thread_state *t, const struct call *call,
		     const struct ending *ending)
{
	if (call->probe->function)
		call->probe->function->leave(r, t, call, ending);
	else if (call->probe->dispatches)
		record_glib_dispatched(r, t, call, ending);
	else
		record_callback_end(r, t, call, ending->time_ns);
}

/* End the calls from the @first on, innermost first; only of that one the return was seen. */
static void end_calls(struct recorder *r, struct thread_state *t, int first,
		      const struct ending *ending)
{
	const struct ending inner = { .time_ns = ending->time_ns };

	while (t->n_calls > first) {
		struct call call = t->calls[--t->n_calls];

		end_call(r, t, &call, t->n_calls == first ? ending : &inner);
	}
}

void record_settle(struct recorder *r, struct thread_state *t, const struct record_probe *probe,
		   const struct record_entry *hit)
{
	const struct ending ending = { .time_ns = hit->h.time_ns };
	uint64_t stack;

	if (!t->n_calls)
		return;
	stack = stack_of(r, hit->sp, hit->h.time_ns);
	for (int i = 0; i < t->n_calls; i++) {
		const struct call *c = &t->calls[i];

		/*
		 * One whose end is awaited is still there when it jumps to another function; but it
		 * is over when its caller makes another call.
		 */
		if (c->stack == stack && stack &&
		    (c->sp < hit->sp || (c->sp == hit->sp && (!c->awaited || probe->reads.back)))) {
			end_calls(r, t, i, &ending);
			return;
		}
	}
}

void record_take_return(struct recorder *r, struct thread_state *t, const struct record_return *hit)
{
	const struct ending ending = { hit->h.time_ns, hit->value, true };

	for (int i = 0; i < t->n_calls; i++) {
		if (t->calls[i].sp + 8 != hit->sp)
			continue;
		end_calls(r, t, i, &ending);
		return;
	}
}
