// SPDX-License-Identifier: MIT
/* A layout as BTF: bpf programs with CO-RE accesses find its offsets, and not what it lacks. */
#include <bpf/bpf.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <unistd.h>

#include "tests/unit/tracer/fields.skel.h"
#include "tracer/attach.h"
#include "tracer/layout.h"

static struct layout *some_layout(bool with_name)
{
	struct image program = { .name = (char *)"some" };
	struct layout *l = layout_new(LAYOUT_INFERRED, &program);

	layout_set(l, CTX_NOTIFY_ME, 160, "x");
	layout_set(l, CTX_NOTIFIER_RFD, 196, "x");
	layout_set(l, CTX_NOTIFIER_WFD, 200, "x");
	layout_set(l, BH_FLAGS, 40, "x");
	if (with_name)
		layout_set(l, BH_NAME, 8, "x");
	return l;
}

static void load_with(struct layout *l, bool expect_name)
{
	g_autofree char *path = g_strdup_printf("%s/layout-%d.btf", g_get_tmp_dir(), getpid());
	LIBBPF_OPTS(bpf_object_open_opts, opts, .btf_custom_path = path);
	LIBBPF_OPTS(bpf_test_run_opts, run);
	struct failure why = { 0 };
	struct fields_bpf *skel;

	g_assert_cmpint(layout_write_btf(l, path, &why), ==, 0);
	skel = fields_bpf__open_opts(&opts);
	g_assert_nonnull(skel);
	if (geteuid()) {
		g_test_skip("only root may load bpf programs");
	} else {
		g_assert_cmpint(fields_bpf__load(skel), ==, 0);
		g_assert_cmpint(bpf_prog_test_run_opts(bpf_program__fd(skel->progs.look), &run), ==,
				0);
		g_assert_cmpint(skel->bss->notify_me, ==, 160);
		g_assert_cmpint(skel->bss->wfd, ==, 200);
		g_assert_cmpint(skel->bss->flags, ==, 40);
		g_assert_cmpint(skel->bss->name_exists, ==, expect_name);
		g_assert_cmpint(skel->bss->other_exists, ==, 0);
	}
	fields_bpf__destroy(skel);
	g_unlink(path);
	layout_free(l);
}

static void test_offsets_are_found(void)
{
	load_with(some_layout(true), true);
}

static void test_an_unknown_field_does_not_exist(void)
{
	load_with(some_layout(false), false);
}

static void test_a_path_that_cannot_be_written_is_named(void)
{
	struct layout *l = some_layout(true);
	struct failure why = { 0 };

	g_assert_cmpint(layout_write_btf(l, "/nowhere/x.btf", &why), ==, -EIO);
	g_assert_nonnull(strstr(why.text, "/nowhere/x.btf"));
	layout_free(l);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	attach_set_verbose(g_test_verbose());
	g_test_add_func("/btf/offsets", test_offsets_are_found);
	g_test_add_func("/btf/unknown-field", test_an_unknown_field_does_not_exist);
	g_test_add_func("/btf/path", test_a_path_that_cannot_be_written_is_named);
	return g_test_run();
}
