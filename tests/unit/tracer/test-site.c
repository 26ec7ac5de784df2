/* SPDX-License-Identifier: MIT */
/* Where a probe goes in functions whose instructions are known (sample-functions.S). */
#include <errno.h>
#include <string.h>

#include "tests/unit/tracer/samples.h"
#include "tracer/site.h"

static struct site site_in(uint64_t link)
{
	struct failure why = { 0 };
	struct site site;
	int err = site_at(samples_image(), link, &site, &why);

	if (err)
		g_test_message("%s", why.text);
	g_assert_cmpint(err, ==, 0);
	return site;
}

/* The site of the function is its byte @offset. */
#define assert_site(function, offset_, emulated_)                                                  \
	do {                                                                                       \
		struct site site_ = site_in(LINK(function));                                       \
		g_assert_cmphex(site_.link, ==, LINK(function) + (offset_));                       \
		g_assert_cmpint(site_.emulated, ==, emulated_);                                    \
	} while (0)

static void test_push_first(void)
{
	assert_site(site_push, 0, true);
}

static void test_emulated_is_preferred(void)
{
	assert_site(site_push_r12, 3, true);
	assert_site(site_endbr, 4, true);
	g_assert_cmphex(site_in(LINK(site_endbr)).link, ==, LINK(site_endbr_at));
}

static void test_branch_as_in_poll(void)
{
	g_assert_cmphex(site_in(LINK(site_poll)).link, ==, LINK(site_poll_at));
	g_assert_true(site_in(LINK(site_poll)).emulated);
}

static void test_nop5_is_never_taken(void)
{
	g_assert_cmphex(site_in(LINK(site_nop5)).link, ==, LINK(site_nop5_at));
}

static void test_short_functions(void)
{
	assert_site(site_nop1, 0, true);
	assert_site(site_ret, 0, false);
	assert_site(site_jmp, 0, true);
}

static void test_size_prefix_is_not_emulated(void)
{
	assert_site(site_push16, 0, false);
}

/* Where it is reached once in each call and never again. */
static void test_loops(void)
{
	struct failure why = { 0 };
	struct site untouched, site;

	memset(&untouched, 0x5a, sizeof(untouched));
	site = untouched;
	g_assert_cmpint(site_at(samples_image(), LINK(site_loop_start), &site, &why), ==, -ENOEXEC);
	g_assert_nonnull(strstr(why.text, "site_loop_start"));
	g_assert_cmpmem(&site, sizeof(site), &untouched, sizeof(untouched));
}

static void test_a_branch_in_a_loop_is_no_site(void)
{
	assert_site(site_loop_early, 0, false);
}

static void test_arguments_are_still_in_place(void)
{
	struct site site = site_in(LINK(site_overwrites));

	g_assert_cmphex(site.link, <=, LINK(site_overwrites) + 2);
	g_assert_false(site.emulated);
}

static void test_a_part_of_an_argument_register_counts(void)
{
	assert_site(site_overwrites_byte, 0, false);
	assert_site(site_overwrites_word, 0, false);
	assert_site(site_overwrites_high, 0, false);
}

static void test_only_arguments_that_matter_count(void)
{
	struct site site;

	assert_site(site_fourth, 0, false);
	g_assert_cmpint(site_at_args(samples_image(), LINK(site_fourth), 3, &site, NULL), ==, 0);
	g_assert_cmphex(site.link, ==, LINK(site_fourth_at));
	g_assert_true(site.emulated);
	g_assert_cmpint(site_at_args(samples_image(), LINK(site_fourth), 4, &site, NULL), ==, 0);
	g_assert_cmphex(site.link, ==, LINK(site_fourth));
}

static void test_a_call_ends_the_search(void)
{
	assert_site(site_call, 3, true); /* the call itself */
}

static void test_stack_above_the_return_address(void)
{
	struct site site = site_in(LINK(site_stack));

	g_assert_cmphex(site.link, ==, LINK(site_stack_at));
	g_assert_cmpint(site.stack_bytes, ==, 24);
	g_assert_cmpint(site_in(LINK(site_push)).stack_bytes, ==, 0);
}

static void test_a_stack_that_is_aligned_ends_the_search(void)
{
	struct site site = site_in(LINK(site_aligned));

	g_assert_cmphex(site.link, <=, LINK(site_aligned) + 3);
	g_assert_cmpint(site.stack_bytes, ==, 0);
}

static void test_return_needs_an_untouched_stack(void)
{
	struct site site;

	g_assert_cmpint(site_at_return(samples_image(), LINK(site_stack), &site, NULL), ==, 0);
	g_assert_cmphex(site.link, <=, LINK(site_stack) + 3);
	g_assert_cmpint(site.stack_bytes, ==, 0);
	g_assert_true(site.on_return);
}

static void test_what_no_fde_proves_is_refused(void)
{
	struct failure why = { 0 };
	struct site site;

	g_assert_cmpint(site_at(samples_image(), LINK(site_no_fde), &site, &why), ==, -ENOENT);
	g_assert_nonnull(strstr(why.text, "site_no_fde"));
	g_assert_cmpint(site_at(samples_image(), LINK(site_push) + 1, &site, &why), ==, -ENOENT);
	g_assert_cmpint(site_at(samples_image(), LINK(sample_global), &site, &why), ==, -ENOENT);
	g_assert_cmpint(site_at(samples_image(), 0, &site, &why), ==, -ENOENT);
}

static void test_by_name(void)
{
	struct failure why = { 0 };
	struct site site;

	g_assert_cmpint(site_of(samples_image(), "site_push", &site, &why), ==, 0);
	g_assert_cmphex(site.link, ==, LINK(site_push));
	g_assert_cmpstr(site.name, ==, "site_push");
	g_assert_cmpint(site_of(samples_image(), "no_such_function", &site, &why), ==, -ENOENT);
	g_assert_cmpint(site_of(samples_image(), "sample_global", &site, &why), ==, -ENOENT);
}

static void test_offset_is_that_in_the_file(void)
{
	struct site site = site_in(LINK(site_push));
	g_autofree char *file = NULL;
	gsize size;

	g_assert_true(g_file_get_contents("/proc/self/exe", &file, &size, NULL));
	g_assert_cmpuint(site.offset, <, size);
	g_assert_cmphex((guint8)file[site.offset], ==, 0x55); /* push %rbp */
}

/* The site for calls that return to @from_ is the instruction at @at_. */
#define assert_resume(from_, keep_value_, at_, emulated_)                                          \
	do {                                                                                       \
		struct site site_;                                                                 \
		g_assert_cmpint(                                                                   \
			site_after_call(samples_image(), (from_), (keep_value_), &site_, NULL),    \
			==, 0);                                                                    \
		g_assert_cmphex(site_.link, ==, (at_));                                            \
		g_assert_cmpint(site_.emulated, ==, (emulated_));                                  \
		g_assert_false(site_.on_return);                                                   \
	} while (0)

static void test_end_of_a_call(void)
{
	assert_resume(LINK(resume_test_from), true, LINK(resume_test_at), true);
	assert_resume(LINK(resume_indirect_from), true, LINK(resume_indirect_from), true);
	assert_resume(LINK(resume_last_from), true, LINK(resume_last_from), false);
}

static void test_end_of_a_call_keeps_the_value(void)
{
	assert_resume(LINK(resume_value_from), true, LINK(resume_value_from), false);
	assert_resume(LINK(resume_value_from), false, LINK(resume_value_from) + 5, true);
}

/* Who jumps to 1: gets there, too; the stack pointer tells. */
static void test_end_of_a_call_where_others_join(void)
{
	assert_resume(LINK(resume_joined_from), false, LINK(resume_joined_at), true);
	assert_resume(LINK(resume_loop_from), false, LINK(resume_loop_at), true);
}

/* A round without the call is no end of it, and nobody knows how many there are. */
static void test_end_of_a_call_is_in_no_loop_without_it(void)
{
	assert_resume(LINK(resume_rare_from), false, LINK(resume_rare_from), false);
	assert_resume(LINK(resume_switch_from), false, LINK(resume_switch_from), false);
}

static void test_end_of_a_call_is_before_the_stack_moves(void)
{
	assert_resume(LINK(resume_stack_from), false, LINK(resume_stack_from), false);
}

static void test_no_call_ends_there(void)
{
	struct failure why = { 0 };
	struct site site;

	g_assert_cmpint(site_after_call(samples_image(), LINK(resume_test_at), false, &site, &why),
			==, -ENOENT);
	g_assert_nonnull(strstr(why.text, "no call ends at"));
	g_assert_cmpint(
		site_after_call(samples_image(), LINK(resume_test_from) + 1, false, &site, &why),
		==, -ENOENT);
	g_assert_cmpint(site_after_call(samples_image(), LINK(sample_global), false, &site, &why),
			==, -ENOENT);
	g_assert_nonnull(strstr(why.text, "no proven function"));
}

/* On all functions of this program: inside, at a boundary the decoder reaches from the start. */
static void test_every_function_of_this_program(void)
{
	const GArray *functions = samples_image()->functions;
	size_t n = 0;

	g_assert_cmpuint(functions->len, >, 100);
	for (size_t i = 0; i < functions->len; i++) {
		const struct function *fn = &g_array_index(functions, struct function, i);
		struct site site;

		if (site_at(samples_image(), fn->start, &site, NULL))
			continue;
		g_assert_cmphex(site.link, >=, fn->start);
		g_assert_cmphex(site.link, <, fn->end);
		n++;
	}
	g_assert_cmpuint(n, >, functions->len / 2);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_set_nonfatal_assertions();
	g_test_add_func("/site/push-first", test_push_first);
	g_test_add_func("/site/emulated-is-preferred", test_emulated_is_preferred);
	g_test_add_func("/site/branch-as-in-poll", test_branch_as_in_poll);
	g_test_add_func("/site/nop5-is-never-taken", test_nop5_is_never_taken);
	g_test_add_func("/site/short-functions", test_short_functions);
	g_test_add_func("/site/size-prefix-is-not-emulated", test_size_prefix_is_not_emulated);
	g_test_add_func("/site/loop-start-is-refused", test_loops);
	g_test_add_func("/site/branch-in-a-loop-is-no-site", test_a_branch_in_a_loop_is_no_site);
	g_test_add_func("/site/arguments-in-place", test_arguments_are_still_in_place);
	g_test_add_func("/site/part-of-an-argument", test_a_part_of_an_argument_register_counts);
	g_test_add_func("/site/arguments-that-matter", test_only_arguments_that_matter_count);
	g_test_add_func("/site/call-ends-the-search", test_a_call_ends_the_search);
	g_test_add_func("/site/stack-bytes", test_stack_above_the_return_address);
	g_test_add_func("/site/return", test_return_needs_an_untouched_stack);
	g_test_add_func("/site/without-fde", test_what_no_fde_proves_is_refused);
	g_test_add_func("/site/by-name", test_by_name);
	g_test_add_func("/site/file-offset", test_offset_is_that_in_the_file);
	g_test_add_func("/site/aligned-stack", test_a_stack_that_is_aligned_ends_the_search);
	g_test_add_func("/site/end-of-a-call", test_end_of_a_call);
	g_test_add_func("/site/end-of-a-call/keeps-the-value", test_end_of_a_call_keeps_the_value);
	g_test_add_func("/site/end-of-a-call/where-others-join",
			test_end_of_a_call_where_others_join);
	g_test_add_func("/site/end-of-a-call/no-loop-without-it",
			test_end_of_a_call_is_in_no_loop_without_it);
	g_test_add_func("/site/end-of-a-call/before-the-stack-moves",
			test_end_of_a_call_is_before_the_stack_moves);
	g_test_add_func("/site/end-of-a-call/no-call", test_no_call_ends_there);
	g_test_add_func("/site/every-function", test_every_function_of_this_program);
	return g_test_run();
}
