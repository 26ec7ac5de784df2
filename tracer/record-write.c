// SPDX-License-Identifier: MIT
/* Where the recorder's events go. See record.h. */
#include "tracer/record.h"

bool record_wants_any(const struct recorder *r, const char *names)
{
	char **split = g_strsplit(names, " ", -1);
	bool wants = false;

	for (int i = 0; !wants && split[i]; i++) {
		int id = loop_event_id(split[i]);

		wants = id >= 0 && loop_event_desc(id)->is_probe && record_wants(r, id);
	}
	g_strfreev(split);
	return wants;
}

bool record_wants(const struct recorder *r, unsigned id)
{
	return record_select_has(&r->select, id) ||
	       (r->watch && (id == LOOP_EV_POLL_ENTER || id == LOOP_EV_POLL_EXIT ||
			     id == LOOP_EV_ITERATION_BEGIN || id == LOOP_EV_ITERATION_END));
}

void record_write(struct recorder *r, const struct loop_event *event)
{
	int err;

	if (r->watch)
		record_watch_event(r, event);
	if (!record_select_has(&r->select, event->id))
		return;
	if (event->id == LOOP_EV_FD_READY)
		record_levels_note(r, event->tid, ((const struct loop_fd_ready *)event)->fd);
	else if (event->id == LOOP_EV_HANDLER_BEGIN)
		record_levels_note(r, event->tid, ((const struct loop_handler_begin *)event)->fd);
	r->written++;
	err = r->flight ? flight_event(r->flight, event) : ctf_writer_event(r->writer, event);
	if (err && !r->error)
		r->error = err;
}
