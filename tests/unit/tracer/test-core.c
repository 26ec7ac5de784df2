/* SPDX-License-Identifier: MIT */
/*
 * The core reader on a core made here, word by word: of this very program's file, with two threads
 * and one page of memory. Then on the same core cut short and damaged.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/procfs.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <unistd.h>

#include "tracer/images.h"
#include "tracer/text.h"

#define PROGRAM_AT 0x400000UL /* the program's first page, not in the core */
#define MEMORY_AT  0x7f0000000000UL
#define PAGE	   4096UL
#define PID	   4711

static char *directory, *path;

static void append(GByteArray *to, const void *bytes, size_t size)
{
	g_byte_array_append(to, bytes, size);
}

static void append_note(GByteArray *notes, uint32_t type, const void *desc, size_t size)
{
	static const char zero[4];
	Elf64_Nhdr note = { .n_namesz = 5, .n_descsz = size, .n_type = type };

	append(notes, &note, sizeof(note));
	append(notes, "CORE\0\0\0", 8);
	append(notes, desc, size);
	append(notes, zero, -size & 3);
}

#define INTERRUPTED (-514) /* -ERESTARTNOHAND: how ppoll() goes on, in rax meanwhile */

static void append_status(GByteArray *notes, pid_t tid, long nr, long result, uint64_t pc)
{
	struct elf_prstatus status = { .pr_pid = tid };
	struct user_regs_struct regs = { .orig_rax = nr,
					 .rax = result,
					 .rip = pc,
					 .rdi = 1,
					 .rsi = 2,
					 .rdx = 3,
					 .r10 = 4,
					 .r8 = 5,
					 .r9 = 6,
					 .rsp = MEMORY_AT + 64 };

	memcpy(status.pr_reg, &regs, sizeof(regs));
	append_note(notes, NT_PRSTATUS, &status, sizeof(status));
}

/* One map: the first page of this program's own file. */
static void append_files(GByteArray *notes)
{
	g_autofree char *exe = g_file_read_link("/proc/self/exe", NULL);
	uint64_t words[] = { 1, PAGE, PROGRAM_AT, PROGRAM_AT + PAGE, 0 };
	GByteArray *desc = g_byte_array_new();

	append(desc, words, sizeof(words));
	append(desc, exe, strlen(exe) + 1);
	append_note(notes, NT_FILE, desc->data, desc->len);
	g_byte_array_free(desc, TRUE);
}

static GByteArray *make_notes(void)
{
	struct elf_prpsinfo info = { .pr_pid = PID, .pr_fname = "na\x1bme" };
	GByteArray *notes = g_byte_array_new();

	append_note(notes, NT_PRPSINFO, &info, sizeof(info));
	append_status(notes, PID, SYS_ppoll, INTERRUPTED, MEMORY_AT + 2); /* behind a syscall */
	append_status(notes, PID + 1, SYS_ppoll, INTERRUPTED, MEMORY_AT + 100); /* not behind one */
	append_status(notes, PID + 2, -1, INTERRUPTED, MEMORY_AT + 2);
	append_status(notes, PID + 3, SYS_ppoll, 1, MEMORY_AT + 2); /* it has returned */
	append_files(notes);
	return notes;
}

static GByteArray *make_core(void)
{
	GByteArray *core = g_byte_array_new(), *notes = make_notes();
	size_t at = sizeof(Elf64_Ehdr) + 3 * sizeof(Elf64_Phdr);
	Elf64_Ehdr header = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, 1 },
			      .e_type = ET_CORE,
			      .e_machine = EM_X86_64,
			      .e_version = 1,
			      .e_phoff = sizeof(header),
			      .e_ehsize = sizeof(header),
			      .e_phentsize = sizeof(Elf64_Phdr),
			      .e_phnum = 3 };
	Elf64_Phdr segments[] = {
		{ .p_type = PT_NOTE, .p_offset = at, .p_filesz = notes->len },
		{ .p_type = PT_LOAD,
		  .p_flags = PF_R | PF_X,
		  .p_vaddr = PROGRAM_AT,
		  .p_memsz = PAGE },
		{ .p_type = PT_LOAD,
		  .p_flags = PF_R | PF_W,
		  .p_vaddr = MEMORY_AT,
		  .p_offset = at + notes->len,
		  .p_filesz = PAGE,
		  .p_memsz = 2 * PAGE },
	};
	uint8_t page[PAGE];

	for (size_t i = 0; i < PAGE; i++)
		page[i] = (uint8_t)(i * 7);
	memcpy(page, "\x0f\x05", 2); /* syscall */
	append(core, &header, sizeof(header));
	append(core, segments, sizeof(segments));
	append(core, notes->data, notes->len);
	append(core, page, sizeof(page));
	g_byte_array_free(notes, TRUE);
	return core;
}

static void write_core(const void *bytes, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	g_assert_cmpint(write(fd, bytes, size), ==, size);
	close(fd);
}

static struct target *open_core(void)
{
	GByteArray *core = make_core();
	struct failure why = { 0 };
	struct target *t = NULL;

	write_core(core->data, core->len);
	g_byte_array_free(core, TRUE);
	if (target_open_core(path, NULL, &t, &why))
		g_error("%s", why.text);
	return t;
}

/* --- a whole one ------------------------------------------------------------------------------ */

static void test_process_and_threads(void)
{
	struct target *t = open_core();
	const struct thread *thread = (const struct thread *)t->threads->data;

	g_assert_false(t->live);
	g_assert_cmpint(t->pid, ==, PID);
	g_assert_cmpstr(t->comm, ==, "na?me");
	g_assert_cmpuint(t->threads->len, ==, 4);
	g_assert_cmpint(thread[0].tid, ==, PID);
	g_assert_true(thread[0].sleeping);
	g_assert_cmpint(thread[0].nr, ==, SYS_ppoll);
	for (uint64_t i = 0; i < 6; i++)
		g_assert_cmphex(thread[0].args[i], ==, i + 1);
	g_assert_cmphex(thread[0].sp, ==, MEMORY_AT + 64);
	g_assert_false(thread[1].sleeping);
	g_assert_false(thread[2].sleeping);
	g_assert_false(thread[3].sleeping);
	target_close(t);
}

static void test_memory(void)
{
	struct target *t = open_core();
	uint8_t bytes[32];
	uint64_t word = 99;

	g_assert_cmpint(target_read(t, MEMORY_AT + 10, bytes, sizeof(bytes)), ==, 0);
	for (size_t i = 0; i < sizeof(bytes); i++)
		g_assert_cmpuint(bytes[i], ==, (uint8_t)((10 + i) * 7));
	g_assert_cmpint(target_read_u64(t, MEMORY_AT + PAGE - 8, &word), ==, 0);
	/* The second page is mapped, but not in the core; what crosses into it cannot be read. */
	word = 99;
	g_assert_cmpint(target_read_u64(t, MEMORY_AT + PAGE - 4, &word), ==, -EFAULT);
	g_assert_cmpint(target_read_u64(t, MEMORY_AT + PAGE, &word), ==, -EFAULT);
	g_assert_cmpint(target_read_u64(t, 0, &word), ==, -EFAULT);
	g_assert_cmpint(target_read_u64(t, UINT64_MAX - 3, &word), ==, -EFAULT);
	g_assert_cmpuint(word, ==, 99);
	target_close(t);
}

/* What the core left out of the program is read from its file, within what was mapped. */
static void test_memory_of_a_mapped_file(void)
{
	struct target *t = open_core();
	uint8_t bytes[4];

	g_assert_cmpint(target_read(t, PROGRAM_AT, bytes, 4), ==, 0);
	g_assert_cmpmem(bytes, 4,
			"\x7f"
			"ELF",
			4);
	g_assert_cmpint(target_read(t, PROGRAM_AT + PAGE - 2, bytes, 4), ==, -EFAULT);
	target_close(t);
}

static void test_strings_end_or_fail(void)
{
	struct target *t = open_core();
	char text[512];

	/* Bytes of 7 i: the first zero after 1 is at 256. */
	g_assert_cmpint(target_read_string(t, MEMORY_AT + 2, text, sizeof(text)), ==, 0);
	g_assert_cmpuint(strlen(text), ==, 254);
	g_assert_true(g_utf8_validate(text, -1, NULL));
	g_assert_cmpint(target_read_string(t, MEMORY_AT + 2, text, 100), ==, -EFAULT);
	g_assert_cmpint(target_read_string(t, MEMORY_AT + PAGE - 1, text, sizeof(text)), ==,
			-EFAULT);
	target_close(t);
}

static void test_maps(void)
{
	struct target *t = open_core();
	const struct map *map = target_map_at(t, PROGRAM_AT + 5);

	g_assert_nonnull(map);
	g_assert_true(map->exec && !map->write && map->path[0] == '/');
	map = target_map_at(t, MEMORY_AT + PAGE);
	g_assert_nonnull(map);
	g_assert_true(map->write && !map->path[0]);
	g_assert_null(target_map_at(t, MEMORY_AT + 2 * PAGE));
	g_assert_null(target_map_at(t, MEMORY_AT - 1));
	g_assert_null(target_map_at(t, 0));
	g_assert_null(target_map_at(t, UINT64_MAX));
	target_close(t);
}

static void test_program_of_a_core(void)
{
	struct target *t = open_core();
	struct images *images = NULL;

	g_assert_cmpint(images_open(t, &images, NULL), ==, 0);
	g_assert_cmphex(images_program(images)->bias, ==, PROGRAM_AT);
	images_close(images);
	target_close(t);
}

/* --- damaged ones ----------------------------------------------------------------------------- */

/* Use everything that a core which opens has to answer. */
static void use(struct target *t)
{
	struct images *images = NULL;
	uint8_t bytes[64];
	char text[64];

	for (size_t i = 0; i < t->maps->len; i++) {
		const struct map *map = &g_array_index(t->maps, struct map, i);

		target_read(t, map->start, bytes, sizeof(bytes));
		target_read(t, map->end - 8, bytes, sizeof(bytes));
		target_map_at(t, map->start);
	}
	for (size_t i = 0; i < t->threads->len; i++)
		target_read_string(t, g_array_index(t->threads, struct thread, i).sp, text,
				   sizeof(text));
	g_assert_cmpint(target_refresh(t, NULL), ==, 0);
	if (!images_open(t, &images, NULL)) {
		g_free(images_name(images, MEMORY_AT));
		g_free(images_name(images, PROGRAM_AT + 100));
	}
	images_close(images);
}

/* Opens and works, or is refused with a reason; nothing else. */
static bool opens(const void *bytes, size_t size)
{
	struct target *untouched = (struct target *)&path, *t = untouched;
	struct failure why = { 0 };
	int err;

	write_core(bytes, size);
	err = target_open_core(path, NULL, &t, &why);
	if (err) {
		g_assert_cmpint(err, ==, -ENOEXEC);
		g_assert_nonnull(strstr(why.text, path));
		g_assert_true(t == untouched);
		return false;
	}
	use(t);
	target_close(t);
	return true;
}

static void test_cut_anywhere(void)
{
	GByteArray *core = make_core();
	size_t headers = sizeof(Elf64_Ehdr) + 3 * sizeof(Elf64_Phdr);

	g_assert_true(opens(core->data, core->len));
	for (size_t size = 0; size < core->len; size += size < 2048 ? 1 : 61) {
		bool opened = opens(core->data, size);

		if (size < headers)
			g_assert_false(opened);
	}
	g_byte_array_free(core, TRUE);
}

/* Every word of headers and notes set to what hurts most. */
static void test_every_word_damaged(void)
{
	static const uint64_t values[] = {
		0, 1, 0x7f, 0xffff, 0x7fffffff, 0xffffffff, 0x7fffffffffffffff, 0xffffffffffffffff
	};
	GByteArray *core = make_core();
	size_t end = core->len - PAGE;

	for (size_t v = 0; v < G_N_ELEMENTS(values); v++) {
		for (size_t at = 16; at + 8 <= end; at += 4) {
			uint8_t *damaged = g_memdup2(core->data, core->len);

			memcpy(damaged + at, &values[v], at % 8 ? 4 : 8);
			opens(damaged, core->len);
			g_free(damaged);
		}
	}
	g_byte_array_free(core, TRUE);
}

static void test_random_bytes_damaged(void)
{
	GByteArray *core = make_core();

	for (int i = 0; i < 3000; i++) {
		uint8_t *damaged = g_memdup2(core->data, core->len);

		for (int k = 0; k < 4; k++)
			damaged[g_test_rand_int_range(0, (int)(core->len - PAGE))] =
				(uint8_t)g_test_rand_int();
		opens(damaged, core->len);
		g_free(damaged);
	}
	g_byte_array_free(core, TRUE);
}

static void test_what_is_no_core_is_refused(void)
{
	GByteArray *core = make_core();
	Elf64_Ehdr *header = (Elf64_Ehdr *)core->data;
	struct target *t = NULL;
	struct failure why = { 0 };

	g_assert_false(opens("", 0));
	g_assert_false(opens("\x7f"
			     "ELF",
			     4));
	header->e_type = ET_DYN;
	g_assert_false(opens(core->data, core->len));
	header->e_type = ET_CORE;
	header->e_machine = EM_AARCH64;
	g_assert_false(opens(core->data, core->len));
	header->e_machine = EM_X86_64;
	header->e_ident[EI_CLASS] = ELFCLASS32;
	g_assert_false(opens(core->data, core->len));
	g_byte_array_free(core, TRUE);

	g_assert_cmpint(target_open_core("/nonexistent/core", NULL, &t, &why), ==, -ENOENT);
	g_assert_nonnull(strstr(why.text, "/nonexistent/core"));
	g_assert_null(t);
}

int main(int argc, char **argv)
{
	int result;

	g_test_init(&argc, &argv, NULL);
	g_test_set_nonfatal_assertions();
	directory = g_dir_make_tmp("core-XXXXXX", NULL);
	path = g_build_filename(directory, "core", NULL);
	g_test_add_func("/core/threads", test_process_and_threads);
	g_test_add_func("/core/memory", test_memory);
	g_test_add_func("/core/mapped-file", test_memory_of_a_mapped_file);
	g_test_add_func("/core/strings", test_strings_end_or_fail);
	g_test_add_func("/core/maps", test_maps);
	g_test_add_func("/core/program", test_program_of_a_core);
	g_test_add_func("/core/cut", test_cut_anywhere);
	g_test_add_func("/core/damaged", test_every_word_damaged);
	g_test_add_func("/core/random", test_random_bytes_damaged);
	g_test_add_func("/core/no-core", test_what_is_no_core_is_refused);
	result = g_test_run();
	unlink(path);
	rmdir(directory);
	return result;
}
