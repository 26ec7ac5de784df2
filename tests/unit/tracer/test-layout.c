/* SPDX-License-Identifier: MIT */
/* A layout to JSON and back, and JSON that is no layout. */
#include <errno.h>
#include <string.h>

#include "tests/unit/tracer/samples.h"
#include "tracer/layout.h"

/* Of a program only its name and build are asked for here. */
static struct image program = { .name = (char *)"program", .build_id = "00112233" };

static struct layout *some_layout(void)
{
	struct layout *l = layout_new(LAYOUT_INFERRED, &program);

	for (int f = 0; f < N_LAYOUT_FIELDS; f++)
		layout_set(l, f, f % 3 ? 8 * f : LAYOUT_UNKNOWN, "proof %d of \"%s\"", f,
			   layout_field_path(f));
	for (int g = 0; g < N_LAYOUT_GLOBALS; g++)
		l->global[g] = g == 1 ? 0 : 0x123456789abcULL + g;
	l->size[TYPE_CTX] = 584;
	layout_note(l, "a note of %d", 2001);
	return l;
}

/* By way of text, as in a file. */
static json_t *some_json(void)
{
	struct layout *l = some_layout();
	json_t *json = layout_to_json(l), *again;
	char *text;

	g_assert_nonnull(json);
	text = json_dumps(json, JSON_INDENT(1));
	again = json_loads(text, 0, NULL);
	g_assert_nonnull(again);
	free(text);
	json_decref(json);
	layout_free(l);
	return again;
}

static void test_round_trip(void)
{
	struct layout *before = some_layout(), *after = NULL;
	json_t *json = some_json();

	g_assert_cmpint(layout_from_json(json, &program, &after, NULL), ==, 0);
	g_assert_cmpint(after->source, ==, LAYOUT_INFERRED);
	g_assert_cmpstr(after->exe, ==, "program");
	g_assert_cmpstr(after->build_id, ==, "00112233");
	for (int f = 0; f < N_LAYOUT_FIELDS; f++) {
		g_assert_cmpint(after->off[f], ==, before->off[f]);
		g_assert_cmpstr(after->proof[f], ==, before->proof[f]);
	}
	for (int g = 0; g < N_LAYOUT_GLOBALS; g++)
		g_assert_cmphex(after->global[g], ==, before->global[g]);
	for (int t = 0; t < N_LAYOUT_TYPES; t++)
		g_assert_cmpuint(after->size[t], ==, before->size[t]);
	json_decref(json);
	layout_free(before);
	layout_free(after);
}

static void test_source_survives(void)
{
	struct layout *dwarf = layout_new(LAYOUT_DWARF, &program), *again = NULL;
	json_t *json = layout_to_json(dwarf);

	g_assert_cmpint(layout_from_json(json, &program, &again, NULL), ==, 0);
	g_assert_cmpint(again->source, ==, LAYOUT_DWARF);
	json_decref(json);
	layout_free(dwarf);
	layout_free(again);
}

/* A field that another version knows is passed over; one that is missing is unknown. */
static void test_fields_come_and_go(void)
{
	json_t *json = some_json(), *fields = json_object_get(json, "fields");
	struct layout *l = NULL;

	json_array_remove(fields, 1);
	json_array_append_new(fields, json_pack("{s:s, s:s, s:i}", "struct", "AioContext", "field",
						"of.the.future", "offset", 8));
	g_assert_cmpint(layout_from_json(json, &program, &l, NULL), ==, 0);
	g_assert_cmpint(l->off[1], ==, LAYOUT_UNKNOWN);
	g_assert_cmpint(l->off[2], ==, 16);
	json_decref(json);
	layout_free(l);
}

/* Refused with -EINVAL and a message, the result untouched. Takes the reference. */
static void assert_refused(json_t *json, const char *what)
{
	struct layout *untouched = (struct layout *)&program, *l = untouched;
	struct failure why = { 0 };
	int err;

	g_test_message("%s", what);
	g_assert_nonnull(json);
	err = layout_from_json(json, &program, &l, &why);
	g_assert_cmpint(err, ==, -EINVAL);
	if (err) {
		g_assert_cmpuint(strlen(why.text), >, 0);
		g_assert_true(l == untouched);
	} else {
		layout_free(l);
	}
	json_decref(json);
}

static void test_what_is_no_layout_is_refused(void)
{
	static const char *const texts[] = { "[]", "{}", "[1]", "{\"type\": \"layout\"}",
					     "{\"type\": 1, \"version\": \"x\"}" };

	for (size_t i = 0; i < G_N_ELEMENTS(texts); i++)
		assert_refused(json_loads(texts[i], 0, NULL), texts[i]);
}

static void test_each_key_is_needed_and_of_its_type(void)
{
	static const char *const keys[] = { "type",   "version", "source", "build_id",
					    "fields", "globals", "sizes" };

	for (size_t i = 0; i < G_N_ELEMENTS(keys); i++) {
		g_autofree char *without = g_strdup_printf("without %s", keys[i]);
		g_autofree char *null = g_strdup_printf("%s is null", keys[i]);
		g_autofree char *real = g_strdup_printf("%s is 1.5", keys[i]);
		json_t *json = some_json();

		json_object_del(json, keys[i]);
		assert_refused(json, without);
		json = some_json();
		json_object_set_new(json, keys[i], json_null());
		assert_refused(json, null);
		json = some_json();
		json_object_set_new(json, keys[i], json_real(1.5));
		assert_refused(json, real);
	}
}

static void test_another_version_or_build_is_refused(void)
{
	json_t *json = some_json();

	json_object_set_new(json, "version", json_integer(2));
	assert_refused(json, "version 2");
	json = some_json();
	json_object_set_new(json, "build_id", json_string("00112234"));
	assert_refused(json, "another build");
	json = some_json();
	json_object_set_new(json, "type", json_string("total"));
	assert_refused(json, "another type");
	json = some_json();
	json_object_set_new(json, "source", json_string("hearsay"));
	assert_refused(json, "another source");
}

/* Set a key of the second field. */
static json_t *with_field(const char *key, json_t *value)
{
	json_t *json = some_json();

	json_object_set_new(json_array_get(json_object_get(json, "fields"), 1), key, value);
	return json;
}

static void test_damaged_fields_are_refused(void)
{
	json_t *json = some_json();

	assert_refused(with_field("offset", json_integer(-1)), "offset -1");
	assert_refused(with_field("offset", json_integer(1LL << 40)), "offset 2^40");
	assert_refused(with_field("offset", json_string("8")), "offset \"8\"");
	assert_refused(with_field("offset", json_real(8)), "offset 8.0");
	assert_refused(with_field("offset", json_true()), "offset true");
	assert_refused(with_field("struct", json_integer(1)), "struct 1");
	assert_refused(with_field("field", json_null()), "field null");
	assert_refused(with_field("proof", json_integer(1)), "proof 1");
	json_array_set_new(json_object_get(json, "fields"), 0, json_integer(7));
	assert_refused(json, "a field that is a number");
}

static json_t *with_inner(const char *object, const char *key, json_t *value)
{
	json_t *json = some_json();

	json_object_set_new(json_object_get(json, object), key, value);
	return json;
}

static void test_damaged_globals_and_sizes_are_refused(void)
{
	assert_refused(with_inner("globals", "qemu_aio_context", json_string("x")), "global \"x\"");
	assert_refused(with_inner("globals", "qemu_aio_context", json_integer(-8)), "global -8");
	assert_refused(with_inner("sizes", "AioContext", json_string("x")), "size \"x\"");
	assert_refused(with_inner("sizes", "AioContext", json_integer(-1)), "size -1");
	assert_refused(with_inner("sizes", "AioContext", json_integer(1LL << 33)), "size 2^33");
}

/* Any single value of the JSON replaced by something else: accepted or refused, and no crash. */
static void test_any_value_may_be_wrong(void)
{
	json_t *bad[] = {
		json_null(),	  json_true(),	   json_integer(-1),	    json_integer(INT64_MAX),
		json_real(1e300), json_string(""), json_string("\x1b[31m"), json_array(),
		json_object()
	};

	for (size_t b = 0; b < G_N_ELEMENTS(bad); b++) {
		const char *const keys[] = { "struct", "field", "offset", "size", "proof" };

		for (size_t k = 0; k < G_N_ELEMENTS(keys); k++) {
			json_t *json = with_field(keys[k], json_incref(bad[b]));
			struct failure why = { 0 };
			struct layout *l = NULL;

			if (!layout_from_json(json, &program, &l, &why))
				for (int f = 0; f < N_LAYOUT_FIELDS; f++)
					g_assert_cmpint(l->off[f], >=, LAYOUT_UNKNOWN);
			layout_free(l);
			json_decref(json);
		}
		json_decref(bad[b]);
	}
}

static void test_get_stays_inside(void)
{
	struct layout *l = layout_new(LAYOUT_INFERRED, &program);
	uint8_t bytes[16] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 };

	g_assert_cmphex(layout_get(l, CTX_HANDLERS, bytes, sizeof(bytes)), ==, 0);
	layout_set(l, CTX_HANDLERS, 8, "x");
	layout_set(l, NODE_EVENTS, 14, "x");
	layout_set(l, CTX_NOTIFIED, 15, "x");
	g_assert_cmphex(layout_get(l, CTX_HANDLERS, bytes, 16), ==, 0x100f0e0d0c0b0a09ULL);
	g_assert_cmphex(layout_get(l, CTX_HANDLERS, bytes, 15), ==, 0);
	g_assert_cmphex(layout_get(l, NODE_EVENTS, bytes, 16), ==, 0x100f);
	g_assert_cmphex(layout_get(l, CTX_NOTIFIED, bytes, 16), ==, 0x10);
	g_assert_cmphex(layout_get(l, CTX_NOTIFIED, bytes, 0), ==, 0);
	g_assert_cmpuint(layout_extent(l, "AioContext"), ==, 16);
	g_assert_cmpuint(layout_extent(l, "AioHandler"), ==, 16);
	g_assert_cmpuint(layout_extent(l, "QEMUBH"), ==, 0);
	layout_free(l);
}

static void test_this_program_has_no_layout(void)
{
	struct layout *l = NULL;
	struct failure why = { 0 };

	g_assert_cmpint(layout_from_dwarf(samples_image(), &l, &why), ==, -ENOENT);
	g_assert_null(l);
	g_assert_nonnull(strstr(why.text, "test-layout"));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_set_nonfatal_assertions();
	g_test_add_func("/layout/round-trip", test_round_trip);
	g_test_add_func("/layout/source", test_source_survives);
	g_test_add_func("/layout/fields-come-and-go", test_fields_come_and_go);
	g_test_add_func("/layout/no-layout", test_what_is_no_layout_is_refused);
	g_test_add_func("/layout/keys", test_each_key_is_needed_and_of_its_type);
	g_test_add_func("/layout/version-and-build", test_another_version_or_build_is_refused);
	g_test_add_func("/layout/damaged-fields", test_damaged_fields_are_refused);
	g_test_add_func("/layout/damaged-globals", test_damaged_globals_and_sizes_are_refused);
	g_test_add_func("/layout/any-value", test_any_value_may_be_wrong);
	g_test_add_func("/layout/get", test_get_stays_inside);
	g_test_add_func("/layout/not-here", test_this_program_has_no_layout);
	return g_test_run();
}
