// SPDX-License-Identifier: MIT
/*
 * Where the functions of the table in record-functions.c are probed: each at a place of its own,
 * or, if the kernel would have to single-step all of those, where it is called (site-callers.h).
 */
#include "tracer/attach.h"
#include "tracer/record-functions.h"

const struct symbol *function_symbol(const struct function_probe *fn, struct images *images,
				     struct image **ret)
{
	struct image *img =
		fn->library ? images_library(images, fn->library) : images_program(images);

	for (size_t i = 0; img && i < G_N_ELEMENTS(fn->names) && fn->names[i]; i++) {
		const struct symbol *symbol = image_symbol(img, fn->names[i]);

		if (!symbol || !symbol->function)
			continue;
		*ret = img;
		return symbol;
	}
	return NULL;
}

int function_site(const struct function_probe *fn, const struct image *img, uint64_t link,
		  struct site *ret)
{
	return (function_is_leaf(fn) ? site_at_untouched : site_at_args)(img, link, fn->n_args, ret,
									 NULL);
}

size_t function_n_sites(const struct function_sites *f)
{
	return f->callers.sites ? f->callers.sites->len : f->own.img != NULL;
}

const struct site *function_site_nth(const struct function_sites *f, size_t i)
{
	return f->callers.sites ? &g_array_index(f->callers.sites, struct site, i) : &f->own;
}

void function_follow_callers(struct images *images, const GArray *functions)
{
	struct site_callers **wanted = g_new0(struct site_callers *, functions->len + 1);
	size_t n = 0;

	for (size_t i = 0; i < functions->len; i++) {
		struct function_sites *f = &g_array_index(functions, struct function_sites, i);

		if (f->callers.name && !f->callers.refused)
			wanted[n++] = &f->callers;
	}
	if (n)
		site_find_callers(images, wanted, n);
	g_free(wanted);
}

static void free_callers(struct function_sites *f)
{
	if (f->callers.sites)
		g_array_free(f->callers.sites, TRUE);
	f->callers = (struct site_callers){ 0 };
}

static void free_sites(void *function)
{
	free_callers(function);
}

GArray *function_find_sites(const struct function_probe *fns, size_t n, struct images *images,
			    function_choice *choose, const void *arg)
{
	GArray *found = g_array_new(FALSE, FALSE, sizeof(struct function_sites));

	g_array_set_clear_func(found, free_sites);
	for (size_t i = 0; i < n; i++) {
		struct function_sites f = { .fn = &fns[i] };

		f.symbol = choose(f.fn, arg) ? function_symbol(f.fn, images, &f.img) : NULL;
		if (!f.symbol)
			continue;
		function_site(f.fn, f.img, f.symbol->link, &f.own);
		/* A library's function may be called by many. */
		if (f.own.img && !f.own.emulated && !f.fn->library && attach_has_multi())
			f.callers = (struct site_callers){ .img = f.img,
							   .link = f.symbol->link,
							   .name = f.symbol->name };
		g_array_append_val(found, f);
	}
	function_follow_callers(images, found);
	for (size_t i = 0; i < found->len; i++) {
		struct function_sites *f = &g_array_index(found, struct function_sites, i);

		if (f->callers.refused)
			free_callers(f);
	}
	return found;
}
