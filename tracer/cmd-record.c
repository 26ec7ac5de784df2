// SPDX-License-Identifier: MIT
/*
 * loopscope record: what loops do, written down until the target ends, a time is over, or Ctrl-C.
 *
 *	loopscope record -p PID -o DIR [-d SECONDS]
 *	loopscope record -o DIR -- COMMAND ...
 *	loopscope record -p PID -o DIR --on-stall 50ms [--ring 64M] [--at-end]
 *
 * A program that carries our USDT probes is recorded by them; any other by its exported functions.
 * A command is attached to before its first instruction where it carries probes; otherwise as soon
 * as its loop can be found.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bpf/record.skel.h"
#include "tracer/child.h"
#include "tracer/clock.h"
#include "tracer/out.h"
#include "tracer/progress.h"
#include "tracer/record.h"

#define DRAIN_MS 5
#define MIN_RING 4096

#define FLIGHT_KERNEL_RING (16 << 20) /* with --on-stall, --ring is of the memory behind it */
#define DEFAULT_MIN_MS	   10	      /* --stacks */

static volatile sig_atomic_t interrupted, asked;

static void on_signal(int number)
{
	if (number == SIGUSR1)
		asked = 1;
	else
		interrupted = 1;
}

/* --- setting up --- */

static void recorder_free(struct recorder *r)
{
	g_ptr_array_free(r->attachments, TRUE);
	ring_buffer__free(r->ring);
	record_bpf__destroy(r->skel);
	loops_free(r->loops);
	image_close(r->program);
	record_flight_free(r);
	record_watch_free(r->watch);
	g_ptr_array_free(r->probes, TRUE);
	g_hash_table_destroy(r->threads);
	g_hash_table_destroy(r->named);
	g_hash_table_destroy(r->callbacks);
	g_hash_table_destroy(r->resumes);
	if (r->known)
		g_hash_table_destroy(r->known);
	if (r->glib_funcs)
		g_hash_table_destroy(r->glib_funcs);
}

static int recorder_init(struct recorder *r, struct session *s, struct failure *why)
{
	const struct options *o = s->options;
	int min_ms = o->on_stall_ms ?: o->min_ms ?: DEFAULT_MIN_MS;

	memset(r, 0, sizeof(*r));
	r->s = s;
	r->attachments = g_ptr_array_new_with_free_func((GDestroyNotify)attach_remove);
	r->probes = g_ptr_array_new_with_free_func(g_free);
	r->threads = g_hash_table_new_full(NULL, NULL, NULL, g_free);
	r->named = g_hash_table_new(NULL, NULL);
	r->callbacks = g_hash_table_new(NULL, NULL);
	r->resumes = g_hash_table_new(NULL, NULL);
	if (o->on_stall_ms || o->stacks)
		r->watch = record_watch_new(min_ms * 1000000LL);
	return record_select_parse(o->only
					   ?: attach_has_multi() ? o->only
								 : RECORD_FEW,
				   &r->select, why);
}

static int load(struct recorder *r, struct failure *why)
{
	const struct options *o = r->s->options;
	size_t ring = o->on_stall_ms ? FLIGHT_KERNEL_RING : o->ring ? o->ring : 64 << 20;
	int err;

	r->skel = record_bpf__open();
	if (!r->skel)
		return bpf_failure(-errno, why);
	r->skel->rodata->tgid = r->pid;
	/* A power of two, of whole pages. */
	while (ring & (ring - 1))
		ring &= ring - 1;
	bpf_map__set_max_entries(r->skel->maps.ring, MAX(ring, MIN_RING));
	attach_prepare(r->skel->progs.on_usdt, ATTACH_BEST);
	attach_prepare(r->skel->progs.on_entry, ATTACH_BEST);
	attach_prepare(r->skel->progs.on_return, ATTACH_BEST);
	err = record_bpf__load(r->skel);
	if (err)
		return bpf_failure(err, why);
	r->ring = ring_buffer__new(bpf_map__fd(r->skel->maps.ring), record_take_hit, r, NULL);
	return r->ring ? 0 : bpf_failure(-errno, why);
}

static int open_writer(struct recorder *r, const char *exe, const char *build_id,
		       struct failure *why)
{
	char number[16];
	struct ctf_env env[] = { { "target_exe", exe },
				 { "target_build_id", build_id },
				 { "target_pid", number },
				 { NULL, NULL } };
	const char *path = r->s->options->output;
	int err;

	snprintf(number, sizeof(number), "%d", r->pid);
	if (r->s->options->on_stall_ms)
		return record_flight_open(r, env, why);
	err = ctf_writer_open(path, env, &r->writer);
	if (err == -ENOTEMPTY || err == -EEXIST)
		return fail(why, -EEXIST,
			    "%s is not an empty directory: a recording is not overwritten", path);
	return err ? fail(why, err == -EPERM || err == -EACCES ? -EIO : err,
			  "cannot write to %s: %s", path, strerror(-err))
		   : 0;
}

/* Read the tables: without a layout (a program of no QEMU's) there are none. */
static void read_tables(struct recorder *r, struct failure *why)
{
	struct session *s = r->s;

	if (!s->l && session_layout(s, why))
		return;
	if (!loops_read(s->t, s->images, s->l, s->fds, READ_MEM, 0, &r->loops, NULL))
		emit_tables(r, NULL);
}

/* --- attaching --- */

/* Before its first instruction: only the program's own probes, whose file is all they need. */
static int attach_before(struct recorder *r, const char *command, struct failure *why)
{
	char *path = g_find_program_in_path(command);
	int err = path ? image_open_file(path, &r->program, why)
		       : fail(why, -ENOENT, "there is no command %s", command);

	g_free(path);
	if (err || !record_add_usdt(r, r->program))
		return err;
	return record_attach(r, 0, why);
}

/* A command that was attached to before it ran: its tables, as soon as it has some. */
static void look_into_command(struct recorder *r)
{
	struct session *s = r->s;

	if (r->loops || (uint64_t)now_ns() < r->look_ns)
		return;
	/* Soon and then ever more rarely: a look costs some milliseconds of a CPU. */
	r->look_wait_ns = MIN(r->look_wait_ns * 2 + DRAIN_MS * 1000000, 1000000000);
	r->look_ns = now_ns() + r->look_wait_ns;
	session_close(s);
	if (session_open_process(s, s->options, r->pid, NULL) ||
	    strcmp(images_program(s->images)->build_id, r->program->build_id))
		session_close(s); /* not there yet, or gone */
	else
		read_tables(r, NULL);
}

/* With --overhead: as much as the budget allows. Without, a recording is whole. */
static int keep_budget(struct recorder *r, struct failure *why)
{
	double percent = r->s->options->overhead;
	char *words = NULL;
	int err = percent > 0 ? record_keep_budget(r, percent, &words, why) : 0;

	if (words)
		fprintf(stderr, "loopscope: %s\n", words);
	g_free(words);
	return err;
}

static int attach_running(struct recorder *r, struct failure *why)
{
	int err;

	struct image *program = images_program(r->s->images);
	struct failure no_layout = { 0 };

	read_tables(r, &no_layout);
	if (!record_add_usdt(r, program)) {
		if (!r->loops)
			return fail(why, no_layout.err, "%s", no_layout.text);
		record_add_functions(r);
		record_add_callbacks(r, NULL);
	}
	err = keep_budget(r, why);
	return err ? err : record_attach(r, 0, why);
}

/* --- running --- */

/* Handlers have changed: look at the tables again, tell what is new, learn new callbacks. */
static void follow_changes(struct recorder *r)
{
	struct session *s = r->s;
	struct loops *before = r->loops;

	if (!r->looks || !before)
		return;
	r->looks--;
	if (loops_read(s->t, s->images, s->l, s->fds, READ_MEM, 0, &r->loops, NULL)) {
		r->loops = before;
		return;
	}
	emit_tables(r, before);
	record_add_callbacks(r, before);
	loops_free(before);
}

/* Attach what has been learned since the last time, once: to handlers' callbacks and timers'. */
static void attach_new(struct recorder *r, size_t *attached)
{
	if (r->probes->len > *attached)
		record_attach(r, *attached, NULL);
	*attached = r->probes->len;
}

static bool target_ended(int pidfd, int timeout_ms)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };

	return poll(&p, 1, timeout_ms) > 0;
}

/* Stalls that the events show: their stacks, and what the flight recorder does about them. */
static void look_for_stalls(struct recorder *r)
{
	uint64_t lost = r->skel->bss->lost;
	struct record_stall stall;

	if (!r->watch)
		return;
	if (lost != r->lost_seen)
		record_watch_forget(r->watch);
	r->lost_seen = lost;
	if (r->flight)
		record_flight_lost(r, lost);
	while (record_watch_next(r->watch, &stall)) {
		if (stall.goes_on)
			record_watch_take_stack(r, &stall);
		if (r->flight)
			record_flight_stall(r, &stall);
	}
	if (r->flight && asked)
		record_flight_asked(r);
	asked = 0;
	if (r->flight)
		record_flight_step(r);
}

/* Returns true if the target ended. */
static bool run(struct recorder *r)
{
	const struct options *o = r->s->options;
	uint64_t started = now_ns();
	uint64_t end = o->duration_ms ? started + o->duration_ms * 1000000ULL : UINT64_MAX;
	int pidfd = (int)syscall(SYS_pidfd_open, r->pid, 0);
	size_t attached = r->probes->len;
	bool ended = false;

	while (!interrupted && !r->error && (uint64_t)now_ns() < end) {
		ended = pidfd < 0 || target_ended(pidfd, DRAIN_MS);
		ring_buffer__consume(r->ring);
		if (ended)
			break;
		emit_flush(r);
		look_for_stalls(r);
		if (progress_due())
			progress("%.0f s, %" PRIu64 " events, %" PRIu64 " lost; Ctrl-C ends",
				 (double)((uint64_t)now_ns() - started) / 1e9, r->written,
				 (uint64_t)r->skel->bss->lost);
		if (r->program)
			look_into_command(r);
		follow_changes(r);
		attach_new(r, &attached);
	}
	progress_end();
	if (pidfd >= 0)
		close(pidfd);
	return ended;
}

/* Of the flight recorder: each recording was told when it was written. */
static int finish_flight(struct recorder *r, bool ended, uint64_t started_ns, struct failure *why)
{
	const char *path = r->s->options->output;
	uint64_t lost = r->skel->bss->lost;

	record_flight_lost(r, lost);
	record_flight_finish(r, r->s->options->at_end || (ended && !r->s->options->command));
	fprintf(stderr,
		"loopscope: %s: %d recordings of %" PRIu64 " events in %.1f s, %" PRIu64 " lost\n",
		path, record_flight_count(r), r->written, (now_ns() - started_ns) / 1e9, lost);
	if (r->s->options->json)
		out_json(json_pack("{s:s, s:s, s:i, s:I, s:i, s:i, s:I}", "type", "total",
				   "recording", path, "pid", r->pid, "events",
				   (json_int_t)r->written, "threads",
				   (int)g_hash_table_size(r->threads), "recordings",
				   record_flight_count(r), "lost", (json_int_t)lost));
	return r->error ? fail(why, r->error, "%s: %s", path, strerror(-r->error)) : 0;
}

/* Detach, take what is still in the ring, count what was lost, and say how it went. */
static int finish(struct recorder *r, bool ended, uint64_t started_ns, struct failure *why)
{
	const char *path = r->s->options->output;
	struct ctf_writer_stats stats = { 0 };
	uint64_t lost, end;
	int err;

	end = now_ns();
	record_detach(r);
	if (!r->error)
		ring_buffer__consume(r->ring);
	if (r->flight)
		return finish_flight(r, ended, started_ns, why);
	lost = r->skel->bss->lost;
	if (lost)
		ctf_writer_discard(r->writer, 0, lost, now_ns());
	ctf_writer_end(r->writer, end);
	err = ctf_writer_close(r->writer, &stats);
	r->writer = NULL;
	if (!r->error)
		r->error = err;
	fprintf(stderr,
		"loopscope: %s: %" PRIu64 " events of %u threads in %.1f s, %" PRIu64 " lost\n",
		path, stats.events, g_hash_table_size(r->threads), (now_ns() - started_ns) / 1e9,
		stats.discarded);
	if (r->s->options->json)
		out_json(json_pack("{s:s, s:s, s:i, s:I, s:i, s:I}", "type", "total", "recording",
				   path, "pid", r->pid, "events", (json_int_t)stats.events,
				   "threads", (int)g_hash_table_size(r->threads), "lost",
				   (json_int_t)stats.discarded));
	if (r->error)
		return fail(why, r->error, "%s: %s; what is there can be read", path,
			    strerror(-r->error));
	return 0;
}

static void say_attached(struct recorder *r)
{
	int usdt = 0, functions = 0;

	record_tell_absent(r);

	for (size_t i = 0; i < r->probes->len; i++) {
		const struct record_probe *p = r->probes->pdata[i];

		usdt += p->event && !p->left_out;
		functions += !p->event && !p->left_out;
	}
	fprintf(stderr, "loopscope: attached to process %d: %d USDT probes, %d functions", r->pid,
		usdt, functions);
	if (r->stepped)
		fprintf(stderr, ", %d of them single-stepped", r->stepped);
	if (!attach_has_multi())
		fprintf(stderr, "; this kernel is older than 6.6 and has %d at most: %d left out%s",
			ATTACH_SLOW_MAX, r->left_out,
			r->s->options->only ? "" : ", --events chooses others");
	fputs("; Ctrl-C ends the recording\n", stderr);
}

static int record_process(struct recorder *r, struct failure *why)
{
	struct session *s = r->s;
	uint64_t started = now_ns();
	int err = session_open(s, s->options, why);
	bool ended;

	if (err)
		return err;
	r->pid = s->t->pid;
	err = load(r, why);
	if (!err)
		err = open_writer(r, s->t->exe, images_program(s->images)->build_id, why);
	if (!err)
		err = attach_running(r, why);
	if (err && session_check_alive(s, why))
		return -ESRCH;
	if (err)
		return err;
	if (r->watch)
		record_watch_begin(r);
	say_attached(r);
	ended = run(r);
	return finish(r, ended, started, why);
}

/* Set everything up and let the command go. */
static int begin_command(struct recorder *r, struct child *child, struct failure *why)
{
	struct session *s = r->s;
	int err = load(r, why);

	if (!err)
		err = attach_before(r, s->options->command[0], why);
	if (!err && r->probes->len)
		err = open_writer(r, r->program->path, r->program->build_id, why);
	if (err)
		return err;
	child_go(child);
	if (r->probes->len)
		return 0;
	image_close(r->program);
	r->program = NULL;
	err = child_find_loop(child, r->s, &interrupted, why);
	if (!err)
		err = open_writer(r, s->t->exe, images_program(s->images)->build_id, why);
	return err ? err : attach_running(r, why);
}

static int record_command(struct recorder *r, struct failure *why)
{
	struct child child;
	uint64_t started = now_ns();
	bool ended;
	int err = child_start(r->s->options->command, &child, why);

	if (err)
		return err;
	r->pid = child.pid;
	err = begin_command(r, &child, why);
	if (!err) {
		say_attached(r);
		ended = run(r);
		err = finish(r, ended, started, why);
	}
	child_end(&child);
	return err;
}

int cmd_record(const struct options *options, struct failure *why)
{
	struct sigaction action = { .sa_handler = on_signal };
	struct session s = { .options = options };
	struct recorder r;
	int err;

	if (!options->output)
		return fail(why, -EINVAL, "record needs -o DIR");
	if (options->command && options->overhead > 0)
		return fail(why, -EINVAL,
			    "record --overhead needs -p PID: how often a command's probes are hit "
			    "is not known before it runs");
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	attach_set_verbose(options->verbose);
	if (options->on_stall_ms)
		sigaction(SIGUSR1, &action, NULL);
	err = recorder_init(&r, &s, why);
	if (!err && options->at_end && !options->on_stall_ms)
		err = fail(why, -EINVAL, "--at-end goes with --on-stall");
	if (!err && options->min_ms && (!options->stacks || options->on_stall_ms))
		err = fail(why, -EINVAL,
			   "--min goes with --stacks, and not with --on-stall, whose time counts");
	if (!err)
		err = options->command ? record_command(&r, why) : record_process(&r, why);
	if (r.writer)
		ctf_writer_close(r.writer, NULL);
	recorder_free(&r);
	session_close(&s);
	return err;
}
