// SPDX-License-Identifier: MIT
/* What is known of each descriptor of a poll set. See fd-rows.h. */
#include <string.h>

#include "tracer/describe.h"
#include "tracer/fd-rows.h"

static void clear_row(void *data)
{
	struct fd_row *row = data;

	g_free(row->owner);
	g_free(row->context);
	g_free(row->callback);
	g_free(row->calls);
	g_free(row->key);
	g_free(row->made);
	g_free(row->registered);
	if (row->made_chain)
		g_ptr_array_free(row->made_chain, TRUE);
	if (row->registered_chain)
		g_ptr_array_free(row->registered_chain, TRUE);
}

static char *source_owner(const struct loop_source *s)
{
	if (s->name[0])
		return g_strdup_printf("GSource \"%s\"%s", s->name, s->priority ? " *" : "");
	return g_strdup_printf("GSource %u, priority %d", s->id, s->priority);
}

static void explain_owner(const struct loops *loops, const struct owner *owner, struct fd_row *row)
{
	uint64_t callback = 0;

	switch (owner->kind) {
	case OWNER_NOTIFIER:
		row->owner = g_strdup(owner->context->name);
		row->context = g_strdup(owner->context->name);
		callback = owner->handler->io_read;
		break;
	case OWNER_FDMON:
		row->owner = g_strdup(owner->context->name);
		row->context = g_strdup(owner->context->name);
		break;
	case OWNER_HANDLER:
		row->owner = g_strdup(owner->context->name);
		row->context = g_strdup(owner->context->name);
		callback = owner->handler->io_read ? owner->handler->io_read
						   : owner->handler->io_write;
		break;
	case OWNER_SOURCE:
		row->owner = source_owner(owner->source);
		/* Without a callback set, the source's own dispatch function is what runs. */
		callback = owner->source->callback;
		if (!callback)
			target_read_u64(loops->t,
					owner->source->funcs + offsetof(GSourceFuncs, dispatch),
					&callback);
		break;
	case OWNER_WAKEUP:
		row->owner = g_strdup("GLib");
		break;
	case OWNER_UNKNOWN:
		row->owner = g_strdup("unknown");
		break;
	}
	row->callback = describe_callback(loops, callback);
	row->calls = describe_calls(loops, callback);
}

static void make_row(const struct loops *loops, const struct poll_set *set, const GPollFD *fd,
		     struct fd_row *row)
{
	struct owner owner;
	int ready;

	memset(row, 0, sizeof(*row));
	row->fd = fd->fd;
	row->events = fd->events;
	row->info = fds_get(loops->fds, fd->fd);
	ready = fds_ready(loops->fds, fd->fd, fd->events);
	row->ready = ready < 0 ? -1 : ready > 0;
	loops_owner(loops, set->tid, fd->fd, &owner);
	row->kind = owner.kind;
	explain_owner(loops, &owner, row);
	row->key = g_strdup_printf("%s/%s/%u/%s/%s/%d/%d", row->info->kind, row->info->detail,
				   row->events & 7, row->owner, row->callback ? row->callback : "",
				   row->kind, row->ready);
}

static void count(const struct fd_row *row, struct fd_totals *totals)
{
	totals->fds++;
	totals->contexts += row->kind == OWNER_NOTIFIER || row->kind == OWNER_FDMON;
	totals->sources += row->kind == OWNER_SOURCE;
	totals->wakeups += row->kind == OWNER_WAKEUP;
	totals->unknown += row->kind == OWNER_UNKNOWN;
	totals->ready += row->ready > 0;
}

GArray *fd_rows_new(const struct loops *loops, const struct poll_set *set, struct fd_totals *totals)
{
	GArray *rows = g_array_new(FALSE, FALSE, sizeof(struct fd_row));

	g_array_set_clear_func(rows, clear_row);
	for (size_t i = 0; i < set->fds->len; i++) {
		struct fd_row row;

		make_row(loops, set, &g_array_index(set->fds, GPollFD, i), &row);
		count(&row, totals);
		g_array_append_val(rows, row);
	}
	return rows;
}

void fd_row_explain_origin(struct provenance *p, struct session *s, struct fd_row *row)
{
	struct origin origin;

	provenance_made(p, s, row->fd, &origin);
	row->made = provenance_text(p, s, &origin);
	row->made_chain = provenance_chain(s, &origin);
	provenance_registered(p, s, row->fd, &origin);
	if (row->kind == OWNER_WAKEUP && origin.known == ORIGIN_UNSEEN)
		row->registered = g_strdup("GLib itself, with its GMainContext");
	else
		row->registered = provenance_text(p, s, &origin);
	row->registered_chain = provenance_chain(s, &origin);
}
