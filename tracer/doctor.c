// SPDX-License-Identifier: MIT
/* The visit: who is watched, when which verdict is looked for. See doctor.h. */
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tracer/bql.h"
#include "tracer/clock.h"
#include "tracer/doctor-glib.h"

#define STEP_MS	    20
#define EXTRA_STEPS 4

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

bool doctor_has_finding(const struct doctor *d, pid_t tid, const char *verdict)
{
	for (size_t i = 0; i < d->findings->len; i++) {
		const struct finding *f = d->findings->pdata[i];

		if (f->tid == tid && (!verdict || !strcmp(f->verdict, verdict)))
			return true;
	}
	return false;
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

/* --- the visit ---------------------------------------------------------------------------- */

void doctor_begin(struct doctor *d, struct target *t, struct images *images, struct layout *l,
		  struct fds *fds)
{
	d->t = t;
	d->images = images;
	d->l = l;
	d->fds = fds;
	d->leak = leak_new();
	d->late = late_new();
	d->idle_bhs = idle_new();
	d->idle_contexts = contexts_new();
	d->glib_leak = glib_leak_new();
	d->glib_idle = glib_contexts_new();
	d->glib_homes = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
	d->bql = bql_find(images);
	d->patients = g_ptr_array_new_with_free_func(patient_free);
	d->findings = g_ptr_array_new_with_free_func(finding_free);
	d->callbacks = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
}

int doctor_open_tables(struct doctor *d, struct target *t, struct images *images, struct layout *l,
		       struct fds *fds, struct failure *why)
{
	int err;

	doctor_begin(d, t, images, l, fds);
	err = stacks_open(t, images, &d->stacks, why);
	if (!err)
		err = doctor_look(d, why);
	if (!err && doctor_patient(d, t->pid) && doctor_patient(d, t->pid)->now.state == 'T')
		err = fail(why, -EAGAIN,
			   "process %d is stopped (a signal, a debugger): its loops do not run",
			   t->pid);
	if (!err)
		err = doctor_read_loops(d, why);
	return err;
}

int doctor_open(struct doctor *d, struct target *t, struct images *images, struct layout *l,
		struct fds *fds, struct failure *why)
{
	int err = doctor_open_tables(d, t, images, l, fds, why);

	if (!err)
		glib_find_homes(d);
	if (!err)
		err = watch_open(t, images, l, &d->watch, why);
	if (!err)
		late_find_lists(d);
	/* Attaching takes its time; what the threads did meanwhile is not counted. */
	if (!err)
		err = doctor_look(d, why);
	d->start_ns = now_ns();
	for (size_t i = 0; i < d->patients->len; i++) {
		struct patient *p = d->patients->pdata[i];

		p->first_ns = d->start_ns;
		p->at_start = p->now;
	}
	return err;
}

static int watch_for(struct doctor *d, int64_t visit_ns, int64_t until_ns,
		     const volatile sig_atomic_t *stop, struct failure *why)
{
	while (now_ns() < until_ns && !*stop) {
		int err = doctor_look(d, why);

		if (err)
			return err;
		blocked_sample(d);
		nested_sample(d);
		hold_sample(d);
		glib_nested_sample(d);
		leak_sample(d, visit_ns);
		glib_leak_sample(d, visit_ns);
		glib_contexts_sample(d);
		contexts_sample(d);
		late_sample(d, visit_ns);
		d->looks++;
		usleep(STEP_MS * 1000);
	}
	return 0;
}

static bool has_loop(const struct doctor *d)
{
	for (size_t i = 0; i < d->patients->len; i++)
		if (((struct patient *)d->patients->pdata[i])->is_loop)
			return true;
	return false;
}

bool doctor_is_sure(const struct doctor *d)
{
	return d->looks * 2 >= d->due;
}

/*
 * On a busy machine the doctor gets little done in its time, too. So it stays longer, up to three
 * times as long, if it came to look only now and then, or has one sample of something.
 */
static bool is_undecided(const struct doctor *d)
{
	bool open = !doctor_is_sure(d) || (d->hold.owner && d->hold.samples == 1) ||
		    leak_is_open(d) || glib_leak_is_open(d);

	for (size_t i = 0; i < d->patients->len; i++) {
		const struct patient *p = d->patients->pdata[i];

		open |= p->blocked.call.is_known && p->blocked.samples < 2;
		open |= p->nested.samples == 1 || glib_nested_is_open(d, p);
	}
	/* GLib's loops were waited for (glib_find_homes()): what did not poll then never does. */
	return open || (!has_loop(d) && !glib_only(d)) || late_is_undecided(d);
}

static int stay_longer(struct doctor *d, int duration_ms, const volatile sig_atomic_t *stop,
		       struct failure *why)
{
	int64_t visit_ns = duration_ms * 1000000LL, end = d->start_ns + visit_ns;
	int err = 0;

	for (int i = 0; !err && i < 2 * EXTRA_STEPS && is_undecided(d) && !*stop; i++) {
		end += visit_ns / EXTRA_STEPS;
		err = watch_for(d, visit_ns, end, stop, why);
	}
	return err;
}

/* A reading that fails because everything changes all the time is no reading, and no failure. */
static int check_tables(struct doctor *d, struct failure *why)
{
	int err = lost_check(d, why);

	if (!err)
		err = dead_check(d, why);
	if (!err) {
		idle_look(d);
		contexts_look(d);
	}
	return err == -EBADMSG || err == -EFAULT ? 0 : err;
}

int doctor_visit(struct doctor *d, int duration_ms, const volatile sig_atomic_t *stop,
		 struct failure *why)
{
	int64_t half = duration_ms * 500000LL;
	int err = check_tables(d, why);

	if (!err)
		err = watch_for(d, 2 * half, d->start_ns + half, stop, why);
	if (!err)
		err = check_tables(d, why);
	spin_half(d);
	glib_find_homes(d);
	if (!err)
		err = watch_for(d, 2 * half, d->start_ns + 2 * half, stop, why);
	/* Less when it is ended early: what was seen until then counts. */
	d->due = (int)(MIN(now_ns() - d->start_ns, 2 * half) / (STEP_MS * 1000000LL));
	/* One that never sleeps has to be asked while it polls. */
	if (!err && !has_loop(d))
		doctor_read_busy_loops(d, NULL);
	if (!err)
		err = stay_longer(d, duration_ms, stop, why);
	if (!err)
		err = check_tables(d, why);
	if (!err)
		err = doctor_look(d, why);
	if (err)
		return err;
	spin_conclude(d);
	idle_conclude(d);
	blocked_conclude(d);
	nested_conclude(d);
	glib_nested_conclude(d);
	hold_conclude(d);
	blocked_conclude_waiters(d);
	leak_conclude(d);
	glib_leak_conclude(d);
	contexts_conclude(d);
	glib_contexts_conclude(d);
	late_conclude(d);
	return 0;
}

void doctor_close(struct doctor *d)
{
	watch_close(d->watch);
	stacks_close(d->stacks);
	loops_free(d->loops);
	leak_free(d->leak);
	if (d->fds_at_half)
		g_array_free(d->fds_at_half, TRUE);
	late_free(d->late);
	glib_leak_free(d->glib_leak);
	glib_contexts_free(d->glib_idle);
	if (d->glib_homes)
		g_hash_table_destroy(d->glib_homes);
	if (d->idle_bhs)
		g_array_free(d->idle_bhs, TRUE);
	if (d->idle_contexts)
		g_array_free(d->idle_contexts, TRUE);
	hold_clear(&d->hold);
	hold_clear(&d->held);
	if (!d->patients)
		return;
	g_ptr_array_free(d->patients, TRUE);
	g_ptr_array_free(d->findings, TRUE);
	g_hash_table_destroy(d->callbacks);
}
