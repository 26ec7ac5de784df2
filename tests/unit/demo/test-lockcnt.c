/* SPDX-License-Identifier: MIT */
/* QemuLockCnt and QemuEvent: the two that are our own down to the futex. */
#include "loop-test.h"
#include "atomic.h"

static QemuLockCnt lockcnt;

static void test_counts(void)
{
	qemu_lockcnt_init(&lockcnt);
	qemu_lockcnt_inc(&lockcnt);
	qemu_lockcnt_inc(&lockcnt);
	g_assert_cmpuint(qemu_lockcnt_count(&lockcnt), ==, 2);
	g_assert_false(qemu_lockcnt_dec_if_lock(&lockcnt)); /* not the last: changes nothing */
	g_assert_cmpuint(qemu_lockcnt_count(&lockcnt), ==, 2);
	g_assert_false(qemu_lockcnt_dec_and_lock(&lockcnt));
	g_assert_cmpuint(qemu_lockcnt_count(&lockcnt), ==, 1);

	g_assert_true(qemu_lockcnt_dec_if_lock(&lockcnt));
	g_assert_cmpuint(qemu_lockcnt_count(&lockcnt), ==, 0);
	qemu_lockcnt_inc_and_unlock(&lockcnt);
	g_assert_cmpuint(qemu_lockcnt_count(&lockcnt), ==, 1);

	/* A visitor does not keep anybody from the lock, nor the lock a second visitor out. */
	qemu_lockcnt_lock(&lockcnt);
	qemu_lockcnt_inc(&lockcnt);
	qemu_lockcnt_dec(&lockcnt);
	qemu_lockcnt_unlock(&lockcnt);

	g_assert_true(qemu_lockcnt_dec_and_lock(&lockcnt));
	qemu_lockcnt_unlock(&lockcnt);
	qemu_lockcnt_destroy(&lockcnt);
}

#define THREADS 4
#define ROUNDS	20000

static unsigned under_lock; /* plain: the lock must do */
static int *shared;	    /* replaced under the lock, read by visitors */
static unsigned reads;

static void *visitor(void *opaque G_GNUC_UNUSED)
{
	for (int i = 0; i < ROUNDS; i++) {
		qemu_lockcnt_inc(&lockcnt);
		if (*qatomic_rcu_read(&shared) == 42)
			qatomic_inc(&reads);
		if (qemu_lockcnt_dec_and_lock(&lockcnt)) {
			/* Nobody visits: what they might have seen can go. */
			int *old = shared;
			int *fresh = g_new(int, 1);

			*fresh = 42;
			qatomic_rcu_set(&shared, fresh);
			g_free(old);
			under_lock++;
			qemu_lockcnt_unlock(&lockcnt);
		} else {
			qemu_lockcnt_lock(&lockcnt);
			under_lock++;
			qemu_lockcnt_unlock(&lockcnt);
		}
	}
	return NULL;
}

static void test_excludes(void)
{
	QemuThread threads[THREADS];

	qemu_lockcnt_init(&lockcnt);
	shared = g_new(int, 1);
	*shared = 42;
	for (int i = 0; i < THREADS; i++)
		qemu_thread_create(&threads[i], "visitor", visitor, NULL, QEMU_THREAD_JOINABLE);
	for (int i = 0; i < THREADS; i++)
		qemu_thread_join(&threads[i]);

	g_assert_cmpuint(under_lock, ==, THREADS * ROUNDS);
	g_assert_cmpuint(reads, ==, THREADS * ROUNDS);
	g_free(shared);
	qemu_lockcnt_destroy(&lockcnt);
}

static QemuEvent ping, pong;
static unsigned ball;

static void *return_balls(void *opaque G_GNUC_UNUSED)
{
	for (int i = 0; i < ROUNDS; i++) {
		qemu_event_wait(&ping);
		qemu_event_reset(&ping);
		ball++;
		qemu_event_set(&pong);
	}
	return NULL;
}

static void test_event(void)
{
	QemuThread thread;

	qemu_event_init(&ping, false);
	qemu_event_init(&pong, false);
	qemu_thread_create(&thread, "returner", return_balls, NULL, QEMU_THREAD_JOINABLE);
	for (int i = 0; i < ROUNDS; i++) {
		ball++;
		qemu_event_set(&ping);
		qemu_event_wait(&pong);
		qemu_event_reset(&pong);
	}
	qemu_thread_join(&thread);
	g_assert_cmpuint(ball, ==, 2 * ROUNDS);
	qemu_event_destroy(&ping);
	qemu_event_destroy(&pong);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/lockcnt/last-visitor-gets-the-lock", test_counts);
	g_test_add_func("/lockcnt/excludes-changers-and-protects-visitors", test_excludes);
	g_test_add_func("/event/hands-over-each-time", test_event);
	return g_test_run();
}
