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
#include "tracer/loops.h"
#include "tracer/out.h"
#include "tracer/provenance.h"
#include "tracer/session.h"

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

/* What one row says of one descriptor; strings are owned. */
struct fd_row {
	int fd;
	unsigned events;
	const struct fd_info *info;
	enum owner_kind kind;
	char *owner, *context, *callback, *calls;
	int ready; /* 1, 0, -1 unknown */
	/* With --provenance; else NULL. */
	char *made, *registered;
	GPtrArray *made_chain, *registered_chain;
	char *key; /* rows of one key differ in nothing but the descriptor */
};

struct totals {
	int fds, contexts, sources, wakeups, unknown, ready;
};

static void clear_row(void *data)
{
	struct fd_row *row = data;

	g_free(row->owner);
	g_free(row->context);
	g_free(row->callback);
	g_free(row->calls);
	g_free(row->key);
	g_free(row->made);
	g_free(row->registered);
	if (row->made_chain)
		g_ptr_array_free(row->made_chain, TRUE);
	if (row->registered_chain)
		g_ptr_array_free(row->registered_chain, TRUE);
}

static char *source_owner(const struct loop_source *s)
{
	if (s->name[0])
		return g_strdup_printf("GSource \"%s\"%s", s->name, s->priority ? " *" : "");
	return g_strdup_printf("GSource %u, priority %d", s->id, s->priority);
}

static void explain_owner(const struct loops *loops, const struct owner *owner, struct fd_row *row)
{
	uint64_t callback = 0;

	switch (owner->kind) {
	case OWNER_NOTIFIER:
		row->owner = g_strdup(owner->context->name);
		row->context = g_strdup(owner->context->name);
		callback = owner->handler->io_read;
		break;
	case OWNER_FDMON:
		row->owner = g_strdup(owner->context->name);
		row->context = g_strdup(owner->context->name);
		break;
	case OWNER_HANDLER:
		row->owner = g_strdup(owner->context->name);
		row->context = g_strdup(owner->context->name);
		callback = owner->handler->io_read ? owner->handler->io_read
						   : owner->handler->io_write;
		break;
	case OWNER_SOURCE:
		row->owner = source_owner(owner->source);
		/* Without a callback set, the source's own dispatch function is what runs. */
		callback = owner->source->callback;
		if (!callback)
			target_read_u64(loops->t,
					owner->source->funcs + offsetof(GSourceFuncs, dispatch),
					&callback);
		break;
	case OWNER_WAKEUP:
		row->owner = g_strdup("GLib");
		break;
	case OWNER_UNKNOWN:
		row->owner = g_strdup("unknown");
		break;
	}
	row->callback = describe_callback(loops, callback);
	row->calls = describe_calls(loops, callback);
}

static void make_row(const struct loops *loops, const struct poll_set *set, const GPollFD *fd,
		     struct fd_row *row)
{
	struct owner owner;
	int ready;

	memset(row, 0, sizeof(*row));
	row->fd = fd->fd;
	row->events = fd->events;
	row->info = fds_get(loops->fds, fd->fd);
	ready = fds_ready(loops->fds, fd->fd, fd->events);
	row->ready = ready < 0 ? -1 : ready > 0;
	loops_owner(loops, set->tid, fd->fd, &owner);
	row->kind = owner.kind;
	explain_owner(loops, &owner, row);
	row->key = g_strdup_printf("%s/%s/%u/%s/%s/%d/%d", row->info->kind, row->info->detail,
				   row->events & 7, row->owner, row->callback ? row->callback : "",
				   row->kind, row->ready);
}

static const char *callback_text(const struct fd_row *row)
{
	switch (row->kind) {
	case OWNER_NOTIFIER:
		return "its own notifier";
	case OWNER_FDMON:
		return "its fd monitor, for all its handlers";
	case OWNER_WAKEUP:
		return "wake-up of this thread's GMainContext";
	case OWNER_UNKNOWN:
		return "no handler and no GSource holds it";
	default:
		return row->callback ? row->callback : "-";
	}
}

static void count(const struct fd_row *row, struct totals *totals)
{
	totals->fds++;
	totals->contexts += row->kind == OWNER_NOTIFIER || row->kind == OWNER_FDMON;
	totals->sources += row->kind == OWNER_SOURCE;
	totals->wakeups += row->kind == OWNER_WAKEUP;
	totals->unknown += row->kind == OWNER_UNKNOWN;
	totals->ready += row->ready > 0;
}

/* Who made the descriptor of the row, who registered it? */
static void explain_origin(struct provenance *p, struct session *s, struct fd_row *row)
{
	struct origin origin;

	provenance_made(p, s, row->fd, &origin);
	row->made = provenance_text(p, s, &origin);
	row->made_chain = provenance_chain(s, &origin);
	provenance_registered(p, s, row->fd, &origin);
	if (row->kind == OWNER_WAKEUP && origin.known == ORIGIN_UNSEEN)
		row->registered = g_strdup("GLib itself, with its GMainContext");
	else
		row->registered = provenance_text(p, s, &origin);
	row->registered_chain = provenance_chain(s, &origin);
}

static json_t *chain_json(const GPtrArray *chain)
{
	json_t *list = json_array();

	for (size_t i = 0; chain && i < chain->len; i++)
		json_array_append_new(list, json_string(chain->pdata[i]));
	return list;
}

/* One descriptor's origins, below the table. */
static void show_origin(const struct fd_row *row)
{
	char *made = g_strdup_printf("made by %s", row->made);
	char *registered = g_strdup_printf("registered by %s", row->registered);

	printf("\n  fd %d\n", row->fd);
	out_folded("  ", row->made_chain->len ? made : row->made);
	if (row->made_chain->len)
		out_chain(row->made_chain);
	out_folded("  ", row->registered_chain->len || row->kind == OWNER_WAKEUP ? registered
										 : row->registered);
	if (row->registered_chain->len)
		out_chain(row->registered_chain);
	g_free(made);
	g_free(registered);
}

static void print_json(const struct loops *loops, const struct poll_set *set,
		       const struct fd_row *row)
{
	static const char *const kinds[] = { "unknown", "notifier", "handler",
					     "GSource", "GLib",	    "fd monitor" };
	char *role = describe_role(loops, set->tid);
	json_t *object;

	object = json_pack(
		"{s:s, s:i, s:s, s:i, s:s, s:o, s:s, s:s, s:s, s:o, s:o, s:o, s:s, s:o, s:s}",
		"type", "fd", "thread", set->tid, "role", role, "fd", row->fd, "fd_kind",
		row->info->kind, "fd_detail", out_text(row->info->detail), "events",
		out_events(row->events), "owner", row->owner, "owner_kind", kinds[row->kind], "ctx",
		out_text(row->context), "callback", out_text(row->callback), "calls",
		out_text(row->calls ? row->calls + strlen("calls ") : NULL), "registered_by",
		row->registered ? row->registered : "older than attach", "ready",
		row->ready < 0 ? json_null() : json_boolean(row->ready), "via",
		read_way_name(loops->way));
	if (row->made) {
		json_object_set_new(object, "made_by", json_string(row->made));
		json_object_set_new(object, "made_stack", chain_json(row->made_chain));
		json_object_set_new(object, "registered_stack", chain_json(row->registered_chain));
	}
	out_json(object);
	g_free(role);
}

static const char *ready_text(int ready)
{
	return ready < 0 ? "?" : ready ? "ready" : "-";
}

static void add_row(struct table *table, const struct fd_row *row, const char *fd,
		    const char *under)
{
	table_row(table, fd, row->info->kind, out_events(row->events), row->owner,
		  callback_text(row), ready_text(row->ready), NULL);
	table_under(table, 3, under);
	if (row->kind != OWNER_NOTIFIER)
		table_under(table, 3, row->calls);
}

static void add_rows(struct table *table, GArray *rows, bool all)
{
	struct fold *fold = fold_new(all);

	for (size_t i = 0; i < rows->len; i++) {
		const struct fd_row *row = &g_array_index(rows, struct fd_row, i);

		fold_add(fold, row->key, row->fd);
	}
	for (size_t i = 0; i < rows->len; i++) {
		const struct fd_row *row = &g_array_index(rows, struct fd_row, i);
		char cell[24], *ranges, *under;
		bool few;
		GArray *numbers = fold_take(fold, row->key, &few);

		if (few) {
			snprintf(cell, sizeof(cell), "%3d", row->fd);
			add_row(table, row, cell, row->info->detail);
		} else if (numbers) {
			snprintf(cell, sizeof(cell), "x%u", numbers->len);
			ranges = out_ranges(numbers);
			under = g_strdup_printf("fds %s", ranges);
			add_row(table, row, cell, under);
			g_free(ranges);
			g_free(under);
		}
	}
	fold_free(fold);
}

/* The rows of one poll set. */
static GArray *make_rows(const struct loops *loops, const struct poll_set *set,
			 struct totals *totals)
{
	GArray *rows = g_array_new(FALSE, FALSE, sizeof(struct fd_row));

	g_array_set_clear_func(rows, clear_row);
	for (size_t i = 0; i < set->fds->len; i++) {
		struct fd_row row;

		make_row(loops, set, &g_array_index(set->fds, GPollFD, i), &row);
		count(&row, totals);
		g_array_append_val(rows, row);
	}
	return rows;
}

static void show_set(const struct loops *loops, const struct poll_set *set, GArray *rows,
		     const struct options *options)
{
	static const char *const heads[] = { " FD",	 "KIND", "EVENTS", "OWNER",
					     "CALLBACK", "NOW",	 NULL };
	struct table *table;
	char *thread;

	for (size_t i = 0; options->json && i < rows->len; i++)
		print_json(loops, set, &g_array_index(rows, struct fd_row, i));
	if (options->json)
		return;
	thread = describe_thread(loops, set->tid);
	printf("\n%s\n", thread);
	g_free(thread);
	table = table_new(heads);
	add_rows(table, rows, options->all);
	table_print(table, " ");
	for (size_t i = 0; i < rows->len; i++)
		if (g_array_index(rows, struct fd_row, i).made)
			show_origin(&g_array_index(rows, struct fd_row, i));
}

static bool is_loop_thread(const struct loops *loops, pid_t tid)
{
	for (size_t i = 0; i < loops->contexts->len; i++)
		if (((struct context *)loops->contexts->pdata[i])->tid == tid)
			return true;
	for (size_t i = 0; i < loops->gcontexts->len; i++)
		if (((struct loop_gcontext *)loops->gcontexts->pdata[i])->tid == tid)
			return true;
	return false;
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
			const struct totals *t, int n_sets, int n_awake)
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
	struct totals totals = { 0 };
	int err, n_awake;
	char *target;

	for (size_t i = 0; i < loops->tables->sets->len; i++) {
		struct poll_set *set = &g_array_index(loops->tables->sets, struct poll_set, i);

		if (options->tid ? set->tid != options->tid : !is_loop_thread(loops, set->tid))
			continue;
		g_ptr_array_add(sets, set);
		g_ptr_array_add(rows, make_rows(loops, set, &totals));
	}
	for (size_t i = 0; p && i < rows->len; i++)
		for (size_t k = 0; k < ((GArray *)rows->pdata[i])->len; k++)
			explain_origin(p, s,
				       &g_array_index((GArray *)rows->pdata[i], struct fd_row, k));
	err = session_check_alive(s, why);
	if (err)
		goto cleanup;
	if (!options->json) {
		target = describe_target(loops);
		printf("%s: what its loops poll\n", target);
		g_free(target);
	}
	for (size_t i = 0; i < sets->len; i++)
		show_set(loops, sets->pdata[i], rows->pdata[i], options);
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
		err = provenance_begin(s.t->pid, s.t->exe, &p, why);
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
	err = start_quietly(options, &child, why);
	if (err)
		goto cleanup;
	err = provenance_begin(child.pid, program, &p, why);
	if (!err) {
		child_go(&child);
		wait_for(child.pid, options->timeout_ms);
		interrupted = 0; /* that ended the watching; once more ends all */
		err = child_find_loop(&child, &s, &interrupted, why);
		if (err && interrupted)
			err = fail(why, -EINTR, "interrupted before the command had a loop");
	}
	if (!err) {
		provenance_end(p);
		err = show(&s, p, why);
	}
	child_end(&child);

cleanup:
	provenance_free(p);
	session_close(&s);
	g_free(program);
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
