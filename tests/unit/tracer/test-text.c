/* SPDX-License-Identifier: MIT */
/* What text_make_safe() lets through, and what it replaces. */
#include <glib.h>
#include <string.h>

#include "tracer/failure.h"
#include "tracer/text.h"

static void assert_safe(const char *before, const char *after)
{
	g_autofree char *text = g_strdup(before);

	text_make_safe(text);
	g_assert_cmpstr(text, ==, after);
}

static void test_printable_text_stays(void)
{
	assert_safe("", "");
	assert_safe("qemu-system-x86_64 [1] ~", "qemu-system-x86_64 [1] ~");
	assert_safe("z\xc3\xbcrich \xe2\x82\xac \xf0\x9f\x90\x9e",
		    "z\xc3\xbcrich \xe2\x82\xac \xf0\x9f\x90\x9e");
}

static void test_controls_are_replaced(void)
{
	assert_safe("\x1b[2J", "?[2J");
	assert_safe("a\nb\rc\td\be\x7f"
		    "f",
		    "a?b?c?d?e?f");
	for (char c = 1; c < 0x20; c++) {
		const char text[] = { 'x', c, 'y', 0 };

		assert_safe(text, "x?y");
	}
}

/* U+0080..U+009F: CSI is one of them. One '?' or two: no byte of them stays. */
static void test_c1_controls_are_replaced(void)
{
	for (int c = 0x80; c < 0xa0; c++) {
		char text[] = { 'x', (char)0xc2, (char)c, 'y', 0 };

		text_make_safe(text);
		g_assert_true(g_str_is_ascii(text));
		g_assert_true(g_str_has_prefix(text, "x?") && g_str_has_suffix(text, "?y"));
	}
}

static void test_no_utf8_is_replaced(void)
{
	assert_safe("\xff\xfe", "??");
	assert_safe("a\xc3", "a?");		 /* cut short */
	assert_safe("a\xe2\x82", "a??");	 /* cut short */
	assert_safe("\xc0\xaf", "??");		 /* overlong */
	assert_safe("\xed\xa0\x80", "???");	 /* a surrogate */
	assert_safe("\xf4\x90\x80\x80", "????"); /* beyond U+10FFFF */
	assert_safe("\x80ok", "?ok");
}

/* What turns the reading direction round, or begins a line, for a terminal or a browser. */
static void test_format_characters_are_replaced(void)
{
	static const gunichar misleading[] = { 0x200e, 0x200f, 0x202a, 0x202b, 0x202c,
					       0x202d, 0x202e, 0x2066, 0x2067, 0x2068,
					       0x2069, 0x2028, 0x2029, 0x061c };

	for (size_t i = 0; i < G_N_ELEMENTS(misleading); i++) {
		char text[16] = "a";

		text[1 + g_unichar_to_utf8(misleading[i], text + 1)] = 0;
		text_make_safe(text);
		g_test_message("U+%04X", misleading[i]);
		g_assert_true(g_str_is_ascii(text));
	}
}

static void test_every_pair_of_bytes_becomes_valid_and_keeps_its_length(void)
{
	for (int a = 1; a < 256; a++) {
		for (int b = 1; b < 256; b++) {
			char text[] = { (char)a, (char)b, 0 };

			text_make_safe(text);
			g_assert_true(g_utf8_validate(text, 2, NULL));
		}
	}
}

static void test_random_bytes_become_valid(void)
{
	for (int i = 0; i < 10000; i++) {
		char text[32];

		for (size_t k = 0; k + 1 < sizeof(text); k++)
			text[k] = (char)g_test_rand_int_range(1, 256);
		text[sizeof(text) - 1] = 0;
		text_make_safe(text);
		g_assert_cmpuint(strlen(text), ==, sizeof(text) - 1);
		g_assert_true(g_utf8_validate(text, -1, NULL));
	}
}

static void test_identifiers(void)
{
	g_assert_true(text_is_identifier("co_schedule_bh"));
	g_assert_true(text_is_identifier("_9"));
	g_assert_false(text_is_identifier(""));
	g_assert_false(text_is_identifier("a"));
	g_assert_false(text_is_identifier("9a"));
	g_assert_false(text_is_identifier("a b"));
	g_assert_false(text_is_identifier("a\xff"));
	g_assert_false(text_is_identifier("\xff\xff"));
}

static void test_messages_are_one_safe_line(void)
{
	struct failure why = { 0 };

	g_assert_cmpint(fail(&why, -5, "file %s", "a\nb\x1b[31m"), ==, -5);
	g_assert_cmpstr(why.text, ==, "file a?b?[31m");
	g_assert_cmpint(why.err, ==, -5);
	g_assert_cmpint(fail(NULL, -7, "nobody listens"), ==, -7);
}

/* A long name is cut in the middle of a character: the message is valid all the same. */
static void test_long_messages_are_cut_to_valid_text(void)
{
	struct failure why = { 0 };
	GString *name = g_string_new(NULL);

	while (name->len < 2 * sizeof(why.text))
		g_string_append(name, "\xe2\x82\xac");
	for (int i = 0; i < 4; i++) {
		fail(&why, -5, "%*s%s", i, "", name->str);
		g_assert_cmpuint(strlen(why.text), <, sizeof(why.text));
		g_assert_true(g_utf8_validate(why.text, -1, NULL));
	}
	g_string_free(name, TRUE);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_set_nonfatal_assertions();
	g_test_add_func("/text/printable", test_printable_text_stays);
	g_test_add_func("/text/controls", test_controls_are_replaced);
	g_test_add_func("/text/c1-controls", test_c1_controls_are_replaced);
	g_test_add_func("/text/no-utf8", test_no_utf8_is_replaced);
	g_test_add_func("/text/format-characters", test_format_characters_are_replaced);
	g_test_add_func("/text/pairs", test_every_pair_of_bytes_becomes_valid_and_keeps_its_length);
	g_test_add_func("/text/random", test_random_bytes_become_valid);
	g_test_add_func("/text/identifiers", test_identifiers);
	g_test_add_func("/text/messages", test_messages_are_one_safe_line);
	g_test_add_func("/text/long-messages", test_long_messages_are_cut_to_valid_text);
	return g_test_run();
}
