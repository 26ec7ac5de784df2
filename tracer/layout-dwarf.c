// SPDX-License-Identifier: MIT
/*
 * A layout from debug information: each field of the table is looked up in the DWARF of the program
 * (and of its separate debug file, where elfutils finds one), by structure and path. A structure
 * may be known by a typedef of an unnamed one, and be only declared in some units: the first
 * definition counts.
 */
#include <dwarf.h>
#include <elfutils/libdw.h>
#include <errno.h>
#include <string.h>

#include "tracer/layout.h"

/* Through typedefs, const and volatile, to the type itself. */
static bool peel(Dwarf_Die *die)
{
	Dwarf_Attribute attr;

	return !dwarf_peel_type(die, die) && (dwarf_attr(die, DW_AT_declaration, &attr) == NULL);
}

static bool type_of(Dwarf_Die *die, Dwarf_Die *ret)
{
	Dwarf_Attribute attr;

	return dwarf_attr_integrate(die, DW_AT_type, &attr) && dwarf_formref_die(&attr, ret) &&
	       peel(ret);
}

#define MAX_UNNAMED 8 /* structures without a name inside of each other */

/*
 * Add the offset of the member @name (of @len characters) of @parent, or of a structure without a
 * name that @parent has; its type goes to @ret.
 */
static bool find_member(Dwarf_Die *parent, const char *name, size_t len, int depth, int32_t *offset,
			Dwarf_Die *ret)
{
	Dwarf_Die child, inner;

	if (depth > MAX_UNNAMED || dwarf_child(parent, &child))
		return false;
	do {
		const char *child_name = dwarf_diename(&child);
		int32_t inside = 0;
		Dwarf_Attribute attr;
		Dwarf_Word at = 0;

		if (dwarf_tag(&child) != DW_TAG_member ||
		    (child_name && (strlen(child_name) != len || strncmp(child_name, name, len))))
			continue;
		if (dwarf_attr(&child, DW_AT_data_member_location, &attr) &&
		    dwarf_formudata(&attr, &at))
			return false;
		if (child_name) {
			*offset += (int32_t)at;
			return type_of(&child, ret);
		}
		if (type_of(&child, &inner) &&
		    find_member(&inner, name, len, depth + 1, &inside, ret)) {
			*offset += (int32_t)at + inside;
			return true;
		}
	} while (!dwarf_siblingof(&child, &child));
	return false;
}

static int32_t member_offset(Dwarf_Die *type, const char *path)
{
	Dwarf_Die at = *type;
	int32_t offset = 0;

	for (;;) {
		size_t len = strcspn(path, ".");
		Dwarf_Die next;

		if (!find_member(&at, path, len, 0, &offset, &next))
			return LAYOUT_UNKNOWN;
		if (!path[len])
			return offset;
		at = next;
		path += len + 1;
	}
}

static void take_type(struct layout *l, const char *name, Dwarf_Die *die)
{
	Dwarf_Die type = *die;

	if (!peel(&type) || dwarf_tag(&type) != DW_TAG_structure_type)
		return;
	for (int f = 0; f < N_LAYOUT_FIELDS; f++) {
		int32_t off;

		if (l->off[f] >= 0 || strcmp(layout_field_type(f), name))
			continue;
		off = member_offset(&type, layout_field_path(f));
		if (off >= 0)
			layout_set(l, f, off, "debug information");
	}
	/* The same name, before 5.0 of a pointer, since then of what it is in. */
	if (l->off[BH_NEXT] >= 0)
		layout_set(l, BH_OLD_NEXT, LAYOUT_UNKNOWN, "next.sle_next is in its place");
	if (!strcmp(name, "AioContext"))
		l->size[TYPE_CTX] = dwarf_bytesize(&type);
	else if (!strcmp(name, "AioHandler"))
		l->size[TYPE_NODE] = dwarf_bytesize(&type);
}

static void take_variable(struct layout *l, const char *name, Dwarf_Die *die)
{
	Dwarf_Attribute attr;
	Dwarf_Op *ops;
	size_t n;

	for (int g = 0; g < N_LAYOUT_GLOBALS; g++)
		if (!strcmp(name, layout_global_name(g)) &&
		    dwarf_attr(die, DW_AT_location, &attr) && !dwarf_getlocation(&attr, &ops, &n) &&
		    n == 1 && ops[0].atom == DW_OP_addr)
			l->global[g] = ops[0].number;
}

static void take_unit(struct layout *l, Dwarf_Die *unit)
{
	Dwarf_Die die;

	if (dwarf_child(unit, &die))
		return;
	do {
		const char *name = dwarf_diename(&die);

		if (!name)
			continue;
		switch (dwarf_tag(&die)) {
		case DW_TAG_structure_type:
		case DW_TAG_typedef:
			take_type(l, name, &die);
			break;
		case DW_TAG_variable:
			take_variable(l, name, &die);
			break;
		}
	} while (!dwarf_siblingof(&die, &die));
}

int layout_from_dwarf(const struct image *program, struct layout **ret, struct failure *why)
{
	int64_t bias;
	Dwarf *dw = image_debug_dwarf(program, &bias);
	Dwarf_CU *cu = NULL;
	Dwarf_Die unit;
	struct layout *l;

	if (!dw)
		return fail(why, -ENOENT, "%s has no debug information", program->name);
	l = layout_new(LAYOUT_DWARF, program);
	while (!dwarf_get_units(dw, cu, &cu, NULL, NULL, &unit, NULL))
		take_unit(l, &unit);
	for (int g = 0; g < N_LAYOUT_GLOBALS; g++)
		l->global[g] += l->global[g] ? bias : 0;
	if (l->off[CTX_HANDLERS] < 0 || l->off[NODE_NEXT] < 0 || !l->global[GLOBAL_QEMU_CTX]) {
		layout_free(l);
		return fail(why, -ENOENT, "the debug information of %s knows no AioContext",
			    program->name);
	}
	for (int f = 0; f < N_LAYOUT_FIELDS; f++)
		if (l->off[f] < 0 && !l->proof[f] && !layout_is_glib(f))
			layout_set(l, f, LAYOUT_UNKNOWN,
				   "the debug information has no such member");
	*ret = l;
	return 0;
}
