/* SPDX-License-Identifier: MIT */
/* A process that records itself, and reads its recording: threads that come and go, names. */
#include "loop-test.h"
#include <glib/gstdio.h>
#include "self-record.h"
#include "trace/ctf-reader.h"
#include "trace/loop_probes.h"

#define ROUNDS	  50
#define AT_ONCE	  4
#define EACH	  2000
#define N_THREADS (ROUNDS * AT_ONCE)

static char *directory;
static pthread_key_t late_key;

static void one_event(uint64_t thread, uint64_t number)
{
	probe_poll_exit((void *)(uintptr_t)thread, number);
}

/* A destructor of thread-specific data, called after the one that gave the thread's ring away. */
static void late_event(void *thread)
{
	one_event((uintptr_t)thread, EACH);
}

static void *many_events(void *thread)
{
	for (int i = 0; i < EACH; i++)
		one_event((uintptr_t)thread, i);
	pthread_setspecific(late_key, thread);
	return NULL;
}

static void failed(int err)
{
	g_error("%s", strerror(-err));
}

static void record_threads(SelfRecordStats *stats)
{
	QemuThread threads[AT_ONCE];
	Error *err = NULL;

	g_assert_cmpint(self_record_begin(directory, 1 << 20, failed, &err), ==, 0);
	pthread_key_create(&late_key, late_event); /* after the recorder's own */
	for (uintptr_t round = 0; round < ROUNDS; round++) {
		for (uintptr_t i = 0; i < AT_ONCE; i++)
			qemu_thread_create(&threads[i], "comes-and-goes", many_events,
					   (void *)(1 + round * AT_ONCE + i), QEMU_THREAD_JOINABLE);
		for (int i = 0; i < AT_ONCE; i++)
			qemu_thread_join(&threads[i]);
	}
	g_assert_true(self_record_end(stats));
	g_assert_false(self_record_end(stats));
	one_event(0, 0); /* nobody listens any more */
	g_assert_cmpint(self_record_begin(directory, 4096, failed, &err), ==, -EBUSY);
	error_free(err);
}

/* Each of the threads once, each of its events once and in order, its name, and nothing lost. */
static void read_threads(void)
{
	struct ctf_reader *reader = ctf_reader_new();
	uint64_t next[N_THREADS + 1] = { 0 };
	const struct loop_event *event;
	unsigned names = 0;
	int ret;

	g_assert_cmpint(ctf_reader_open(reader, directory), ==, 0);
	while ((ret = ctf_reader_next(reader, &event)) > 0) {
		if (event->id == LOOP_EV_POLL_EXIT) {
			const struct loop_poll_exit *e = (const struct loop_poll_exit *)event;

			g_assert_cmpuint(e->ctx, >=, 1);
			g_assert_cmpuint(e->ctx, <=, N_THREADS);
			g_assert_cmpuint(e->ret, ==, next[e->ctx]++);
		} else if (event->id == LOOP_EV_THREAD) {
			const struct loop_thread *e = (const struct loop_thread *)event;

			g_assert_cmpuint(e->pid, ==, getpid());
			names += g_str_equal(e->name, "comes-and-goes");
		}
	}
	g_assert_cmpint(ret, ==, 0);
	for (int i = 1; i <= N_THREADS; i++)
		g_assert_cmpuint(next[i], ==, EACH + 1);
	/* The late event was put into a second ring. */
	g_assert_cmpuint(names, ==, 2 * N_THREADS);
	g_assert_cmpuint(ctf_reader_stats(reader)->discarded, ==, 0);
	ctf_reader_free(reader);
}

static void remove_directory(void)
{
	GDir *dir = g_dir_open(directory, 0, NULL);
	const char *name;

	while ((name = g_dir_read_name(dir))) {
		char *path = g_build_filename(directory, name, NULL);

		g_unlink(path);
		g_free(path);
	}
	g_dir_close(dir);
	g_rmdir(directory);
	g_free(directory);
}

static void test_threads(void)
{
	SelfRecordStats stats;

	directory = g_dir_make_tmp("self-record-XXXXXX", NULL);
	record_threads(&stats);
	g_assert_cmpuint(stats.lost, ==, 0);
	g_assert_cmpuint(stats.events, >=, N_THREADS * (EACH + 1));
	read_threads();
	remove_directory();
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/self-record/threads", test_threads);
	return g_test_run();
}
