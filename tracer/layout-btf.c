// SPDX-License-Identifier: MIT
/*
 * A layout as BTF: what bpf programs with CO-RE accesses to user structures are loaded with
 * (btf_custom_path). Each structure gets its known fields at their offsets; a path like
 * "notifier.rfd" makes a member "notifier" of a structure of its own. Unknown fields are left out,
 * so bpf_core_field_exists() says no for them.
 */
#include <bpf/btf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tracer/layout.h"

/* Integers by size and the pointer, made once. */
struct ints {
	int id[9];
	int pointer;
};

static int int_type(struct btf *btf, struct ints *ints, uint32_t size)
{
	char name[8];

	if (!ints->id[size]) {
		snprintf(name, sizeof(name), "u%u", size * 8);
		ints->id[size] = btf__add_int(btf, name, size, 0);
	}
	return ints->id[size];
}

/* A pointer, to whatever: CO-RE takes an integer in its place for another field. */
static int pointer_type(struct btf *btf, struct ints *ints)
{
	if (!ints->pointer)
		ints->pointer = btf__add_ptr(btf, 0);
	return ints->pointer;
}

/* All words are pointers but a timer's expiry; what is longer is an array of them. */
static int field_type(struct btf *btf, struct ints *ints, enum layout_field f)
{
	uint32_t size = layout_field_size(f);

	if (size < 8 || f == TIMER_EXPIRE)
		return int_type(btf, ints, size);
	if (size == 8)
		return pointer_type(btf, ints);
	return btf__add_array(btf, int_type(btf, ints, 4), pointer_type(btf, ints), size / 8);
}

/* Do fields @a and @b belong to one member with parts: "pfd.fd" and "pfd.events"? */
static bool same_member(enum layout_field a, enum layout_field b)
{
	const char *x = layout_field_path(a), *y = layout_field_path(b);
	size_t len = strcspn(x, ".");

	return !strcmp(layout_field_type(a), layout_field_type(b)) && x[len] &&
	       !strncmp(x, y, len + 1);
}

static bool is_first_of_member(const struct layout *l, enum layout_field f)
{
	for (int k = 0; k < (int)f; k++)
		if (l->off[k] >= 0 && same_member(f, k))
			return false;
	return true;
}

/* The structure of a member with parts, whose lowest part lies at @base. */
static int part_struct(struct btf *btf, struct ints *ints, const struct layout *l,
		       enum layout_field f, int32_t *base)
{
	int types[N_LAYOUT_FIELDS], id;
	char name[96];
	uint32_t size = 0;

	*base = l->off[f];
	for (int k = f; k < N_LAYOUT_FIELDS; k++) {
		if (l->off[k] < 0 || !same_member(f, k))
			continue;
		*base = MIN(*base, l->off[k]);
		types[k] = field_type(btf, ints, k);
	}
	for (int k = f; k < N_LAYOUT_FIELDS; k++)
		if (l->off[k] >= 0 && same_member(f, k))
			size = MAX(size, l->off[k] - *base + layout_field_size(k));
	snprintf(name, sizeof(name), "%s_%.*s", layout_field_type(f),
		 (int)strcspn(layout_field_path(f), "."), layout_field_path(f));
	id = btf__add_struct(btf, name, size);
	for (int k = f; id > 0 && k < N_LAYOUT_FIELDS; k++) {
		const char *part = strchr(layout_field_path(k), '.');

		if (l->off[k] >= 0 && same_member(f, k) &&
		    btf__add_field(btf, part + 1, types[k], (l->off[k] - *base) * 8, 0))
			return -EINVAL;
	}
	return id;
}

static int add_struct(struct btf *btf, struct ints *ints, const struct layout *l, const char *type)
{
	int types[N_LAYOUT_FIELDS], err = 0;
	int32_t bases[N_LAYOUT_FIELDS];

	/* Types first: a structure is open until the next type is added. */
	for (int f = 0; f < N_LAYOUT_FIELDS; f++) {
		types[f] = 0;
		if (l->off[f] < 0 || strcmp(layout_field_type(f), type) ||
		    !is_first_of_member(l, f))
			continue;
		bases[f] = l->off[f];
		types[f] = strchr(layout_field_path(f), '.')
				   ? part_struct(btf, ints, l, f, &bases[f])
				   : field_type(btf, ints, f);
		if (types[f] < 0)
			return types[f];
	}
	err = btf__add_struct(btf, type, layout_extent(l, type));
	for (int f = 0; err >= 0 && f < N_LAYOUT_FIELDS; f++) {
		char name[64];

		if (!types[f])
			continue;
		snprintf(name, sizeof(name), "%.*s", (int)strcspn(layout_field_path(f), "."),
			 layout_field_path(f));
		err = btf__add_field(btf, name, types[f], bases[f] * 8, 0);
	}
	return err < 0 ? err : 0;
}

int layout_write_btf(const struct layout *l, const char *path, struct failure *why)
{
	struct btf *btf = btf__new_empty();
	struct ints ints = { 0 };
	const void *bytes;
	uint32_t size;
	FILE *f;
	int err = btf ? 0 : -ENOMEM;

	for (int k = 0; !err && k < N_LAYOUT_FIELDS; k++)
		if (!k || strcmp(layout_field_type(k), layout_field_type(k - 1)))
			err = add_struct(btf, &ints, l, layout_field_type(k));
	bytes = err ? NULL : btf__raw_data(btf, &size);
	if (!bytes) {
		err = fail(why, -ENOMEM, "cannot make BTF of the layout of %s", l->exe);
		goto cleanup;
	}
	f = fopen(path, "we");
	if (!f || fwrite(bytes, size, 1, f) != 1)
		err = fail(why, -EIO, "cannot write %s: %s", path, strerror(errno));
	if (f && fclose(f) && !err)
		err = fail(why, -EIO, "cannot write %s: %s", path, strerror(errno));

cleanup:
	btf__free(btf);
	return err;
}
