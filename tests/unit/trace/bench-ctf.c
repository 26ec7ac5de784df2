/* SPDX-License-Identifier: MIT */
/* How fast recordings are written and read:  bench-ctf DIR [EVENTS [THREADS]]
 *
 * Writes EVENTS events of an iteration's kinds and reads them back; prints both in one line each.
 */
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "recording.h"

static const int kinds[] = { LOOP_EV_ITERATION_BEGIN, LOOP_EV_TIMEOUT_CHOSEN, LOOP_EV_POLL_ENTER,
			     LOOP_EV_POLL_EXIT,	      LOOP_EV_FD_READY,	      LOOP_EV_HANDLER_BEGIN,
			     LOOP_EV_HANDLER_END,     LOOP_EV_ITERATION_END };

static int write_events(const char *path, uint64_t n, uint32_t threads)
{
	union recording_event events[G_N_ELEMENTS(kinds)];
	struct ctf_writer *writer;
	int err = ctf_writer_open(path, NULL, &writer);

	for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++)
		recording_fill(&events[i], loop_event_desc(kinds[i]), i);
	for (uint64_t i = 0; i < n && !err; i++) {
		struct loop_event *event = &events[i % G_N_ELEMENTS(kinds)].h;

		event->time_ns = FIRST_NS + i * 100;
		/* Threads take turns, an iteration each. */
		event->tid = 1000 + i / G_N_ELEMENTS(kinds) % threads;
		err = ctf_writer_event(writer, event);
	}
	return err ?: ctf_writer_close(writer, NULL);
}

static void report(const char *what, uint64_t events, gint64 from_us)
{
	double seconds = (g_get_monotonic_time() - from_us) / 1e6;

	printf("%-12s %10.0f events/s  %6.1f ns each\n", what, events / seconds,
	       seconds * 1e9 / events);
}

int main(int argc, char **argv)
{
	uint64_t n = argc > 2 ? strtoull(argv[2], NULL, 0) : 10000000, events;
	uint32_t threads = argc > 3 ? strtoul(argv[3], NULL, 0) : 4;
	gint64 start = g_get_monotonic_time();
	int err = argc < 2 ? -22 : write_events(argv[1], n, threads);

	if (!err) {
		report("written", n, start);
		start = g_get_monotonic_time();
		err = recording_count(argv[1], &events, NULL);
	}
	if (!err)
		report("read", events, start);
	if (err)
		fprintf(stderr, "bench-ctf: %s\n", strerror(-err));
	return err ? EXIT_FAILURE : EXIT_SUCCESS;
}
