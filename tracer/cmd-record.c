// SPDX-License-Identifier: MIT
/*
 * loopscope record: what loops do, written down until the target ends, a time is over, or Ctrl-C.
 *
 *	loopscope record -p PID -o DIR [-d SECONDS]
 *	loopscope record -o DIR -- COMMAND ...
 *	loopscope record -p PID -o DIR --on-stall 50ms [--ring 64M] [--at-end]
 *
 * A program that carries our USDT probes is recorded by them; any other by its exported functions.
 * A command, or what it becomes (a script, a wrapper), is attached to before its first instruction
 * where it carries probes; otherwise as soon as its loop can be found.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bpf/record.skel.h"
#include "tracer/child.h"
#include "tracer/clock.h"
#include "tracer/record-run.h"

#define MIN_RING 4096

#define FLIGHT_KERNEL_RING (16 << 20) /* with --on-stall, --ring is of the memory behind it */
#define DEFAULT_MIN_MS	   10	      /* --stacks */

/* --- setting up --- */

static void recorder_free(struct recorder *r)
{
	attach_remove_all(r->attachments);
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
	if (r->functions)
		g_array_free(r->functions, TRUE);
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
	r->attachments = g_ptr_array_new();
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

/* --- attaching --- */

/* Before its first instruction: of a program that carries probes, its file is all they need. */
static int attach_at_entry(void *arg, struct image **program, struct failure *why)
{
	struct recorder *r = arg;
	int err;

	if (!record_add_usdt(r, *program))
		return 0;
	r->program = g_steal_pointer(program);
	err = record_attach(r, 0, why);
	if (!err)
		err = open_writer(r, r->program->path, r->program->build_id, why);
	return err ? err : 1;
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

	record_read_tables(r, &no_layout);
	/* Before the probes: of a call whose begin is seen all its time is measured. */
	if (r->watch)
		record_watch_step(r);
	if (!record_add_usdt(r, program)) {
		if (!r->loops)
			return fail(why, no_layout.err, "%s", no_layout.text);
		record_add_functions(r);
		record_add_callbacks(r, NULL);
	}
	err = keep_budget(r, why);
	if (!err)
		err = record_attach(r, 0, why);
	if (!err)
		record_tell_waits(r);
	return err;
}

/* --- a process, a command --- */

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
	record_say_attached(r);
	ended = record_run(r);
	return record_finish(r, ended, started, why);
}

/* Set everything up and let the command go. */
static int begin_command(struct recorder *r, struct child *child, struct failure *why)
{
	const struct hold_steps steps = { .at_entry = attach_at_entry, .arg = r };
	struct session *s = r->s;
	int err = load(r, why);

	if (!err)
		err = hold_begin(child->pid, &steps, &child->hold, why);
	if (err)
		return err;
	child_go(child);
	err = child_find_loop(child, s, &record_interrupted, why);
	if (!err)
		err = open_writer(r, s->t->exe, images_program(s->images)->build_id, why);
	else if (err == 1)
		err = 0; /* attached to at its entry */
	if (!err)
		child_let_be(child);
	return err || r->probes->len ? err : attach_running(r, why);
}

static int record_command(struct recorder *r, struct failure *why)
{
	char *const *words = r->s->options->command;
	char *program = g_find_program_in_path(words[0]);
	struct child child;
	uint64_t started = now_ns();
	bool ended;
	int err;

	if (!program)
		return fail(why, -ENOENT, "there is no command %s", words[0]);
	g_free(program);
	err = child_start(words, &child, why);
	if (err)
		return err;
	r->pid = child.pid;
	err = begin_command(r, &child, why);
	if (!err) {
		record_say_attached(r);
		ended = record_run(r);
		err = record_finish(r, ended, started, why);
	}
	child_end(&child);
	return err;
}

int cmd_record(const struct options *options, struct failure *why)
{
	struct session s = { .options = options };
	struct recorder r;
	int err;

	if (!options->output)
		return fail(why, -EINVAL, "record needs -o DIR");
	if (options->command && options->overhead > 0)
		return fail(why, -EINVAL,
			    "record --overhead needs -p PID: how often a command's probes are hit "
			    "is not known before it runs");
	record_catch_signals(options->on_stall_ms);
	attach_set_verbose(options->verbose);
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
