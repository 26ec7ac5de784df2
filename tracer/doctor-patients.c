// SPDX-License-Identifier: MIT
/* Who is watched: the threads of the target, which of them are loops, and what each is to them. */
#include <string.h>

#include "tracer/clock.h"
#include "tracer/describe.h"
#include "tracer/doctor-glib.h"

#define PROBE_MS    100 /* how long a thread that does not sleep is waited for at its next poll */
#define STACK_WORDS 2048

void patient_free(void *patient)
{
	struct patient *p = patient;

	g_free(p->role);
	g_free(p->blocked.wait);
	g_free(p->blocked.name);
	g_ptr_array_free(p->blocked.others, TRUE);
	nested_clear(&p->nested);
	g_ptr_array_free(p->nested.evidence, TRUE);
	if (p->nested.outside)
		g_array_free(p->nested.outside, TRUE);
	glib_nested_clear(&p->glib_nested);
	g_free(p);
}

struct patient *doctor_patient(struct doctor *d, pid_t tid)
{
	for (size_t i = 0; i < d->patients->len; i++) {
		struct patient *p = d->patients->pdata[i];

		if (p->tid == tid)
			return p;
	}
	return NULL;
}

int doctor_look(struct doctor *d, struct failure *why)
{
	GArray *threads;
	int err = stacks_threads(d->stacks, &threads, why);

	if (err)
		return err;
	for (size_t i = 0; i < threads->len; i++) {
		const struct thread_now *now = &g_array_index(threads, struct thread_now, i);
		struct patient *p = doctor_patient(d, now->tid);

		if (!p) {
			p = g_new0(struct patient, 1);
			p->tid = now->tid;
			p->at_start = *now;
			p->first_ns = now_ns();
			p->blocked.others = g_ptr_array_new_with_free_func(g_free);
			p->nested.evidence = g_ptr_array_new_with_free_func(g_free);
			g_ptr_array_add(d->patients, p);
		}
		p->now = *now;
		p->seen = true;
	}
	for (size_t i = d->patients->len; i-- > 0;) {
		struct patient *p = d->patients->pdata[i];

		if (!p->seen)
			g_ptr_array_remove_index(d->patients, i);
		p = i < d->patients->len ? d->patients->pdata[i] : NULL;
		if (p)
			p->seen = false;
	}
	g_array_free(threads, TRUE);
	return 0;
}

/* A thread that was seen to poll a context is its home; that holds while it does something else. */
void doctor_note_homes(struct doctor *d)
{
	for (size_t i = 0; i < d->loops->contexts->len; i++) {
		const struct context *c = d->loops->contexts->pdata[i];
		struct patient *p = c->tid ? doctor_patient(d, c->tid) : NULL;

		if (!p)
			continue;
		p->is_loop = true;
		if (!p->role)
			p->role = describe_role(d->loops, c->tid);
	}
	for (size_t i = 0; i < d->loops->gcontexts->len; i++) {
		const struct loop_gcontext *g = d->loops->gcontexts->pdata[i];
		struct patient *p = g->tid ? doctor_patient(d, g->tid) : NULL;

		if (!p)
			continue;
		p->is_loop = true;
		if (!p->role && glib_only(d))
			p->role = describe_role(d->loops, g->tid);
	}
	glib_note_homes(d);
}

static int read_loops(struct doctor *d, enum read_way way, int timeout_ms, struct failure *why)
{
	struct loops *loops;
	int err = loops_read(d->t, d->images, d->l, d->fds, way, timeout_ms, &loops, why);

	if (err)
		return err;
	d->lost += loops->tables->lost;
	loops_free(d->loops);
	d->loops = loops;
	doctor_note_homes(d);
	doctor_learn_callbacks(d);
	return 0;
}

int doctor_read_loops(struct doctor *d, struct failure *why)
{
	return read_loops(d, READ_ITER, 0, why);
}

int doctor_read_busy_loops(struct doctor *d, struct failure *why)
{
	return read_loops(d, READ_PROBE, PROBE_MS, why);
}

/* Does a word of its stack hold the context? An IOThread's does: it is an argument all the way. */
static bool stack_names(const struct doctor *d, const struct patient *p, const struct context *c)
{
	uint64_t words[64];

	for (int at = 0; at < STACK_WORDS; at += G_N_ELEMENTS(words)) {
		if (target_read(d->t, p->now.sp + 8 * at, words, sizeof(words)))
			return false;
		for (size_t i = 0; i < G_N_ELEMENTS(words); i++)
			if (words[i] == c->addr)
				return true;
	}
	return false;
}

/* One that was never seen to poll: by the context that nobody else polls and its stack names. */
static char *role_by_stack(struct doctor *d, const struct patient *p)
{
	for (size_t i = 0; i < d->loops->contexts->len; i++) {
		struct context *c = d->loops->contexts->pdata[i];
		bool theirs = c->kind == CONTEXT_MAIN || c->kind == CONTEXT_IOHANDLER;

		if (c->tid || theirs != (p->tid == d->t->pid) || !stack_names(d, p, c))
			continue;
		c->tid = p->tid;
		target_refresh(d->t, NULL);
		loops_name_iothreads(d->loops);
		return describe_role(d->loops, p->tid);
	}
	if (glib_only(d) && p->is_loop)
		return p->tid == d->t->pid
			       ? g_strdup("GLib loop")
			       : g_strdup_printf("GLib loop \"%s\"", doctor_comm(d, p->tid));
	return p->tid == d->t->pid ? g_strdup("main loop") : describe_role(d->loops, p->tid);
}

struct patient *doctor_home(struct doctor *d, const struct context *c)
{
	if (c->tid)
		return doctor_patient(d, c->tid);
	if (c->kind == CONTEXT_MAIN || c->kind == CONTEXT_IOHANDLER)
		return doctor_patient(d, d->t->pid);
	for (size_t i = 0; i < d->patients->len; i++) {
		struct patient *p = d->patients->pdata[i];

		if (p->tid != d->t->pid && stack_names(d, p, c))
			return p;
	}
	return NULL;
}

const char *doctor_role(struct doctor *d, struct patient *p)
{
	if (!p->role)
		p->role = role_by_stack(d, p);
	return p->role;
}
