// SPDX-License-Identifier: MIT
/*
 * Export to Perfetto (ui.perfetto.dev, trace_processor): a file of TracePackets.
 *
 * A track a thread: iterations, dispatch, callbacks and waits are its slices, nested as they were.
 * Whoever writes to an eventfd to wake a loop, and the loop that finds it ready, have an instant
 * each and a flow between them. Counters: fds that a wait found ready, BHs that are queued. The big
 * lock has a track of the process: who holds it.
 *
 * Names are sent once and then by number. Packets are written one by one, as events are read.
 */
#include <errno.h>
#include <stdio.h>

#include "tracer/export-proto.h"
#include "tracer/export.h"
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
enum { TYPE_BEGIN = 1, TYPE_END = 2, TYPE_INSTANT = 3, TYPE_COUNTER = 4 };
enum { INTERNED_CATEGORIES = 1, INTERNED_NAMES = 2, INTERNED_ANNOTATIONS = 3 };
enum { INTERNED_IID = 1, INTERNED_NAME = 2 };
enum { ANNOTATION_NAME_IID = 1, ANNOTATION_INT = 4, ANNOTATION_TEXT = 6 };

/* Annotations of slices, and categories: a report's kinds, then these. */
enum note {
	NOTE_FD = 1,
	NOTE_CTX,
	NOTE_TIMEOUT,
	NOTE_CHOSEN_BY,
	NOTE_LATE,
	NOTE_RET,
	NOTE_SITE,
	NOTE_ENDED,
	NOTE_LOST,
	NOTE_BY_THREAD,
	NOTES
};
enum { CATEGORY_WAKE = REPORT_KINDS, CATEGORY_LOST, CATEGORIES };

/* Tracks: the kind, and a number of its own. */
enum track { TRACK_PROCESS = 1, TRACK_THREAD, TRACK_FDS_READY, TRACK_BHS, TRACK_BQL };

#define SEQUENCE 1
/* More BHs are not queued at one time but in a recording that is not what it seems. */
#define QUEUED_MAX 65536

struct pftrace {
	const struct report *report;	/* all of it */
	const struct loop_event *event; /* now */
	struct export_names *names;
	GHashTable *tracks;   /* uuid of each that is described */
	GHashTable *choosers; /* struct report_chooser -> words */
	GHashTable *queued;   /* BH -> its context */
	GHashTable *contexts; /* context -> struct bh_count */
	uint32_t pid;
	uint32_t bql_holder; /* 0: nobody */
	GByteArray *packet, *track_event, *part, *interned, *one;
};

/* --- packets ---------------------------------------------------------------------------------- */

static uint64_t uuid_of(enum track track, uint32_t number)
{
	return (uint64_t)track << 32 | number;
}

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

/* The first packet: the clock of all others, and the numbers of what is always the same. */
static void write_head(struct pftrace *p)
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
	for (int note = 1; note < NOTES; note++)
		intern(p, INTERNED_ANNOTATIONS, note, notes[note]);
	proto_message(p->packet, PACKET_INTERNED_DATA, p->interned);
	write_packet(p);
}

static void annotate(struct pftrace *p, enum note note, const char *text, int64_t number)
{
	proto_number(p->one, ANNOTATION_NAME_IID, note);
	if (text)
		proto_text(p->one, ANNOTATION_TEXT, text);
	else
		proto_number(p->one, ANNOTATION_INT, (uint64_t)number);
	proto_message(p->track_event, EVENT_ANNOTATIONS, p->one);
}

/* Takes the text. */
static void annotate_words(struct pftrace *p, enum note note, char *words)
{
	annotate(p, note, words, 0);
	g_free(words);
}

static void name_event(struct pftrace *p, uint32_t number, const char *new_name, int category)
{
	if (new_name)
		intern(p, INTERNED_NAMES, number + 1, new_name);
	proto_number(p->track_event, EVENT_NAME_IID, number + 1);
	proto_number(p->track_event, EVENT_CATEGORY_IIDS, category + 1);
}

/* The event that was begun in p->track_event. */
static void write_event(struct pftrace *p, uint64_t ns, uint64_t uuid, int type)
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

static uint64_t process_track(struct pftrace *p)
{
	uint64_t uuid = uuid_of(TRACK_PROCESS, 0);
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

static uint64_t thread_track(struct pftrace *p, uint32_t tid)
{
	uint64_t uuid = uuid_of(TRACK_THREAD, tid);
	char *name;

	process_track(p);
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

/* A track under another one, of slices or of a counter. */
static uint64_t child_track(struct pftrace *p, uint64_t uuid, uint64_t parent, const char *name,
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

static void write_counter(struct pftrace *p, uint64_t uuid, int64_t value)
{
	proto_number(p->track_event, EVENT_COUNTER_VALUE, (uint64_t)value);
	write_event(p, p->event->time_ns, uuid, TYPE_COUNTER);
}

/* --- slices ----------------------------------------------------------------------------------- */

static void annotate_ctx(struct pftrace *p, uint64_t ctx)
{
	const char *name = report_context_name(p->report, ctx);

	if (name)
		annotate(p, NOTE_CTX, name, 0);
	else if (ctx)
		annotate_words(p, NOTE_CTX, g_strdup_printf("0x%lx", (unsigned long)ctx));
}

static void annotate_chooser(struct pftrace *p, const struct report_chooser *chooser)
{
	char *words;

	if (chooser->by == LOOP_CHOOSER_UNKNOWN)
		return;
	words = g_hash_table_lookup(p->choosers, chooser);
	if (!words) {
		words = report_chooser_words(p->report, chooser);
		g_hash_table_insert(p->choosers, (void *)chooser, words);
	}
	annotate(p, NOTE_CHOSEN_BY, words, 0);
}

static void annotate_ns(struct pftrace *p, enum note note, int64_t ns)
{
	if (ns != LOOP_NS_UNKNOWN)
		annotate(p, note, NULL, ns);
}

static void annotate_begin(struct pftrace *p, const struct report_thread *thread,
			   const struct report_frame *frame)
{
	const struct report_callback *callback = frame->entry;
	const struct report_nested *nested = frame->entry;

	switch (frame->kind) {
	case REPORT_POLL:
	case REPORT_NESTED_POLL:
		annotate_ns(p, NOTE_TIMEOUT, thread->timeout_ns);
		annotate_chooser(p, thread->chooser);
		break;
	case REPORT_AIO_POLL:
	case REPORT_AIO_WAIT:
		annotate_ctx(p, nested->ctx);
		break;
	case REPORT_TIMER:
		annotate_ctx(p, callback->ctx);
		annotate_ns(p, NOTE_LATE, ((const struct loop_timer_begin *)p->event)->late_ns);
		break;
	case REPORT_HANDLER:
		annotate(p, NOTE_FD, NULL, callback->fd);
		annotate_ctx(p, callback->ctx);
		break;
	case REPORT_BH:
	case REPORT_SOURCE:
		annotate_ctx(p, callback->ctx);
		break;
	default:
		break;
	}
}

static void begin_slice(void *data, const struct report_thread *thread,
			const struct report_frame *frame)
{
	struct pftrace *p = data;
	uint64_t uuid = thread_track(p, thread->tid);
	const char *new_name;
	uint32_t number = export_names_frame(p->names, thread, frame, &new_name);

	name_event(p, number, new_name, frame->kind);
	annotate_begin(p, thread, frame);
	write_event(p, frame->begin_ns, uuid, TYPE_BEGIN);
}

static void end_slice(void *data, const struct report_thread *thread,
		      const struct report_frame *frame, uint64_t now_ns, enum report_ending ending)
{
	struct pftrace *p = data;
	bool poll = frame->kind == REPORT_POLL || frame->kind == REPORT_NESTED_POLL;

	if (ending != REPORT_ENDED)
		annotate(p, NOTE_ENDED, ending == REPORT_CUT ? "missing: over by now" : "went on",
			 0);
	else if (poll)
		annotate(p, NOTE_RET, NULL, ((const struct loop_poll_exit *)p->event)->ret);
	write_event(p, now_ns, uuid_of(TRACK_THREAD, thread->tid), TYPE_END);
}

/* --- wake-ups, losses ------------------------------------------------------------------------- */

static void write_instant(struct pftrace *p, const struct report_thread *thread, char *name,
			  int category)
{
	uint64_t uuid = thread_track(p, thread->tid);
	const char *new_name;
	uint32_t number = export_names_text(p->names, name, &new_name);

	name_event(p, number, new_name, category);
	write_event(p, p->event->time_ns, uuid, TYPE_INSTANT);
}

static void wakes(void *data, const struct report_thread *thread, const struct report_wake *wake)
{
	struct pftrace *p = data;
	const char *ctx = wake->ctx ? report_context_name(p->report, wake->ctx) : NULL;

	proto_fixed64(p->track_event, EVENT_FLOWS, wake->number);
	annotate_words(p, NOTE_SITE, report_place(p->report, wake->site));
	write_instant(p, thread,
		      ctx	  ? g_strdup_printf("notify %s", ctx)
		      : wake->ctx ? g_strdup("notify")
				  : g_strdup("write to an eventfd"),
		      CATEGORY_WAKE);
}

static void woken(void *data, const struct report_thread *thread, const struct report_wake *wake)
{
	struct pftrace *p = data;

	proto_fixed64(p->track_event, EVENT_FLOWS_END, wake->number);
	annotate(p, NOTE_BY_THREAD, NULL, wake->tid);
	write_instant(p, thread, g_strdup("woken"), CATEGORY_WAKE);
}

static void uncount_bhs(struct pftrace *p);

static void lost(void *data, const struct report_thread *thread, uint64_t n)
{
	struct pftrace *p = data;

	annotate(p, NOTE_LOST, NULL, (int64_t)n);
	write_instant(p, thread, g_strdup("events were lost"), CATEGORY_LOST);
	uncount_bhs(p);
}

/* --- counters --------------------------------------------------------------------------------- */

/* BHs that a context has queued. */
struct bh_count {
	uint64_t uuid;
	uint32_t n;
};

static struct bh_count *bh_count_of(struct pftrace *p, uint64_t ctx)
{
	struct bh_count *count = g_hash_table_lookup(p->contexts, (void *)ctx);
	const char *known = report_context_name(p->report, ctx);
	char *name;

	if (count)
		return count;
	count = g_new0(struct bh_count, 1);
	count->uuid = uuid_of(TRACK_BHS, g_hash_table_size(p->contexts));
	g_hash_table_insert(p->contexts, (void *)ctx, count);
	name = known ? g_strdup_printf("BHs queued in %s", known)
		     : g_strdup_printf("BHs queued in 0x%lx", (unsigned long)ctx);
	child_track(p, count->uuid, process_track(p), name, true);
	g_free(name);
	return count;
}

static void count_bhs(struct pftrace *p, uint64_t ctx, int step)
{
	struct bh_count *count = bh_count_of(p, ctx);

	count->n += step;
	write_counter(p, count->uuid, count->n);
}

static void bh_queued(struct pftrace *p, uint64_t bh, uint64_t ctx)
{
	if (g_hash_table_contains(p->queued, (void *)bh) ||
	    g_hash_table_size(p->queued) >= QUEUED_MAX)
		return;
	g_hash_table_insert(p->queued, (void *)bh, (void *)ctx);
	count_bhs(p, ctx, 1);
}

static void bh_taken(struct pftrace *p, uint64_t bh)
{
	void *ctx;

	if (g_hash_table_steal_extended(p->queued, (void *)bh, NULL, &ctx))
		count_bhs(p, (uint64_t)ctx, -1);
}

/* Which BHs are queued is not known any more: count anew. */
static void uncount_bhs(struct pftrace *p)
{
	GHashTableIter iter;
	void *bh, *ctx;

	g_hash_table_iter_init(&iter, p->queued);
	while (g_hash_table_iter_next(&iter, &bh, &ctx)) {
		g_hash_table_iter_remove(&iter);
		count_bhs(p, (uint64_t)ctx, -1);
	}
}

/* --- the big lock ----------------------------------------------------------------------------- */

static void bql_released(struct pftrace *p)
{
	if (p->bql_holder)
		write_event(p, p->event->time_ns, uuid_of(TRACK_BQL, 0), TYPE_END);
	p->bql_holder = 0;
}

static void bql_acquired(struct pftrace *p, const struct loop_bql_acquired *event)
{
	uint64_t uuid =
		child_track(p, uuid_of(TRACK_BQL, 0), process_track(p), "BQL holder", false);
	char *name = export_thread_name(p->report, event->h.tid);
	const char *new_name;
	uint32_t number;

	bql_released(p); /* or its release came too late to be told before */
	number = export_names_text(p->names, g_strdup_printf("%u %s", event->h.tid, name),
				   &new_name);
	name_event(p, number, new_name, REPORT_BQL_WAIT);
	annotate_words(p, NOTE_SITE, report_place(p->report, event->site));
	write_event(p, event->h.time_ns, uuid, TYPE_BEGIN);
	p->bql_holder = event->h.tid;
	g_free(name);
}

#define AS(type) ((const struct loop_##type *)event)

static void see_event(void *data, const struct loop_event *event)
{
	struct pftrace *p = data;
	bool bhs = p->report->counts[LOOP_EV_BH_BEGIN]; /* else none would ever leave */

	p->event = event;
	if (!event->tid) /* the recorder is no thread */
		return;
	switch (event->id) {
	case LOOP_EV_POLL_EXIT:
		if (AS(poll_exit)->ret >= 0)
			write_counter(p,
				      child_track(p, uuid_of(TRACK_FDS_READY, event->tid),
						  thread_track(p, event->tid), "fds ready", true),
				      AS(poll_exit)->ret);
		break;
	case LOOP_EV_BH_SCHEDULE:
		if (bhs)
			bh_queued(p, AS(bh_schedule)->bh, AS(bh_schedule)->ctx);
		break;
	case LOOP_EV_BH_BEGIN:
		bh_taken(p, AS(bh_begin)->bh);
		break;
	case LOOP_EV_BH_CANCEL:
		bh_taken(p, AS(bh_cancel)->bh);
		break;
	case LOOP_EV_BH_DELETE:
		bh_taken(p, AS(bh_delete)->bh);
		break;
	case LOOP_EV_BQL_ACQUIRED:
		bql_acquired(p, AS(bql_acquired));
		break;
	case LOOP_EV_BQL_RELEASED:
		if (p->bql_holder == event->tid)
			bql_released(p);
		break;
	default:
		break;
	}
}

int export_pftrace(const char *path, const struct report *report, struct failure *why)
{
	struct pftrace p = { .report = report, .pid = export_pid(report) };
	struct report_watcher watcher = { .data = &p,
					  .event = see_event,
					  .begin = begin_slice,
					  .end = end_slice,
					  .wakes = wakes,
					  .woken = woken,
					  .lost = lost };
	struct loop_event end = { .time_ns = report->end_ns };
	GByteArray **buffers[] = { &p.packet, &p.track_event, &p.part, &p.interned, &p.one };
	struct report *again = NULL;
	int err;

	for (size_t i = 0; i < G_N_ELEMENTS(buffers); i++)
		*buffers[i] = g_byte_array_new();
	p.names = export_names_new(report);
	p.tracks = g_hash_table_new(NULL, NULL);
	p.choosers = g_hash_table_new_full(NULL, NULL, NULL, g_free);
	p.queued = g_hash_table_new(NULL, NULL);
	p.contexts = g_hash_table_new_full(NULL, NULL, NULL, g_free);
	write_head(&p);
	err = report_read_watched(path, &watcher, &again, why);
	p.event = &end;
	bql_released(&p);
	report_free(again);
	g_hash_table_destroy(p.contexts);
	g_hash_table_destroy(p.queued);
	g_hash_table_destroy(p.choosers);
	g_hash_table_destroy(p.tracks);
	export_names_free(p.names);
	for (size_t i = 0; i < G_N_ELEMENTS(buffers); i++)
		g_byte_array_free(*buffers[i], TRUE);
	return err;
}
