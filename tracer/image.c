// SPDX-License-Identifier: MIT
/* Opening an image: where it lies, and what lies in it. See image.h. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "tracer/image.h"
#include "tracer/text.h"

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
	image_load_sections(img);
	image_load_functions(img);
	return 0;
}

int image_open(struct target *t, const struct map *map, struct image **ret, struct failure *why)
{
	struct image *img = image_new(map->path);
	int err = target_open_file(t, map, &img->open_path);

	img->root = g_strdup(t->root);
	if (err && t->live)
		fail(why, err, "cannot open %s, which the target has mapped", map->path);
	else if (err)
		image_explain_missing(t, map->path, why);
	else
		err = load(img, map, why);
	if (!err)
		err = image_check_build_id(t, img, why);
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
	g_free(img->root);
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
