// SPDX-License-Identifier: MIT
/* What an image's sections tell: its symbols, and the names of what it imports. See image.h. */
#include <string.h>

#include "tracer/image.h"

static int by_address(const void *a, const void *b)
{
	const struct symbol *x = a, *y = b;

	return x->link < y->link ? -1 : x->link > y->link;
}

static void load_symbol_table(struct image *img, Elf_Scn *scn, const GElf_Shdr *sh)
{
	Elf_Data *data = elf_getdata(scn, NULL);
	size_t n = data && sh->sh_entsize ? data->d_size / sh->sh_entsize : 0;

	for (size_t i = 0; i < n; i++) {
		struct symbol symbol;
		GElf_Sym sym;
		int type;

		if (!gelf_getsym(data, i, &sym) || sym.st_shndx == SHN_UNDEF)
			continue;
		type = GELF_ST_TYPE(sym.st_info);
		if (type != STT_FUNC && type != STT_OBJECT && type != STT_GNU_IFUNC)
			continue;
		symbol.link = sym.st_value;
		symbol.size = sym.st_size;
		symbol.name = elf_strptr(img->elf, sh->sh_link, sym.st_name);
		symbol.function = type != STT_OBJECT;
		if (symbol.name && symbol.name[0])
			g_array_append_val(img->symbols, symbol);
	}
}

/*
 * A PLT entry jumps through a GOT slot that a relocation fills: the jump tells the slot, the slot's
 * relocation the name. Entries are of 16 bytes, in .plt.got of 8.
 */
static void load_plt(struct image *img, Elf_Scn *rela, const GElf_Shdr *sh, uint64_t plt,
		     uint64_t plt_size)
{
	Elf_Data *data = elf_getdata(rela, NULL);
	size_t n = data && sh->sh_entsize ? data->d_size / sh->sh_entsize : 0;
	Elf_Scn *symtab = elf_getscn(img->elf, sh->sh_link);
	GHashTable *slots = g_hash_table_new(g_int64_hash, g_int64_equal);
	GElf_Shdr sym_sh;
	Elf_Data *syms = symtab && gelf_getshdr(symtab, &sym_sh) ? elf_getdata(symtab, NULL) : NULL;
	uint64_t *keys = g_new(uint64_t, n ? n : 1);

	for (size_t i = 0; syms && i < n; i++) {
		GElf_Rela r;
		GElf_Sym sym;
		const char *name;

		if (!gelf_getrela(data, i, &r) || !gelf_getsym(syms, GELF_R_SYM(r.r_info), &sym))
			continue;
		name = elf_strptr(img->elf, sym_sh.sh_link, sym.st_name);
		keys[i] = r.r_offset;
		if (name)
			g_hash_table_insert(slots, &keys[i], (void *)name);
	}
	for (uint64_t at = plt; at + 8 <= plt + plt_size; at += 8) {
		size_t len;
		const uint8_t *code = image_bytes(img, at, &len);
		size_t skip = 0;
		int32_t rel;
		uint64_t slot;
		const char *name;

		if (!code || len < 16)
			break;
		if (!memcmp(code, "\xf3\x0f\x1e\xfa", 4)) /* endbr64 */
			skip = 4;
		if (code[skip] == 0xf2) /* bnd */
			skip++;
		if (code[skip] != 0xff || code[skip + 1] != 0x25) /* jmp *rel(%rip) */
			continue;
		memcpy(&rel, code + skip + 2, sizeof(rel));
		slot = at + skip + 6 + (int64_t)rel;
		name = g_hash_table_lookup(slots, &slot);
		if (name) {
			uint64_t *key = g_new(uint64_t, 1);

			*key = at;
			g_hash_table_insert(img->plt, key, (void *)name);
		}
	}
	g_hash_table_destroy(slots);
	g_free(keys);
}

void image_load_sections(struct image *img)
{
	static const char *const plt_names[] = { ".plt", ".plt.got", ".plt.sec" };
	struct {
		uint64_t addr, size;
	} plt[G_N_ELEMENTS(plt_names)] = { 0 };
	Elf_Scn *scn = NULL;
	size_t strings;

	if (elf_getshdrstrndx(img->elf, &strings))
		return;
	for (int pass = 0; pass < 2; pass++) {
		while ((scn = elf_nextscn(img->elf, scn))) {
			const char *name;
			GElf_Shdr sh;

			if (!gelf_getshdr(scn, &sh))
				continue;
			name = elf_strptr(img->elf, strings, sh.sh_name);
			if (pass == 1 && sh.sh_type == SHT_RELA && sh.sh_flags & SHF_ALLOC)
				for (size_t i = 0; i < G_N_ELEMENTS(plt); i++)
					if (plt[i].size)
						load_plt(img, scn, &sh, plt[i].addr, plt[i].size);
			if (pass == 1 || !name)
				continue;
			if (sh.sh_type == SHT_SYMTAB || sh.sh_type == SHT_DYNSYM)
				load_symbol_table(img, scn, &sh);
			else if (sh.sh_type == SHT_NOTE)
				image_load_build_id(img, scn);
			for (size_t i = 0; i < G_N_ELEMENTS(plt); i++)
				if (!strcmp(name, plt_names[i])) {
					plt[i].addr = sh.sh_addr;
					plt[i].size = sh.sh_size;
				}
		}
	}
	g_array_sort(img->symbols, by_address);
	for (size_t i = 0; i < img->symbols->len; i++) {
		struct symbol *s = &g_array_index(img->symbols, struct symbol, i);

		if (!g_hash_table_contains(img->by_name, s->name))
			g_hash_table_insert(img->by_name, (void *)s->name, s);
	}
}

const struct symbol *image_symbol(const struct image *img, const char *name)
{
	return g_hash_table_lookup(img->by_name, name);
}

const struct symbol *image_symbol_at(const struct image *img, uint64_t link)
{
	size_t low = 0, high = img->symbols->len;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (g_array_index(img->symbols, struct symbol, mid).link <= link)
			low = mid + 1;
		else
			high = mid;
	}
	/* Several may start at one address, or an outer one may end behind an inner: look back a
	 * bit. */
	for (size_t back = 1; back <= 8 && back <= low; back++) {
		const struct symbol *s = &g_array_index(img->symbols, struct symbol, low - back);

		if (link < s->link + MAX(s->size, 1))
			return s;
	}
	return image_debug_symbol_at(img, link);
}
