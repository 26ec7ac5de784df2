/* SPDX-License-Identifier: MIT */
/* Where infer-glib.c finds the sources of a GMainContext that lies, made up, in this very process.
 */
#include <glib.h>
#include <string.h>

#include "tests/unit/tracer/samples.h"
#include "tracer/infer.h"

/* As GLib has them, but for where they lie in the context. */
struct source_list {
	GSource *head, *tail;
	int priority;
};

static struct {
	uint64_t words[64];
} context;

static GSource first, second, urgent;
static struct source_list usual_list = { &first, &second, 0 };
static struct source_list urgent_list = { &urgent, &urgent, -100 };
static GList lists[2] = {
	{ &urgent_list, &lists[1], NULL },
	{ &usual_list, NULL, &lists[0] },
};

static void make_sources(void)
{
	first = second = urgent = (GSource){ .context = (GMainContext *)&context };
	first.next = &second;
	second.prev = &first;
	urgent.priority = -100;
	memset(&context, 0, sizeof(context));
}

static void assert_source_lists(int word)
{
	struct failure why = { 0 };
	struct images *images;
	struct layout *l;

	g_assert_cmpint(images_open(samples_target(), &images, &why), ==, 0);
	l = layout_new(LAYOUT_INFERRED, images_program(images));
	infer_glib(samples_target(), images, l, (uintptr_t)&context);
	g_assert_cmpint(l->off[GCTX_SOURCES], ==, word < 0 ? -1 : 8 * word);
	g_assert_cmpint(l->off[GSL_HEAD], ==, word < 0 ? -1 : 0);
	layout_free(l);
	images_close(images);
}

static void test_sources_by_priority(void)
{
	make_sources();
	context.words[20] = (uintptr_t)lists;
	assert_source_lists(20);
}

/* What is to be dispatched: its first words look like a list's, of priority 0. */
static void test_sources_that_wait_for_their_dispatch(void)
{
	GPtrArray *pending = g_ptr_array_new();

	make_sources();
	g_ptr_array_add(pending, &first);
	g_ptr_array_add(pending, NULL);
	g_ptr_array_add(pending, NULL);
	context.words[8] = (uintptr_t)pending;
	assert_source_lists(-1);
	context.words[20] = (uintptr_t)lists;
	assert_source_lists(20);
	g_ptr_array_free(pending, TRUE);
}

static void test_lists_whose_links_do_not_fit(void)
{
	make_sources();
	context.words[20] = (uintptr_t)&lists[1]; /* has one before it */
	assert_source_lists(-1);
	lists[1].prev = NULL;
	context.words[20] = (uintptr_t)lists; /* the next does not point back */
	assert_source_lists(-1);
	lists[1].prev = &lists[0];
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/infer-glib/by-priority", test_sources_by_priority);
	g_test_add_func("/infer-glib/to-be-dispatched", test_sources_that_wait_for_their_dispatch);
	g_test_add_func("/infer-glib/links", test_lists_whose_links_do_not_fit);
	return g_test_run();
}
