// SPDX-License-Identifier: MIT
/*
 * The section .eh_frame: the input is its bytes, in an ELF file that is otherwise right. Functions
 * have to come out in order, and lookups have to agree with the table.
 */
#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "tracer/image.h"

#define SECTION_MAX 4096

struct file {
	Elf64_Ehdr header;
	Elf64_Phdr segment;
	Elf64_Shdr sections[3]; /* none, .eh_frame, .shstrtab */
	char names[32];
	uint8_t frames[SECTION_MAX];
};

static void make_file(struct file *file, const uint8_t *data, size_t size)
{
	static const char names[] = "\0.eh_frame\0.shstrtab";
	size_t at = offsetof(struct file, frames);

	memset(file, 0, sizeof(*file));
	memcpy(file->header.e_ident, ELFMAG, SELFMAG);
	file->header.e_ident[EI_CLASS] = ELFCLASS64;
	file->header.e_ident[EI_DATA] = ELFDATA2LSB;
	file->header.e_ident[EI_VERSION] = EV_CURRENT;
	file->header.e_type = ET_DYN;
	file->header.e_machine = EM_X86_64;
	file->header.e_version = EV_CURRENT;
	file->header.e_ehsize = sizeof(file->header);
	file->header.e_phoff = offsetof(struct file, segment);
	file->header.e_phentsize = sizeof(file->segment);
	file->header.e_phnum = 1;
	file->header.e_shoff = offsetof(struct file, sections);
	file->header.e_shentsize = sizeof(file->sections[0]);
	file->header.e_shnum = 3;
	file->header.e_shstrndx = 2;
	file->segment = (Elf64_Phdr){ .p_type = PT_LOAD,
				      .p_flags = PF_R | PF_X,
				      .p_filesz = at + size,
				      .p_memsz = at + size,
				      .p_align = 4096 };
	file->sections[1] = (Elf64_Shdr){ .sh_name = 1,
					  .sh_type = SHT_PROGBITS,
					  .sh_flags = SHF_ALLOC,
					  .sh_addr = at,
					  .sh_offset = at,
					  .sh_size = size,
					  .sh_addralign = 8 };
	file->sections[2] = (Elf64_Shdr){ .sh_name = 11,
					  .sh_type = SHT_STRTAB,
					  .sh_offset = offsetof(struct file, names),
					  .sh_size = sizeof(names),
					  .sh_addralign = 1 };
	memcpy(file->names, names, sizeof(names));
	memcpy(file->frames, data, size);
}

static void check(const struct image *img)
{
	uint64_t before = 0;

	for (size_t i = 0; i < img->functions->len; i++) {
		const struct function *fn = &g_array_index(img->functions, struct function, i);

		if (fn->start < before || fn->end <= fn->start)
			abort();
		before = fn->start;
		image_function_at(img, fn->start);
		image_function_at(img, fn->end - 1);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct file file;
	struct image *img = NULL;
	struct failure why;

	size = MIN(size, SECTION_MAX);
	make_file(&file, data, size);
	if (image_open_file(fuzz_file((uint8_t *)&file, offsetof(struct file, frames) + size), &img,
			    &why))
		abort(); /* the file around it is right */
	check(img);
	image_close(img);
	return 0;
}
