// SPDX-License-Identifier: MIT
/* See flight.h. */
#include <errno.h>
#include <glib.h>
#include <string.h>
#include <sys/stat.h>

#include "tracer/flight.h"

#define MAX_NAMES (64 << 20) /* bytes of names: a target that invents them without end */
#define LOST_ID	  UINT16_MAX /* in the ring: so many were lost */

struct lost {
	struct loop_event h;
	uint64_t count;
};

struct flight {
	char *dir, *path; /* of all, and of the last recording */
	GPtrArray *env;	  /* char *: key, value, key, value */
	uint8_t *ring;
	size_t size, first, used; /* bytes: where the oldest begins, how many there are */
	GByteArray *names, *states;
	struct ctf_writer *writer;
	uint64_t last_ns;
	size_t added;
};

static bool is_empty(const char *dir)
{
	GDir *list = g_dir_open(dir, 0, NULL);
	bool empty = list && !g_dir_read_name(list);

	if (list)
		g_dir_close(list);
	return empty;
}

int flight_open(const char *dir, size_t ring, const struct ctf_env *env, struct flight **ret,
		struct failure *why)
{
	struct flight *f;

	if (mkdir(dir, 0755) && (errno != EEXIST || !is_empty(dir)))
		return errno == EEXIST
			       ? fail(why, -EEXIST,
				      "%s is not an empty directory: nothing in it is "
				      "overwritten",
				      dir)
			       : fail(why, -EIO, "cannot make %s: %s", dir, g_strerror(errno));
	f = g_new0(struct flight, 1);
	f->dir = g_strdup(dir);
	f->env = g_ptr_array_new_with_free_func(g_free);
	for (; env->key; env++) {
		g_ptr_array_add(f->env, g_strdup(env->key));
		g_ptr_array_add(f->env, g_strdup(env->value));
	}
	f->size = ring / 8 * 8;
	f->ring = g_malloc(f->size);
	f->names = g_byte_array_new();
	f->states = g_byte_array_new();
	*ret = f;
	return 0;
}

void flight_close(struct flight *f)
{
	if (!f)
		return;
	if (f->writer)
		ctf_writer_close(f->writer, NULL);
	g_byte_array_free(f->names, TRUE);
	g_byte_array_free(f->states, TRUE);
	g_ptr_array_free(f->env, TRUE);
	g_free(f->ring);
	g_free(f->dir);
	g_free(f->path);
	g_free(f);
}

/* --- the ring ------------------------------------------------------------------------------- */

/* Bytes at @at of those in use, which may go round the end. */
static void ring_read(const struct flight *f, size_t at, void *to, size_t size)
{
	size_t from = (f->first + at) % f->size, head = MIN(size, f->size - from);

	memcpy(to, f->ring + from, head);
	memcpy((uint8_t *)to + head, f->ring, size - head);
}

static void ring_add(struct flight *f, const struct loop_event *event)
{
	size_t to, head;

	if (event->size > f->size)
		return;
	while (f->used + event->size > f->size) {
		struct loop_event oldest;

		ring_read(f, 0, &oldest, sizeof(oldest));
		f->first = (f->first + oldest.size) % f->size;
		f->used -= oldest.size;
	}
	to = (f->first + f->used) % f->size;
	head = MIN(event->size, f->size - to);
	memcpy(f->ring + to, event, head);
	memcpy(f->ring, (const uint8_t *)event + head, event->size - head);
	f->used += event->size;
}

/* Names are what an event may mention later; states are the tables at one time. */
static GByteArray *kept_apart(struct flight *f, uint16_t id)
{
	if (loop_event_descs[id].is_probe || id >= LOOP_EV_THREAD_STATE)
		return NULL;
	return id >= LOOP_EV_HANDLER_STATE || id == LOOP_EV_CONTEXT ? f->states : f->names;
}

int flight_event(struct flight *f, const struct loop_event *event)
{
	GByteArray *apart = kept_apart(f, event->id);

	if (!apart)
		ring_add(f, event);
	else if (apart->len + event->size <= MAX_NAMES)
		g_byte_array_append(apart, (const uint8_t *)event, event->size);
	f->last_ns = MAX(f->last_ns, event->time_ns);
	if (!f->writer)
		return 0;
	f->added += event->size;
	return ctf_writer_event(f->writer, event);
}

int flight_lost(struct flight *f, uint64_t count, uint64_t time_ns)
{
	const struct lost lost = { { time_ns, LOST_ID, sizeof(lost), 0 }, count };

	ring_add(f, &lost.h);
	return f->writer ? ctf_writer_discard(f->writer, 0, count, time_ns) : 0;
}

void flight_forget_states(struct flight *f)
{
	g_byte_array_set_size(f->states, 0);
}

/* --- a recording ---------------------------------------------------------------------------- */

/* As of the recording's begin: a reader wants to know them before the first event. */
static int write_kept(struct flight *f, const GByteArray *kept, uint64_t time_ns)
{
	size_t at = 0;
	int err = 0;

	while (!err && at < kept->len) {
		uint64_t bytes[CTF_EVENT_MAX / 8];
		struct loop_event *event = (struct loop_event *)bytes;

		memcpy(event, kept->data + at, sizeof(*event));
		memcpy(event, kept->data + at, event->size);
		at += event->size;
		event->time_ns = time_ns;
		err = ctf_writer_event(f->writer, event);
	}
	return err;
}

static int write_ring(struct flight *f)
{
	int err = 0;

	for (size_t at = 0; !err && at < f->used;) {
		uint64_t bytes[CTF_EVENT_MAX / 8];
		struct loop_event *event = (struct loop_event *)bytes;

		ring_read(f, at, event, sizeof(*event));
		ring_read(f, at, event, event->size);
		at += event->size;
		err = event->id == LOST_ID
			      ? ctf_writer_discard(f->writer, 0, ((struct lost *)event)->count,
						   event->time_ns)
			      : ctf_writer_event(f->writer, event);
	}
	return err;
}

static struct ctf_env *make_env(const struct flight *f)
{
	struct ctf_env *env = g_new0(struct ctf_env, f->env->len / 2 + 1);

	for (size_t i = 0; i < f->env->len / 2; i++)
		env[i] = (struct ctf_env){ f->env->pdata[2 * i], f->env->pdata[2 * i + 1] };
	return env;
}

/* The time of the oldest event, of any thread. */
static uint64_t begin_ns(const struct flight *f)
{
	uint64_t begin = f->last_ns;

	for (size_t at = 0; at < f->used;) {
		struct loop_event event;

		ring_read(f, at, &event, sizeof(event));
		at += event.size;
		if (event.id != LOST_ID)
			begin = MIN(begin, event.time_ns);
	}
	return begin;
}

int flight_begin(struct flight *f, const char *name, struct failure *why)
{
	struct ctf_env *env = make_env(f);
	uint64_t begin = begin_ns(f);
	int err;

	g_free(f->path);
	f->path = g_build_filename(f->dir, name, NULL);
	f->added = 0;
	err = ctf_writer_open(f->path, env, &f->writer);
	g_free(env);
	if (!err)
		err = write_kept(f, f->names, begin);
	if (!err)
		err = write_kept(f, f->states, begin);
	if (!err)
		err = write_ring(f);
	/* What led here is safe now, whatever becomes of the target, or of us. */
	if (!err)
		err = ctf_writer_flush(f->writer);
	return err ? fail(why, err, "%s: %s", f->path, g_strerror(-err)) : 0;
}

bool flight_is_writing(const struct flight *f)
{
	return f->writer != NULL;
}

size_t flight_added(const struct flight *f)
{
	return f->added;
}

int flight_end(struct flight *f, uint64_t end_ns, const char **ret_path,
	       struct ctf_writer_stats *ret)
{
	int err;

	ctf_writer_end(f->writer, end_ns);
	err = ctf_writer_close(f->writer, ret);
	f->writer = NULL;
	*ret_path = f->path;
	return err;
}
