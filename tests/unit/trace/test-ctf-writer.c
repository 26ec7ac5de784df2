/* SPDX-License-Identifier: MIT */
/* What is written is read back: events, texts, losses, and what a full disk leaves. */
#include <errno.h>
#include <glib.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "recording.h"
#include "trace/version.h"

static struct loop_poll_exit wait_over(uint32_t tid, uint64_t time_ns)
{
	struct loop_poll_exit event = {
		.h = { .id = LOOP_EV_POLL_EXIT,
		       .size = sizeof(event),
		       .tid = tid,
		       .time_ns = time_ns },
		.ctx = 0x1000,
		.ret = 1,
	};

	return event;
}

static int put(struct ctf_writer *writer, uint32_t tid, uint64_t time_ns)
{
	struct loop_poll_exit event = wait_over(tid, time_ns);

	return ctf_writer_event(writer, &event.h);
}

static void test_every_event_comes_back_with_its_values_in_order(void)
{
	char *path = recording_dir();
	struct ctf_reader *reader = ctf_reader_new();
	struct ctf_writer_stats stats;
	struct ctf_writer *writer;
	const struct loop_event *event;
	unsigned int counts[LOOP_EV_END] = { 0 };
	uint64_t time_ns = FIRST_NS;

	g_assert_cmpint(ctf_writer_open(path, NULL, &writer), ==, 0);
	g_assert_cmpint(recording_write(writer), ==, 0);
	g_assert_cmpint(ctf_writer_close(writer, &stats), ==, 0);
	g_assert_cmpuint(stats.events, ==, recording_total());
	g_assert_cmpuint(stats.discarded + stats.reordered, ==, 0);

	g_assert_cmpint(ctf_reader_open(reader, path), ==, 0);
	while (ctf_reader_next(reader, &event) == 1) {
		union recording_event expected;

		recording_fill(&expected, loop_event_desc(event->id), counts[event->id]++);
		expected.h.time_ns = time_ns;
		expected.h.tid = time_ns / 10 % THREADS;
		g_assert_cmpmem(event, event->size, &expected, expected.h.size);
		time_ns += 10;
	}
	for (unsigned int id = 0; id < LOOP_EV_END; id++)
		g_assert_cmpuint(counts[id], ==, loop_event_desc(id) ? EACH : 0);
	g_assert_cmpuint(ctf_reader_stats(reader)->events, ==, recording_total());
	g_assert_cmpuint(ctf_reader_stats(reader)->streams, ==, THREADS);
	ctf_reader_free(reader);
	recording_remove(path);
}

static void test_environment_comes_back(void)
{
	static const char odd[] = "/tmp/\"x\"\\ \n\t\001\177 \303\251 \377";
	struct ctf_env env[] = { { "target_exe", odd }, { "target_build_id", "" }, { NULL, NULL } };
	struct ctf_env bad[] = { { "not a key", "" }, { NULL, NULL } };
	char *path = recording_dir();
	struct ctf_reader *reader = ctf_reader_new();
	struct ctf_writer *writer;
	gint64 apart;

	g_assert_cmpint(ctf_writer_open(path, bad, &writer), ==, -EINVAL);
	g_assert_cmpint(ctf_writer_open(path, env, &writer), ==, 0);
	g_assert_cmpint(ctf_writer_close(writer, NULL), ==, 0);
	g_assert_cmpint(ctf_reader_open(reader, path), ==, 0);
	g_assert_cmpstr(ctf_reader_env(reader, "target_exe"), ==, odd);
	g_assert_cmpstr(ctf_reader_env(reader, "target_build_id"), ==, "");
	g_assert_cmpstr(ctf_reader_env(reader, "tracer_version"), ==, LOOPSCOPE_VERSION);
	g_assert_nonnull(ctf_reader_env(reader, "host_kernel"));
	g_assert_null(ctf_reader_env(reader, "other"));
	apart = g_get_real_time() - g_get_monotonic_time() - ctf_reader_epoch_ns(reader) / 1000;
	g_assert_cmpint(llabs(apart), <, 60 * G_USEC_PER_SEC); /* the same clock, at any load */
	ctf_reader_free(reader);
	recording_remove(path);
}

static void test_texts_are_cut_to_their_limit(void)
{
	struct loop_symbol symbol = { .h = { .id = LOOP_EV_SYMBOL, .time_ns = 5 }, .addr = 0x1234 };
	struct loop_poll_exit other = wait_over(0, 5);
	char *path = recording_dir(), text[2 * CTF_TEXT_MAX];
	struct ctf_reader *reader = ctf_reader_new();
	const struct loop_event *event;
	struct ctf_writer *writer;

	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	g_assert_cmpint(ctf_writer_open(path, NULL, &writer), ==, 0);
	g_assert_cmpint(ctf_writer_text(writer, &symbol.h, ""), ==, 0);
	g_assert_cmpint(ctf_writer_text(writer, &symbol.h, text), ==, 0);
	memcpy(text + CTF_TEXT_MAX - 2, "\303\251",
	       2); /* its second byte would be the first too many */
	g_assert_cmpint(ctf_writer_text(writer, &symbol.h, text), ==, 0);
	g_assert_cmpint(ctf_writer_text(writer, &other.h, "no text"), ==, -EINVAL);
	g_assert_cmpint(ctf_writer_close(writer, NULL), ==, 0);

	g_assert_cmpint(ctf_reader_open(reader, path), ==, 0);
	for (int i = 0, lengths[] = { 0, CTF_TEXT_MAX - 1, CTF_TEXT_MAX - 2 }; i < 3; i++) {
		g_assert_cmpint(ctf_reader_next(reader, &event), ==, 1);
		g_assert_cmpuint(strlen(((const struct loop_symbol *)event)->name), ==, lengths[i]);
	}
	g_assert_cmpint(ctf_reader_next(reader, &event), ==, 0);
	ctf_reader_free(reader);
	recording_remove(path);
}

static void test_what_is_not_an_event_is_refused(void)
{
	struct loop_poll_exit unknown = wait_over(1, 1), small = wait_over(1, 1);
	union {
		struct loop_symbol symbol;
		char bytes[64];
	} endless = { .symbol = { .h = { .id = LOOP_EV_SYMBOL, .size = sizeof(endless) } } };
	char *path = recording_dir();
	struct ctf_writer *writer, *second;

	unknown.h.id = LOOP_EV_END;
	small.h.size -= 8;
	memset(endless.symbol.name, 'x', sizeof(endless) - sizeof(endless.symbol));
	g_assert_cmpint(ctf_writer_open(path, NULL, &writer), ==, 0);
	g_assert_cmpint(ctf_writer_open(path, NULL, &second), ==, -ENOTEMPTY);
	g_assert_cmpint(ctf_writer_event(writer, &unknown.h), ==, -EINVAL);
	g_assert_cmpint(ctf_writer_event(writer, &small.h), ==, -EINVAL);
	g_assert_cmpint(ctf_writer_event(writer, &endless.symbol.h), ==, -EINVAL);
	g_assert_cmpint(ctf_writer_close(writer, NULL), ==, 0);
	recording_remove(path);
}

static void test_time_never_goes_back_in_a_stream(void)
{
	char *path = recording_dir();
	struct ctf_reader *reader = ctf_reader_new();
	const struct loop_event *event;
	struct ctf_writer_stats stats;
	struct ctf_writer *writer;

	g_assert_cmpint(ctf_writer_open(path, NULL, &writer), ==, 0);
	g_assert_cmpint(put(writer, 1, 20), ==, 0);
	g_assert_cmpint(put(writer, 1, 10), ==, 0);
	g_assert_cmpint(put(writer, 2, 10), ==, 0);
	g_assert_cmpint(ctf_writer_close(writer, &stats), ==, 0);
	g_assert_cmpuint(stats.reordered, ==, 1);
	g_assert_cmpint(ctf_reader_open(reader, path), ==, 0);
	for (int i = 0, times[] = { 10, 20, 20 }; i < 3; i++) {
		g_assert_cmpint(ctf_reader_next(reader, &event), ==, 1);
		g_assert_cmpuint(event->time_ns, ==, times[i]);
	}
	ctf_reader_free(reader);
	recording_remove(path);
}

static void test_losses_are_told_even_without_another_event(void)
{
	char *path = recording_dir();
	struct ctf_reader_stats read;
	struct ctf_writer *writer;
	uint64_t events;

	g_assert_cmpint(ctf_writer_open(path, NULL, &writer), ==, 0);
	g_assert_cmpint(put(writer, 1, 20), ==, 0);
	g_assert_cmpint(ctf_writer_discard(writer, 1, 5, 30), ==, 0);
	g_assert_cmpint(ctf_writer_discard(writer, 2, 2, 30), ==, 0);
	g_assert_cmpint(ctf_writer_close(writer, NULL), ==, 0);
	g_assert_cmpint(recording_count(path, &events, &read), ==, 0);
	g_assert_cmpuint(events, ==, 1);
	g_assert_cmpuint(read.discarded, ==, 7);
	g_assert_cmpuint(read.packets, ==, 4); /* a first packet cannot tell how many */
	recording_remove(path);
}

static void test_more_threads_than_open_files(void)
{
	struct rlimit old, low = { 230, 230 };
	char *path = recording_dir();
	struct ctf_writer *writer;
	uint64_t events;

	g_assert_cmpint(getrlimit(RLIMIT_NOFILE, &old), ==, 0);
	low.rlim_max = old.rlim_max;
	g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &low), ==, 0);
	g_assert_cmpint(ctf_writer_open(path, NULL, &writer), ==, 0);
	for (unsigned int i = 0; i < 500 * 200; i++)
		g_assert_cmpint(put(writer, i % 500, i), ==, 0);
	g_assert_cmpint(ctf_writer_close(writer, NULL), ==, 0);
	g_assert_cmpint(recording_count(path, &events, NULL), ==, 0);
	g_assert_cmpuint(events, ==, 500 * 200);
	setrlimit(RLIMIT_NOFILE, &old);
	recording_remove(path);
}

/* A recorder writes what it has from time to time: then no packet is open that could be stretched.
 */
static void test_its_end_is_told_even_without_another_event(void)
{
	char *path = recording_dir();
	struct ctf_reader_stats stats;
	struct ctf_writer *writer;
	uint64_t events;

	g_assert_cmpint(ctf_writer_open(path, NULL, &writer), ==, 0);
	g_assert_cmpint(put(writer, 1, 0), ==, 0);
	g_assert_cmpint(put(writer, 2, 1), ==, 0);
	g_assert_cmpint(ctf_writer_flush(writer), ==, 0);
	ctf_writer_end(writer, 5000000000ULL);
	g_assert_cmpint(ctf_writer_close(writer, NULL), ==, 0);
	g_assert_cmpint(recording_count(path, &events, &stats), ==, 0);
	g_assert_cmpuint(events, ==, 2);
	g_assert_cmpuint(stats.end_ns, ==, 5000000000ULL);
	g_assert_cmpuint(stats.packets, ==, 3);
	recording_remove(path);
}

/* --- full disks ------------------------------------------------------------------------------- */

/* Write until the disk is full and on: one error, and all that came is either there or counted. */
static void fill_disk(const char *path, int expected)
{
	struct ctf_reader_stats read;
	struct ctf_writer_stats stats;
	struct ctf_writer *writer;
	uint64_t events, n = 20000;
	int errors = 0;

	g_assert_cmpint(ctf_writer_open(path, NULL, &writer), ==, 0);
	for (uint64_t i = 0; i < n; i++) {
		int err = put(writer, 1 + i % 3 / 2, i);

		if (err) {
			g_assert_cmpint(err, ==, expected);
			errors++;
		}
	}
	g_assert_cmpint(ctf_writer_close(writer, &stats), ==, 0);
	g_assert_cmpint(errors, ==, 1);
	g_assert_cmpuint(stats.events, >, 0);
	g_assert_cmpuint(stats.events + stats.discarded, ==, n);

	g_assert_cmpint(recording_count(path, &events, &read), ==, 0);
	g_assert_cmpuint(events, ==, stats.events);
	g_assert_cmpuint(read.discarded, ==, stats.discarded);
	g_assert_cmpuint(read.cut_bytes, ==, 0);
}

/* A mount namespace of our own; without root in a user namespace where we are root. */
static bool enter_namespace(void)
{
	char *map = g_strdup_printf("0 %u 1", geteuid());
	bool root = !geteuid();
	bool done = !unshare(CLONE_NEWNS | (root ? 0 : CLONE_NEWUSER)) &&
		    (root || g_file_set_contents_full("/proc/self/uid_map", map, -1,
						      G_FILE_SET_CONTENTS_NONE, 0600, NULL));

	g_free(map);
	return done && !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
}

static void test_a_full_disk_leaves_a_readable_recording(void)
{
	char *path = recording_dir();
	pid_t child = fork();
	int status;

	if (child == 0) { /* a file system of its own */
		if (!enter_namespace() || mount("none", path, "tmpfs", 0, "size=200k") < 0)
			_exit(77);
		fill_disk(path, -ENOSPC);
		_exit(0);
	}
	g_assert_cmpint(waitpid(child, &status, 0), ==, child);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		g_test_skip("may not mount a tmpfs");
	else
		g_assert_cmpint(status, ==, 0);
	recording_remove(path);
}

static void test_a_write_cut_short_leaves_a_readable_recording(void)
{
	struct rlimit old, low;

	signal(SIGXFSZ, SIG_IGN);
	g_assert_cmpint(getrlimit(RLIMIT_FSIZE, &old), ==, 0);
	for (rlim_t extra = 0; extra < CTF_PACKET_BYTES; extra += 1365) {
		char *path = recording_dir();

		low = (struct rlimit){ 20 * CTF_PACKET_BYTES + extra, old.rlim_max };
		g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &low), ==, 0);
		fill_disk(path, -EFBIG);
		g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &old), ==, 0);
		recording_remove(path);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
#define TEST(name) g_test_add_func("/ctf-writer/" #name, test_##name)
	TEST(every_event_comes_back_with_its_values_in_order);
	TEST(environment_comes_back);
	TEST(texts_are_cut_to_their_limit);
	TEST(what_is_not_an_event_is_refused);
	TEST(time_never_goes_back_in_a_stream);
	TEST(losses_are_told_even_without_another_event);
	TEST(its_end_is_told_even_without_another_event);
	TEST(more_threads_than_open_files);
	TEST(a_full_disk_leaves_a_readable_recording);
	TEST(a_write_cut_short_leaves_a_readable_recording);
	return g_test_run();
}
