/* SPDX-License-Identifier: MIT */
/* What image.c says of this very program, held against readelf and against its own memory. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/tracer/samples.h"
#include "tracer/images.h"

/* A line of "readelf -sW": number: value size type bind visibility section name */
struct elf_symbol {
	uint64_t value, size;
	char type[16], name[128];
};

static char *readelf(const char *option)
{
	const char *argv[] = { "readelf", "--wide", option, "/proc/self/exe", NULL };
	g_autofree char *exe = g_file_read_link("/proc/self/exe", NULL);
	char *text = NULL;

	argv[3] = exe;
	g_assert_true(g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL,
				   &text, NULL, NULL, NULL));
	return text;
}

static GArray *readelf_symbols(void)
{
	g_autofree char *text = readelf("--syms");
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
	GArray *symbols = g_array_new(FALSE, TRUE, sizeof(struct elf_symbol));

	for (char **line = lines; *line; line++) {
		struct elf_symbol s = { 0 };
		char section[16], size[32];

		if (sscanf(*line, "%*d: %lx %31s %15s %*s %*s %15s %127s", &s.value, size, s.type,
			   section, s.name) != 5 ||
		    !strcmp(section, "UND"))
			continue;
		s.size = strtoull(size, NULL, 0);
		g_array_append_val(symbols, s);
	}
	g_assert_cmpuint(symbols->len, >, 100);
	return symbols;
}

/* Ours, and every function of the library's: made by a compiler that writes an FDE for each. */
static void test_functions_are_those_of_readelf(void)
{
	GArray *symbols = readelf_symbols();
	size_t n = 0;

	for (size_t i = 0; i < symbols->len; i++) {
		const struct elf_symbol *s = &g_array_index(symbols, struct elf_symbol, i);
		const struct function *fn = image_function_at(samples_image(), s->value);

		if (strcmp(s->type, "FUNC") || !s->size || !fn || !strcmp(s->name, "_start"))
			continue;
		g_test_message("%s", s->name);
		g_assert_cmphex(fn->start, ==, s->value);
		g_assert_cmphex(fn->end, ==, s->value + s->size);
		n++;
	}
	g_assert_cmpuint(n, >, 100);
	g_array_free(symbols, TRUE);
}

static void test_every_c_function_has_an_fde(void)
{
	static const char *const from_crt[] = { "_init",
						"_fini",
						"_start",
						"__do_global_dtors_aux",
						"register_tm_clones",
						"deregister_tm_clones",
						"frame_dummy",
						"site_no_fde",
						NULL };
	GArray *symbols = readelf_symbols();

	for (size_t i = 0; i < symbols->len; i++) {
		const struct elf_symbol *s = &g_array_index(symbols, struct elf_symbol, i);

		if (strcmp(s->type, "FUNC") || g_strv_contains(from_crt, s->name))
			continue;
		g_test_message("%s", s->name);
		g_assert_nonnull(image_function_at(samples_image(), s->value));
	}
	g_array_free(symbols, TRUE);
}

static void test_functions_are_in_order_and_apart(void)
{
	const GArray *functions = samples_image()->functions;

	for (size_t i = 0; i < functions->len; i++) {
		const struct function *fn = &g_array_index(functions, struct function, i);

		g_assert_cmphex(fn->start, <, fn->end);
		if (i)
			g_assert_cmphex(fn[-1].end, <=, fn->start);
	}
}

static void test_only_a_start_is_a_function(void)
{
	struct image *img = samples_image();
	uint64_t run = LINK(site_push) + img->bias;

	g_assert_true(image_is_function(img, run));
	g_assert_false(image_is_function(img, run + 1));
	g_assert_false(image_is_function(img, run - 1));
	g_assert_false(image_is_function(img, LINK(site_no_fde) + img->bias));
	g_assert_false(image_is_function(img, LINK(sample_global) + img->bias));
	g_assert_false(image_is_function(img, 0));
	g_assert_false(image_is_function(img, UINT64_MAX));
}

static void test_symbols_by_name_and_address(void)
{
	struct image *img = samples_image();
	const struct symbol *s = image_symbol(img, "site_poll");

	g_assert_nonnull(s);
	g_assert_cmphex(s->link, ==, LINK(site_poll));
	g_assert_true(s->function);
	g_assert_cmpstr(image_symbol_at(img, s->link + 3)->name, ==, "site_poll");
	g_assert_cmpstr(image_symbol_at(img, s->link + s->size - 1)->name, ==, "site_poll");
	g_assert_false(image_symbol(img, "sample_global")->function);
	g_assert_cmpuint(image_symbol(img, "sample_global")->size, ==, 8);
	g_assert_null(image_symbol(img, "no_such_symbol"));
	g_assert_null(image_symbol_at(img, 0));
	g_assert_null(image_symbol_at(img, UINT64_MAX));
}

static void test_bytes_of_the_file_are_those_in_memory(void)
{
	struct image *img = samples_image();
	const uint8_t *file, *memory = (const uint8_t *)(uintptr_t)(LINK(site_poll) + img->bias);
	size_t len = 0;
	uint64_t offset = 0;

	file = image_bytes(img, LINK(site_poll), &len);
	g_assert_nonnull(file);
	g_assert_cmpmem(file, 16, memory, 16);
	g_assert_cmpint(image_file_offset(img, LINK(site_poll), &offset), ==, 0);
	g_assert_cmpint(image_file_offset(img, UINT64_MAX, &offset), ==, -ENOENT);
	g_assert_null(image_bytes(img, UINT64_MAX, &len));
}

static void test_build_id_is_that_of_readelf(void)
{
	g_autofree char *text = readelf("--notes");

	g_assert_cmpuint(strlen(samples_image()->build_id), ==, 40);
	g_assert_nonnull(strstr(text, samples_image()->build_id));
}

static void test_extent_holds_all_of_it_and_nothing_else(void)
{
	struct image *img = samples_image();
	char on_stack;

	g_assert_true(image_holds(img, img->start));
	g_assert_false(image_holds(img, img->end));
	g_assert_true(image_holds(img, LINK(sample_global) + img->bias));
	g_assert_false(image_holds(img, (uintptr_t)&on_stack));
}

/* --- all images ------------------------------------------------------------------------------- */

static struct images *open_images(void)
{
	struct failure why = { 0 };
	struct images *set = NULL;

	if (images_open(samples_target(), &set, &why))
		g_error("%s", why.text);
	return set;
}

static void assert_name(struct images *set, uint64_t run, const char *expected)
{
	g_autofree char *name = images_name(set, run);

	g_assert_cmpstr(name, ==, expected);
}

static void test_names(void)
{
	struct images *set = open_images();
	uint64_t bias = images_program(set)->bias;
	g_autofree char *unnamed = NULL;
	char on_stack, address[32];

	assert_name(set, LINK(site_poll) + bias, "site_poll");
	assert_name(set, LINK(site_poll) + bias + 7, "site_poll+0x7");
	assert_name(set, LINK(site_poll) + bias + 3, "site_poll+0x3");
	assert_name(set, LINK(sample_global) + bias, "sample_global");
	snprintf(address, sizeof(address), "0x%lx", (unsigned long)&on_stack);
	assert_name(set, (uintptr_t)&on_stack, address);
	/* The ELF header: in the image, but no symbol covers it. */
	unnamed = images_name(set, images_program(set)->start + 1);
	g_assert_cmpstr(unnamed, ==, "test-image+0x1");
	images_close(set);
}

static void test_calls(void)
{
	struct images *set = open_images();
	uint64_t bias = images_program(set)->bias;
	g_autofree char *calls = images_calls(set, LINK(walk_calls) + bias);

	g_assert_cmpstr(calls, ==, "getpid, site_ret");
	g_assert_null(images_calls(set, LINK(site_ret) + bias));
	g_assert_null(images_calls(set, LINK(walk_calls) + bias + 1));
	images_close(set);
}

static void test_calls_by_plt_got(void)
{
	struct images *set = open_images();
	g_autofree char *calls = images_calls(set, LINK(walk_plt_got) + images_program(set)->bias);

	g_assert_cmpstr(calls, ==, "getppid, getuid, geteuid");
	images_close(set);
}

static void test_libraries_are_opened_when_asked_for(void)
{
	struct images *set = open_images();
	struct image *libc = images_library(set, "libc.so");

	g_assert_nonnull(libc);
	g_assert_true(images_library(set, "libc.so") == libc);
	g_assert_nonnull(image_symbol(libc, "ppoll"));
	g_assert_true(images_is_function(set, image_symbol(libc, "ppoll")->link + libc->bias));
	g_assert_null(images_library(set, "libnonsense.so"));
	g_assert_false(images_is_function(set, 0));
	images_close(set);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_set_nonfatal_assertions();
	g_test_add_func("/image/functions", test_functions_are_those_of_readelf);
	g_test_add_func("/image/fde-for-each", test_every_c_function_has_an_fde);
	g_test_add_func("/image/functions-apart", test_functions_are_in_order_and_apart);
	g_test_add_func("/image/only-a-start", test_only_a_start_is_a_function);
	g_test_add_func("/image/symbols", test_symbols_by_name_and_address);
	g_test_add_func("/image/bytes", test_bytes_of_the_file_are_those_in_memory);
	g_test_add_func("/image/build-id", test_build_id_is_that_of_readelf);
	g_test_add_func("/image/extent", test_extent_holds_all_of_it_and_nothing_else);
	g_test_add_func("/images/names", test_names);
	g_test_add_func("/images/calls", test_calls);
	g_test_add_func("/images/calls-by-plt-got", test_calls_by_plt_got);
	g_test_add_func("/images/libraries", test_libraries_are_opened_when_asked_for);
	return g_test_run();
}
