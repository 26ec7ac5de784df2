// SPDX-License-Identifier: MIT
/* See usdt.h. */
#include <stdio.h>
#include <string.h>

#include "tracer/usdt.h"

#define NT_STAPSDT 3

/* Three addresses, then three strings: provider, name, arguments. */
struct note {
	uint64_t pc, base, semaphore;
};

/* "8@%rdi -4@%esi": the argument number i has to be in register number i of a call. */
static bool arguments_in_order(const char *args)
{
	static const char *const regs[][4] = {
		{ "%rdi", "%edi", "%di", "%dil" }, { "%rsi", "%esi", "%si", "%sil" },
		{ "%rdx", "%edx", "%dx", "%dl" },  { "%rcx", "%ecx", "%cx", "%cl" },
		{ "%r8", "%r8d", "%r8w", "%r8b" }, { "%r9", "%r9d", "%r9w", "%r9b" },
	};

	for (size_t i = 0; *args; i++) {
		size_t len = strcspn(args, " ");
		const char *at = memchr(args, '@', len);
		bool ok = false;

		if (i == G_N_ELEMENTS(regs) || !at)
			return false;
		for (int k = 0; k < 4; k++)
			ok |= strlen(regs[i][k]) == (size_t)(args + len - at - 1) &&
			      !strncmp(at + 1, regs[i][k], args + len - at - 1);
		if (!ok)
			return false;
		args += len + (args[len] == ' ');
	}
	return true;
}

static bool make_site(const struct image *img, const struct note *note, const char *name,
		      struct site *ret)
{
	const struct function *fn = image_function_at(img, note->pc);
	const uint8_t *code;
	size_t len;

	code = image_bytes(img, note->pc, &len);
	if (!fn || !code || *code != 0x90)
		return false;
	*ret = (struct site){ .img = img, .link = note->pc, .emulated = true };
	snprintf(ret->name, sizeof(ret->name), "%s", name);
	if (note->semaphore && image_file_offset(img, note->semaphore, &ret->ref_ctr_offset))
		return false;
	return !image_file_offset(img, note->pc, &ret->offset);
}

/* The text at *@p, which has to end before @end; *@p goes behind it. */
static const char *take_text(const char **p, const char *end)
{
	const char *text = *p, *nul = text < end ? memchr(text, 0, end - text) : NULL;

	if (!nul)
		return NULL;
	*p = nul + 1;
	return text;
}

static void take_note(const struct image *img, const char *provider, const char *desc, size_t size,
		      GArray *probes, int *refused)
{
	const char *p = desc + sizeof(struct note), *end = desc + size, *args;
	struct usdt_probe probe;
	struct note note;

	if (size < sizeof(note))
		return;
	memcpy(&note, desc, sizeof(note));
	probe.provider = take_text(&p, end);
	probe.name = probe.provider ? take_text(&p, end) : NULL;
	args = probe.name ? take_text(&p, end) : NULL;
	if (!args || strcmp(probe.provider, provider))
		return;
	if (arguments_in_order(args) && make_site(img, &note, probe.name, &probe.site))
		g_array_append_val(probes, probe);
	else
		++*refused;
}

GArray *usdt_probes(const struct image *img, const char *provider, int *ret_refused)
{
	GArray *probes = g_array_new(FALSE, TRUE, sizeof(struct usdt_probe));
	Elf_Scn *scn = NULL;
	GElf_Shdr sh;

	*ret_refused = 0;
	while ((scn = elf_nextscn(img->elf, scn))) {
		size_t offset = 0, name_at, desc_at;
		Elf_Data *data;
		GElf_Nhdr note;

		if (!gelf_getshdr(scn, &sh) || sh.sh_type != SHT_NOTE)
			continue;
		data = elf_getdata(scn, NULL);
		while (data && offset < data->d_size &&
		       (offset = gelf_getnote(data, offset, &note, &name_at, &desc_at)) > 0)
			if (note.n_type == NT_STAPSDT && note.n_namesz == sizeof("stapsdt") &&
			    !memcmp((const char *)data->d_buf + name_at, "stapsdt", note.n_namesz))
				take_note(img, provider, (const char *)data->d_buf + desc_at,
					  note.n_descsz, probes, ret_refused);
	}
	return probes;
}
