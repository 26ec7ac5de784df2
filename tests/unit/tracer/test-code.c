/* SPDX-License-Identifier: MIT */
/* What code_walk() says of the values in known functions (sample-functions.S). Unknown where it
 * must be. */
#include <errno.h>
#include <string.h>

#include "tests/unit/tracer/samples.h"
#include "tracer/code.h"

#define MAX_STEPS 32

/* A walk, written down. */
struct log {
	struct code_step step[MAX_STEPS];
	struct value regs[MAX_STEPS][N_REGS];
	unsigned id[MAX_STEPS];
	int n;
};

static bool note(const struct code_step *step, void *arg)
{
	struct log *log = arg;

	g_assert_cmpint(log->n, <, MAX_STEPS);
	log->step[log->n] = *step;
	memcpy(log->regs[log->n], step->regs, sizeof(log->regs[0]));
	log->id[log->n] = step->insn->id;
	log->n++;
	return false;
}

static struct log walk(uint64_t link)
{
	struct log log = { .n = 0 };

	g_assert_cmpint(code_walk(samples_image(), link, note, &log), ==, 0);
	return log;
}

static void assert_value(struct value v, enum value_kind kind, int64_t n, int64_t field)
{
	g_assert_cmpint(v.kind, ==, kind);
	if (kind == VALUE_UNKNOWN)
		return;
	g_assert_cmpint(v.n, ==, n);
	if (kind == VALUE_FIELD)
		g_assert_cmpint(v.field, ==, field);
}

static void test_getter(void)
{
	struct log log = walk(LINK(walk_getter));

	g_assert_cmpint(log.n, ==, 2);
	assert_value(log.step[0].mem, VALUE_LINK, (int64_t)LINK(sample_global), 0);
	g_assert_cmpint(log.step[0].mem_size, ==, 8);
	g_assert_false(log.step[0].mem_write);
}

static void test_what_a_getter_returns(void)
{
	const struct image *img = samples_image();

	assert_value(code_getter(img, LINK(walk_getter)), VALUE_LINK, (int64_t)LINK(sample_global),
		     0);
	assert_value(code_getter(img, LINK(walk_getter_endbr)), VALUE_ARG0, 0x40, 0);
	assert_value(code_getter(img, LINK(walk_no_getter)), VALUE_UNKNOWN, 0, 0);
	assert_value(code_getter(img, LINK(walk_exchange)), VALUE_UNKNOWN, 0, 0);
}

static void test_exchange(void)
{
	struct log log = walk(LINK(walk_exchange));

	g_assert_cmpint(log.id[1], ==, X86_INS_XCHG);
	assert_value(log.step[1].mem, VALUE_ARG0, 0xa8, 0);
	g_assert_true(log.step[1].mem_write);
	assert_value(log.regs[1][GPR_RAX], VALUE_CONST, 0, 0);
	assert_value(log.regs[2][GPR_RAX], VALUE_UNKNOWN, 0, 0);
}

static void test_lea_add_sub(void)
{
	struct log log = walk(LINK(walk_lea_add));

	assert_value(log.step[3].mem, VALUE_ARG0, 24, 0);
	g_assert_cmpint(log.step[3].mem_size, ==, 4);
	g_assert_true(log.step[3].mem_write);
	assert_value(log.step[3].source, VALUE_CONST, 7, 0);
	/* lea computes and touches no memory. */
	g_assert_cmpint(log.step[0].mem_size, ==, 0);
}

static void test_field(void)
{
	struct log log = walk(LINK(walk_field));

	assert_value(log.step[0].mem, VALUE_ARG0, 0x90, 0);
	assert_value(log.regs[1][GPR_RAX], VALUE_FIELD, 0, 0x90);
	assert_value(log.step[1].mem, VALUE_FIELD, 0x68, 0x90);
	g_assert_false(log.step[1].mem_write);
}

static void test_calls_and_what_they_clobber(void)
{
	struct log log = walk(LINK(walk_calls));

	g_assert_cmpstr(log.step[3].calls, ==, "getpid");
	assert_value(log.regs[3][GPR_RDI], VALUE_ARG0, 0xc4, 0);
	assert_value(log.step[4].mem, VALUE_UNKNOWN, 0, 0);
	assert_value(log.step[5].mem, VALUE_ARG0, 3, 0);
	assert_value(log.step[5].source, VALUE_CONST, 2, 0);
	g_assert_cmpstr(log.step[7].calls, ==, "site_ret"); /* a tail jump */
	g_assert_cmphex(log.step[7].target, ==, LINK(site_ret));
}

static void test_constants_and_addresses(void)
{
	struct log log = walk(LINK(walk_constants));

	g_assert_cmpstr(log.step[3].calls, ==, "getpid");
	assert_value(log.regs[3][GPR_RSI], VALUE_CONST, 0x123, 0);
	assert_value(log.regs[3][GPR_RDX], VALUE_CONST, 0, 0);
	assert_value(log.regs[3][GPR_RDI], VALUE_LINK, (int64_t)LINK(sample_global), 0);
}

static void test_ways_that_meet(void)
{
	struct log log = walk(LINK(walk_merge));

	assert_value(log.step[4].mem, VALUE_UNKNOWN, 0, 0);
	assert_value(log.step[5].mem, VALUE_ARG0, 5, 0);
}

static void test_behind_a_jump(void)
{
	struct log log = walk(LINK(walk_unreached));

	assert_value(log.step[1].mem, VALUE_UNKNOWN, 0, 0);
	assert_value(log.step[2].mem, VALUE_ARG0, 6, 0);
}

static void test_half_a_pointer_is_unknown(void)
{
	struct log log = walk(LINK(walk_truncated));

	assert_value(log.step[1].mem, VALUE_UNKNOWN, 0, 0);
	log = walk(LINK(walk_truncated_lea));
	assert_value(log.step[1].mem, VALUE_UNKNOWN, 0, 0);
	log = walk(LINK(walk_truncated_add));
	assert_value(log.step[1].mem, VALUE_UNKNOWN, 0, 0);
}

static void test_a_changed_byte_makes_unknown(void)
{
	struct log log = walk(LINK(walk_byte_changed));

	assert_value(log.step[2].mem, VALUE_UNKNOWN, 0, 0);
	log = walk(LINK(walk_high_byte_changed));
	assert_value(log.step[2].mem, VALUE_UNKNOWN, 0, 0);
}

static void test_indexed_and_segment_addresses_are_unknown(void)
{
	struct log log = walk(LINK(walk_indexed));

	assert_value(log.step[0].mem, VALUE_UNKNOWN, 0, 0);
	g_assert_true(log.step[0].mem_write);
	assert_value(log.step[1].mem, VALUE_UNKNOWN, 0, 0);
}

static void test_implicit_writes(void)
{
	struct log log = walk(LINK(walk_string));

	assert_value(log.step[2].mem, VALUE_UNKNOWN, 0, 0);
	assert_value(log.step[3].mem, VALUE_ARG0, 4, 0);
}

static bool stop_at_second(const struct code_step *step, void *arg)
{
	(void)step;
	return ++*(int *)arg == 2;
}

static void test_the_visitor_stops_it(void)
{
	int n = 0;

	g_assert_cmpint(code_walk(samples_image(), LINK(walk_calls), stop_at_second, &n), ==, 0);
	g_assert_cmpint(n, ==, 2);
}

static void test_only_functions_are_walked(void)
{
	struct log log = { .n = 0 };
	struct image *img = samples_image();

	g_assert_cmpint(code_walk(img, LINK(walk_calls) + 1, note, &log), ==, -ENOENT);
	g_assert_cmpint(code_walk(img, LINK(site_no_fde), note, &log), ==, -ENOENT);
	g_assert_cmpint(code_walk(img, 0, note, &log), ==, -ENOENT);
	g_assert_cmpint(code_walk(img, UINT64_MAX, note, &log), ==, -ENOENT);
	g_assert_cmpint(log.n, ==, 0);
}

static bool count(const struct code_step *step, void *arg)
{
	size_t *total = arg;

	g_assert_cmpuint(step->insn->size, >, 0);
	*total += step->insn->size;
	return false;
}

/* It ends in every function of this program, and never leaves one. */
static void test_every_function_of_this_program(void)
{
	const GArray *functions = samples_image()->functions;

	for (size_t i = 0; i < functions->len; i++) {
		const struct function *fn = &g_array_index(functions, struct function, i);
		size_t total = 0;

		g_assert_cmpint(code_walk(samples_image(), fn->start, count, &total), ==, 0);
		g_assert_cmpuint(total, <=, fn->end - fn->start);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_set_nonfatal_assertions();
	g_test_add_func("/code/getter", test_getter);
	g_test_add_func("/code/what-a-getter-returns", test_what_a_getter_returns);
	g_test_add_func("/code/exchange", test_exchange);
	g_test_add_func("/code/lea-add-sub", test_lea_add_sub);
	g_test_add_func("/code/field", test_field);
	g_test_add_func("/code/calls", test_calls_and_what_they_clobber);
	g_test_add_func("/code/constants", test_constants_and_addresses);
	g_test_add_func("/code/ways-that-meet", test_ways_that_meet);
	g_test_add_func("/code/behind-a-jump", test_behind_a_jump);
	g_test_add_func("/code/half-a-pointer", test_half_a_pointer_is_unknown);
	g_test_add_func("/code/changed-byte", test_a_changed_byte_makes_unknown);
	g_test_add_func("/code/indexed", test_indexed_and_segment_addresses_are_unknown);
	g_test_add_func("/code/implicit-writes", test_implicit_writes);
	g_test_add_func("/code/stopped", test_the_visitor_stops_it);
	g_test_add_func("/code/only-functions", test_only_functions_are_walked);
	g_test_add_func("/code/every-function", test_every_function_of_this_program);
	return g_test_run();
}
