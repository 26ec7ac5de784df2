// SPDX-License-Identifier: MIT
/*
 * What an image's debug information is, where it is not in the file itself: names of static
 * functions from .gnu_debugdata (a symbol table packed with xz) or from a separate debug file,
 * found by its build-id (/usr/lib/debug/.build-id/...) or by .gnu_debuglink, in the target's own
 * root. A debuginfod is asked only where the user has set DEBUGINFOD_URLS (libdebuginfod sees to
 * that).
 *
 * A debug file has to have the image's build-id, or, without one, the checksum of .gnu_debuglink.
 * One that has not is refused, and what is said of it kept for whoever shows names.
 *
 * Nothing is looked for before a name is asked for that the file itself does not have.
 */
#include <elfutils/libdwelf.h>
#include <elfutils/libdwfl.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tracer/image.h"

struct image_debug {
	bool looked;
	char *path;    /* where debug files are looked for, as libdwfl wants it */
	char *file;    /* the image's path, in the root that they are looked for in */
	char *refused; /* what was wrong with a debug file; NULL: nothing */
	Dwfl_Callbacks callbacks;
	Dwfl *dwfl;
	Dwfl_Module *module;
	GArray *symbols; /* struct symbol, functions by address; names are libdwfl's */
};

static int by_address(const void *a, const void *b)
{
	const struct symbol *x = a, *y = b;

	return x->link < y->link ? -1 : x->link > y->link;
}

static void build_id_of(int fd, char *ret, size_t size)
{
	Elf *elf = elf_begin(fd, ELF_C_READ, NULL);
	const void *id;
	ssize_t len = elf ? dwelf_elf_gnu_build_id(elf, &id) : -1;

	ret[0] = 0;
	for (ssize_t i = 0; i < len && 2 * (size_t)i + 3 <= size; i++)
		snprintf(ret + 2 * i, 3, "%02x", ((const uint8_t *)id)[i]);
	elf_end(elf);
}

/* Is the file at @path there, and another build's? Then say so. */
static void note_refused(const struct image *img, const char *path)
{
	struct image_debug *d = img->debug;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char id[41];

	if (fd < 0 || d->refused) {
		if (fd >= 0)
			close(fd);
		return;
	}
	build_id_of(fd, id, sizeof(id));
	close(fd);
	if (!img->build_id[0])
		d->refused = g_strdup_printf("%s is not the debug file of %s: its checksum is not "
					     "that of .gnu_debuglink",
					     path, img->name);
	else
		d->refused = g_strdup_printf(
			"%s is not the debug file of %s: its build-id is %s, that of %s is %s",
			path, img->name, id[0] ? id : "missing", img->name, img->build_id);
}

/* libdwfl has found none that fits: was there one that does not? */
static void look_for_refused(const struct image *img, const char *debuglink)
{
	const struct image_debug *d = img->debug;
	char *dir = g_path_get_dirname(d->file), *path;

	for (int i = 0; debuglink && i < 3; i++) {
		path = i == 0	? g_build_filename(dir, debuglink, NULL)
		       : i == 1 ? g_build_filename(dir, ".debug", debuglink, NULL)
				: g_build_filename("/usr/lib/debug", dir, debuglink, NULL);
		note_refused(img, path);
		g_free(path);
	}
	if (strlen(img->build_id) > 2) {
		path = g_strdup_printf("%s/.build-id/%.2s/%s.debug", strrchr(d->path, ':') + 1,
				       img->build_id, img->build_id + 2);
		note_refused(img, path);
		g_free(path);
	}
	g_free(dir);
}

static int find_debuginfo(Dwfl_Module *module, void **userdata, const char *name, Dwarf_Addr base,
			  const char *file, const char *debuglink, GElf_Word crc, char **ret_file)
{
	const struct image *img = *userdata;
	int fd = dwfl_standard_find_debuginfo(module, userdata, name, base, file, debuglink, crc,
					      ret_file);
	char id[41];

	if (fd >= 0 && img->build_id[0]) {
		build_id_of(fd, id, sizeof(id));
		if (strcmp(id, img->build_id)) {
			note_refused(img, *ret_file);
			close(fd);
			g_clear_pointer(ret_file, free);
			fd = -1;
		}
	}
	if (fd < 0)
		look_for_refused(img, debuglink);
	return fd;
}

/* Where to look: in the target's root, which may be a container's. */
static void find_root(const struct image *img, struct image_debug *d)
{
	char proc[64] = "";
	const char *root = img->root ? img->root : proc;
	struct stat theirs, ours;
	int pid;

	if (!img->root && sscanf(img->open_path, "/proc/%d/", &pid) == 1)
		snprintf(proc, sizeof(proc), "/proc/%d/root", pid);
	if (!root[0] || stat(root, &theirs) || stat("/", &ours) ||
	    (theirs.st_dev == ours.st_dev && theirs.st_ino == ours.st_ino))
		root = "";
	d->file = g_strconcat(root, img->path, NULL);
	d->path = g_strdup_printf(":.debug:%s/usr/lib/debug", root);
}

static void take_symbols(const struct image *img, struct image_debug *d)
{
	int n = dwfl_module_getsymtab(d->module);
	Dwarf_Addr bias;

	if (n < 0 || !dwfl_module_getelf(d->module, &bias))
		return;
	for (int i = 1; i < n; i++) {
		GElf_Sym sym;
		GElf_Addr addr;
		GElf_Word section;
		const char *name =
			dwfl_module_getsym_info(d->module, i, &sym, &addr, &section, NULL, NULL);
		struct symbol symbol = { addr - bias, sym.st_size, name, true };

		if (name && name[0] && section != SHN_UNDEF &&
		    GELF_ST_TYPE(sym.st_info) == STT_FUNC && image_function_at(img, symbol.link))
			g_array_append_val(d->symbols, symbol);
	}
	g_array_sort(d->symbols, by_address);
}

/* Once, when it is first needed. */
static struct image_debug *look(const struct image *img)
{
	struct image_debug *d = img->debug;
	void **userdata;
	int fd;

	if (d->looked)
		return d;
	d->looked = true;
	find_root(img, d);
	d->callbacks.find_debuginfo = find_debuginfo;
	d->callbacks.section_address = dwfl_offline_section_address;
	d->callbacks.debuginfo_path = &d->path;
	d->dwfl = dwfl_begin(&d->callbacks);
	fd = open(img->open_path, O_RDONLY | O_CLOEXEC);
	if (!d->dwfl || fd < 0)
		goto cleanup;
	d->module = dwfl_report_offline(d->dwfl, img->name, d->file, fd);
	if (!d->module)
		goto cleanup;
	fd = -1; /* libdwfl's now */
	dwfl_report_end(d->dwfl, NULL, NULL);
	dwfl_module_info(d->module, &userdata, NULL, NULL, NULL, NULL, NULL, NULL);
	*userdata = (void *)img;
	take_symbols(img, d);

cleanup:
	if (fd >= 0)
		close(fd);
	return d;
}

struct image_debug *image_debug_new(void)
{
	struct image_debug *d = g_new0(struct image_debug, 1);

	d->symbols = g_array_new(FALSE, FALSE, sizeof(struct symbol));
	return d;
}

void image_debug_free(struct image_debug *d)
{
	if (d->dwfl)
		dwfl_end(d->dwfl);
	g_array_free(d->symbols, TRUE);
	g_free(d->path);
	g_free(d->file);
	g_free(d->refused);
	g_free(d);
}

const struct symbol *image_debug_symbol_at(const struct image *img, uint64_t link)
{
	const struct image_debug *d = look(img);
	size_t low = 0, high = d->symbols->len;
	const struct symbol *s;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (g_array_index(d->symbols, struct symbol, mid).link <= link)
			low = mid + 1;
		else
			high = mid;
	}
	if (!low)
		return NULL;
	s = &g_array_index(d->symbols, struct symbol, low - 1);
	return link < s->link + MAX(s->size, 1) ? s : NULL;
}

Dwarf *image_debug_dwarf(const struct image *img, int64_t *ret_bias)
{
	const struct image_debug *d = look(img);
	Dwarf_Addr dwarf_bias, bias;
	Dwarf *dwarf = d->module ? dwfl_module_getdwarf(d->module, &dwarf_bias) : NULL;

	if (!dwarf || !dwfl_module_getelf(d->module, &bias))
		return NULL;
	*ret_bias = (int64_t)(dwarf_bias - bias);
	return dwarf;
}

const char *image_debug_refused(const struct image *img)
{
	return img->debug->refused;
}
