/* SPDX-License-Identifier: MIT */
/* Error objects: who gets one, what it says, what the special destinations do. */
#include "osdep.h"
#include "error.h"
#include "error-report.h"

static void fails(Error **errp)
{
	error_setg(errp, "it %s", "failed");
}

static void assert_says(Error *err, const char *message)
{
	g_assert_nonnull(err);
	g_assert_cmpstr(error_get_pretty(err), ==, message);
	error_free(err);
}

static void test_set(void)
{
	Error *err = NULL;

	fails(NULL); /* nobody cares */

	error_setg_errno(&err, ENOENT, "open %d", 1);
	g_assert_cmpint(error_get_class(err), ==, ERROR_CLASS_GENERIC_ERROR);
	assert_says(g_steal_pointer(&err), "open 1: No such file or directory");

	error_setg_errno(&err, 0, "open");
	assert_says(g_steal_pointer(&err), "open");

	error_setg_file_open(&err, EACCES, "/x");
	assert_says(g_steal_pointer(&err), "Could not open '/x': Permission denied");

	error_set(&err, ERROR_CLASS_DEVICE_NOT_FOUND, "no %s", "device");
	g_assert_cmpint(error_get_class(err), ==, ERROR_CLASS_DEVICE_NOT_FOUND);
	assert_says(g_steal_pointer(&err), "no device");

	errno = EINTR;
	fails(&err);
	g_assert_cmpint(errno, ==, EINTR);
	error_free_or_abort(&err);
	g_assert_null(err);
}

static void test_copy(void)
{
	Error *err = NULL, *copy;

	error_set(&err, ERROR_CLASS_KVM_MISSING_CAP, "one");
	copy = error_copy(err);
	error_prepend(&err, "twenty-");
	g_assert_cmpint(error_get_class(copy), ==, ERROR_CLASS_KVM_MISSING_CAP);
	assert_says(copy, "one");
	assert_says(err, "twenty-one");
	error_free(NULL);
}

static void test_propagate(void)
{
	Error *first = NULL, *second = NULL, *dst = NULL;

	error_propagate(&dst, NULL);
	g_assert_null(dst);

	error_setg(&first, "first");
	error_setg(&second, "second");
	error_propagate_prepend(&dst, g_steal_pointer(&first), "%d: ", 1);
	error_propagate(&dst, second); /* the first one stays */
	assert_says(dst, "1: first");

	error_setg(&first, "ignored");
	error_propagate(NULL, first);
}

/* A caller that passes NULL does not make it blind. */
static bool guarded(Error **errp, const char *front)
{
	ERRP_GUARD();

	fails(errp);
	if (!*errp)
		return false;
	error_prepend(errp, "%s: ", front);
	error_append_hint(errp, "Try again.\n");
	return true;
}

static void test_guard(void)
{
	Error *err = NULL;

	g_assert_true(guarded(NULL, "x"));
	g_assert_true(guarded(&err, "x"));
	assert_says(err, "x: it failed");
}

static void test_fatal(void)
{
	if (g_test_subprocess()) {
		guarded(&error_fatal, "fatal");
		return;
	}
	g_test_trap_subprocess(NULL, 0, 0);
	g_test_trap_assert_failed();
	g_assert_false(g_test_trap_reached_timeout());
	/* What was added after it was set is there too: that is what the guard is for. */
	g_test_trap_assert_stderr("*fatal: it failed\nTry again.\n*");
}

static void test_abort(void)
{
	if (g_test_subprocess()) {
		guarded(&error_abort, "abort");
		return;
	}
	g_test_trap_subprocess(NULL, 0, 0);
	g_test_trap_assert_failed();
	g_test_trap_assert_stderr("*Unexpected error in fails() at *test-error.c:*it failed*");
}

static void test_none_to_free(void)
{
	if (g_test_subprocess()) {
		Error *err = NULL;

		error_free_or_abort(&err);
		return;
	}
	g_test_trap_subprocess(NULL, 0, 0);
	g_test_trap_assert_failed();
}

static void test_warn(void)
{
	if (g_test_subprocess()) {
		fails(&error_warn);
		g_assert_null(error_warn);
		for (int i = 0; i < 2; i++) {
			Error *err = NULL;

			fails(&err);
			g_assert_true(warn_report_err_once(err) == (i == 0));
			fails(NULL);
		}
		for (int i = 0; i < 2; i++) {
			Error *err = NULL;

			error_setg(&err, "reported");
			if (i == 0)
				error_reportf_err(err, "E%d ", i);
			else
				warn_reportf_err(err, "W%d ", i);
		}
		return;
	}
	g_test_trap_subprocess(NULL, 0, 0);
	g_test_trap_assert_passed();
	g_test_trap_assert_stderr("*warning: it failed\n*warning: it failed\n"
				  "*: E0 reported\n*warning: W1 reported\n");
	g_test_trap_assert_stderr_unmatched("*failed*failed*failed*");
}

static void test_report(void)
{
	if (g_test_subprocess()) {
		error_report("one %d", 1);
		info_report("two");
		for (int i = 0; i < 3; i++) {
			g_assert_true(warn_report_once("three %d", i) == (i == 0));
			g_assert_true(error_report_once("four") == (i == 0));
		}
		g_assert_cmpint(error_printf("%s\n", "five"), ==, 5);
		return;
	}
	g_test_trap_subprocess(NULL, 0, 0);
	g_test_trap_assert_passed();
	g_test_trap_assert_stderr("*: one 1\n*: info: two\n*: warning: three 0\n*: four\nfive\n");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/error/says-what-was-said", test_set);
	g_test_add_func("/error/copy-is-its-own", test_copy);
	g_test_add_func("/error/first-one-is-handed-on", test_propagate);
	g_test_add_func("/error/guard-lets-it-be-looked-at", test_guard);
	g_test_add_func("/error/fatal-ends-the-program-with-the-hint", test_fatal);
	g_test_add_func("/error/abort-names-the-place", test_abort);
	g_test_add_func("/error/none-to-free-aborts", test_none_to_free);
	g_test_add_func("/error/warnings-go-on", test_warn);
	g_test_add_func("/error/messages-to-a-person", test_report);
	return g_test_run();
}
