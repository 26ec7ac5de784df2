// SPDX-License-Identifier: MIT
/* See session.h. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tracer/attach.h"
#include "tracer/describe.h"
#include "tracer/infer.h"
#include "tracer/session.h"

#define LOOKS 8 /* at a target until each of its loops was seen waiting */

/* The images and descriptors of an open target. */
static int open_rest(struct session *s, struct failure *why)
{
	int err = images_open(s->t, &s->images, why);

	if (!err)
		s->fds = fds_new(s->t->pid, s->t->live);
	return err;
}

static void session_init(struct session *s, const struct options *options)
{
	memset(s, 0, sizeof(*s));
	s->options = options;
	attach_set_verbose(options->verbose);
}

int session_open_process(struct session *s, const struct options *options, pid_t pid,
			 struct failure *why)
{
	int err;

	session_init(s, options);
	err = target_open_pid(pid, &s->t, why);
	return err ? err : open_rest(s, why);
}

int session_open(struct session *s, const struct options *options, struct failure *why)
{
	int err;

	if (options->pid)
		return session_open_process(s, options, options->pid, why);
	session_init(s, options);
	err = target_open_core(options->path, options->sysroot, &s->t, why);
	return err ? err : open_rest(s, why);
}

/* Once: a debug file that was there, and is another build's. */
static void say_refused(const struct session *s)
{
	static bool said;
	const char *refused = images_refused(s->images);

	if (refused && !said)
		fprintf(stderr, "loopscope: %s; names are shown without it\n", refused);
	said |= refused != NULL;
}

void session_close(struct session *s)
{
	say_refused(s);
	layout_free(s->l);
	fds_free(s->fds);
	images_close(s->images);
	target_close(s->t);
	session_init(s, s->options);
}

/* The cache's file for the target's build, or NULL without a build-id or a place for it. */
static char *cache_path(const struct session *s, bool make)
{
	const char *build_id = images_program(s->images)->build_id;
	char *dir, *name, *path;

	if (!build_id[0])
		return NULL;
	dir = g_build_filename(g_get_user_cache_dir(), "loopscope", NULL);
	if (make)
		g_mkdir_with_parents(dir, 0700);
	name = g_strconcat(build_id, ".json", NULL);
	path = g_build_filename(dir, name, NULL);
	g_free(name);
	g_free(dir);
	return path;
}

/* Fill in what was proven on this build before; tells whether now more is known than then. */
static bool complete_from_cache(struct session *s)
{
	char *path = cache_path(s, false);
	struct layout *old = NULL;
	json_t *json = path ? json_load_file(path, 0, NULL) : NULL;
	bool news = true;

	if (json && !layout_from_json(json, images_program(s->images), &old, NULL)) {
		news = false;
		for (int f = 0; f < N_LAYOUT_FIELDS; f++) {
			if (s->l->off[f] < 0 && old->off[f] >= 0)
				layout_set(s->l, f, old->off[f], "proven earlier on this build: %s",
					   old->proof[f]);
			else if (s->l->off[f] != old->off[f])
				news = true;
		}
	}
	layout_free(old);
	json_decref(json);
	g_free(path);
	return news;
}

/* Written beside and renamed: a reader never sees half a file. A cache that fails is no failure. */
static void save_to_cache(const struct session *s)
{
	char *path = cache_path(s, true), *tmp;
	json_t *json;

	if (!path)
		return;
	tmp = g_strdup_printf("%s.%d", path, getpid());
	json = layout_to_json(s->l);
	if (json_dump_file(json, tmp, JSON_INDENT(1)) || rename(tmp, path))
		unlink(tmp);
	json_decref(json);
	g_free(tmp);
	g_free(path);
}

static int load_layout(struct session *s, struct failure *why)
{
	json_error_t error;
	json_t *json = json_load_file(s->options->layout, 0, &error);
	int err;

	if (!json)
		return fail(why, -EBADMSG, "%s, line %d: %s", s->options->layout, error.line,
			    error.text);
	err = layout_from_json(json, images_program(s->images), &s->l, why);
	json_decref(json);
	if (err)
		return -EBADMSG;
	return layout_is_qemu(s->l) ? infer_check(s->t, s->images, s->l, why) : 0;
}

/* One that is being killed loses its memory before it is gone: what was read meanwhile has holes.
 */
int session_check_alive(const struct session *s, struct failure *why)
{
	uint64_t start = g_array_index(s->t->maps, struct map, 0).start;
	char byte;

	if (fds_target_lives(s->fds) && target_read(s->t, start, &byte, 1) != -ESRCH)
		return 0;
	return fail(why, -ESRCH, "process %d has exited", s->t->pid);
}

int session_layout(struct session *s, struct failure *why)
{
	struct image *program = images_program(s->images);
	int err;

	if (s->options->layout)
		return load_layout(s, why);
	if (!layout_from_dwarf(program, &s->l, NULL))
		return 0;
	if (!image_symbol(program, "qemu_get_aio_context"))
		err = infer_glib_layout(s->t, s->images, &s->l, why);
	else
		err = infer_layout(s->t, s->images, s->fds, &s->l, why);
	if (!err && layout_is_qemu(s->l) && complete_from_cache(s))
		save_to_cache(s);
	if (err && session_check_alive(s, why))
		return -ESRCH;
	return err;
}

int session_begin(struct session *s, const struct options *options, struct failure *why)
{
	int err = session_open(s, options, why);

	return err ? err : session_layout(s, why);
}

/* Does some thread poll the main context? Then the loops were seen at rest. */
static bool main_loop_waits(const struct loops *loops)
{
	const struct context *main = loops_main(loops);

	if (main)
		return main->tid != 0;
	for (size_t i = 0; i < loops->gcontexts->len; i++)
		if (((struct loop_gcontext *)loops->gcontexts->pdata[i])->tid)
			return true;
	return false;
}

/* What a loop polls is known only while it waits. */
static bool all_loops_wait(const struct loops *loops)
{
	for (size_t i = 0; i < loops->contexts->len; i++) {
		const struct context *c = loops->contexts->pdata[i];

		if (c->kind == CONTEXT_IOTHREAD && c->tid && !find_set(loops, c->tid))
			return false;
	}
	for (size_t i = 0; !loops_main(loops) && i < loops->gcontexts->len; i++) {
		const struct loop_gcontext *g = loops->gcontexts->pdata[i];

		if (g->owned == 1 && !g->tid)
			return false;
	}
	return main_loop_waits(loops);
}

static int read_loops(struct session *s, enum read_way way, struct loops **ret, struct failure *why)
{
	return loops_read(s->t, s->images, s->l, s->fds, way, s->options->timeout_ms, ret, why);
}

int session_read_loops(struct session *s, struct loops **ret, struct failure *why)
{
	const struct options *o = s->options;
	enum read_way way = READ_ITER;
	struct loops *busy = NULL;
	int err;

	if (o->way_given || !s->t->live)
		return read_loops(s, s->t->live ? o->way : READ_MEM, ret, why);
	err = read_loops(s, READ_ITER, ret, why);
	if (err == -EPERM || err == -EOPNOTSUPP)
		way = READ_MEM;
	if (way == READ_MEM)
		err = read_loops(s, way, ret, why);
	/* Those of a guest at work are awake every other time. */
	for (int i = 0; !err && i < LOOKS && !all_loops_wait(*ret); i++) {
		loops_free(*ret);
		*ret = NULL;
		err = read_loops(s, way, ret, why);
	}
	if (err || way == READ_MEM || main_loop_waits(*ret))
		return err;
	busy = *ret;
	if (read_loops(s, READ_PROBE, ret, NULL)) {
		*ret = busy;
		return 0;
	}
	loops_free(busy);
	return 0;
}
