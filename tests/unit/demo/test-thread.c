/* SPDX-License-Identifier: MIT */
/* Locks, guards, waits with a limit, what a thread is asked when it starts and told when it ends.
 */
#include "osdep.h"
#include "lockable.h"

static QemuMutex mutex;
static QemuRecMutex rec_mutex;
static QemuSpin spin;

/* From another thread: who has a recursive lock gets it again. */
static void *try_all(void *opaque)
{
	int *free_locks = opaque;

	*free_locks = 0;
	if (!qemu_mutex_trylock(&mutex)) {
		qemu_mutex_unlock(&mutex);
		*free_locks |= 1;
	}
	if (!qemu_rec_mutex_trylock(&rec_mutex)) {
		qemu_rec_mutex_unlock(&rec_mutex);
		*free_locks |= 2;
	}
	if (!qemu_spin_trylock(&spin)) {
		qemu_spin_unlock(&spin);
		*free_locks |= 4;
	}
	return NULL;
}

static int free_locks(void)
{
	QemuThread thread;
	int found;

	qemu_thread_create(&thread, "try-all", try_all, &found, QEMU_THREAD_JOINABLE);
	qemu_thread_join(&thread);
	return found;
}

static int returns_early(void)
{
	QEMU_LOCK_GUARD(&mutex);
	WITH_QEMU_LOCK_GUARD (&rec_mutex) {
		QEMU_LOCK_GUARD(&rec_mutex); /* again: it is recursive */
		return free_locks();
	}
	g_assert_not_reached();
}

static void test_guards(void)
{
	qemu_mutex_init(&mutex);
	qemu_rec_mutex_init(&rec_mutex);
	qemu_spin_init(&spin);
	g_assert_cmpint(free_locks(), ==, 7);
	g_assert_cmpint(returns_early(), ==, 4);
	g_assert_cmpint(free_locks(), ==, 7);

	for (int i = 0; i < 3; i++) {
		WITH_QEMU_LOCK_GUARD (&spin) {
			g_assert_true(qemu_spin_locked(&spin));
			g_assert_cmpint(free_locks(), ==, 3);
			if (i == 1)
				break;
		}
		g_assert_false(qemu_spin_locked(&spin));
	}
	{
		QemuLockable *any = QEMU_MAKE_LOCKABLE(&mutex);
		QEMU_LOCK_GUARD(any);
		QEMU_LOCK_GUARD(&spin);

		g_assert_cmpint(free_locks(), ==, 2);
		g_assert_null(QEMU_MAKE_LOCKABLE((QemuMutex *)NULL));
		QEMU_LOCK_GUARD((QemuMutex *)NULL);
		g_assert_null(QEMU_MAKE_LOCKABLE(NULL));
	}
	g_assert_cmpint(free_locks(), ==, 7);

	qemu_spin_destroy(&spin);
	qemu_rec_mutex_destroy(&rec_mutex);
	qemu_mutex_destroy(&mutex);
}

static unsigned counted; /* under spin */

static void *count(void *opaque G_GNUC_UNUSED)
{
	for (int i = 0; i < 10000; i++) {
		qemu_spin_lock(&spin);
		counted++;
		qemu_spin_unlock(&spin);
	}
	return NULL;
}

static void test_spin(void)
{
	QemuThread threads[2];

	qemu_spin_init(&spin);
	for (int i = 0; i < 2; i++)
		qemu_thread_create(&threads[i], "count", count, NULL, QEMU_THREAD_JOINABLE);
	for (int i = 0; i < 2; i++)
		qemu_thread_join(&threads[i]);
	g_assert_cmpuint(counted, ==, 20000);
}

static void test_limits(void)
{
	QemuSemaphore sem;
	QemuCond cond;

	qemu_mutex_init(&mutex);
	qemu_cond_init(&cond);
	qemu_sem_init(&sem, 1);
	g_assert_cmpint(qemu_sem_timedwait(&sem, 0), ==, 0);
	g_assert_cmpint(qemu_sem_timedwait(&sem, 0), ==, -1);
	g_assert_cmpint(qemu_sem_timedwait(&sem, 1), ==, -1);

	qemu_mutex_lock(&mutex);
	g_assert_false(qemu_cond_timedwait(&cond, &mutex, 1));
	g_assert_cmpint(qemu_mutex_trylock(&mutex), ==, -EBUSY); /* ours again after the wait */
	qemu_mutex_unlock(&mutex);

	qemu_sem_destroy(&sem);
	qemu_cond_destroy(&cond);
	qemu_mutex_destroy(&mutex);
}

static GString *ended;

typedef struct Ender {
	Notifier notifier;
	char name;
} Ender;

static void ender_notify(Notifier *notifier, void *data)
{
	g_assert_null(data);
	g_string_append_c(ended, container_of(notifier, Ender, notifier)->name);
}

static void *thread_main(void *opaque)
{
	Ender *enders = opaque;
	char comm[16];
	sigset_t blocked;
	QemuThread self;

	pthread_getname_np(pthread_self(), comm, sizeof(comm));
	g_assert_cmpstr(comm, ==, "a-name-of-more-");

	/* Signals are the main thread's. */
	pthread_sigmask(SIG_BLOCK, NULL, &blocked);
	g_assert_true(sigismember(&blocked, SIGTERM));
	g_assert_false(sigismember(&blocked, SIGSEGV));

	qemu_thread_get_self(&self);
	g_assert_true(qemu_thread_is_self(&self));
	for (int i = 0; i < 3; i++)
		qemu_thread_atexit_add(&enders[i].notifier);
	qemu_thread_atexit_remove(&enders[1].notifier);
	qemu_thread_exit(enders);
}

static void test_thread(void)
{
	Ender enders[3];
	QemuThread thread;

	ended = g_string_new(NULL);
	for (int i = 0; i < 3; i++)
		enders[i] = (Ender){ { .notify = ender_notify }, (char)('a' + i) };
	qemu_thread_create(&thread, "a-name-of-more-than-15-bytes", thread_main, enders,
			   QEMU_THREAD_JOINABLE);
	g_assert_false(qemu_thread_is_self(&thread));
	g_assert_true(qemu_thread_join(&thread) == enders);
	g_assert_cmpstr(ended->str, ==, "ca");
	g_string_free(ended, TRUE);
}

static void *is_nameless(void *opaque G_GNUC_UNUSED)
{
	char comm[16];

	pthread_getname_np(pthread_self(), comm, sizeof(comm));
	return strcmp(comm, "named") ? opaque : NULL;
}

static void test_no_names(void)
{
	QemuThread thread;

	qemu_thread_naming(false);
	qemu_thread_create(&thread, "named", is_nameless, &thread, QEMU_THREAD_JOINABLE);
	g_assert_true(qemu_thread_join(&thread) == &thread);
	qemu_thread_naming(true);
	qemu_thread_create(&thread, "named", is_nameless, &thread, QEMU_THREAD_JOINABLE);
	g_assert_null(qemu_thread_join(&thread));
}

static void test_affinity(void)
{
	unsigned long *all, *one, nbits, n, first = 0;
	QemuThread self;

	qemu_thread_get_self(&self);
	g_assert_cmpint(qemu_thread_get_affinity(&self, &all, &nbits), ==, 0);
	while (!(all[first / 64] >> (first % 64) & 1))
		g_assert_cmpuint(++first, <, nbits);

	one = g_new0(unsigned long, nbits / 64);
	one[first / 64] = 1UL << (first % 64);
	g_assert_cmpint(qemu_thread_set_affinity(&self, one, nbits), ==, 0);
	g_free(one);
	g_assert_cmpint(qemu_thread_get_affinity(&self, &one, &n), ==, 0);
	for (unsigned long cpu = 0; cpu < n; cpu++)
		g_assert_cmpint(one[cpu / 64] >> (cpu % 64) & 1, ==, cpu == first);

	memset(one, 0, n / 8);
	g_assert_cmpint(qemu_thread_set_affinity(&self, one, n), ==, -EINVAL);
	g_assert_cmpint(qemu_thread_set_affinity(&self, all, nbits), ==, 0);
	g_free(one);
	g_free(all);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/thread/guards-unlock-at-the-end-of-their-scope", test_guards);
	g_test_add_func("/thread/spin-lock-excludes", test_spin);
	g_test_add_func("/thread/waits-end-at-their-limit", test_limits);
	g_test_add_func("/thread/has-its-name-and-tells-when-it-ends", test_thread);
	g_test_add_func("/thread/has-no-name-where-that-is-off", test_no_names);
	g_test_add_func("/thread/runs-on-the-cpus-it-is-given", test_affinity);
	return g_test_run();
}
