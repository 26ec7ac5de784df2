/* SPDX-License-Identifier: MIT */
/* The thread that stands for a vCPU: it works under the BQL, and it ends whatever it waits for. */
#include "loop-test.h"
#include "demo.h"

static unsigned calls;

static void work_cb(void *opaque G_GNUC_UNUSED)
{
	g_assert_true(bql_locked());
	calls++;
}

/* Between the two the BQL is never free: what a signal does that ends the loop before its poll. */
static void test_end_before_work(void)
{
	bql_lock();
	for (unsigned i = 1; i <= 100; i++) {
		demo_vcpu_create();
		demo_vcpu_run(work_cb, NULL);
		demo_vcpu_destroy();
		g_assert_true(bql_locked());
		g_assert_cmpuint(calls, ==, i);
	}
	bql_unlock();
}

static void test_end_after_work(void)
{
	unsigned before = calls;
	bool done = false;

	bql_lock();
	demo_vcpu_create();
	demo_vcpu_run(work_cb, NULL);
	while (!done) {
		bql_unlock();
		g_usleep(50);
		bql_lock();
		done = calls == before + 1;
	}
	demo_vcpu_destroy();
	g_assert_cmpuint(calls, ==, before + 1);
	bql_unlock();
}

static void test_end_without_work(void)
{
	unsigned before = calls;

	bql_lock();
	demo_vcpu_create();
	demo_vcpu_destroy();
	g_assert_cmpuint(calls, ==, before);
	bql_unlock();
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/vcpu/ended-while-it-waits-for-the-bql-it-works-first",
			test_end_before_work);
	g_test_add_func("/vcpu/ended-after-its-work", test_end_after_work);
	g_test_add_func("/vcpu/ended-without-work", test_end_without_work);
	return g_test_run();
}
