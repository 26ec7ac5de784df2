// SPDX-License-Identifier: MIT
/* See images.h. */
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "tracer/code.h"
#include "tracer/images.h"
#include "tracer/text.h"

#define MAX_CALLS 3 /* enough to recognise a callback by */

struct images {
	struct target *t;
	GPtrArray *list;    /* of struct image *, the program first */
	GHashTable *opened; /* path -> struct image *, NULL for what could not be opened */
	GHashTable *asked;  /* paths of files that import none of what was asked for */
};

int images_open(struct target *t, struct images **ret, struct failure *why)
{
	struct image *program;
	struct images *set;
	int err = image_open_program(t, &program, why);

	if (err)
		return err;
	set = g_new0(struct images, 1);
	set->t = t;
	set->list = g_ptr_array_new();
	set->opened = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	set->asked = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	g_ptr_array_add(set->list, program);
	g_hash_table_insert(set->opened, g_strdup(program->path), program);
	*ret = set;
	return 0;
}

void images_close(struct images *set)
{
	if (!set)
		return;
	for (size_t i = 0; i < set->list->len; i++)
		image_close(set->list->pdata[i]);
	g_ptr_array_free(set->list, TRUE);
	g_hash_table_destroy(set->opened);
	g_hash_table_destroy(set->asked);
	g_free(set);
}

struct image *images_program(struct images *set)
{
	return set->list->pdata[0];
}

static struct image *open_map(struct images *set, const struct map *map)
{
	struct image *img = NULL;

	if (map->path[0] != '/')
		return NULL;
	if (g_hash_table_lookup_extended(set->opened, map->path, NULL, (void **)&img))
		return img;
	if (!image_open(set->t, map, &img, NULL))
		g_ptr_array_add(set->list, img);
	g_hash_table_insert(set->opened, g_strdup(map->path), img);
	return img;
}

struct image *images_at(struct images *set, uint64_t addr)
{
	const struct map *map;

	for (size_t i = 0; i < set->list->len; i++)
		if (image_holds(set->list->pdata[i], addr))
			return set->list->pdata[i];
	map = target_map_at(set->t, addr);
	return map ? open_map(set, map) : NULL;
}

/* "libc.so" names libc.so.6, and the file that it was a link to before glibc 2.34: libc-2.31.so. */
static bool is_library(const char *file, const char *prefix)
{
	size_t stem = strcspn(prefix, ".");

	return g_str_has_prefix(file, prefix) ||
	       (!strncmp(file, prefix, stem) && file[stem] == '-' &&
		g_ascii_isdigit(file[stem + 1]) && g_str_has_suffix(file, ".so") &&
		!strcmp(prefix + stem, ".so"));
}

struct image *images_library(struct images *set, const char *prefix)
{
	for (size_t i = 0; i < set->t->maps->len; i++) {
		const struct map *map = &g_array_index(set->t->maps, struct map, i);
		const char *slash = strrchr(map->path, '/');

		if (slash && is_library(slash + 1, prefix))
			return open_map(set, map);
	}
	return NULL;
}

struct image *images_nth(const struct images *set, size_t i)
{
	return i < set->list->len ? set->list->pdata[i] : NULL;
}

static bool imports(Elf *elf, const char *const *names)
{
	Elf_Scn *scn = NULL;
	GElf_Shdr sh;
	GElf_Sym sym;

	while ((scn = elf_nextscn(elf, scn))) {
		Elf_Data *data = gelf_getshdr(scn, &sh) && sh.sh_type == SHT_DYNSYM
					 ? elf_getdata(scn, NULL)
					 : NULL;

		for (int i = 0; data && gelf_getsym(data, i, &sym); i++) {
			const char *name = elf_strptr(elf, sh.sh_link, sym.st_name);

			if (sym.st_shndx == SHN_UNDEF && name && g_strv_contains(names, name))
				return true;
		}
	}
	return false;
}

/* Most libraries import none: they are not taken apart. */
static bool file_imports(struct images *set, const struct map *map, const char *const *names)
{
	char *path = NULL;
	int fd = target_open_file(set->t, map, &path) ? -1 : target_open_regular(path);
	Elf *elf = fd < 0 ? NULL : elf_begin(fd, ELF_C_READ, NULL);
	bool found = elf && imports(elf, names);

	elf_end(elf);
	if (fd >= 0)
		close(fd);
	g_free(path);
	return found;
}

void images_open_importers(struct images *set, const char *const *names)
{
	for (size_t i = 0; i < set->t->maps->len; i++) {
		const struct map *map = &g_array_index(set->t->maps, struct map, i);

		if (!map->exec || map->path[0] != '/' ||
		    g_hash_table_contains(set->opened, map->path) ||
		    g_hash_table_contains(set->asked, map->path))
			continue;
		if (file_imports(set, map, names))
			open_map(set, map);
		else
			g_hash_table_add(set->asked, g_strdup(map->path));
	}
}

const char *images_refused(const struct images *set)
{
	const char *refused = NULL;

	for (size_t i = 0; set && !refused && i < set->list->len; i++)
		refused = image_debug_refused(set->list->pdata[i]);
	return refused;
}

bool images_is_function(struct images *set, uint64_t addr)
{
	struct image *img = images_at(set, addr);

	return img && image_is_function(img, addr);
}

char *images_name(struct images *set, uint64_t addr)
{
	struct image *img = images_at(set, addr);
	const struct symbol *symbol;
	char *name;

	if (!img)
		return g_strdup_printf("0x%" PRIx64, addr);
	symbol = image_symbol_at(img, addr - img->bias);
	if (!symbol)
		return g_strdup_printf("%s+0x%" PRIx64, img->name, addr - img->bias);
	if (symbol->link == addr - img->bias)
		name = g_strdup(symbol->name);
	else
		name = g_strdup_printf("%s+0x%" PRIx64, symbol->name,
				       addr - img->bias - symbol->link);
	text_make_safe(name);
	return name;
}

static bool collect_call(const struct code_step *step, void *arg)
{
	GPtrArray *names = arg;

	if (!step->calls || g_str_has_prefix(step->calls, "__stack_chk"))
		return false;
	for (size_t i = 0; i < names->len; i++)
		if (!strcmp(names->pdata[i], step->calls))
			return false;
	g_ptr_array_add(names, (void *)step->calls);
	return names->len >= MAX_CALLS;
}

char *images_calls(struct images *set, uint64_t addr)
{
	struct image *img = images_at(set, addr);
	GPtrArray *names = g_ptr_array_new();
	char *text = NULL;

	if (img && !code_walk(img, addr - img->bias, collect_call, names) && names->len) {
		g_ptr_array_add(names, NULL);
		text = g_strjoinv(", ", (char **)names->pdata);
		text_make_safe(text);
	}
	g_ptr_array_free(names, TRUE);
	return text;
}
