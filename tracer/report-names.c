// SPDX-License-Identifier: MIT
/*
 * Records into the model: what addresses, fds, threads and contexts are called, what there was when
 * the recording began. Texts come from a traced program: they are made safe here, once.
 */
#include <string.h>

#include "tracer/report-model.h"
#include "tracer/text.h"

#define AS(type) ((const struct loop_##type *)event)

/* Same names come again and again: only a new one is copied. */
static void keep_text(char **at, const char *text)
{
	char *safe = g_strdup(text);

	text_make_safe(safe);
	if (*at && !strcmp(*at, safe)) {
		g_free(safe);
		return;
	}
	g_free(*at);
	*at = safe;
}

static struct report_name *find_name(struct report *report, uint64_t addr)
{
	return report_map_get(&report->names, (struct report_key){ .a = addr });
}

static struct report_source *find_source(struct report *report, uint64_t addr)
{
	return report_map_get(&report->sources, (struct report_key){ .a = addr });
}

static void keep_symbol(struct report *report, const struct loop_symbol *event)
{
	struct report_name *name = find_name(report, event->addr);

	keep_text(&name->symbol, event->name);
	name->offset = event->offset;
}

static void keep_line(struct report *report, const struct loop_source_line *event)
{
	struct report_name *name = find_name(report, event->addr);

	keep_text(&name->file, event->file);
	name->line = event->line;
}

static void keep_context(struct report *report, const struct loop_context *event)
{
	struct report_context *context = report_context(report, event->ctx);

	/* A recorder that came early does not know yet what the context has told itself. */
	if (event->kind == LOOP_CONTEXT_KIND_OTHER && context->kind == LOOP_CONTEXT_KIND_IOTHREAD)
		return;
	keep_text(&context->name, event->name);
	context->kind = event->kind;
	context->home_tid = event->home_tid;
}

static void keep_fd(struct report *report, const struct loop_fd *event)
{
	struct report_fd *fd = report_fd(report, event->fd);

	keep_text(&fd->target, event->target);
	fd->kind = event->kind;
}

static void keep_note(struct report *report, const struct loop_note *event)
{
	char *text = NULL;

	keep_text(&text, event->text);
	if (report->notes->len < REPORT_NOTES_MAX) {
		g_ptr_array_add(report->notes, text);
		return;
	}
	g_free(text);
	report->more_notes++;
}

static void keep_source_of_events(struct report *report, const struct loop_event_source *event)
{
	if (event->of_id < LOOP_EV_END)
		report->provenance[event->of_id] = event->from;
}

static void keep_notify_state(struct report *report, const struct loop_notify_state *event)
{
	struct report_context *context = report_context(report, event->ctx);

	context->fd_known = event->fd >= 0;
	context->fd = event->fd;
	if (context->fd_known)
		report_fd(report, event->fd)->notifies = event->ctx;
}

/* The thread that says it polls is the IOThread itself. */
static void keep_iothread(struct report *report, const struct loop_iothread_state *event)
{
	struct report_context *context = report_context(report, event->ctx);

	if (event->phase != LOOP_IOTHREAD_PHASE_POLLING ||
	    (context->kind && context->kind != LOOP_CONTEXT_KIND_OTHER))
		return;
	if (context->kind) /* a name that says nothing */
		g_clear_pointer(&context->name, g_free);
	context->kind = LOOP_CONTEXT_KIND_IOTHREAD;
	context->home_tid = event->h.tid;
}

static void take_new_fds(struct report_source *source)
{
	if (source->n_new)
		source->fd = source->new_fd;
	source->n_fds += source->n_new;
	source->n_new = 0;
}

int32_t report_source_fd(struct report *report, uint64_t addr)
{
	struct report_source *source =
		report_map_find(&report->sources, (struct report_key){ .a = addr });

	if (!source)
		return -1;
	take_new_fds(source);
	return source->n_fds == 1 ? source->fd : -1;
}

static void state_event(struct report *report, const struct loop_event *event)
{
	struct report_source *source;

	switch (event->id) {
	case LOOP_EV_HANDLER_STATE:
		report_fd_owned(report_fd(report, AS(handler_state)->fd),
				AS(handler_state)->io_read, AS(handler_state)->io_write, 0);
		break;
	case LOOP_EV_TIMER_LIST:
		report_context(report, AS(timer_list)->list)->alias = AS(timer_list)->ctx;
		break;
	case LOOP_EV_SOURCE_STATE:
		source = find_source(report, AS(source_state)->source);
		source->dispatch = AS(source_state)->dispatch;
		source->cb = AS(source_state)->cb;
		break;
	case LOOP_EV_SOURCE_ATTACH:
		source = find_source(report, AS(source_attach)->source);
		source->dispatch = AS(source_attach)->dispatch;
		source->cb = AS(source_attach)->cb;
		source->n_fds = 0;
		take_new_fds(source);
		break;
	case LOOP_EV_SOURCE_ADD_FD: /* a handler's fd is also its context's source's */
		source = find_source(report, AS(source_add_fd)->source);
		source->n_new++;
		source->new_fd = AS(source_add_fd)->fd;
		if (!report_fd(report, AS(source_add_fd)->fd)->owned)
			report_fd_owned(report_fd(report, AS(source_add_fd)->fd), 0, 0,
					AS(source_add_fd)->source);
		break;
	case LOOP_EV_FD_STATE:
		source = find_source(report, AS(fd_state)->owner);
		source->n_fds++;
		source->fd = AS(fd_state)->fd;
		if (AS(fd_state)->owner && !report_fd(report, AS(fd_state)->fd)->owned)
			report_fd_owned(report_fd(report, AS(fd_state)->fd), 0, 0,
					AS(fd_state)->owner);
		break;
	case LOOP_EV_SOURCE_REMOVE_FD:
		source = find_source(report, AS(source_remove_fd)->source);
		source->n_fds = source->n_new = 0;
		if (report_fd(report, AS(source_remove_fd)->fd)->source ==
		    AS(source_remove_fd)->source)
			report_fd_given_up(report_fd(report, AS(source_remove_fd)->fd));
		break;
	case LOOP_EV_IOTHREAD_STATE:
		keep_iothread(report, AS(iothread_state));
		break;
	case LOOP_EV_WAIT_STATE:
		report_wait_state(report_thread(report, AS(wait_state)->of_tid), AS(wait_state));
		break;
	case LOOP_EV_NOTIFY_STATE:
		keep_notify_state(report, AS(notify_state));
		break;
	default:
		break;
	}
}

void report_record(struct report *report, const struct loop_event *event)
{
	switch (event->id) {
	case LOOP_EV_SYMBOL:
		keep_symbol(report, AS(symbol));
		break;
	case LOOP_EV_SOURCE_LINE:
		keep_line(report, AS(source_line));
		break;
	case LOOP_EV_STRING:
		keep_text(&find_name(report, AS(string)->addr)->text, AS(string)->text);
		break;
	case LOOP_EV_THREAD:
		keep_text(&report_thread(report, AS(thread)->of_tid)->name, AS(thread)->name);
		break;
	case LOOP_EV_CONTEXT:
		keep_context(report, AS(context));
		break;
	case LOOP_EV_BH_NAME:
		keep_text(&find_name(report, AS(bh_name)->cb)->bh_name, AS(bh_name)->name);
		break;
	case LOOP_EV_SOURCE_NAME:
		keep_text(&find_source(report, AS(source_name)->source)->name,
			  AS(source_name)->name);
		break;
	case LOOP_EV_FD:
		keep_fd(report, AS(fd));
		break;
	case LOOP_EV_EVENT_SOURCE:
		keep_source_of_events(report, AS(event_source));
		break;
	case LOOP_EV_NOTE:
		keep_note(report, AS(note));
		break;
	default:
		state_event(report, event);
		break;
	}
}
