// SPDX-License-Identifier: MIT
/*
 * What lies in descriptors that loops find ready all the time, now and then: bytes of a stream
 * socket, the count of an eventfd. That its reader never gets to the end of it, or that it is
 * written again and again before it is read, no other event tells.
 *
 * Which they are is told by events: a wait found it ready, a handler was called; or, where a
 * program has none of them, by the array of its last poll, read from its memory.
 */
#include <poll.h>
#include <string.h>

#include "tracer/clock.h"
#include "tracer/fd-look.h"
#include "tracer/fds.h"
#include "tracer/record.h"

#define LOOK_NS	 20000000ULL
#define MIN_SEEN 2    /* since the last look */
#define MANY	 1024 /* events, when a full ring takes long to empty */
#define SET	 64   /* of an array, the first so many */

static struct record_level *level_of(struct recorder *r, uint32_t tid, int fd)
{
	struct record_levels *levels = &r->levels;

	for (int i = 0; i < levels->n; i++)
		if (levels->level[i].fd == fd && levels->level[i].tid == tid)
			return &levels->level[i];
	if (levels->n == RECORD_LEVELS)
		return NULL;
	levels->level[levels->n] = (struct record_level){ tid, fd, 0 };
	return &levels->level[levels->n++];
}

void record_levels_note(struct recorder *r, uint32_t tid, int fd)
{
	struct record_level *level = level_of(r, tid, fd);

	if (level)
		level->seen++;
	if (++r->levels.noted % MANY == 0)
		record_levels_look(r);
}

void record_levels_poll(struct recorder *r, struct thread_state *t, uint64_t array, uint64_t n)
{
	t->poll_array = array;
	t->poll_n = n;
	if (++t->n_polls % MANY == 0)
		record_levels_look(r);
}

/* What the thread's last poll has found; it may be at the next by now. */
static void find_in_array(struct recorder *r, struct thread_state *t)
{
	uint64_t n = MIN(t->poll_n, SET);
	struct record_level *level;
	struct pollfd fds[SET];

	if (t->n_polls < MIN_SEEN || !n ||
	    target_read(r->s->t, t->poll_array, fds, n * sizeof(fds[0])))
		return;
	for (uint64_t i = 0; i < n; i++) {
		level = fds[i].revents & POLLIN ? level_of(r, t->tid, fds[i].fd) : NULL;
		if (level)
			level->seen = MIN_SEEN;
	}
}

static void look_at(struct recorder *r, const struct record_level *level)
{
	const struct fd_info *info = fds_get(r->s->fds, level->fd);
	bool is_eventfd = !strcmp(info->kind, "eventfd");
	char *peer = is_eventfd ? g_strdup("") : fd_stream_peer(r->pid, level->fd), *text;
	int64_t bytes = peer ? fd_level(r->pid, level->fd, is_eventfd) : -1;

	if (bytes >= 0) {
		text = info->detail[0] && !is_eventfd
			       ? g_strdup_printf("%s at %s", peer, info->detail)
			       : g_strdup(peer);
		emit_text(r, LOOP_EV_FD_LEVEL,
			  VALUES(level->tid, level->fd,
				 record_fd_kind(is_eventfd ? info->kind : "socket"), bytes, 0),
			  text);
		g_free(text);
	}
	g_free(peer);
}

void record_levels_look(struct recorder *r)
{
	struct record_levels *levels = &r->levels;
	uint64_t now = now_ns();
	struct thread_state *t;
	GHashTableIter iter;

	if (now - levels->looked_ns < LOOK_NS)
		return;
	g_hash_table_iter_init(&iter, r->threads);
	while (r->s->t && g_hash_table_iter_next(&iter, NULL, (void **)&t)) {
		find_in_array(r, t);
		t->n_polls = 0;
	}
	for (int i = 0; i < levels->n; i++)
		if (levels->level[i].seen >= MIN_SEEN && r->s->fds)
			look_at(r, &levels->level[i]);
	levels->n = 0;
	levels->looked_ns = now;
}
