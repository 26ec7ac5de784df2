// SPDX-License-Identifier: MIT
/* The visit: who is watched, when which verdict is looked for. See doctor.h. */
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tracer/describe.h"
#include "tracer/doctor.h"

#define STEP_MS	    20
#define PROBE_MS    100 /* how long a thread that does not sleep is waited for at its next poll */
#define STACK_WORDS 2048

int64_t doctor_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

/* --- findings ----------------------------------------------------------------------------- */

struct finding *finding_new(struct doctor *d, const char *verdict, struct patient *p)
{
	struct finding *f = g_new0(struct finding, 1);

	f->verdict = verdict;
	f->tid = p->tid;
	f->role = g_strdup(doctor_role(d, p));
	f->evidence = g_ptr_array_new_with_free_func(g_free);
	g_ptr_array_add(d->findings, f);
	return f;
}

void finding_say(struct finding *f, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	g_ptr_array_add(f->evidence, g_strdup_vprintf(fmt, args));
	va_end(args);
}

void finding_free(void *finding)
{
	struct finding *f = finding;

	g_free(f->role);
	g_free(f->span);
	g_free(f->culprit);
	g_ptr_array_free(f->evidence, TRUE);
	g_free(f->stack);
	g_free(f);
}

/* --- patients ----------------------------------------------------------------------------- */

static void patient_free(void *patient)
{
	struct patient *p = patient;

	g_free(p->role);
	g_free(p->blocked.wait);
	g_free(p->blocked.name);
	g_ptr_array_free(p->blocked.others, TRUE);
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
			p->first_ns = doctor_now_ns();
			p->blocked.others = g_ptr_array_new_with_free_func(g_free);
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
static void note_homes(struct doctor *d)
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

		if (p)
			p->is_loop = true;
	}
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
	note_homes(d);
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
	return p->tid == d->t->pid ? g_strdup("main loop") : describe_role(d->loops, p->tid);
}

const char *doctor_role(struct doctor *d, struct patient *p)
{
	if (!p->role)
		p->role = role_by_stack(d, p);
	return p->role;
}

/* --- the visit ---------------------------------------------------------------------------- */

static void add_dispatch(const struct doctor *d, const struct loop_source *s, GArray *functions)
{
	uint64_t dispatch = 0;

	target_read_u64(d->t, s->funcs + offsetof(GSourceFuncs, dispatch), &dispatch);
	for (size_t i = 0; i < functions->len; i++)
		if (g_array_index(functions, uint64_t, i) == dispatch)
			return;
	if (dispatch)
		g_array_append_val(functions, dispatch);
}

static int attach_watch(struct doctor *d, struct failure *why)
{
	GArray *functions = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	int err;

	for (size_t i = 0; i < d->loops->gcontexts->len; i++) {
		const struct loop_gcontext *g = d->loops->gcontexts->pdata[i];

		for (size_t k = 0; k < g->sources->len; k++) {
			const struct loop_source *s = g->sources->pdata[k];

			if (!s->is_aio_context)
				add_dispatch(d, s, functions);
		}
	}
	err = watch_open(d->t, d->images, d->l, functions, &d->watch, why);
	g_array_free(functions, TRUE);
	return err;
}

int doctor_open(struct doctor *d, struct target *t, struct images *images, struct layout *l,
		struct fds *fds, struct failure *why)
{
	int err;

	d->t = t;
	d->images = images;
	d->l = l;
	d->fds = fds;
	d->patients = g_ptr_array_new_with_free_func(patient_free);
	d->findings = g_ptr_array_new_with_free_func(finding_free);
	d->callbacks = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
	err = stacks_open(t, images, &d->stacks, why);
	if (!err)
		err = doctor_look(d, why);
	if (!err && doctor_patient(d, t->pid) && doctor_patient(d, t->pid)->now.state == 'T')
		err = fail(why, -EAGAIN,
			   "process %d is stopped (a signal, a debugger): its loops do not run",
			   t->pid);
	if (!err)
		err = doctor_read_loops(d, why);
	if (!err)
		err = attach_watch(d, why);
	d->start_ns = doctor_now_ns();
	for (size_t i = 0; i < d->patients->len; i++)
		((struct patient *)d->patients->pdata[i])->first_ns = d->start_ns;
	return err;
}

static int watch_for(struct doctor *d, int64_t until_ns, const volatile sig_atomic_t *stop,
		     struct failure *why)
{
	while (doctor_now_ns() < until_ns && !*stop) {
		int err = doctor_look(d, why);

		if (err)
			return err;
		blocked_sample(d);
		usleep(STEP_MS * 1000);
	}
	return 0;
}

/* A reading that fails because everything changes all the time is no reading, and no failure. */
static int check_lost(struct doctor *d, struct failure *why)
{
	int err = lost_check(d, why);

	return err == -EBADMSG || err == -EFAULT ? 0 : err;
}

int doctor_visit(struct doctor *d, int duration_ms, const volatile sig_atomic_t *stop,
		 struct failure *why)
{
	int64_t half = duration_ms * 500000LL;
	int err = check_lost(d, why);

	if (!err)
		err = watch_for(d, d->start_ns + half, stop, why);
	if (!err)
		err = check_lost(d, why);
	spin_half(d);
	if (!err)
		err = watch_for(d, d->start_ns + 2 * half, stop, why);
	if (!err)
		err = check_lost(d, why);
	if (!err)
		err = doctor_look(d, why);
	if (err)
		return err;
	spin_conclude(d);
	blocked_conclude(d);
	return 0;
}

void doctor_close(struct doctor *d)
{
	watch_close(d->watch);
	stacks_close(d->stacks);
	loops_free(d->loops);
	if (!d->patients)
		return;
	g_ptr_array_free(d->patients, TRUE);
	g_ptr_array_free(d->findings, TRUE);
	g_hash_table_destroy(d->callbacks);
}
