// SPDX-License-Identifier: MIT
/*
 * What a thread is in: a stack of begins that wait for their ends.
 *
 * An end may find its begin further down, when ends between them are missing. What lies above is
 * then closed as unfinished: its time is nobody's (unknown_ns), not its parent's.
 */
#include "tracer/report-model.h"

#define FIRST_ROOM 16
/* Deeper, and a callback calls itself without end. */
#define DEPTH_MAX 1024

void report_calls_add(struct report_calls *calls, uint64_t begin_ns, uint64_t ns, uint64_t own_ns)
{
	if (!calls->ns.count || ns > calls->ns.max)
		calls->max_at_ns = begin_ns;
	report_hist_add(&calls->ns, ns);
	calls->own_ns += own_ns;
}

void report_push(struct report_thread *thread, const struct report_frame *frame)
{
	if (thread->depth == DEPTH_MAX) {
		thread->unfinished++;
		if (frame->calls)
			frame->calls->unfinished++;
		return;
	}
	if (thread->depth == thread->room) {
		thread->room = thread->room ? thread->room * 2 : FIRST_ROOM;
		thread->stack = g_renew(struct report_frame, thread->stack, thread->room);
	}
	thread->nested += frame->kind == REPORT_AIO_POLL;
	thread->stack[thread->depth++] = *frame;
	report_tree_begin(thread);
	if (thread->watcher && thread->watcher->begin)
		thread->watcher->begin(thread->watcher->data, thread, frame);
}

static void tell_end(const struct report_thread *thread, const struct report_frame *frame,
		     uint64_t now_ns, enum report_ending ending)
{
	if (thread->watcher && thread->watcher->end)
		thread->watcher->end(thread->watcher->data, thread, frame, now_ns, ending);
}

/* A nested wait is also time that the nested aio_poll, and AIO_WAIT_WHILE, have slept. */
static void tell_slept(struct report_thread *thread, uint64_t ns)
{
	bool in_poll = false;

	for (uint32_t i = thread->depth; i-- > 0;) {
		struct report_frame *frame = &thread->stack[i];

		if (frame->kind == REPORT_AIO_POLL && !in_poll) {
			((struct report_nested *)frame->entry)->slept_ns += ns;
			in_poll = true;
		} else if (frame->kind == REPORT_AIO_WAIT) {
			((struct report_nested *)frame->entry)->slept_ns += ns;
			return;
		}
	}
}

static void close_top(struct report_thread *thread, uint64_t now_ns, bool finished)
{
	struct report_frame frame = thread->stack[--thread->depth];
	uint64_t ns = now_ns - frame.begin_ns, own_ns = ns - frame.child_ns;

	tell_end(thread, &frame, now_ns, finished ? REPORT_ENDED : REPORT_CUT);
	thread->nested -= frame.kind == REPORT_AIO_POLL;
	report_tree_end(thread, &frame, ns, finished);
	if (thread->depth)
		thread->stack[thread->depth - 1].child_ns += ns;
	if (!finished) {
		thread->unknown_ns += own_ns;
		thread->unfinished++;
		if (frame.calls)
			frame.calls->unfinished++;
		return;
	}
	thread->time_ns[frame.kind] += own_ns;
	if (frame.calls)
		report_calls_add(frame.calls, frame.begin_ns, ns, own_ns);
	if (frame.kind == REPORT_NESTED_POLL) {
		tell_slept(thread, ns);
		report_tree_slept(thread, ns);
	}
}

void report_cut(struct report_thread *thread, uint32_t keep, uint64_t now_ns)
{
	while (thread->depth > keep)
		close_top(thread, now_ns, false);
}

bool report_pop(struct report_thread *thread, enum report_kind kind, uint64_t ident,
		uint64_t now_ns)
{
	for (uint32_t i = thread->depth; i-- > 0;) {
		const struct report_frame *frame = &thread->stack[i];

		if (frame->kind != kind || (ident && frame->ident && frame->ident != ident))
			continue;
		report_cut(thread, i + 1, now_ns);
		close_top(thread, now_ns, true);
		return true;
	}
	thread->unbegun++;
	return false;
}

void report_settle(struct report_thread *thread, uint64_t end_ns)
{
	/* Outside of everything the thread may do what has no event, or be gone. */
	thread->end_ns = thread->depth ? end_ns : thread->last_ns;
	thread->n_open = thread->depth;
	thread->open = g_memdup2(thread->stack, thread->depth * sizeof(*thread->stack));
	while (thread->depth) {
		struct report_frame *frame = &thread->stack[--thread->depth];
		uint64_t ns = thread->end_ns - frame->begin_ns;

		tell_end(thread, frame, thread->end_ns, REPORT_OPEN);
		report_tree_end(thread, frame, ns, false);
		thread->time_ns[frame->kind] += ns - frame->child_ns;
		if (thread->depth)
			frame[-1].child_ns += ns;
		thread->unfinished++;
		if (frame->calls)
			frame->calls->unfinished++;
	}
}
