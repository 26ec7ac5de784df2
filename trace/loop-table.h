/* SPDX-License-Identifier: MIT */
/* What the events are called and made of, for whoever prints, filters or writes any of them:
 *
 *	const struct loop_event_desc *desc = loop_event_desc(event->id);
 *	for (i = 0; desc && i < desc->n_fields; i++)
 *		printf("%s = %llu\n", desc->fields[i].name, loop_field_u64(event,
 *&desc->fields[i]));
 *
 * The data is generated from trace/loop.probes. */
#ifndef LOOP_TABLE_H
#define LOOP_TABLE_H

#include <stdbool.h>
#include <stdint.h>
#include <stddef.h>
#include <linux/types.h>
#include "trace/loop_events.h"

enum loop_type { LOOP_U32, LOOP_S32, LOOP_U64, LOOP_S64, LOOP_PTR, LOOP_STR };

/* A named value or bit; an array of them ends with a NULL name. */
struct loop_name {
	uint32_t value;
	const char *name;
};

struct loop_field {
	const char *name;
	enum loop_type type;
	bool is_flags;		       /* names are bits, not values */
	uint16_t offset;	       /* in the event, header included */
	const struct loop_name *names; /* of a LOOP_U32, or NULL */
};

struct loop_event_desc {
	const char *name;
	const char *sentence;
	const struct loop_field *fields;
	uint16_t n_fields;
	uint16_t content; /* bytes up to the padding, or up to the text */
	uint16_t size;	  /* rounded up to 8; without the text */
	bool is_probe;	  /* else a record */
	bool has_text;	  /* the last field is a LOOP_STR */
};

extern const struct loop_event_desc loop_event_descs[LOOP_EV_END];

/* The part of a recording's metadata that is the same in all of them. */
extern const char loop_tsdl[];

/* NULL for an id that this table does not have. */
static inline const struct loop_event_desc *loop_event_desc(unsigned int id)
{
	return id < LOOP_EV_END && loop_event_descs[id].name ? &loop_event_descs[id] : NULL;
}

/* The id of an event by its name, or -ENOENT. */
int loop_event_id(const char *name);

/* Any field but a text, signed ones sign-extended. */
uint64_t loop_field_u64(const struct loop_event *event, const struct loop_field *field);

/* A text field; the event was checked by whoever received it. */
const char *loop_field_text(const struct loop_event *event, const struct loop_field *field);

/* Whether it holds the address of a function, or of an instruction in one. */
bool loop_field_is_code(const struct loop_field *field);

/* What the value of an enum field is called, or NULL. */
const char *loop_field_name(const struct loop_field *field, uint32_t value);

#endif
