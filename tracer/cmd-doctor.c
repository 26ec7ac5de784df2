// SPDX-License-Identifier: MIT
/*
 * loopscope doctor: what is wrong with the loops of this process, or of this recording?
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tracer/clock.h"
#include "tracer/describe.h"
#include "tracer/doctor-trace.h"
#include "tracer/doctor-glib.h"
#include "tracer/out.h"
#include "tracer/session.h"

#define AGAIN_S 10 /* is advised after a visit that got too little done */

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

/* What was looked at, for the last line. */
struct looked {
	char *target; /* owned */
	int loops, threads;
	double seconds;
	uint64_t lost;
	const char *how;     /* "watched for", "recorded for"; NULL: one look at a core */
	bool glib, recorded; /* a program that is no QEMU; no live one */
	pid_t hurried;	     /* the process that could not be looked at often enough; 0: none */
};

static void show(const struct doctor *d, const struct options *options, const struct looked *looked)
{
	int n = (int)d->findings->len;

	for (int i = 0; i < n; i++) {
		if (options->json)
			print_json(d, d->findings->pdata[i]);
		else
			print_text(d, d->findings->pdata[i]);
	}
	if (options->json) {
		out_json(json_pack("{s:s, s:i, s:i, s:i, s:f, s:b, s:I}", "type", "total",
				   "findings", n, "loops", looked->loops, "threads",
				   looked->threads, "seconds", looked->seconds, "sure",
				   n || !looked->hurried, "lost", (json_int_t)looked->lost));
		return;
	}
	if (n) {
		printf("%d finding%s in %s.\n", n, n == 1 ? "" : "s", looked->target);
	} else if (looked->hurried) {
		printf("not sure: %d loop%s of %s, watched for %.1f s.\n", looked->loops,
		       looked->loops == 1 ? "" : "s", looked->target, looked->seconds);
		printf("Nothing was found, but this machine is too busy: %d looks of the %d that were "
		       "due.\nAgain, and longer: loopscope doctor -p %d -d %d\n",
		       d->looks, d->due, looked->hurried, AGAIN_S);
	} else if (!looked->how) {
		printf("no finding: %d loop%s of %s, one look.\n", looked->loops,
		       looked->loops == 1 ? "" : "s", looked->target);
		printf("Checked: sleeping in a callback, in a nested wait or with work to do, the big "
		       "lock, handlers\nthat are closed or removed and not freed.\n");
	} else {
		char *min = out_duration(d->min_ns);

		printf("no finding: %d loop%s of %s, %s %.1f s.\n", looked->loops,
		       looked->loops == 1 ? "" : "s", looked->target, looked->how, looked->seconds);
		printf(looked->glib && looked->recorded
			       ? "Checked: callbacks and nested loops that wait or compute for over %s, "
				 "spinning without\nprogress, sources that pile up, late timeouts.\n"
		       : looked->glib
			       ? "Checked: callbacks and nested loops that block for over %s, spinning "
				 "without progress,\nsleeping with work to do, sources that starve, are "
				 "dead or pile up, contexts that no\nthread runs, late timeouts.\n"
			       : "Checked: callbacks and nested waits that block for over %s, the big "
				 "lock, spinning without\nprogress, sleeping with work to do, handlers "
				 "dead or piling up, contexts nobody runs, late timers.\n",
		       min);
		g_free(min);
	}
}

/* Ctrl-C ends the visit early; what was seen until then counts. */
static void catch_signals(void)
{
	struct sigaction action = { .sa_handler = on_signal };

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

static int show_core(const struct doctor *d, const struct options *options)
{
	struct looked looked = { .target = describe_target(d->loops),
				 .loops = count_loops(d),
				 .threads = (int)d->patients->len };

	show(d, options, &looked);
	if (!options->json)
		printf("A core is one moment: it does not tell what spins, what computes for long, what "
		       "is\nlate or grows, what descriptors hold, and since when: loopscope doctor -p "
		       "PID, or record.\n");
	g_free(looked.target);
	return d->findings->len ? EXIT_FINDING : EXIT_FINE;
}

/* What no verdict can rest on where GLib's private parts are not proven. */
static void say_unproven(const struct doctor *d)
{
	if (d->l->off[PRIV_READY_TIME] < 0)
		printf("Not known of this GLib, and so not judged: when a source is due.\n");
	if (d->l->off[GCTX_OWNER] < 0)
		printf("Not known of this GLib, and so not judged: contexts that no thread runs.\n");
}

static int visit(struct doctor *d, const struct options *options, struct failure *why)
{
	struct looked looked = { .how = "watched for" };
	int64_t begun = now_ns();
	struct session s;
	int err = session_open(&s, options, why);

	if (!err)
		err = session_layout(&s, why);
	if (!err && !s.t->live) {
		err = core_examine(d, s.t, s.images, s.l, s.fds, why);
		if (!err)
			err = show_core(d, options);
		goto cleanup;
	}
	if (!err)
		err = doctor_open(d, s.t, s.images, s.l, s.fds, why);
	if (err)
		goto cleanup;
	catch_signals();
	if (!options->json || options->verbose)
		fprintf(stderr, "attached to process %d: %zu probes, %.0f ms\n", s.t->pid,
			watch_sites(d->watch), (double)(now_ns() - begun) / 1e6);
	err = doctor_visit(d, options->timeout_ms, &stop, why);
	if (err)
		goto cleanup;
	looked.target = describe_target(d->loops);
	looked.glib = glib_only(d);
	looked.loops = count_loops(d);
	looked.threads = (int)d->patients->len;
	looked.seconds = (double)(now_ns() - d->start_ns) / 1e9;
	looked.lost = d->lost + watch_lost(d->watch) + stacks_lost(d->stacks);
	looked.hurried = doctor_is_sure(d) ? 0 : s.t->pid;
	show(d, options, &looked);
	if (looked.glib && !options->json)
		say_unproven(d);
	if (looked.lost && !options->json)
		printf("INCOMPLETE: %lu counts or stacks found no room.\n",
		       (unsigned long)looked.lost);
	err = d->findings->len ? EXIT_FINDING : looked.hurried ? EXIT_FAILED : EXIT_FINE;

cleanup:
	g_free(looked.target);
	doctor_close(d);
	session_close(&s);
	return err;
}

/* Events that verdicts rest on, and what is not told without them. */
static void say_unrecorded(const struct trace_doctor *trace)
{
	static const struct {
		unsigned id;
		enum { OF_QEMU = 1, OF_GLIB = 2, OF_BOTH = 3 } of;
		const char *what;
	} needed[] = {
		{ LOOP_EV_POLL_ENTER, OF_BOTH, "waits" },
		{ LOOP_EV_SOURCE_DISPATCH_BEGIN, OF_GLIB, "dispatches of sources" },
		{ LOOP_EV_FD_READY, OF_GLIB, "which descriptors were ready" },
		{ LOOP_EV_HANDLER_BEGIN, OF_QEMU, "handlers" },
		{ LOOP_EV_BH_BEGIN, OF_QEMU, "bottom halves" },
		{ LOOP_EV_BH_SCHEDULE, OF_QEMU, "who schedules bottom halves" },
		{ LOOP_EV_TIMER_BEGIN, OF_QEMU, "timers" },
		{ LOOP_EV_TIMER_ARM, OF_QEMU, "who arms timers" },
		{ LOOP_EV_NOTIFY, OF_QEMU, "notifications" },
		{ LOOP_EV_EVENT_NOTIFIER_CLEAR, OF_QEMU, "who drains an eventfd" },
		{ LOOP_EV_AIO_POLL_ENTER, OF_QEMU, "nested aio_poll()s" },
		{ LOOP_EV_BQL_ACQUIRED, OF_QEMU, "the big lock" },
	};
	GString *list = g_string_new(NULL);
	unsigned of = trace_glib_only(trace) ? OF_GLIB : OF_QEMU;

	for (size_t i = 0; i < G_N_ELEMENTS(needed); i++)
		if (needed[i].of & of && !trace_has_event(trace, needed[i].id))
			g_string_append_printf(list, "%s%s", list->len ? ", " : "", needed[i].what);
	if (list->len) {
		g_string_prepend(list, "Not recorded, and so not judged: ");
		g_string_append_c(list, '.');
		out_folded(" ", list->str);
	}
	g_string_free(list, TRUE);
}

static int read_recording(struct doctor *d, const struct options *options, struct failure *why)
{
	struct trace_doctor trace = { .min_ns = d->min_ns };
	struct looked looked = { .how = "recorded for", .recorded = true };
	const struct ctf_reader_stats *stats;
	int err = trace_doctor_read(&trace, options->path, why);

	if (err)
		goto cleanup;
	stats = ctf_reader_stats(trace.report->reader);
	d->findings = trace.findings;
	trace_doctor_describe(&trace, &looked.target, &looked.loops, &looked.threads);
	looked.glib = trace_glib_only(&trace);
	looked.seconds = (double)(trace.report->end_ns - trace.report->begin_ns) / 1e9;
	looked.lost = stats->discarded;
	show(d, options, &looked);
	if (!options->json) {
		if (!looked.loops)
			printf("No loop did anything in it: one that stays in a call, or asleep, leaves "
			       "no event.\nloopscope doctor -p PID looks into that.\n");
		if (looked.glib)
			printf("Not in a recording's events: closed descriptors, contexts that no "
			       "thread runs, sleeps\nthat should have ended.\n");
		say_unrecorded(&trace);
		if (looked.lost)
			printf("INCOMPLETE: %lu events were lost when it was recorded.\n",
			       (unsigned long)looked.lost);
	}
	err = trace.findings->len ? EXIT_FINDING : EXIT_FINE;

cleanup:
	g_free(looked.target);
	trace_doctor_clear(&trace);
	return err;
}

int cmd_doctor(const struct options *options, struct failure *why)
{
	struct doctor d = { .min_ns = DOCTOR_MIN_MS * 1000000LL };

	if (options->min_ms)
		d.min_ns = options->min_ms * 1000000LL;
	if (options->path && g_file_test(options->path, G_FILE_TEST_IS_DIR))
		return read_recording(&d, options, why);
	return visit(&d, options, why);
}
