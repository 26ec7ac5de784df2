// SPDX-License-Identifier: MIT
/* Opening an image, its symbols and imports. See image.h. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tracer/image.h"
#include "tracer/text.h"

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

static void load_build_id(struct image *img, Elf_Scn *scn)
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

static void load_sections(struct image *img)
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
				load_build_id(img, scn);
			for (size_t i = 0; i < G_N_ELEMENTS(plt); i++)
				if (!strcmp(name, plt_names[i])) {
					plt[i].addr = sh.sh_addr;
					plt[i].size = sh.sh_size;
				}
		}
	}
}

/* The bias: where the segment of @map was linked to lie, against where it lies. */
static int find_bias(struct image *img, const struct map *map)
{
	size_t n = 0;

	if (elf_getphdrnum(img->elf, &n))
		return -ENOEXEC;
	for (size_t i = 0; i < n; i++) {
		uint64_t page = sysconf(_SC_PAGESIZE);
		GElf_Phdr ph;

		if (!gelf_getphdr(img->elf, i, &ph) || ph.p_type != PT_LOAD)
			continue;
		if ((ph.p_offset & -page) <= map->offset &&
		    map->offset < ph.p_offset + ph.p_filesz) {
			img->bias = map->start - map->offset - (ph.p_vaddr - ph.p_offset);
			return 0;
		}
	}
	return -ENOEXEC;
}

/* From the first to the last byte it may occupy, .bss included. */
static void find_extent(struct image *img)
{
	size_t n = 0;

	img->start = UINT64_MAX;
	if (elf_getphdrnum(img->elf, &n))
		return;
	for (size_t i = 0; i < n; i++) {
		GElf_Phdr ph;

		if (!gelf_getphdr(img->elf, i, &ph) || ph.p_type != PT_LOAD)
			continue;
		img->start = MIN(img->start, ph.p_vaddr + img->bias);
		img->end = MAX(img->end, ph.p_vaddr + ph.p_memsz + img->bias);
	}
}

static struct image *image_new(const char *path)
{
	struct image *img = g_new0(struct image, 1);
	char *slash;

	img->fd = -1;
	img->path = g_strdup(path);
	img->symbols = g_array_new(FALSE, FALSE, sizeof(struct symbol));
	img->functions = g_array_new(FALSE, FALSE, sizeof(struct function));
	img->by_name = g_hash_table_new(g_str_hash, g_str_equal);
	img->plt = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
	img->debug = image_debug_new();
	slash = strrchr(img->path, '/');
	img->name = g_strdup(slash ? slash + 1 : img->path);
	if (g_str_has_suffix(img->name, " (deleted)"))
		img->name[strlen(img->name) - strlen(" (deleted)")] = 0;
	text_make_safe(img->name);
	return img;
}

/*
 * Open open_path and take the file apart; @map tells where it lies, NULL: nowhere yet. The file is
 * read, not mapped: somebody else's probe on all users of a file puts its breakpoints into every
 * mapping of it, ours too.
 */
static int load(struct image *img, const struct map *map, struct failure *why)
{
	img->fd = target_open_regular(img->open_path);
	elf_version(EV_CURRENT);
	img->elf = img->fd < 0 ? NULL : elf_begin(img->fd, ELF_C_READ, NULL);
	if (!img->elf || elf_kind(img->elf) != ELF_K_ELF || gelf_getclass(img->elf) != ELFCLASS64 ||
	    (map && find_bias(img, map)))
		return fail(why, -ENOEXEC, "%s is not a 64-bit ELF file", img->path);
	find_extent(img);
	load_sections(img);
	image_load_functions(img);
	g_array_sort(img->symbols, by_address);
	for (size_t i = 0; i < img->symbols->len; i++) {
		struct symbol *s = &g_array_index(img->symbols, struct symbol, i);

		if (!g_hash_table_contains(img->by_name, s->name))
			g_hash_table_insert(img->by_name, (void *)s->name, s);
	}
	return 0;
}

/*
 * A core holds the first page of each file that was mapped: does its build-id stand there? A file
 * that was rebuilt since would give wrong names and wrong functions.
 */
static int check_build_id(struct target *t, const struct image *img, struct failure *why)
{
	uint8_t page[4096], id[20];
	size_t len = strlen(img->build_id) / 2;

	if (t->live || !len || target_read_own(t, img->start, page, sizeof(page)))
		return 0;
	for (size_t i = 0; i < len; i++)
		id[i] = g_ascii_xdigit_value(img->build_id[2 * i]) * 16 +
			g_ascii_xdigit_value(img->build_id[2 * i + 1]);
	if (memmem(page, sizeof(page), id, len))
		return 0;
	return fail(why, -ESTALE, "%s is not the file the core was made of: its build-id is %s",
		    img->path, img->build_id);
}

int image_open(struct target *t, const struct map *map, struct image **ret, struct failure *why)
{
	struct image *img = image_new(map->path);
	int err = target_open_file(t, map, &img->open_path);

	if (err)
		fail(why, err, "cannot open %s, which the target has mapped", map->path);
	else
		err = load(img, map, why);
	if (!err)
		err = check_build_id(t, img, why);
	if (err)
		image_close(img);
	else
		*ret = img;
	return err;
}

/* @path is how it is called, @open_path how it is opened. */
static int open_unmapped(const char *path, const char *open_path, struct image **ret,
			 struct failure *why)
{
	struct image *img = image_new(path);
	int err;

	img->open_path = g_strdup(open_path);
	err = load(img, NULL, why);
	if (err)
		image_close(img);
	else
		*ret = img;
	return err;
}

int image_open_file(const char *path, struct image **ret, struct failure *why)
{
	return open_unmapped(path, path, ret, why);
}

int image_open_exe(pid_t pid, struct image **ret, struct failure *why)
{
	char *link = g_strdup_printf("/proc/%d/exe", pid), *path = g_file_read_link(link, NULL);
	int err = path ? open_unmapped(path, link, ret, why)
		       : fail(why, -ESRCH, "process %d has exited", pid);

	g_free(path);
	g_free(link);
	return err;
}

void image_set_bias(struct image *img, uint64_t bias)
{
	img->start += bias - img->bias;
	img->end += bias - img->bias;
	img->bias = bias;
}

void image_close(struct image *img)
{
	if (!img)
		return;
	g_hash_table_destroy(img->by_name);
	g_hash_table_destroy(img->plt);
	g_array_free(img->symbols, TRUE);
	g_array_free(img->functions, TRUE);
	image_debug_free(img->debug);
	elf_end(img->elf);
	if (img->fd >= 0)
		close(img->fd);
	g_free(img->path);
	g_free(img->open_path);
	g_free(img->name);
	g_free(img);
}

int image_open_program(struct target *t, struct image **ret, struct failure *why)
{
	const struct map *best = NULL;

	/* A core names no program, but the kernel maps it first of all. */
	for (size_t i = 0; i < t->maps->len && !best; i++) {
		const struct map *map = &g_array_index(t->maps, struct map, i);

		if (map->path[0] == '/' && (!t->exe || !strcmp(map->path, t->exe)))
			best = map;
	}
	if (!best)
		return fail(why, -ENOEXEC, "the program of process %d is not among its maps",
			    t->pid);
	return image_open(t, best, ret, why);
}

int image_open_library(struct target *t, const char *prefix, struct image **ret,
		       struct failure *why)
{
	for (size_t i = 0; i < t->maps->len; i++) {
		const struct map *map = &g_array_index(t->maps, struct map, i);
		const char *slash = strrchr(map->path, '/');

		if (slash && g_str_has_prefix(slash + 1, prefix))
			return image_open(t, map, ret, why);
	}
	return fail(why, -ENOENT, "process %d has no %s", t->pid, prefix);
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

const struct function *image_function_at(const struct image *img, uint64_t link)
{
	size_t low = 0, high = img->functions->len;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const struct function *fn = &g_array_index(img->functions, struct function, mid);

		if (link < fn->start)
			high = mid;
		else if (link >= fn->end)
			low = mid + 1;
		else
			return fn;
	}
	return NULL;
}

bool image_is_function(const struct image *img, uint64_t addr)
{
	const struct function *fn = image_function_at(img, addr - img->bias);

	return fn && fn->start == addr - img->bias;
}

bool image_holds(const struct image *img, uint64_t addr)
{
	return addr >= img->start && addr < img->end;
}

int image_file_offset(const struct image *img, uint64_t link, uint64_t *ret)
{
	size_t n = 0;

	if (elf_getphdrnum(img->elf, &n))
		return -ENOENT;
	for (size_t i = 0; i < n; i++) {
		GElf_Phdr ph;

		if (gelf_getphdr(img->elf, i, &ph) && ph.p_type == PT_LOAD && link >= ph.p_vaddr &&
		    link - ph.p_vaddr < ph.p_filesz) {
			*ret = link - ph.p_vaddr + ph.p_offset;
			return 0;
		}
	}
	return -ENOENT;
}

const uint8_t *image_bytes(const struct image *img, uint64_t link, size_t *ret_len)
{
	size_t size = 0;
	const char *file = elf_rawfile(img->elf, &size);
	uint64_t offset;

	if (!file || image_file_offset(img, link, &offset) || offset >= size)
		return NULL;
	*ret_len = size - offset;
	return (const uint8_t *)file + offset;
}
