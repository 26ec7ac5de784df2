// SPDX-License-Identifier: MIT
/*
 * Is this the file that the target runs? A live process's file is opened by its mapping; of a core
 * there are only names, and a file of that name may be another build by now, or lie in another
 * root. Both carry a build-id: the file, and the core, which holds the first page of each file that
 * was mapped.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tracer/image.h"

#define PAGE 4096

void image_load_build_id(struct image *img, Elf_Scn *scn)
{
	Elf_Data *data = elf_getdata(scn, NULL);
	size_t offset = 0, name_at, desc_at;
	GElf_Nhdr note;

	while (data && offset < data->d_size &&
	       (offset = gelf_getnote(data, offset, &note, &name_at, &desc_at)) > 0) {
		const uint8_t *desc = (const uint8_t *)data->d_buf + desc_at;

		if (note.n_type != NT_GNU_BUILD_ID || note.n_descsz > 20)
			continue;
		for (size_t i = 0; i < note.n_descsz; i++)
			snprintf(img->build_id + 2 * i, 3, "%02x", desc[i]);
	}
}

/* That which stands in a file's first page, as hexadecimal; "" if there is none. */
static void build_id_in(const uint8_t *page, char ret[41])
{
	Elf64_Ehdr header;
	Elf64_Phdr ph;
	Elf64_Nhdr note;

	ret[0] = 0;
	memcpy(&header, page, sizeof(header));
	if (memcmp(header.e_ident, ELFMAG, SELFMAG) || header.e_phentsize != sizeof(ph))
		return;
	for (size_t i = 0; i < header.e_phnum; i++) {
		uint64_t at = header.e_phoff + i * sizeof(ph), end;

		if (header.e_phoff > PAGE || at + sizeof(ph) > PAGE)
			return;
		memcpy(&ph, page + at, sizeof(ph));
		if (ph.p_type != PT_NOTE || ph.p_offset > PAGE || ph.p_filesz > PAGE - ph.p_offset)
			continue;
		end = ph.p_offset + ph.p_filesz;
		for (at = ph.p_offset; at + sizeof(note) <= end;) {
			memcpy(&note, page + at, sizeof(note));
			at += sizeof(note) + (((uint64_t)note.n_namesz + 3) & ~3ULL);
			if (at > end || note.n_descsz > end - at)
				break;
			for (size_t k = 0; note.n_type == NT_GNU_BUILD_ID && note.n_descsz <= 20 &&
					   k < note.n_descsz;
			     k++)
				snprintf(ret + 2 * k, 3, "%02x", page[at + k]);
			at += ((uint64_t)note.n_descsz + 3) & ~3ULL;
		}
	}
}

/* What to type when a core's files are not where their names say. */
static const char *advice(const struct target *t)
{
	return t->root ? "is --sysroot the root it ran in?"
		       : "--sysroot DIR names the root that it is in";
}

int image_check_build_id(struct target *t, const struct image *img, struct failure *why)
{
	uint8_t page[PAGE];
	char id[41];

	if (t->live || !img->build_id[0] || target_read_own(t, img->start, page, sizeof(page)))
		return 0;
	build_id_in(page, id);
	if (!id[0] || !strcmp(id, img->build_id))
		return 0;
	return fail(why, -ESTALE,
		    "%s is not the file the core was made of: its build-id is %s, not %s; %s",
		    img->open_path, img->build_id, id, advice(t));
}

int image_explain_missing(const struct target *t, const char *path, struct failure *why)
{
	return fail(why, -ENOENT, "cannot open %s, which the core was made of%s%s; %s", path,
		    t->root ? ", in " : "", t->root ? t->root : "", advice(t));
}
