// SPDX-License-Identifier: MIT
/* What every layout can do, and its JSON form (docs/layout.md). See layout.h. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tracer/layout.h"

#define OFFSET_MAX (1 << 16) /* bytes: no structure is larger */

static const struct field_info {
	const char *type, *path;
	uint32_t size;
} fields[N_LAYOUT_FIELDS] = {
#define F(id, type, path, size) [id] = { #type, path, size },
	LAYOUT_FIELDS(F)
#undef F
};

static const char *const globals[N_LAYOUT_GLOBALS] = {
	[GLOBAL_QEMU_CTX] = "qemu_aio_context",
	[GLOBAL_IOHANDLER_CTX] = "iohandler_ctx",
	[GLOBAL_SOURCE_FUNCS] = "aio_source_funcs",
};

static const char *const types[N_LAYOUT_TYPES] = {
	[TYPE_CTX] = "AioContext",
	[TYPE_NODE] = "AioHandler",
};

static const char *const sources[] = {
	[LAYOUT_INFERRED] = "inferred",
	[LAYOUT_DWARF] = "dwarf",
};

struct layout *layout_new(enum layout_source source, const struct image *program)
{
	struct layout *l = g_new0(struct layout, 1);

	l->source = source;
	snprintf(l->exe, sizeof(l->exe), "%s", program->name);
	snprintf(l->build_id, sizeof(l->build_id), "%s", program->build_id);
	for (int f = 0; f < N_LAYOUT_FIELDS; f++)
		l->off[f] = LAYOUT_UNKNOWN;
	l->notes = g_ptr_array_new_with_free_func(g_free);
	return l;
}

void layout_free(struct layout *l)
{
	if (!l)
		return;
	for (int f = 0; f < N_LAYOUT_FIELDS; f++)
		g_free(l->proof[f]);
	g_ptr_array_free(l->notes, TRUE);
	g_free(l);
}

void layout_set(struct layout *l, enum layout_field f, int32_t off, const char *fmt, ...)
{
	va_list args;

	g_free(l->proof[f]);
	va_start(args, fmt);
	l->proof[f] = g_strdup_vprintf(fmt, args);
	va_end(args);
	l->off[f] = off;
}

void layout_note(struct layout *l, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	g_ptr_array_add(l->notes, g_strdup_vprintf(fmt, args));
	va_end(args);
}

bool layout_is_qemu(const struct layout *l)
{
	return l->off[CTX_HANDLERS] >= 0;
}

bool layout_is_glib(enum layout_field f)
{
	return fields[f].type[0] == 'G';
}

const char *layout_field_type(enum layout_field f)
{
	return fields[f].type;
}

const char *layout_field_path(enum layout_field f)
{
	return fields[f].path;
}

uint32_t layout_field_size(enum layout_field f)
{
	return fields[f].size;
}

const char *layout_global_name(enum layout_global g)
{
	return globals[g];
}

const char *layout_source_name(enum layout_source source)
{
	return sources[source];
}

uint64_t layout_get(const struct layout *l, enum layout_field f, const void *bytes, size_t size)
{
	uint32_t len = MIN(fields[f].size, sizeof(uint64_t));
	uint64_t value = 0;

	if (l->off[f] >= 0 && (size_t)l->off[f] + len <= size)
		memcpy(&value, (const char *)bytes + l->off[f], len);
	return value;
}

size_t layout_extent(const struct layout *l, const char *type)
{
	size_t extent = 0;

	for (int f = 0; f < N_LAYOUT_FIELDS; f++)
		if (l->off[f] >= 0 && !strcmp(fields[f].type, type))
			extent = MAX(extent, (size_t)l->off[f] + fields[f].size);
	return extent;
}

json_t *layout_to_json(const struct layout *l)
{
	json_t *list = json_array(), *places = json_object(), *sizes = json_object();
	json_t *notes = json_array();

	for (int f = 0; f < N_LAYOUT_FIELDS; f++)
		json_array_append_new(
			list, json_pack("{s:s, s:s, s:o, s:i, s:s*}", "struct", fields[f].type,
					"field", fields[f].path, "offset",
					l->off[f] < 0 ? json_null() : json_integer(l->off[f]),
					"size", (int)fields[f].size, "proof", l->proof[f]));
	for (int g = 0; g < N_LAYOUT_GLOBALS; g++)
		json_object_set_new(places, globals[g],
				    l->global[g] ? json_integer((json_int_t)l->global[g])
						 : json_null());
	for (int t = 0; t < N_LAYOUT_TYPES; t++)
		json_object_set_new(sizes, types[t],
				    l->size[t] ? json_integer(l->size[t]) : json_null());
	for (size_t i = 0; i < l->notes->len; i++)
		json_array_append_new(notes, json_string(l->notes->pdata[i]));
	return json_pack("{s:s, s:i, s:s, s:s, s:s, s:o, s:o, s:o, s:o}", "type", "layout",
			 "version", 1, "exe", l->exe, "build_id", l->build_id, "source",
			 sources[l->source], "sizes", sizes, "globals", places, "fields", list,
			 "notes", notes);
}

/* A number from 0 to @max, or null, which is @unknown; whatever else is damaged. */
static int number_from_json(const json_t *value, json_int_t max, json_int_t unknown,
			    json_int_t *ret)
{
	*ret = unknown;
	if (json_is_null(value))
		return 0;
	if (!json_is_integer(value) || json_integer_value(value) < 0 ||
	    json_integer_value(value) > max)
		return -EINVAL;
	*ret = json_integer_value(value);
	return 0;
}

static int field_from_json(struct layout *l, const json_t *row)
{
	const char *type, *path, *proof = NULL;
	json_t *offset, *text = NULL;
	json_int_t at;

	if (json_unpack((json_t *)row, "{s:s, s:s, s:o, s?:o}", "struct", &type, "field", &path,
			"offset", &offset, "proof", &text) ||
	    number_from_json(offset, OFFSET_MAX, LAYOUT_UNKNOWN, &at) ||
	    (text && !json_is_string(text)))
		return -EINVAL;
	proof = json_string_value(text);
	for (int f = 0; f < N_LAYOUT_FIELDS; f++)
		if (!strcmp(type, fields[f].type) && !strcmp(path, fields[f].path))
			layout_set(l, f, (int32_t)at, "%s", proof ? proof : "");
	return 0;
}

/* The globals and sizes: each is there, a number or null. */
static int places_from_json(struct layout *l, const json_t *places, const json_t *sizes)
{
	json_int_t value;

	for (int g = 0; g < N_LAYOUT_GLOBALS; g++) {
		if (number_from_json(json_object_get(places, globals[g]), INT64_MAX, 0, &value))
			return -EINVAL;
		l->global[g] = value;
	}
	for (int t = 0; t < N_LAYOUT_TYPES; t++) {
		if (number_from_json(json_object_get(sizes, types[t]), OFFSET_MAX, 0, &value))
			return -EINVAL;
		l->size[t] = value;
	}
	return 0;
}

static int source_from_json(const char *name, enum layout_source *ret)
{
	for (size_t i = 0; i < G_N_ELEMENTS(sources); i++) {
		if (strcmp(name, sources[i]))
			continue;
		*ret = i;
		return 0;
	}
	return -EINVAL;
}

int layout_from_json(const json_t *json, const struct image *program, struct layout **ret,
		     struct failure *why)
{
	const char *type, *name, *build_id;
	json_t *list, *places, *sizes, *row;
	enum layout_source source;
	struct layout *l;
	int version;
	size_t i;

	if (json_unpack((json_t *)json, "{s:s, s:i, s:s, s:s, s:o, s:o, s:o}", "type", &type,
			"version", &version, "source", &name, "build_id", &build_id, "fields",
			&list, "globals", &places, "sizes", &sizes) ||
	    strcmp(type, "layout") || !json_is_array(list) || !json_is_object(places) ||
	    !json_is_object(sizes))
		return fail(why, -EINVAL, "this is not a layout");
	if (version != 1)
		return fail(why, -EINVAL, "a layout of version %d; this loopscope reads version 1",
			    version);
	if (source_from_json(name, &source))
		return fail(why, -EINVAL, "a layout from \"%s\", which is no source", name);
	if (strcmp(build_id, program->build_id))
		return fail(why, -EINVAL, "a layout of build %s, but %s is build %s", build_id,
			    program->name, program->build_id);
	l = layout_new(source, program);
	json_array_foreach (list, i, row) {
		if (field_from_json(l, row)) {
			layout_free(l);
			return fail(why, -EINVAL, "entry %zu of the layout's fields is damaged", i);
		}
	}
	if (places_from_json(l, places, sizes)) {
		layout_free(l);
		return fail(why, -EINVAL, "the globals or sizes of the layout are damaged");
	}
	*ret = l;
	return 0;
}
