/* SPDX-License-Identifier: MIT */
/* Looking up events and their fields: see loop-table.h. */
#include <errno.h>
#include <string.h>

#include "trace/loop-table.h"

int loop_event_id(const char *name)
{
	for (int id = 0; id < LOOP_EV_END; id++)
		if (loop_event_descs[id].name && strcmp(loop_event_descs[id].name, name) == 0)
			return id;
	return -ENOENT;
}

uint64_t loop_field_u64(const struct loop_event *event, const struct loop_field *field)
{
	const char *at = (const char *)event + field->offset;
	uint64_t wide = 0;
	uint32_t narrow = 0;

	switch (field->type) {
	case LOOP_U32:
		memcpy(&narrow, at, sizeof(narrow));
		return narrow;
	case LOOP_S32:
		memcpy(&narrow, at, sizeof(narrow));
		return (int64_t)(int32_t)narrow;
	case LOOP_U64:
	case LOOP_S64:
	case LOOP_PTR:
		memcpy(&wide, at, sizeof(wide));
		return wide;
	case LOOP_STR:
		break;
	}
	return 0;
}

const char *loop_field_text(const struct loop_event *event, const struct loop_field *field)
{
	return field->type == LOOP_STR ? (const char *)event + field->offset : NULL;
}

bool loop_field_is_code(const struct loop_field *field)
{
	static const char *const names[] = { "cb",	"site",	   "dispatch",
					     "action",	"io_read", "io_write",
					     "io_poll", "ip",	   "io_poll_ready" };

	if (field->type != LOOP_PTR)
		return false;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(field->name, names[i]) == 0)
			return true;
	return false;
}

const char *loop_field_name(const struct loop_field *field, uint32_t value)
{
	if (!field->names || field->is_flags)
		return NULL;
	for (const struct loop_name *entry = field->names; entry->name; entry++)
		if (entry->value == value)
			return entry->name;
	return NULL;
}
