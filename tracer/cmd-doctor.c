// SPDX-License-Identifier: MIT
/*
 * loopscope doctor: what is wrong with the loops of this process?
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tracer/clock.h"
#include "tracer/describe.h"
#include "tracer/doctor.h"
#include "tracer/out.h"
#include "tracer/session.h"

#define DEFAULT_MIN_MS 100

static volatile sig_atomic_t stop;

static void on_signal(int signal)
{
	(void)signal;
	stop = 1;
}

static void print_stack(const struct doctor *d, const struct stack *stack)
{
	GPtrArray *names = g_ptr_array_new_with_free_func(g_free);

	for (int i = stack->n - 1; i >= 0; i--)
		g_ptr_array_add(names, frame_name(d, &stack->frames[i]));
	out_chain(names);
	g_ptr_array_free(names, TRUE);
}

static void print_text(const struct doctor *d, const struct finding *f)
{
	printf("%s   %s, thread %d, %s\n", f->verdict, f->role, f->tid, f->span);
	out_folded(" ", f->culprit);
	for (size_t i = 0; i < f->evidence->len; i++)
		out_folded("-", f->evidence->pdata[i]);
	if (f->stack)
		print_stack(d, f->stack);
	out_folded("=>", f->advice);
	printf("\n");
}

static void print_json(const struct doctor *d, const struct finding *f)
{
	json_t *evidence = json_array(), *stack = json_array();

	for (size_t i = 0; i < f->evidence->len; i++)
		json_array_append_new(evidence, out_text(f->evidence->pdata[i]));
	for (int i = 0; f->stack && i < f->stack->n; i++) {
		char *name = frame_name(d, &f->stack->frames[i]);

		json_array_append_new(stack, out_text(name));
		g_free(name);
	}
	out_json(json_pack("{s:s, s:s, s:i, s:s, s:s, s:s, s:o, s:o, s:s}", "type", "verdict",
			   "verdict", f->verdict, "thread", f->tid, "role", f->role, "span",
			   f->span, "culprit", f->culprit, "evidence", evidence, "stack", stack,
			   "advice", f->advice));
}

static int count_loops(const struct doctor *d)
{
	int n = 0;

	for (size_t i = 0; i < d->patients->len; i++)
		n += ((struct patient *)d->patients->pdata[i])->is_loop;
	return n;
}

static void show(const struct doctor *d, const struct options *options, double seconds)
{
	uint64_t lost = d->lost + watch_lost(d->watch) + stacks_lost(d->stacks);
	char *target = describe_target(d->loops);
	int n = (int)d->findings->len, loops = count_loops(d);
	char *min = out_duration(d->min_ns);

	for (int i = 0; i < n; i++) {
		if (options->json)
			print_json(d, d->findings->pdata[i]);
		else
			print_text(d, d->findings->pdata[i]);
	}
	if (options->json) {
		out_json(json_pack("{s:s, s:i, s:i, s:i, s:f, s:I}", "type", "total", "findings", n,
				   "loops", loops, "threads", (int)d->patients->len, "seconds",
				   seconds, "lost", (json_int_t)lost));
	} else if (n) {
		printf("%d finding%s in %s.\n", n, n == 1 ? "" : "s", target);
	} else {
		printf("no finding: %d loop%s of %s, watched for %.1f s.\n", loops,
		       loops == 1 ? "" : "s", target, seconds);
		printf("Checked: callbacks and nested waits that block for over %s, the big lock, "
		       "spinning\nwithout progress, sleeping with work to do, handlers that are "
		       "dead or pile up, late timers.\n",
		       min);
	}
	if (lost && !options->json)
		printf("INCOMPLETE: %lu counts or stacks found no room.\n", (unsigned long)lost);
	g_free(min);
	g_free(target);
}

/* Ctrl-C ends the visit early; what was seen until then counts. */
static void catch_signals(void)
{
	struct sigaction action = { .sa_handler = on_signal };

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

int cmd_doctor(const struct options *options, struct failure *why)
{
	struct doctor d = { .min_ns = DEFAULT_MIN_MS * 1000000LL };
	int64_t begun = now_ns();
	struct session s;
	int err;

	if (options->min_ms)
		d.min_ns = options->min_ms * 1000000LL;
	err = session_open(&s, options, why);
	if (!err && !s.t->live)
		err = fail(why, -EINVAL, "doctor needs a live process: -p PID");
	if (!err)
		err = session_layout(&s, why);
	if (!err && !layout_is_qemu(s.l))
		err = fail(why, -ENOENT, "%s is not a QEMU: doctor does not know its loops",
			   images_program(s.images)->name);
	if (!err)
		err = doctor_open(&d, s.t, s.images, s.l, s.fds, why);
	if (err)
		goto cleanup;
	catch_signals();
	if (!options->json || options->verbose)
		fprintf(stderr, "attached to process %d: %zu probes, %.0f ms\n", s.t->pid,
			watch_sites(d.watch), (double)(now_ns() - begun) / 1e6);
	err = doctor_visit(&d, options->timeout_ms, &stop, why);
	if (err)
		goto cleanup;
	show(&d, options, (double)(now_ns() - d.start_ns) / 1e9);
	err = d.findings->len ? EXIT_FINDING : EXIT_FINE;

cleanup:
	doctor_close(&d);
	session_close(&s);
	return err;
}
