/* SPDX-License-Identifier: MIT */
/* The reader believes nothing: cut, damaged, foreign and random files. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "recording.h"

/* A recording in memory: its metadata and the streams of its THREADS threads. */
struct files {
	char *path;
	char *metadata;
	gsize metadata_size;
	char *streams[THREADS];
	gsize sizes[THREADS];
};

static char *stream_path(const struct files *files, unsigned int tid)
{
	return g_strdup_printf("%s/thread-%u", files->path, tid);
}

static void put_file(char *path, const char *data, gsize size)
{
	int fd = g_open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	g_assert_cmpint(write(fd, data, size), ==, size);
	close(fd);
	g_free(path);
}

static void put_stream(const struct files *files, unsigned int tid, gsize size)
{
	put_file(stream_path(files, tid), files->streams[tid], size);
}

static void put_metadata(const struct files *files, const char *data, gsize size)
{
	put_file(g_build_filename(files->path, CTF_METADATA, NULL), data, size);
}

static struct files *files_new(void)
{
	struct files *files = g_new0(struct files, 1);
	struct ctf_writer *writer;
	char *path;

	files->path = recording_dir();
	g_assert_cmpint(ctf_writer_open(files->path, NULL, &writer), ==, 0);
	g_assert_cmpint(recording_write(writer), ==, 0);
	g_assert_cmpint(ctf_writer_close(writer, NULL), ==, 0);
	path = g_build_filename(files->path, CTF_METADATA, NULL);
	g_assert_true(g_file_get_contents(path, &files->metadata, &files->metadata_size, NULL));
	g_free(path);
	for (unsigned int tid = 0; tid < THREADS; tid++) {
		path = stream_path(files, tid);
		g_assert_true(
			g_file_get_contents(path, &files->streams[tid], &files->sizes[tid], NULL));
		g_free(path);
	}
	return files;
}

static void files_free(struct files *files)
{
	recording_remove(files->path);
	g_free(files->metadata);
	for (unsigned int tid = 0; tid < THREADS; tid++)
		g_free(files->streams[tid]);
	g_free(files);
}

/* Open, and return what the reader says is wrong. */
static char *open_error(const struct files *files, int expected)
{
	struct ctf_reader *reader = ctf_reader_new();
	char *error;

	g_assert_cmpint(ctf_reader_open(reader, files->path), ==, expected);
	error = g_strdup(ctf_reader_error(reader));
	ctf_reader_free(reader);
	return error;
}

static uint64_t events_in(const char *stream, gsize packets)
{
	uint64_t events = 0;

	for (gsize i = 0; i < packets; i++) {
		const char *packet = stream + i * CTF_PACKET_BYTES;
		gsize end = ((const struct ctf_packet *)packet)->content_bits / 8;

		for (gsize at = sizeof(struct ctf_packet); at < end; events++)
			at += ((const struct loop_event *)(packet + at))->size;
	}
	return events;
}

static void test_cut_anywhere_it_reads_all_whole_packets(void)
{
	struct files *files = files_new();
	uint64_t others, events;

	put_stream(files, 0, 0);
	g_assert_cmpint(recording_count(files->path, &others, NULL), ==, 0);
	for (gsize size = 0; size <= 3 * CTF_PACKET_BYTES + 1; size++) {
		struct ctf_reader_stats stats;

		put_stream(files, 0, size);
		g_assert_cmpint(recording_count(files->path, &events, &stats), ==, 0);
		g_assert_cmpuint(events - others, ==,
				 events_in(files->streams[0], size / CTF_PACKET_BYTES));
		g_assert_cmpuint(stats.cut_bytes, ==, size % CTF_PACKET_BYTES);
	}
	files_free(files);
}

static void test_cut_metadata_is_refused_or_whole_enough(void)
{
	struct files *files = files_new();
	gsize enough = strstr(files->metadata, "\nstream {") - files->metadata;

	for (gsize size = 0; size < enough; size++) {
		uint64_t events;
		int err;

		put_metadata(files, files->metadata, size);
		err = recording_count(files->path, &events, NULL);
		g_assert_true(err == -EPROTO || (err == 0 && events == recording_total()));
	}
	g_assert_cmpint(enough, >, 1000);
	files_free(files);
}

static void test_a_format_it_does_not_know_is_refused_with_both_named(void)
{
	struct files *files = files_new();
	char *line = strstr(files->metadata, "trace_format = 1;"), *error, *expected;

	memcpy(line, "trace_format = 7;", 17);
	put_metadata(files, files->metadata, files->metadata_size);
	error = open_error(files, -EPROTO);
	expected = g_strdup_printf("the recording has format 7, this program reads format %d",
				   LOOP_FORMAT);
	g_assert_cmpstr(error, ==, expected);
	g_free(expected);
	g_free(error);
	files_free(files);
}

static void test_what_is_no_recording_is_refused(void)
{
	struct files *files = files_new();
	static const char *const foreign[] = { "", "/* CTF 1.8 */", "/* CTF 1.8 */\n",
					       "/* CTF 1.8 */\nenv {\n\ttrace_format = 1;\n};\n" };
	struct ctf_reader *reader = ctf_reader_new();
	char *path;

	for (unsigned int i = 0; i < G_N_ELEMENTS(foreign); i++) {
		put_metadata(files, foreign[i], strlen(foreign[i]));
		g_free(open_error(files, -EPROTO));
	}
	path = g_build_filename(files->path, CTF_METADATA, NULL);
	g_unlink(path);
	g_free(open_error(files, -EPROTO));
	g_assert_cmpint(ctf_reader_open(reader, path), ==, -ENOENT);
	ctf_reader_free(reader);
	g_free(path);
	files_free(files);
}

/* Change a packet's head or first event; the other streams are read all the same. */
static void check_damage(struct files *files, gsize offset, uint64_t value, gsize size,
			 const char *what)
{
	struct ctf_reader *reader = ctf_reader_new();
	const struct loop_event *event;
	uint64_t saved, events = 0;
	char *packet = files->streams[1] + CTF_PACKET_BYTES, *path = stream_path(files, 1);
	int err, errors = 0;

	memcpy(&saved, packet + offset, size);
	memcpy(packet + offset, &value, size);
	put_stream(files, 1, files->sizes[1]);
	memcpy(packet + offset, &saved, size);

	g_assert_cmpint(ctf_reader_open(reader, files->path), ==, 0);
	while ((err = ctf_reader_next(reader, &event)) != 0) {
		events += err > 0;
		if (err < 0) {
			g_assert_cmpint(err, ==, -EBADMSG);
			g_assert_nonnull(strstr(ctf_reader_error(reader), "thread-1: packet "));
			g_assert_nonnull(strstr(ctf_reader_error(reader), what));
			errors++;
		}
	}
	g_assert_cmpint(errors, ==, 1);
	g_assert_cmpuint(events, >=, recording_total() * 2 / 3);
	ctf_reader_free(reader);
	g_free(path);
}

static void test_damage_is_named_and_the_other_streams_go_on(void)
{
	struct files *files = files_new();
	gsize event = sizeof(struct ctf_packet);
	uint64_t far = 1ULL << 60;

#define HEAD(member, value, what)                                                                  \
	check_damage(files, offsetof(struct ctf_packet, member), value,                            \
		     MIN(sizeof(((struct ctf_packet *)0)->member), 8), what)
	HEAD(magic, 0, "not a packet");
	HEAD(uuid, 0, "of another recording");
	HEAD(stream_id, 1, "of another kind");
	HEAD(packet_bits, 8, "of another kind");
	HEAD(content_bits, 8, "impossible size");
	HEAD(content_bits, CTF_PACKET_BYTES * 8 + 8, "impossible size");
	HEAD(begin_ns, 0, "goes back in time");
	HEAD(end_ns, 0, "goes back in time");
	HEAD(seq, 5, "out of sequence");
	HEAD(begin_ns, far, "goes back in time");
	check_damage(files, event + offsetof(struct loop_event, size), 0, 2, "impossible size");
	check_damage(files, event + offsetof(struct loop_event, size), 0xfff8, 2,
		     "impossible size");
	check_damage(files, event + offsetof(struct loop_event, size), 120, 2, "wrong size");
	check_damage(files, event + offsetof(struct loop_event, time_ns), far, 8,
		     "out of its time");
	check_damage(files, event + offsetof(struct loop_event, time_ns), 0, 8, "out of its time");
	HEAD(content_bits, 8 * (sizeof(struct ctf_packet) + 4), "impossible size");
	files_free(files);
}

static void test_events_of_a_newer_table_are_skipped_and_counted(void)
{
	struct files *files = files_new();
	struct loop_event *first =
		(struct loop_event *)(files->streams[2] + sizeof(struct ctf_packet));
	struct ctf_reader_stats stats;
	uint64_t events;

	first->id = 65535;
	put_stream(files, 2, files->sizes[2]);
	g_assert_cmpint(recording_count(files->path, &events, &stats), ==, 0);
	g_assert_cmpuint(events, ==, recording_total() - 1);
	g_assert_cmpuint(stats.unknown, ==, 1);
	files_free(files);
}

/* Whatever is handed out must be usable as what it says it is. */
static void use_all(const char *path)
{
	struct ctf_reader *reader = ctf_reader_new();
	const struct loop_event *event;
	int err = ctf_reader_open(reader, path);

	while (!err && (err = ctf_reader_next(reader, &event)) != 0) {
		const struct loop_event_desc *desc;

		if (err == 1) {
			desc = loop_event_desc(event->id);
			for (unsigned int i = 0; i < desc->n_fields; i++) {
				const struct loop_field *field = &desc->fields[i];

				if (field->type == LOOP_STR)
					g_assert_cmpuint(strlen(loop_field_text(event, field)), <,
							 event->size);
				else
					(void)loop_field_u64(event, field);
			}
		}
		err = 0;
	}
	ctf_reader_free(reader);
}

static void test_random_damage_is_survived(void)
{
	struct files *files = files_new();
	gsize size = 2 * CTF_PACKET_BYTES;
	char *whole = g_memdup2(files->streams[0], size);
	char *metadata = g_memdup2(files->metadata, files->metadata_size);

	for (int round = 0; round < 5000; round++) {
		for (int change = g_test_rand_int_range(1, 8); change > 0; change--) {
			gsize head = sizeof(struct ctf_packet) + 64;
			gsize at = g_test_rand_int_range(0, change % 2 ? size : head);

			files->streams[0][at] = g_test_rand_int();
		}
		put_stream(files, 0, size);
		if (round % 4 == 0) {
			metadata[g_test_rand_int_range(0, 1200)] = g_test_rand_int();
			put_metadata(files, metadata, files->metadata_size);
		}
		use_all(files->path);
		memcpy(files->streams[0], whole, size);
		memcpy(metadata, files->metadata, files->metadata_size);
		if (round % 4 == 0)
			put_metadata(files, metadata, files->metadata_size);
	}
	g_free(whole);
	g_free(metadata);
	files_free(files);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
#define TEST(name) g_test_add_func("/ctf-reader/" #name, test_##name)
	TEST(cut_anywhere_it_reads_all_whole_packets);
	TEST(cut_metadata_is_refused_or_whole_enough);
	TEST(a_format_it_does_not_know_is_refused_with_both_named);
	TEST(what_is_no_recording_is_refused);
	TEST(damage_is_named_and_the_other_streams_go_on);
	TEST(events_of_a_newer_table_are_skipped_and_counted);
	TEST(random_damage_is_survived);
	return g_test_run();
}
