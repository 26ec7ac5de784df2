// SPDX-License-Identifier: MIT
/*
 * The reader of recordings, and what is made of one: reports and exports.
 *
 * The first byte chooses. Bits 0 to 3: what is printed. Bit 7: the rest is the bytes of a stream,
 *as they are, but for the recording's UUID (bit 6: nor that). Else the rest is a list of events,
 *which come in streams that are well formed, so that the model sees any event after any other:
 *
 *	stream and id, time since the event before, then each field: a byte that says how wide it is
 *	and what it is, so that an address comes again and again; a text has its length before it
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "trace/ctf-metadata.h"
#include "tracer/export.h"
#include "tracer/doctor-trace.h"
#include "tracer/report-show.h"
#include "tracer/stall-recording.h"

#define STREAMS	     4
#define PACKETS	     4 /* of a stream, at most */
#define STREAM_BYTES (PACKETS * CTF_PACKET_BYTES)

static char dir[64];
static uint8_t uuid[CTF_UUID_BYTES] = "a fuzzer's uuid";
static int files[STREAMS];

struct stream {
	uint8_t bytes[STREAM_BYTES];
	size_t packet, at; /* where the packet begins, and the next event in it */
};

static void remove_dir(void)
{
	char path[80];

	for (int i = 0; i < STREAMS; i++) {
		snprintf(path, sizeof(path), "%s/s%d", dir, i);
		unlink(path);
	}
	snprintf(path, sizeof(path), "%s/metadata", dir);
	unlink(path);
	rmdir(dir);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static struct ctf_env env[] = { { "exe", "/usr/bin/fuzz" }, { "pid", "1" } };
	struct ctf_metadata metadata = { .format = LOOP_FORMAT, .n_env = 2, .env = env };
	char *text, *same, path[80];
	size_t size;
	int fd;

	(void)argc;
	(void)argv;
	fuzz_be_quiet();
	strcpy(dir, access("/dev/shm", W_OK) ? "/tmp/fuzz.XXXXXX" : "/dev/shm/fuzz.XXXXXX");
	memcpy(metadata.uuid, uuid, sizeof(uuid));
	if (!mkdtemp(dir) || ctf_metadata_print(&metadata, &text, &size))
		abort();
	snprintf(path, sizeof(path), "%s/metadata", dir);
	/* Without the part that nobody parses: this is read each time. */
	same = strstr(text, loop_tsdl);
	if (!same)
		abort();
	memmove(same, same + strlen(loop_tsdl), strlen(same + strlen(loop_tsdl)) + 1);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		abort();
	close(fd);
	free(text);
	for (int i = 0; i < STREAMS; i++) {
		snprintf(path, sizeof(path), "%s/s%d", dir, i);
		files[i] = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		if (files[i] < 0)
			abort();
	}
	atexit(remove_dir);
	return 0;
}

/* --- well-formed streams of any events -----------------------------------------------------------
 */

static struct ctf_packet *packet_of(struct stream *s)
{
	return (struct ctf_packet *)(s->bytes + s->packet);
}

static void begin_packet(struct stream *s, int number, uint64_t ns, uint64_t seq)
{
	struct ctf_packet *head = packet_of(s);

	*head = (struct ctf_packet){ .magic = CTF_MAGIC,
				     .stream_instance_id = number ? 100 + number : 0,
				     .begin_ns = ns,
				     .packet_bits = CTF_PACKET_BYTES * 8,
				     .seq = seq };
	memcpy(head->uuid, uuid, sizeof(uuid));
	s->at = s->packet + sizeof(*head);
}

static uint64_t field_value(struct fuzz_input *in)
{
	uint8_t form = fuzz_u8(in);

	if (form < 0xc0) /* a small number, or one of a few addresses that are met again */
		return form < 0x80 ? form : 0x10000 + 16 * (form & 0x3f);
	return fuzz_bytes(in, 1 + (form & 7));
}

static size_t make_event(struct fuzz_input *in, const struct loop_event_desc *desc, uint8_t *bytes)
{
	size_t size = desc->size;

	memset(bytes, 0, desc->size);
	for (int i = 0; i < desc->n_fields; i++) {
		const struct loop_field *field = &desc->fields[i];
		uint64_t value;

		if (field->type == LOOP_STR) {
			size_t length = fuzz_u8(in) % 64;

			for (size_t k = 0; k < length; k++)
				bytes[field->offset + k] = fuzz_u8(in) | 1; /* no NUL within */
			bytes[field->offset + length] = 0;
			size = (field->offset + length + 8) / 8 * 8;
			break;
		}
		value = field_value(in);
		memcpy(bytes + field->offset, &value,
		       field->type == LOOP_U32 || field->type == LOOP_S32 ? 4 : 8);
	}
	return size;
}

/* Returns false when the stream is full. */
static bool put_event(struct fuzz_input *in, struct stream *s, int number, uint64_t ns)
{
	uint8_t bytes[CTF_EVENT_MAX] __attribute__((aligned(8)));
	struct loop_event *event = (struct loop_event *)bytes;
	unsigned id = fuzz_u8(in);
	const struct loop_event_desc *desc = loop_event_desc(id);
	size_t size;

	if (!desc) {
		packet_of(s)->discarded += id == 255; /* once in a while one was lost */
		return true;
	}
	size = make_event(in, desc, bytes);
	if (s->at + size > s->packet + CTF_PACKET_BYTES) {
		uint64_t discarded = packet_of(s)->discarded, seq = packet_of(s)->seq;

		if (s->packet + 2 * CTF_PACKET_BYTES > STREAM_BYTES)
			return false;
		s->packet += CTF_PACKET_BYTES;
		begin_packet(s, number, ns, seq + 1);
		packet_of(s)->discarded = discarded;
	}
	event->time_ns = ns;
	event->id = id;
	event->size = size;
	event->tid = 100 + number;
	memcpy(s->bytes + s->at, bytes, size);
	s->at += size;
	packet_of(s)->content_bits = (s->at - s->packet) * 8;
	packet_of(s)->end_ns = ns;
	return true;
}

static void make_streams(struct fuzz_input *in)
{
	static struct stream streams[STREAMS];
	uint64_t ns = 1000000;

	for (int i = 0; i < STREAMS; i++) {
		streams[i].packet = 0;
		begin_packet(&streams[i], i, 0, 0);
		packet_of(&streams[i])->content_bits = sizeof(struct ctf_packet) * 8;
	}
	while (in->size) {
		uint8_t first = fuzz_u8(in);
		int number = first % STREAMS;

		ns += (uint64_t)(first >> 2) << (first & 0x20 ? 20 : 4);
		if (!put_event(in, &streams[number], number, ns))
			break;
	}
	for (int i = 0; i < STREAMS; i++) {
		size_t size = streams[i].packet + CTF_PACKET_BYTES;

		if (ftruncate(files[i], 0) || pwrite(files[i], streams[i].bytes, size, 0) < 0)
			abort();
	}
}

/* --- any bytes -----------------------------------------------------------------------------------
 */

static void make_raw(struct fuzz_input *in, bool own_uuid)
{
	static uint8_t bytes[STREAM_BYTES];
	size_t size = MIN(in->size, sizeof(bytes));

	memcpy(bytes, in->data, size);
	for (size_t at = 0; !own_uuid && at + sizeof(struct ctf_packet) <= size;
	     at += CTF_PACKET_BYTES)
		memcpy(bytes + at + offsetof(struct ctf_packet, uuid), uuid, sizeof(uuid));
	for (int i = 0; i < STREAMS; i++)
		if (ftruncate(files[i], 0))
			abort();
	/* A short input means a packet whose rest is zeros. */
	if (pwrite(files[1], bytes, size, 0) < 0 ||
	    ftruncate(files[1],
		      (size + CTF_PACKET_BYTES - 1) / CTF_PACKET_BYTES * CTF_PACKET_BYTES))
		abort();
}

/* --- the passes of their own ---------------------------------------------------------------------
 */

static void find_stalls(void)
{
	struct stalls_recorded recorded;
	struct failure why;

	if (stalls_of_recording(dir, 1000, &recorded, &why))
		return;
	for (size_t i = 0; i < recorded.rows->len; i++) {
		stall_row_print(recorded.rows->pdata[i]);
		stall_row_print_json(recorded.rows->pdata[i], i);
	}
	g_free(recorded.target);
	g_ptr_array_free(recorded.rows, TRUE);
}

static void diagnose(void)
{
	struct trace_doctor d = { .min_ns = 1000 };
	struct failure why;

	trace_doctor_read(&d, dir, &why);
	trace_doctor_clear(&d);
}

/* --- what is made of it --------------------------------------------------------------------------
 */

static void print(const struct report *report, int what)
{
	struct report_options all = { .events = true, .histograms = true, .all = true };
	struct report_options none = { 0 };
	struct failure why;

	switch (what) {
	case 0:
		report_print_text(report, &none);
		break;
	case 1:
		report_print_text(report, &all);
		break;
	case 2:
		report_print_json(report);
		break;
	case 3:
		report_print_html(dir, report, &why);
		break;
	case 4:
		report_print_diff(report, report, false, true);
		break;
	case 5:
		report_print_diff(report, report, true, false);
		break;
	case 6:
		export_text(dir, report, NULL, &why);
		break;
	case 7:
		export_ndjson(dir, report, NULL, &why);
		break;
	case 8:
		export_csv(dir, report, NULL, &why);
		break;
	case 9:
		export_pftrace(dir, report, &why);
		break;
	case 10:
		export_speedscope(dir, report, &why);
		break;
	case 11:
		export_openmetrics(report, true);
		break;
	case 13:
		find_stalls();
		break;
	case 14:
		diagnose();
		break;
	default:
		export_openmetrics(report, false);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };
	uint8_t choice = fuzz_u8(&in);
	struct report *report = NULL;
	struct failure why;

	if (choice & 0x80)
		make_raw(&in, choice & 0x40);
	else
		make_streams(&in);
	if (!report_read(dir, &report, &why))
		print(report, choice & 0xf);
	report_free(report);
	return 0;
}
