// SPDX-License-Identifier: MIT
/*
 * Callbacks learned from the tables: of handlers, timers and GSources.
 *
 * Each distinct function is probed at its entry. A call is one of a handler (or
 * timer, or source) if it gets the argument that was registered with it; other calls of the same
 * function are nobody's and are left out. Handlers registered later are found by looking at the
 * tables again after aio_set_fd_handler() was called, timers when they are armed; so the first call
 * or two of a function never seen before may be missed, and no others.
 */
#include <string.h>

#include "tracer/callbacks.h"
#include "tracer/clock.h"
#include "tracer/record-functions.h"
#include "tracer/record-glib.h"
#include "tracer/record.h"

#define MAX_CALLBACKS 1024 /* functions that are probed */

struct key {
	uint64_t cb, arg;
};

struct known {
	struct key key;
	struct callback c;
};

static unsigned key_hash(const void *key)
{
	const struct key *k = key;
	uint64_t mix = (k->cb ^ (k->arg << 1)) * 0x9e3779b97f4a7c15ULL;

	return mix >> 32;
}

static gboolean key_equal(const void *a, const void *b)
{
	return !memcmp(a, b, sizeof(struct key));
}

static void probe_callback(struct recorder *r, uint64_t addr)
{
	struct image *img;
	struct record_probe p = { .callback = addr };

	if (!addr || g_hash_table_size(r->callbacks) >= MAX_CALLBACKS ||
	    !g_hash_table_add(r->callbacks, (void *)addr))
		return;
	img = images_at(r->s->images, addr);
	if (!img || site_at_args(img, addr - img->bias, 3, &p.site, NULL)) {
		r->refused++;
		return;
	}
	p.reads.stack_bytes = p.site.stack_bytes;
	r->stepped += !p.site.emulated;
	record_add_probe(r, &p);
}

/* Are its begins and ends to be recorded? */
static bool is_wanted(const struct recorder *r, enum callback_kind kind)
{
	static const char *const events[] = {
		[CALLBACK_HANDLER] = "handler_begin handler_end",
		[CALLBACK_TIMER] = "timer_begin timer_end",
		[CALLBACK_SOURCE] = "source_dispatch_begin source_dispatch_end",
	};

	return r->select.all || record_wants_any(r, events[kind]);
}

static void learn(const struct callback *callback, void *recorder)
{
	struct recorder *r = recorder;
	struct known *k;

	if (!is_wanted(r, callback->kind))
		return;
	k = g_new(struct known, 1);
	if (!r->known)
		r->known = g_hash_table_new_full(key_hash, key_equal, NULL, g_free);
	*k = (struct known){ { callback->cb, callback->arg }, *callback };
	g_hash_table_replace(r->known, &k->key, k);
	probe_callback(r, callback->cb);
}

static const struct handler *find_handler(const struct loops *loops, uint64_t ctx, int fd)
{
	for (size_t i = 0; i < loops->contexts->len; i++) {
		const struct context *c = loops->contexts->pdata[i];

		for (size_t k = 0; c->addr == ctx && k < c->handlers->len; k++) {
			const struct handler *h = &g_array_index(c->handlers, struct handler, k);

			if (h->fd == fd && !h->deleted)
				return h;
		}
	}
	return NULL;
}

/* Say which handlers are there in @now and were not (or were others) in @before. */
static void tell_new(struct recorder *r, const struct loops *before, const struct loops *now,
		     bool removed)
{
	struct fds *fds = removed ? NULL : fds_new(r->pid, true);

	for (size_t i = 0; i < now->contexts->len; i++) {
		const struct context *c = now->contexts->pdata[i];

		for (size_t k = 0; k < c->handlers->len; k++) {
			const struct handler *h = &g_array_index(c->handlers, struct handler, k);
			const struct handler *old = find_handler(before, c->addr, h->fd);

			if (h->deleted || (old && (removed || old->addr == h->addr)))
				continue;
			if (removed) {
				emit(r, now_ns(), 0, LOOP_EV_HANDLER_REMOVE,
				     VALUES(c->addr, h->addr, h->fd, 0));
				continue;
			}
			record_tell_fd(r, fds, h->fd);
			emit(r, now_ns(), 0, old ? LOOP_EV_HANDLER_MODIFY : LOOP_EV_HANDLER_ADD,
			     VALUES(c->addr, h->addr, h->fd, h->io_read, h->io_write, h->opaque));
		}
	}
	fds_free(fds);
}

void record_add_callbacks(struct recorder *r, const struct loops *before)
{
	const struct loops *loops = r->loops;

	if (loops_main(loops))
		callbacks_each(loops, learn, r);
	record_glib_tables(r, before);
	if (before) {
		tell_new(r, before, loops, false);
		tell_new(r, loops, before, true);
	}
}

static const struct callback *find_known(const struct recorder *r, uint64_t cb, uint64_t arg)
{
	struct key key = { cb, arg };
	const struct known *k = r->known ? g_hash_table_lookup(r->known, &key) : NULL;

	return k ? &k->c : NULL;
}

void record_note_callback(struct recorder *r, const struct callback *c)
{
	if (c->cb)
		learn(c, r);
}

void record_note_timer(struct recorder *r, uint64_t timer, uint64_t list, uint64_t cb,
		       uint64_t opaque, int64_t expire_ns)
{
	struct callback c = { .cb = cb,
			      .arg = opaque,
			      .kind = CALLBACK_TIMER,
			      .ctx = list,
			      .object = timer,
			      .expire_ns = expire_ns,
			      .clock = -1 };
	const struct callback *old = find_known(r, cb, opaque);

	if (!cb)
		return;
	if (old && old->object == timer)
		c.clock = old->clock;
	learn(&c, r);
}

/* How late a timer is: only where its clock is one that we can read too. */
static int64_t lateness(const struct callback *k, uint64_t now_ns)
{
	return k->clock == 0 && k->expire_ns >= 0 ? (int64_t)now_ns - k->expire_ns
						  : LOOP_NS_UNKNOWN;
}

static uint32_t operation(const struct callback *k)
{
	return k->write ? LOOP_HANDLER_OP_WRITE : LOOP_HANDLER_OP_READ;
}

static void tell_begin(struct recorder *r, const struct record_entry *hit, const struct callback *k)
{
	uint64_t now = hit->h.time_ns;
	uint32_t tid = hit->h.tid;

	switch (k->kind) {
	case CALLBACK_HANDLER:
		emit(r, now, tid, LOOP_EV_HANDLER_BEGIN,
		     VALUES(k->ctx, k->object, k->fd, operation(k), k->cb, k->arg));
		break;
	case CALLBACK_TIMER:
		emit(r, now, tid, LOOP_EV_TIMER_BEGIN,
		     VALUES(k->ctx, k->object, k->cb, k->arg, k->expire_ns, lateness(k, now)));
		break;
	case CALLBACK_SOURCE:
		emit(r, now, tid, LOOP_EV_SOURCE_DISPATCH_BEGIN,
		     VALUES(k->ctx, k->object, k->priority, k->dispatch, k->cb));
		break;
	}
}

void record_callback_entry(struct recorder *r, struct thread_state *t,
			   const struct record_probe *probe, const struct record_entry *hit)
{
	struct call call = { .probe = probe };
	const struct callback *k = NULL;

	/* A handler or timer gets its argument first; a source's callback may get it third. */
	for (int i = 0; i < 3 && !k; i++) {
		k = find_known(r, probe->callback, hit->args[i]);
		if (k && i && k->kind != CALLBACK_SOURCE)
			k = NULL;
	}
	if (!k)
		return;
	t->callbacks++;
	tell_begin(r, hit, k);
	call.a = k->kind;
	call.b = k->object;
	call.c = k->ctx;
	call.fd = k->fd;
	call.op = operation(k);
	record_begin_call(r, t, hit, &call);
}

void record_callback_end(struct recorder *r, const struct thread_state *t, const struct call *call,
			 uint64_t time_ns)
{
	uint64_t cb = call->probe->callback;

	switch ((enum callback_kind)call->a) {
	case CALLBACK_HANDLER:
		emit(r, time_ns, t->tid, LOOP_EV_HANDLER_END,
		     VALUES(call->c, call->b, call->fd, call->op, cb));
		break;
	case CALLBACK_TIMER:
		emit(r, time_ns, t->tid, LOOP_EV_TIMER_END, VALUES(call->c, call->b, cb));
		break;
	case CALLBACK_SOURCE:
		emit(r, time_ns, t->tid, LOOP_EV_SOURCE_DISPATCH_END, VALUES(call->c, call->b, 1));
		break;
	}
}
