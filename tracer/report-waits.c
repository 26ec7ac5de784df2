// SPDX-License-Identifier: MIT
/* Waits inside of callbacks, by the place that waits: nested aio_poll, AIO_WAIT_WHILE, the big
 * lock. */
#include "tracer/report-model.h"

static struct report_nested *begin_nested(struct report_thread *thread, enum report_kind kind,
					  uint64_t now_ns, uint64_t ctx, uint64_t site,
					  uint64_t ident)
{
	struct report_key key = { kind, ctx, site, 0 };
	struct report_nested *nested = report_map_get(&thread->nested_map, key);
	struct report_frame frame = { .begin_ns = now_ns,
				      .ident = ident,
				      .calls = &nested->calls,
				      .entry = nested,
				      .kind = kind };

	nested->kind = kind;
	nested->ctx = ctx;
	nested->site = site;
	report_push(thread, &frame);
	return nested;
}

void report_enter_aio_poll(struct report_thread *thread, const struct loop_aio_poll_enter *event)
{
	struct report_nested *nested = begin_nested(thread, REPORT_AIO_POLL, event->h.time_ns,
						    event->ctx, event->site, event->depth);

	nested->max_depth = MAX(nested->max_depth, event->depth);
}

/* Its end has a site of its own: the macro returns to another place. */
void report_enter_aio_wait(struct report_thread *thread, const struct loop_aio_wait_enter *event)
{
	struct report_nested *nested =
		begin_nested(thread, REPORT_AIO_WAIT, event->h.time_ns, event->ctx, event->site, 0);

	nested->with_bql += event->bql == LOOP_HELD_YES;
}

/* --- the big lock ----------------------------------------------------------------------------- */

static struct report_bql *find_bql(struct report *report, uint64_t site, uint64_t file,
				   uint32_t line)
{
	struct report_key key = { site, site ? 0 : file, site ? 0 : line, 0 };
	struct report_bql *bql = report_map_get(&report->bql, key);

	bql->site = site;
	bql->file = file;
	bql->line = line;
	return bql;
}

void report_bql_wait(struct report *report, struct report_thread *thread,
		     const struct loop_bql_wait *event)
{
	struct report_bql *bql = find_bql(report, event->site, event->file, event->line);
	struct report_frame frame = { .begin_ns = event->h.time_ns,
				      .ident = event->lock,
				      .calls = &bql->wait,
				      .entry = bql,
				      .kind = REPORT_BQL_WAIT };

	report_push(thread, &frame);
}

/* The lock may be held across anything, polls too: it is no frame. */
void report_bql_acquired(struct report *report, struct report_thread *thread,
			 const struct loop_bql_acquired *event)
{
	if (report->counts[LOOP_EV_BQL_WAIT])
		report_pop(thread, REPORT_BQL_WAIT, event->lock, event->h.time_ns);
	if (thread->hold)
		thread->hold->hold.unfinished++;
	thread->hold = find_bql(report, event->site, event->file, event->line);
	thread->hold_ns = event->h.time_ns;
}

void report_bql_released(struct report_thread *thread, uint64_t now_ns)
{
	uint64_t ns = now_ns - thread->hold_ns;

	if (thread->hold)
		report_calls_add(&thread->hold->hold, thread->hold_ns, ns, ns);
	else
		thread->unbegun++;
	thread->hold = NULL;
}
