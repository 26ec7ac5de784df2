// SPDX-License-Identifier: MIT
/* What is said of a recording when it begins, and its end. See record-run.h. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tracer/clock.h"
#include "tracer/out.h"
#include "tracer/record-run.h"

/* Of the flight recorder: each recording was told when it was written. */
static int finish_flight(struct recorder *r, bool ended, uint64_t started_ns, struct failure *why)
{
	const char *path = r->s->options->output;
	uint64_t lost = record_lost(r);

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

int record_finish(struct recorder *r, bool ended, uint64_t started_ns, struct failure *why)
{
	const char *path = r->s->options->output;
	struct ctf_writer_stats stats = { 0 };
	uint64_t lost, end;
	int err;

	if (r->watch)
		record_watch_end(r);
	end = now_ns();
	record_detach(r);
	if (!r->error)
		ring_buffer__consume(r->ring);
	if (r->flight)
		return finish_flight(r, ended, started_ns, why);
	if (r->s->options->verbose)
		record_show_hits(r, r->s->options->json);
	lost = record_lost(r);
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

void record_say_attached(struct recorder *r)
{
	int usdt = 0, functions = 0;

	record_tell_sources(r);

	for (size_t i = 0; i < r->probes->len; i++) {
		const struct record_probe *p = r->probes->pdata[i];

		usdt += p->event && !p->left_out;
		functions += !p->event && !p->left_out && !p->again;
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
