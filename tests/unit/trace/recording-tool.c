/* SPDX-License-Identifier: MIT */
/* Writes known recordings and prints any, for the tests that compare us with babeltrace2:
 *
 *	recording-tool write DIR [LOST]	 EACH events of every kind; in each thread LOST are reported
 *lost recording-tool read DIR		 TIME TID NAME VALUE... a line, then "total EVENTS
 *DISCARDED"
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "recording.h"

static int write_recording(const char *path, uint64_t lost)
{
	struct ctf_env env[] = { { "target_exe", "/usr/bin/\"odd\"\\name\n\001\303\251" },
				 { "target_build_id", "0123abcd" },
				 { NULL, NULL } };
	struct ctf_writer *writer;
	int err = ctf_writer_open(path, env, &writer);

	if (err)
		return err;
	err = recording_write(writer);
	for (unsigned int tid = 0; lost && tid < THREADS; tid++)
		ctf_writer_discard(writer, tid, lost, 0);
	return ctf_writer_close(writer, NULL) ?: err;
}

static int flood_recording(const char *path, uint64_t n)
{
	struct loop_poll_exit event = { .h = { .id = LOOP_EV_POLL_EXIT, .size = sizeof(event) } };
	struct ctf_writer_stats stats;
	struct ctf_writer *writer;
	uint64_t errors = 0;
	int err = ctf_writer_open(path, NULL, &writer);

	if (err)
		return err;
	for (uint64_t i = 0; i < n; i++) {
		event.h.time_ns = FIRST_NS + i;
		event.h.tid = i % THREADS;
		errors += ctf_writer_event(writer, &event.h) != 0;
	}
	errors += ctf_writer_close(writer, &stats) != 0;
	printf("%" PRIu64 " %" PRIu64 " %" PRIu64 "\n", stats.events, stats.discarded, errors);
	return 0;
}

static void print_event(const struct loop_event *event)
{
	const struct loop_event_desc *desc = loop_event_desc(event->id);

	printf("%llu %u %s", event->time_ns, event->tid, desc->name);
	for (unsigned int i = 0; i < desc->n_fields; i++) {
		const struct loop_field *field = &desc->fields[i];

		if (field->type == LOOP_STR)
			printf(" %.*s", (int)strcspn(loop_field_text(event, field), "\n"),
			       loop_field_text(event, field));
		else if (field->type == LOOP_S32 || field->type == LOOP_S64)
			printf(" %" PRId64, (int64_t)loop_field_u64(event, field));
		else
			printf(" %" PRIu64, loop_field_u64(event, field));
	}
	putchar('\n');
}

static int read_recording(const char *path)
{
	struct ctf_reader *reader = ctf_reader_new();
	const struct loop_event *event;
	int err = ctf_reader_open(reader, path);

	while (!err) {
		err = ctf_reader_next(reader, &event);
		if (err <= 0)
			break;
		print_event(event);
		err = 0;
	}
	printf("total %" PRIu64 " %" PRIu64 "\n", ctf_reader_stats(reader)->events,
	       ctf_reader_stats(reader)->discarded);
	if (err)
		fprintf(stderr, "%s\n", ctf_reader_error(reader));
	ctf_reader_free(reader);
	return err;
}

int main(int argc, char **argv)
{
	int err = -EINVAL;

	if (argc >= 3 && strcmp(argv[1], "write") == 0)
		err = write_recording(argv[2], argc > 3 ? strtoull(argv[3], NULL, 0) : 0);
	else if (argc == 4 && strcmp(argv[1], "flood") == 0)
		err = flood_recording(argv[2], strtoull(argv[3], NULL, 0));
	else if (argc == 3 && strcmp(argv[1], "read") == 0)
		err = read_recording(argv[2]);
	if (err)
		fprintf(stderr, "recording-tool: %s\n", strerror(-err));
	return err ? EXIT_FAILURE : EXIT_SUCCESS;
}
