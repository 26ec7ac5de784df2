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
#include "tracer/export-pftrace.h"
#include "tracer/report-words.h"

/* --- slices ----------------------------------------------------------------------------------- */

static void annotate_ctx(struct pftrace *p, uint64_t ctx)
{
	const char *name = report_context_name(p->report, ctx);

	if (name)
		pftrace_note(p, NOTE_CTX, name, 0);
	else if (ctx)
		pftrace_note_words(p, NOTE_CTX, g_strdup_printf("0x%lx", (unsigned long)ctx));
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
	pftrace_note(p, NOTE_CHOSEN_BY, words, 0);
}

static void annotate_ns(struct pftrace *p, enum note note, int64_t ns)
{
	if (ns != LOOP_NS_UNKNOWN)
		pftrace_note(p, note, NULL, ns);
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
		if (thread->chooser)
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
		pftrace_note(p, NOTE_FD, NULL, callback->fd);
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
	uint64_t uuid = pftrace_thread(p, thread->tid);
	const char *new_name;
	uint32_t number = export_names_frame(p->names, thread, frame, &new_name);

	pftrace_name(p, number, new_name, frame->kind);
	annotate_begin(p, thread, frame);
	pftrace_event(p, frame->begin_ns, uuid, TYPE_BEGIN);
}

static void end_slice(void *data, const struct report_thread *thread,
		      const struct report_frame *frame, uint64_t now_ns, enum report_ending ending)
{
	struct pftrace *p = data;
	bool poll = frame->kind == REPORT_POLL || frame->kind == REPORT_NESTED_POLL;

	if (ending != REPORT_ENDED)
		pftrace_note(p, NOTE_ENDED,
			     ending == REPORT_CUT ? "missing: over by now" : "went on", 0);
	else if (poll && p->event->id == LOOP_EV_POLL_EXIT)
		pftrace_note(p, NOTE_RET, NULL, ((const struct loop_poll_exit *)p->event)->ret);
	pftrace_event(p, now_ns, pftrace_uuid(TRACK_THREAD, thread->tid), TYPE_END);
}

/* --- wake-ups, losses ------------------------------------------------------------------------- */

static void write_instant(struct pftrace *p, const struct report_thread *thread, char *name,
			  int category)
{
	uint64_t uuid = pftrace_thread(p, thread->tid);
	const char *new_name;
	uint32_t number = export_names_text(p->names, name, &new_name);

	pftrace_name(p, number, new_name, category);
	pftrace_event(p, p->event->time_ns, uuid, TYPE_INSTANT);
}

static void wakes(void *data, const struct report_thread *thread, const struct report_wake *wake)
{
	struct pftrace *p = data;
	const char *ctx = wake->ctx ? report_context_name(p->report, wake->ctx) : NULL;

	pftrace_flow(p, wake->number, false);
	pftrace_note_words(p, NOTE_SITE, report_place(p->report, wake->site));
	write_instant(p, thread,
		      ctx	  ? g_strdup_printf("notify %s", ctx)
		      : wake->ctx ? g_strdup("notify")
				  : g_strdup("write to an eventfd"),
		      CATEGORY_WAKE);
}

static void woken(void *data, const struct report_thread *thread, const struct report_wake *wake)
{
	struct pftrace *p = data;

	pftrace_flow(p, wake->number, true);
	pftrace_note(p, NOTE_BY_THREAD, NULL, wake->tid);
	write_instant(p, thread, g_strdup("woken"), CATEGORY_WAKE);
}

static void lost(void *data, const struct report_thread *thread, uint64_t n)
{
	struct pftrace *p = data;

	pftrace_note(p, NOTE_LOST, NULL, (int64_t)n);
	write_instant(p, thread, g_strdup("events were lost"), CATEGORY_LOST);
	pftrace_forget_bhs(p);
}

/* --- all of it -------------------------------------------------------------------------------- */

#define AS(type) ((const struct loop_##type *)event)

/* Told some ms after the stall, with the thread's time away. */
static void tell_split(struct pftrace *p, const struct stall_split *split)
{
	int64_t whole = (int64_t)(split->end_ns - split->begin_ns);
	const struct report_thread *thread =
		report_map_find(&p->report->threads, (struct report_key){ .a = split->tid });
	char *length;

	if (!thread)
		return;
	length = report_duration((uint64_t)whole);
	pftrace_note_words(p, NOTE_WENT_INTO, stall_split_words(split->ns, split->calls, whole));
	write_instant(p, thread, g_strdup_printf("was away from its wait for %s", length),
		      CATEGORY_STALL);
	g_free(length);
}

static void see_event(void *data, const struct loop_event *event)
{
	struct pftrace *p = data;
	const struct stall_split *split = stall_splits_event(p->splits, event);
	bool bhs = p->report->counts[LOOP_EV_BH_BEGIN]; /* else none would ever leave */

	p->event = event;
	if (split)
		tell_split(p, split);
	if (!event->tid) /* the recorder is no thread */
		return;
	switch (event->id) {
	case LOOP_EV_POLL_EXIT:
		if (AS(poll_exit)->ret >= 0)
			pftrace_counter(p,
					pftrace_child(p, pftrace_uuid(TRACK_FDS_READY, event->tid),
						      pftrace_thread(p, event->tid), "fds ready",
						      true),
					AS(poll_exit)->ret);
		break;
	case LOOP_EV_BH_SCHEDULE:
		if (bhs)
			pftrace_bh_queued(p, AS(bh_schedule)->bh, AS(bh_schedule)->ctx);
		break;
	case LOOP_EV_BH_BEGIN:
		pftrace_bh_taken(p, AS(bh_begin)->bh);
		break;
	case LOOP_EV_BH_CANCEL:
		pftrace_bh_taken(p, AS(bh_cancel)->bh);
		break;
	case LOOP_EV_BH_DELETE:
		pftrace_bh_taken(p, AS(bh_delete)->bh);
		break;
	case LOOP_EV_BQL_ACQUIRED:
		pftrace_bql_acquired(p, AS(bql_acquired));
		break;
	case LOOP_EV_BQL_RELEASED:
		if (p->bql_holder == event->tid)
			pftrace_bql_released(p);
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
	p.splits = stall_splits_new();
	p.tracks = g_hash_table_new(NULL, NULL);
	p.choosers = g_hash_table_new_full(NULL, NULL, NULL, g_free);
	p.queued = g_hash_table_new(NULL, NULL);
	p.contexts = g_hash_table_new_full(NULL, NULL, NULL, g_free);
	pftrace_head(&p);
	err = report_read_watched(path, &watcher, &again, why);
	p.event = &end;
	pftrace_bql_released(&p);
	report_free(again);
	g_hash_table_destroy(p.contexts);
	g_hash_table_destroy(p.queued);
	g_hash_table_destroy(p.choosers);
	g_hash_table_destroy(p.tracks);
	stall_splits_free(p.splits);
	export_names_free(p.names);
	for (size_t i = 0; i < G_N_ELEMENTS(buffers); i++)
		g_byte_array_free(*buffers[i], TRUE);
	return err;
}
