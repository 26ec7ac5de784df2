/* SPDX-License-Identifier: MIT */
/* Where functions are called from, and when nobody can know (sample-functions.S, CALLED). */
#include <string.h>

#include "tests/unit/tracer/samples.h"
#include "tracer/site-callers.h"

static struct images *images(void)
{
	static struct images *set;
	struct failure why = { 0 };

	if (!set && images_open(samples_target(), &set, &why))
		g_error("images of this program: %s", why.text);
	return set;
}

/* The callers of the function 16 bytes behind @near. */
static struct site_callers find(uint64_t near)
{
	const struct image *img = images_program(images());
	struct site_callers of = { .img = img, .link = near + 16, .name = "callers" }, *one = &of;

	site_find_callers(images(), &one, 1);
	return of;
}

static void test_calls_and_jumps(void)
{
	struct site_callers of = find(LINK(callers_few_near));
	const struct site *sites = (const struct site *)of.sites->data;

	g_assert_null(of.refused);
	g_assert_cmpuint(of.sites->len, ==, 2);
	g_assert_cmphex(sites[0].link, ==, LINK(callers_few_call));
	g_assert_cmpint(sites[0].stack_bytes, ==, -8);
	g_assert_cmphex(sites[1].link, ==, LINK(callers_few_jump));
	g_assert_cmpint(sites[1].stack_bytes, ==, 0);
	for (int i = 0; i < 2; i++) {
		g_assert_true(sites[i].emulated && sites[i].of_call);
		g_assert_cmphex(sites[i].offset, !=, 0);
	}
	g_array_free(of.sites, TRUE);
}

static void test_nobody_calls(void)
{
	struct site_callers of = find(LINK(callers_none_near));

	g_assert_null(of.refused);
	g_assert_cmpuint(of.sites->len, ==, 0);
	g_array_free(of.sites, TRUE);
}

/* Later only images that are new are looked at: a site is found once. */
static void test_another_look(void)
{
	struct site_callers of = find(LINK(callers_few_near)), *one = &of;
	size_t looked = of.looked;

	site_find_callers(images(), &one, 1);
	g_assert_cmpuint(of.sites->len, ==, 2);
	g_assert_cmpuint(of.looked, ==, looked);
	g_array_free(of.sites, TRUE);
}

#define assert_refused(function)                                                                   \
	do {                                                                                       \
		struct site_callers of_ = find(LINK(function##_near));                             \
		g_assert_true(of_.refused == of_.img);                                             \
		g_array_free(of_.sites, TRUE);                                                     \
	} while (0)

static void test_an_address_that_is_taken(void)
{
	assert_refused(callers_taken);
	assert_refused(callers_in_data);
}

static void test_jumps_that_are_no_calls(void)
{
	assert_refused(callers_conditional);
	assert_refused(callers_short);
}

static void test_code_that_nothing_proves(void)
{
	assert_refused(callers_unproven);
}

/* getpid() is imported by this program: through an entry of the PLT. */
static void test_an_import(void)
{
	struct image *libc = images_library(images(), "libc.so");
	const struct symbol *symbol = libc ? image_symbol(libc, "getpid") : NULL;
	struct site_callers of = { .img = libc, .name = "getpid" }, *one = &of;
	size_t n = 0;

	g_assert_nonnull(symbol);
	of.link = symbol->link;
	site_find_callers(images(), &one, 1);
	for (size_t i = 0; i < of.sites->len; i++)
		n += g_array_index(of.sites, struct site, i).img == images_program(images());
	g_assert_cmpuint(n, >, 0);
	g_array_free(of.sites, TRUE);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_set_nonfatal_assertions();
	g_test_add_func("/site-callers/calls-and-jumps", test_calls_and_jumps);
	g_test_add_func("/site-callers/nobody-calls", test_nobody_calls);
	g_test_add_func("/site-callers/another-look", test_another_look);
	g_test_add_func("/site-callers/address-taken", test_an_address_that_is_taken);
	g_test_add_func("/site-callers/conditional", test_jumps_that_are_no_calls);
	g_test_add_func("/site-callers/unproven", test_code_that_nothing_proves);
	g_test_add_func("/site-callers/import", test_an_import);
	return g_test_run();
}
