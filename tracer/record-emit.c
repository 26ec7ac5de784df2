// SPDX-License-Identifier: MIT
/*
 * Writing events: packed as the table says, and with them, once each, the names of the threads and
 * functions they mention, so that a recording can be read without the program.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tracer/clock.h"
#include "tracer/describe.h"
#include "tracer/record.h"

#define FLUSH_NS 1000000000ULL

/* Which of the event's fields are such, a bit each; found out once for each event. */
static uint32_t code_fields(struct recorder *r, uint16_t id)
{
	const struct loop_event_desc *desc = loop_event_desc(id);

	if (r->code_known[id])
		return r->code_fields[id];
	for (int i = 0; i < desc->n_fields; i++)
		if (loop_field_is_code(&desc->fields[i]))
			r->code_fields[id] |= 1u << i;
	r->code_known[id] = true;
	return r->code_fields[id];
}

static void pack(const struct loop_event_desc *desc, const uint64_t *values, uint8_t *event)
{
	for (int i = 0; i < desc->n_fields; i++) {
		const struct loop_field *field = &desc->fields[i];
		size_t size = field->type == LOOP_U32 || field->type == LOOP_S32 ? 4 : 8;

		if (field->type != LOOP_STR)
			memcpy(event + field->offset, &values[i], size);
	}
}

void emit_text(struct recorder *r, uint16_t id, const uint64_t *values, const char *text)
{
	const struct loop_event_desc *desc = loop_event_desc(id);
	uint64_t bytes[32] = { 0 };
	struct loop_event *event = (struct loop_event *)bytes;
	union ctf_text_event whole;

	pack(desc, values, (uint8_t *)bytes);
	event->time_ns = now_ns();
	event->id = id;
	event->size = desc->size;
	if (!desc->has_text)
		record_write(r, event);
	else if (!ctf_event_with_text(event, text, &whole))
		record_write(r, &whole.h);
}

static void name_code(struct recorder *r, uint64_t addr)
{
	struct image *img;
	const struct symbol *symbol;
	uint64_t values[3];
	char *name;

	if (!addr || !g_hash_table_add(r->named, (void *)addr))
		return;
	img = r->program && image_holds(r->program, addr) ? r->program
	      : r->s->images				  ? images_at(r->s->images, addr)
							  : NULL;
	if (!img)
		return;
	symbol = image_symbol_at(img, addr - img->bias);
	name = symbol ? g_strdup(symbol->name)
		      : g_strdup_printf("%s+0x%" PRIx64, img->name, addr - img->bias);
	values[0] = addr;
	values[1] = symbol ? addr - img->bias - symbol->link : 0;
	values[2] = 0;
	emit_text(r, LOOP_EV_SYMBOL, values, name);
	g_free(name);
}

void emit(struct recorder *r, uint64_t time_ns, uint32_t tid, uint16_t id, const uint64_t *values)
{
	const struct loop_event_desc *desc = loop_event_desc(id);
	uint64_t bytes[32] = { 0 };
	struct loop_event *event = (struct loop_event *)bytes;

	if (!record_select_has(&r->select, id) && !r->watch)
		return;
	for (uint32_t left = code_fields(r, id); left; left &= left - 1)
		name_code(r, values[__builtin_ctz(left)]);
	pack(desc, values, (uint8_t *)bytes);
	event->time_ns = time_ns;
	event->tid = tid;
	event->id = id;
	event->size = desc->size;
	record_write(r, event);
}

void emit_flush(struct recorder *r)
{
	uint64_t now = now_ns();
	int err = 0;

	if (now - r->flushed_ns < FLUSH_NS || !r->writer)
		return;
	if (r->flushed_ns)
		err = ctf_writer_flush(r->writer);
	if (err && !r->error)
		r->error = err;
	r->flushed_ns = now;
}

static uint32_t table_kind(const struct context *c)
{
	static const uint32_t kinds[] = {
		[CONTEXT_MAIN] = LOOP_CONTEXT_KIND_MAIN,
		[CONTEXT_IOHANDLER] = LOOP_CONTEXT_KIND_IOHANDLER,
		[CONTEXT_IOTHREAD] = LOOP_CONTEXT_KIND_IOTHREAD,
		[CONTEXT_OTHER] = LOOP_CONTEXT_KIND_OTHER,
	};

	return kinds[c->kind];
}

static void emit_context(struct recorder *r, const struct context *c, struct fds *fds)
{
	uint64_t context[] = { c->addr, table_kind(c), c->tid, 0 };
	uint64_t notify[] = { c->addr, c->notify_me, c->notified, 0, c->notifier_fd };

	emit_text(r, LOOP_EV_CONTEXT, context, c->name);
	emit(r, now_ns(), 0, LOOP_EV_NOTIFY_STATE, notify);
	for (size_t i = 0; i < c->handlers->len; i++) {
		const struct handler *h = &g_array_index(c->handlers, struct handler, i);
		uint64_t state[] = { c->addr,	 h->addr,    h->fd,
				     h->events,	 h->io_read, h->io_write,
				     h->io_poll, h->opaque,  h->deleted ? 1 : 0,
				     0 };

		record_tell_fd(r, fds, h->fd);
		emit(r, now_ns(), 0, LOOP_EV_HANDLER_STATE, state);
	}
	for (size_t i = 0; i < c->bhs->len; i++) {
		const struct bottom_half *bh = &g_array_index(c->bhs, struct bottom_half, i);
		uint64_t state[] = { c->addr, bh->addr, bh->cb, bh->opaque, bh->flags };

		emit(r, now_ns(), 0, LOOP_EV_BH_STATE, state);
	}
}

void emit_tables(struct recorder *r, const struct loops *before)
{
	struct fds *fds = fds_new(r->pid, true);

	for (size_t i = 0; r->loops && i < r->loops->contexts->len; i++) {
		const struct context *c = r->loops->contexts->pdata[i];

		if (before && loops_context(before, c->addr))
			continue;
		/* Who made it is known if only one was made meanwhile. */
		if (before)
			emit(r, now_ns(), r->made.tid, LOOP_EV_CONTEXT_NEW,
			     VALUES(c->addr, r->made.n == 1 ? r->made.site : 0));
		emit_context(r, c, fds);
		r->made.n = 0;
	}
	fds_free(fds);
}
