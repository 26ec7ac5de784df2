/* SPDX-License-Identifier: MIT */
/* The program's own symbols; the header says how they are used. */
#include "osdep.h"
#include <dlfcn.h>
#include <link.h>
#include "self-symbols.h"

typedef struct {
	uint64_t start, size; /* as linked */
	const char *name;     /* in the file */
} Function;

struct SelfSymbols {
	GMappedFile *file;
	GArray *functions; /* by start */
	uint64_t bias;	   /* loaded at linked + bias */
	uint64_t end;	   /* of the program's last segment, as linked */
};

/* Bytes of the file, or NULL if it does not have so many there. */
static const void *file_bytes(GMappedFile *file, uint64_t at, uint64_t size)
{
	uint64_t length = g_mapped_file_get_length(file);

	return at <= length && size <= length - at ? g_mapped_file_get_contents(file) + at : NULL;
}

static const ElfW(Shdr) * section(GMappedFile *file, unsigned number)
{
	const ElfW(Ehdr) *elf = file_bytes(file, 0, sizeof(*elf));

	if (!elf || memcmp(elf->e_ident, ELFMAG, SELFMAG) != 0 || number >= elf->e_shnum)
		return NULL;
	return file_bytes(file, elf->e_shoff + number * sizeof(ElfW(Shdr)), sizeof(ElfW(Shdr)));
}

static gint by_start(gconstpointer a, gconstpointer b)
{
	const Function *f = a, *g = b;

	return f->start < g->start ? -1 : f->start > g->start;
}

static void read_table(SelfSymbols *symbols, const ElfW(Shdr) * table)
{
	const ElfW(Shdr) *texts = section(symbols->file, table->sh_link);
	const ElfW(Sym) *all = file_bytes(symbols->file, table->sh_offset, table->sh_size);
	const char *text =
		texts ? file_bytes(symbols->file, texts->sh_offset, texts->sh_size) : NULL;

	/* Ended by a NUL, so every name that begins in it ends in it. */
	if (!all || !text || !texts->sh_size || text[texts->sh_size - 1])
		return;
	for (size_t i = 0; i < table->sh_size / sizeof(*all); i++) {
		Function function = { all[i].st_value, all[i].st_size, text + all[i].st_name };

		if (ELF64_ST_TYPE(all[i].st_info) == STT_FUNC && all[i].st_shndx != SHN_UNDEF &&
		    all[i].st_name < texts->sh_size)
			g_array_append_val(symbols->functions, function);
	}
	g_array_sort(symbols->functions, by_start);
}

/* The program itself comes first. */
static int note_program(struct dl_phdr_info *info, size_t size G_GNUC_UNUSED, void *opaque)
{
	SelfSymbols *symbols = opaque;

	symbols->bias = info->dlpi_addr;
	for (unsigned i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *segment = &info->dlpi_phdr[i];

		if (segment->p_type == PT_LOAD)
			symbols->end = MAX(symbols->end, segment->p_vaddr + segment->p_memsz);
	}
	return 1;
}

SelfSymbols *self_symbols_new(void)
{
	SelfSymbols *symbols = g_new0(SelfSymbols, 1);
	const ElfW(Shdr) * header;

	symbols->functions = g_array_new(FALSE, FALSE, sizeof(Function));
	dl_iterate_phdr(note_program, symbols);
	symbols->file = g_mapped_file_new("/proc/self/exe", FALSE, NULL);
	for (unsigned i = 0; symbols->file && (header = section(symbols->file, i)); i++) {
		if (header->sh_type == SHT_SYMTAB)
			read_table(symbols, header);
	}
	return symbols;
}

void self_symbols_free(SelfSymbols *symbols)
{
	if (symbols->file)
		g_mapped_file_unref(symbols->file);
	g_array_free(symbols->functions, TRUE);
	g_free(symbols);
}

/* The last one that starts at or before @linked and reaches so far. */
static const Function *function_at(const SelfSymbols *symbols, uint64_t linked)
{
	size_t low = 0, high = symbols->functions->len;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (g_array_index(symbols->functions, Function, mid).start <= linked)
			low = mid + 1;
		else
			high = mid;
	}
	/* Several may start at one address, or an outer one end behind an inner. */
	for (size_t back = 1; back <= 8 && back <= low; back++) {
		const Function *f = &g_array_index(symbols->functions, Function, low - back);

		if (linked - f->start < MAX(f->size, 1))
			return f;
	}
	return NULL;
}

char *self_symbols_name(const SelfSymbols *symbols, uint64_t addr, uint64_t *ret_offset)
{
	uint64_t linked = addr - symbols->bias;
	const Function *function = linked < symbols->end ? function_at(symbols, linked) : NULL;
	char *base, *name;
	Dl_info info;

	*ret_offset = 0;
	if (function) {
		*ret_offset = linked - function->start;
		return g_strdup(function->name);
	}
	if (!dladdr((void *)(uintptr_t)addr, &info))
		return NULL;
	if (info.dli_sname) {
		*ret_offset = addr - (uintptr_t)info.dli_saddr;
		return g_strdup(info.dli_sname);
	}
	base = g_path_get_basename(info.dli_fname);
	name = g_strdup_printf("%s+0x%" PRIx64, base, addr - (uintptr_t)info.dli_fbase);
	g_free(base);
	return name;
}

/* --- the build-id ------------------------------------------------------------------------- */

#define NOTE_ALIGN(n) (((n) + 3) & ~(size_t)3)

/* In memory, where the linker put it and the kernel loaded it. */
static void find_build_id(const char *notes, size_t size, GString *id)
{
	while (size >= sizeof(ElfW(Nhdr))) {
		const ElfW(Nhdr) *note = (const ElfW(Nhdr) *)notes;
		size_t name = NOTE_ALIGN(note->n_namesz), text = NOTE_ALIGN(note->n_descsz);

		if (name + text > size - sizeof(*note))
			return;
		if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == sizeof("GNU") &&
		    memcmp(note + 1, "GNU", sizeof("GNU")) == 0) {
			for (size_t i = 0; i < note->n_descsz; i++)
				g_string_append_printf(
					id, "%02x", ((const unsigned char *)(note + 1))[name + i]);
			return;
		}
		notes += sizeof(*note) + name + text;
		size -= sizeof(*note) + name + text;
	}
}

static int build_id_of_program(struct dl_phdr_info *info, size_t size G_GNUC_UNUSED, void *opaque)
{
	GString *id = opaque;

	for (unsigned i = 0; i < info->dlpi_phnum && !id->len; i++) {
		const ElfW(Phdr) *segment = &info->dlpi_phdr[i];

		if (segment->p_type == PT_NOTE)
			find_build_id((const char *)(uintptr_t)(info->dlpi_addr + segment->p_vaddr),
				      segment->p_memsz, id);
	}
	return 1;
}

char *self_build_id(void)
{
	GString *id = g_string_new(NULL);

	dl_iterate_phdr(build_id_of_program, id);
	return g_string_free(id, FALSE);
}
