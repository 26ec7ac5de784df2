// SPDX-License-Identifier: MIT
/* A Perfetto trace's packets and tracks, by the format's public field numbers: export-pftrace.h. */
#include <stdio.h>

#include "tracer/export-pftrace.h"
#include "tracer/report-words.h"

/* The format's public field numbers. */
enum { TRACE_PACKET = 1 };
enum {
	PACKET_CLOCK_SNAPSHOT = 6,
	PACKET_TIMESTAMP = 8,
	PACKET_SEQUENCE_ID = 10,
	PACKET_TRACK_EVENT = 11,
	PACKET_INTERNED_DATA = 12,
	PACKET_SEQUENCE_FLAGS = 13,
	PACKET_DEFAULTS = 59,
	PACKET_TRACK_DESCRIPTOR = 60,
};
enum { DEFAULTS_CLOCK_ID = 58 };
enum { FLAGS_STATE_CLEARED = 1, FLAGS_NEEDS_STATE = 2 };
enum { SNAPSHOT_CLOCKS = 1, SNAPSHOT_PRIMARY = 2, CLOCK_ID = 1, CLOCK_TIMESTAMP = 2 };
enum { CLOCK_IS_REALTIME = 1, CLOCK_IS_MONOTONIC = 3 };
enum {
	DESCRIPTOR_UUID = 1,
	DESCRIPTOR_NAME = 2,
	DESCRIPTOR_PROCESS = 3,
	DESCRIPTOR_THREAD = 4,
	DESCRIPTOR_PARENT = 5,
	DESCRIPTOR_COUNTER = 8,
};
enum { PROCESS_PID = 1, PROCESS_NAME = 6 };
enum { THREAD_PID = 1, THREAD_TID = 2, THREAD_NAME = 5 };
enum {
	EVENT_CATEGORY_IIDS = 3,
	EVENT_ANNOTATIONS = 4,
	EVENT_TYPE = 9,
	EVENT_NAME_IID = 10,
	EVENT_TRACK = 11,
	EVENT_COUNTER_VALUE = 30,
	EVENT_FLOWS = 47,
	EVENT_FLOWS_END = 48,
};
enum { INTERNED_CATEGORIES = 1, INTERNED_NAMES = 2, INTERNED_ANNOTATIONS = 3 };
enum { INTERNED_IID = 1, INTERNED_NAME = 2 };
enum { ANNOTATION_NAME_IID = 1, ANNOTATION_INT = 4, ANNOTATION_TEXT = 6 };

#define SEQUENCE 1

static void write_packet(struct pftrace *p)
{
	GByteArray *head = p->one;

	proto_number(p->packet, PACKET_SEQUENCE_ID, SEQUENCE);
	proto_message(head, TRACE_PACKET, p->packet);
	fwrite(head->data, 1, head->len, stdout);
	g_byte_array_set_size(head, 0);
}

static void intern(struct pftrace *p, uint32_t field, uint64_t iid, const char *name)
{
	proto_number(p->one, INTERNED_IID, iid);
	proto_text(p->one, INTERNED_NAME, name);
	proto_message(p->interned, field, p->one);
}

static void put_clock(struct pftrace *p, uint32_t id, uint64_t ns)
{
	proto_number(p->one, CLOCK_ID, id);
	proto_number(p->one, CLOCK_TIMESTAMP, ns);
	proto_message(p->part, SNAPSHOT_CLOCKS, p->one);
}

void pftrace_head(struct pftrace *p)
{
	static const char *const notes[NOTES] = {
		[NOTE_FD] = "fd",
		[NOTE_CTX] = "context",
		[NOTE_TIMEOUT] = "timeout_ns",
		[NOTE_CHOSEN_BY] = "timeout chosen by",
		[NOTE_LATE] = "late_ns",
		[NOTE_RET] = "fds ready",
		[NOTE_SITE] = "site",
		[NOTE_ENDED] = "end",
		[NOTE_LOST] = "events lost",
		[NOTE_BY_THREAD] = "by thread",
		[NOTE_WENT_INTO] = "its time went into",
	};
	uint64_t epoch_ns = (uint64_t)ctf_reader_epoch_ns(p->report->reader);
	uint64_t begin_ns = p->report->begin_ns;

	put_clock(p, CLOCK_IS_MONOTONIC, begin_ns);
	put_clock(p, CLOCK_IS_REALTIME, begin_ns + epoch_ns);
	proto_number(p->part, SNAPSHOT_PRIMARY, CLOCK_IS_MONOTONIC);
	proto_message(p->packet, PACKET_CLOCK_SNAPSHOT, p->part);
	proto_number(p->part, DEFAULTS_CLOCK_ID, CLOCK_IS_MONOTONIC);
	proto_message(p->packet, PACKET_DEFAULTS, p->part);
	proto_number(p->packet, PACKET_SEQUENCE_FLAGS, FLAGS_STATE_CLEARED);
	for (int kind = 0; kind < REPORT_KINDS; kind++)
		intern(p, INTERNED_CATEGORIES, kind + 1, report_kind_name(kind));
	intern(p, INTERNED_CATEGORIES, CATEGORY_WAKE + 1, "wake-up");
	intern(p, INTERNED_CATEGORIES, CATEGORY_LOST + 1, "lost");
	intern(p, INTERNED_CATEGORIES, CATEGORY_STALL + 1, "stall");
	for (int note = 1; note < NOTES; note++)
		intern(p, INTERNED_ANNOTATIONS, note, notes[note]);
	proto_message(p->packet, PACKET_INTERNED_DATA, p->interned);
	write_packet(p);
}

void pftrace_note(struct pftrace *p, enum note note, const char *text, int64_t number)
{
	proto_number(p->one, ANNOTATION_NAME_IID, note);
	if (text)
		proto_text(p->one, ANNOTATION_TEXT, text);
	else
		proto_number(p->one, ANNOTATION_INT, (uint64_t)number);
	proto_message(p->track_event, EVENT_ANNOTATIONS, p->one);
}

void pftrace_note_words(struct pftrace *p, enum note note, char *words)
{
	pftrace_note(p, note, words, 0);
	g_free(words);
}

void pftrace_name(struct pftrace *p, uint32_t number, const char *new_name, int category)
{
	if (new_name)
		intern(p, INTERNED_NAMES, number + 1, new_name);
	proto_number(p->track_event, EVENT_NAME_IID, number + 1);
	proto_number(p->track_event, EVENT_CATEGORY_IIDS, category + 1);
}

void pftrace_event(struct pftrace *p, uint64_t ns, uint64_t uuid, int type)
{
	proto_number(p->track_event, EVENT_TYPE, type);
	proto_number(p->track_event, EVENT_TRACK, uuid);
	proto_number(p->packet, PACKET_TIMESTAMP, ns);
	proto_number(p->packet, PACKET_SEQUENCE_FLAGS, FLAGS_NEEDS_STATE);
	if (p->interned->len)
		proto_message(p->packet, PACKET_INTERNED_DATA, p->interned);
	proto_message(p->packet, PACKET_TRACK_EVENT, p->track_event);
	write_packet(p);
}

/* --- tracks ----------------------------------------------------------------------------------- */

/* Begin the description of a track that has none yet. */
static bool describe(struct pftrace *p, uint64_t uuid)
{
	if (!g_hash_table_add(p->tracks, (void *)uuid))
		return false;
	proto_number(p->part, DESCRIPTOR_UUID, uuid);
	return true;
}

static void write_description(struct pftrace *p)
{
	proto_message(p->packet, PACKET_TRACK_DESCRIPTOR, p->part);
	write_packet(p);
}

uint64_t pftrace_process(struct pftrace *p)
{
	uint64_t uuid = pftrace_uuid(TRACK_PROCESS, 0);
	char *program;

	if (!describe(p, uuid))
		return uuid;
	program = export_program(p->report);
	proto_number(p->one, PROCESS_PID, (uint64_t)(int64_t)(int32_t)p->pid);
	proto_text(p->one, PROCESS_NAME, program);
	proto_message(p->part, DESCRIPTOR_PROCESS, p->one);
	write_description(p);
	g_free(program);
	return uuid;
}

uint64_t pftrace_thread(struct pftrace *p, uint32_t tid)
{
	uint64_t uuid = pftrace_uuid(TRACK_THREAD, tid);
	char *name;

	pftrace_process(p);
	if (!describe(p, uuid))
		return uuid;
	name = export_thread_name(p->report, tid);
	proto_number(p->one, THREAD_PID, (uint64_t)(int64_t)(int32_t)p->pid);
	proto_number(p->one, THREAD_TID, (uint64_t)(int64_t)(int32_t)tid);
	proto_text(p->one, THREAD_NAME, name);
	proto_message(p->part, DESCRIPTOR_THREAD, p->one);
	write_description(p);
	g_free(name);
	return uuid;
}

uint64_t pftrace_child(struct pftrace *p, uint64_t uuid, uint64_t parent, const char *name,
		       bool counter)
{
	if (!describe(p, uuid))
		return uuid;
	proto_text(p->part, DESCRIPTOR_NAME, name);
	proto_number(p->part, DESCRIPTOR_PARENT, parent);
	if (counter)
		proto_message(p->part, DESCRIPTOR_COUNTER, p->one); /* nothing to say of it */
	write_description(p);
	return uuid;
}

void pftrace_counter(struct pftrace *p, uint64_t uuid, int64_t value)
{
	proto_number(p->track_event, EVENT_COUNTER_VALUE, (uint64_t)value);
	pftrace_event(p, p->event->time_ns, uuid, TYPE_COUNTER);
}

void pftrace_flow(struct pftrace *p, uint64_t number, bool ends)
{
	proto_fixed64(p->track_event, ends ? EVENT_FLOWS_END : EVENT_FLOWS, number);
}
