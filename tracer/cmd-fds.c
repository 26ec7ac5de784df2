// SPDX-License-Identifier: MIT
/*
 * loopscope fds: which descriptors do the loops poll, whose are they, are they ready? And, of those
 * that are made and registered while it watches: by whom?
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tracer/child.h"
#include "tracer/describe.h"
#include "tracer/fd-rows.h"
#include "tracer/out.h"

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
	(void)number;
	interrupted = 1;
}

/* So long, or until the process ends or somebody has seen enough (Ctrl-C). */
static void wait_for(pid_t pid, int timeout_ms)
{
	struct pollfd p = { .fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN };

	if (p.fd < 0 || interrupted)
		return;
	poll(&p, 1, timeout_ms);
	close(p.fd);
}

static bool is_loop_thread(const struct loops *loops, pid_t tid)
{
	return loops_context_of(loops, tid) || loops_gcontext_of(loops, tid);
}

/* A context that some thread owns and none polls: which thread that is is not known. */
static int show_awake_glib(const struct loop_gcontext *g, const struct options *options)
{
	char *context;

	if (g->owned != 1 || g->tid || options->tid)
		return 0;
	context = g_strdup_printf("GMainContext 0x%" PRIx64 "%s", g->addr,
				  g->is_default ? ", the default one" : "");
	if (options->json)
		out_json(json_pack("{s:s, s:s, s:o, s:s}", "type", "awake", "ctx", context,
				   "thread", json_null(), "doing", "GLib loop, awake"));
	else
		printf("\n%s, awake: what it polls is known only while it waits\n", context);
	g_free(context);
	return 1;
}

/* Loops that did not wait when they were looked at. Say so: what they poll is not known. */
static int show_awake(const struct loops *loops, const struct options *options)
{
	int awake = 0;

	for (size_t i = 0; i < loops->contexts->len; i++) {
		const struct context *c = loops->contexts->pdata[i];
		bool polled = c->tid && find_set(loops, c->tid);
		char *thread;

		if (polled || (!c->tid && c->kind != CONTEXT_MAIN) ||
		    (options->tid && options->tid != c->tid))
			continue;
		awake++;
		thread = c->tid ? describe_thread(loops, c->tid) : g_strdup("main loop");
		if (options->json)
			out_json(json_pack("{s:s, s:s, s:o, s:s}", "type", "awake", "ctx", c->name,
					   "thread", c->tid ? json_integer(c->tid) : json_null(),
					   "doing", thread));
		else
			printf("\n%s: what it polls was not seen\n", thread);
		g_free(thread);
	}
	/* Of a QEMU, an IOThread owns its GMainContext also while it polls without it. */
	for (size_t i = 0; !loops_main(loops) && i < loops->gcontexts->len; i++)
		awake += show_awake_glib(loops->gcontexts->pdata[i], options);
	return awake;
}

static void show_totals(const struct loops *loops, const struct options *options,
			const struct fd_totals *t, int n_sets, int n_awake)
{
	if (options->json) {
		out_json(json_pack("{s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:I}", "type",
				   "total", "loops", n_sets, "awake", n_awake, "fds", t->fds,
				   "notifiers", t->contexts, "sources", t->sources, "wakeups",
				   t->wakeups, "unknown", t->unknown, "ready", t->ready, "lost",
				   (json_int_t)loops->tables->lost));
		return;
	}
	printf("\n%d fds in %d loop%s: %d of AioContexts' own, %d of GSources, %d of GLib's own",
	       t->fds, n_sets, n_sets == 1 ? "" : "s", t->contexts, t->sources, t->wakeups);
	if (t->unknown)
		printf(", %d NOT explained", t->unknown);
	printf(". %d ready.\n", t->ready);
	if (loops->tables->lost)
		printf("INCOMPLETE: %lu records were lost.\n", (unsigned long)loops->tables->lost);
}

static void free_rows(void *rows)
{
	g_array_free(rows, TRUE);
}

/* Show the sets that are asked for; all rows are made before, of a process that is still there. */
static int show_sets(struct session *s, const struct loops *loops, struct provenance *p,
		     struct failure *why)
{
	const struct options *options = s->options;
	GPtrArray *sets = g_ptr_array_new(), *rows = g_ptr_array_new_with_free_func(free_rows);
	struct fd_totals totals = { 0 };
	int err, n_awake;
	char *target;

	for (size_t i = 0; i < loops->tables->sets->len; i++) {
		struct poll_set *set = &g_array_index(loops->tables->sets, struct poll_set, i);

		if (options->tid ? set->tid != options->tid : !is_loop_thread(loops, set->tid))
			continue;
		g_ptr_array_add(sets, set);
		g_ptr_array_add(rows, fd_rows_new(loops, set, &totals));
	}
	for (size_t i = 0; p && i < rows->len; i++)
		for (size_t k = 0; k < ((GArray *)rows->pdata[i])->len; k++)
			fd_row_explain_origin(
				p, s, &g_array_index((GArray *)rows->pdata[i], struct fd_row, k));
	err = session_check_alive(s, why);
	if (err)
		goto cleanup;
	if (!options->json) {
		target = describe_target(loops);
		printf("%s: what its loops poll\n", target);
		g_free(target);
	}
	for (size_t i = 0; i < sets->len; i++)
		fd_rows_show(loops, sets->pdata[i], rows->pdata[i], options);
	n_awake = show_awake(loops, options);
	show_totals(loops, options, &totals, (int)sets->len, n_awake);
	if (!sets->len)
		err = fail(why, -EAGAIN,
			   loops->way == READ_PROBE
				   ? "no loop of process %d polled meanwhile: try --via "
				     "iter, or a longer -d"
				   : "no loop of process %d was waiting: try --via "
				     "probe",
			   s->t->pid);

cleanup:
	g_ptr_array_free(sets, TRUE);
	g_ptr_array_free(rows, TRUE);
	return err;
}

/* Read the loops and show them. */
static int show(struct session *s, struct provenance *p, struct failure *why)
{
	struct loops *loops = NULL;
	int err = session_read_loops(s, &loops, why);

	if (!err)
		err = show_sets(s, loops, p, why);
	if (!err && p && provenance_lost(p))
		printf("INCOMPLETE: %lu makings or registrations found no room.\n",
		       (unsigned long)provenance_lost(p));
	loops_free(loops);
	return err;
}

static int fds_of_process(const struct options *options, struct failure *why)
{
	struct provenance *p = NULL;
	struct session s;
	int err = session_open(&s, options, why);

	if (!err && options->provenance)
		err = provenance_begin(s.t->pid, &p, why);
	if (p) {
		fprintf(stderr, "loopscope: watching process %d for %.3g s\n", s.t->pid,
			options->timeout_ms / 1000.0);
		wait_for(s.t->pid, options->timeout_ms);
		provenance_end(p);
		err = target_refresh(s.t, why);
	}
	if (!err)
		err = session_layout(&s, why);
	if (!err)
		err = show(&s, p, why);
	provenance_free(p);
	session_close(&s);
	return err;
}

/* What the command prints goes to stderr: the table is alone on stdout. */
static int start_quietly(const struct options *options, struct child *ret, struct failure *why)
{
	int out = dup(STDOUT_FILENO), err;

	dup2(STDERR_FILENO, STDOUT_FILENO);
	err = child_start(options->command, ret, why);
	dup2(out, STDOUT_FILENO);
	close(out);
	return err;
}

static int fds_of_command(const struct options *options, struct failure *why)
{
	struct session s = { .options = options };
	char *program = g_find_program_in_path(options->command[0]);
	struct provenance *p = NULL;
	struct child child;
	int err;

	if (!program)
		return fail(why, -ENOENT, "there is no command %s", options->command[0]);
	g_free(program);
	err = start_quietly(options, &child, why);
	if (err)
		return err;
	err = provenance_begin_command(&child, &p, why);
	if (!err) {
		child_go(&child);
		err = hold_wait(child.hold, options->timeout_ms, &interrupted, why);
		interrupted = 0; /* that ended the watching; once more ends all */
	}
	if (!err)
		err = child_find_loop(&child, &s, &interrupted, why);
	if (err && interrupted)
		err = fail(why, -EINTR, "interrupted before the command had a loop");
	if (!err) {
		child_let_be(&child);
		provenance_end(p);
		err = show(&s, p, why);
	}
	child_end(&child);
	provenance_free(p);
	session_close(&s);
	return err;
}

int cmd_fds(const struct options *options, struct failure *why)
{
	struct sigaction action = { .sa_handler = on_signal };

	if (options->provenance || options->command) {
		sigaction(SIGINT, &action, NULL);
		sigaction(SIGTERM, &action, NULL);
	}
	return options->command ? fds_of_command(options, why) : fds_of_process(options, why);
}
