// SPDX-License-Identifier: MIT
/* An ELF file, as a target may run it: the input is the file. All that is asked of one is asked. */
#include "tests/fuzz/fuzz.h"
#include "tracer/code.h"
#include "tracer/image.h"
#include "tracer/layout.h"
#include "tracer/usdt.h"

static bool next_step(const struct code_step *step, void *arg)
{
	(void)step;
	return ++*(int *)arg > 1000;
}

static void ask(const struct image *img)
{
	size_t len = 0;
	uint64_t offset;

	for (size_t i = 0; i < img->symbols->len && i < 64; i++) {
		const struct symbol *s = &g_array_index(img->symbols, struct symbol, i);
		int steps = 0;

		image_symbol_at(img, s->link);
		image_symbol_at(img, s->link + s->size);
		image_symbol(img, s->name);
		image_function_at(img, s->link);
		image_file_offset(img, s->link, &offset);
		if (image_bytes(img, s->link, &len) && i < 8)
			code_walk(img, s->link, next_step, &steps);
	}
	for (size_t i = 0; i < img->functions->len && i < 16; i++) {
		const struct function *fn = &g_array_index(img->functions, struct function, i);
		int steps = 0;

		image_is_function(img, fn->start + img->bias);
		code_walk(img, fn->start, next_step, &steps);
	}
	image_holds(img, img->start);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct image *img = NULL;
	struct layout *l = NULL;
	struct failure why;
	int refused = 0;

	if (image_open_file(fuzz_file(data, size), &img, &why))
		return 0;
	ask(img);
	image_set_bias(img, 0x7f0000000000);
	ask(img);
	g_array_free(usdt_probes(img, "qemu", &refused), TRUE);
	if (!layout_from_dwarf(img, &l, &why))
		layout_free(l);
	image_close(img);
	return 0;
}
