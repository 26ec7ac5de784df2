// SPDX-License-Identifier: MIT
/*
 * record --on-stall: when the flight recorder writes, and what is said of it.
 *
 * A recording begins as soon as a stall is too long, so that of a loop that hangs for ever there is
 * one, and goes on until a second after the stall. More stalls in that time are in the same one.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "bpf/record.skel.h"
#include "tracer/clock.h"
#include "tracer/out.h"
#include "tracer/record.h"

#define AFTER_NS       (1000 * 1000000LL)
#define MAX_RECORDINGS 16
#define DEFAULT_RING   (64 << 20)

struct record_flight {
	struct recorder *r;
	int written; /* recordings, the one under way among them */
	bool full;   /* no more are written, and that was said */
	const char *why;
	uint32_t tid;	/* of the longest stall in it; 0: none */
	int64_t for_ns; /* and how long that was */
	int64_t until_ns;
	uint64_t lost; /* as far as the ring knows */
	uint64_t in_recordings;
};

int record_flight_open(struct recorder *r, const struct ctf_env *env, struct failure *why)
{
	const struct options *o = r->s->options;
	int err = flight_open(o->output, o->ring ?: DEFAULT_RING, env, &r->flight, why);

	if (err)
		return err;
	r->flights = g_new0(struct record_flight, 1);
	r->flights->r = r;
	return 0;
}

void record_flight_free(struct recorder *r)
{
	flight_close(r->flight);
	g_free(r->flights);
}

/* The tables as they are now; of a target that has gone, as they were read last. */
static void renew_states(struct recorder *r)
{
	struct session *s = r->s;
	struct loops *loops;

	if (!r->loops)
		return;
	if (!loops_read(s->t, s->images, s->l, s->fds, READ_MEM, 0, &loops, NULL)) {
		loops_free(r->loops);
		r->loops = loops;
	}
	flight_forget_states(r->flight);
	emit_tables(r, NULL);
}

static void end(struct record_flight *f)
{
	struct ctf_writer_stats stats = { 0 };
	struct recorder *r = f->r;
	char *time = out_duration(f->for_ns);
	const char *path;
	int err = flight_end(r->flight, now_ns(), &path, &stats);

	if (err && !r->error)
		r->error = err;
	f->in_recordings += stats.events;
	fprintf(stderr, "loopscope: %s: %" PRIu64 " events, %" PRIu64 " lost", path, stats.events,
		stats.discarded);
	if (f->tid)
		fprintf(stderr, "; thread %u was away from its loop for %s", f->tid, time);
	fputc('\n', stderr);
	if (r->s->options->json)
		out_json(json_pack("{s:s, s:s, s:s, s:o, s:o, s:I, s:I}", "type", "recording",
				   "recording", path, "why", f->why, "thread",
				   f->tid ? json_integer(f->tid) : json_null(), "for_ns",
				   f->tid ? json_integer(f->for_ns) : json_null(), "events",
				   (json_int_t)stats.events, "lost", (json_int_t)stats.discarded));
	g_free(time);
}

static void begin(struct record_flight *f, const char *why, int64_t after_ns)
{
	struct recorder *r = f->r;
	struct failure failure = { 0 };
	char name[32];

	f->until_ns = MAX(f->until_ns, now_ns() + after_ns);
	if (flight_is_writing(r->flight) || r->error)
		return;
	if (f->written == MAX_RECORDINGS) {
		if (!f->full)
			fprintf(stderr,
				"loopscope: %d recordings are written, and no more will be\n",
				f->written);
		f->full = true;
		return;
	}
	renew_states(r);
	f->why = why;
	f->tid = 0;
	f->for_ns = 0;
	f->until_ns = now_ns() + after_ns;
	g_snprintf(name, sizeof(name), "%s-%d", why, ++f->written);
	r->error = flight_begin(r->flight, name, &failure);
	if (r->error)
		fprintf(stderr, "loopscope: %s\n", failure.text);
}

void record_flight_stall(struct recorder *r, const struct record_stall *stall)
{
	struct record_flight *f = r->flights;

	begin(f, "stall", AFTER_NS);
	if (stall->ns > f->for_ns) {
		f->tid = stall->tid;
		f->for_ns = stall->ns;
	}
}

void record_flight_asked(struct recorder *r)
{
	begin(r->flights, "asked", 0);
}

void record_flight_step(struct recorder *r)
{
	struct record_flight *f = r->flights;
	bool goes_on = record_watch_goes_on(r->watch);

	if (!flight_is_writing(r->flight))
		return;
	/* One that goes on for ever must not fill the disk. */
	if ((now_ns() > f->until_ns && !(goes_on && f->tid)) ||
	    flight_added(r->flight) > (r->s->options->ring ?: DEFAULT_RING))
		end(f);
}

void record_flight_lost(struct recorder *r, uint64_t lost)
{
	struct record_flight *f = r->flights;

	if (lost == f->lost)
		return;
	flight_lost(r->flight, lost - f->lost, now_ns());
	f->lost = lost;
}

void record_flight_finish(struct recorder *r, bool at_end)
{
	struct record_flight *f = r->flights;

	if (at_end && !f->full)
		begin(f, "end", 0);
	if (flight_is_writing(r->flight))
		end(f);
}

int record_flight_count(const struct recorder *r)
{
	return r->flights->written;
}
