/* SPDX-License-Identifier: MIT */
/* Reading a recording: see ctf-reader.h.
 *
 * An event is used where it was read to, as it has the same bytes in the file.  Files are read, not
 * mapped: one that shrinks while it is read must not raise SIGBUS.  Streams lie in a heap whose top
 * has the earliest event. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "trace/ctf-metadata.h"
#include "trace/ctf-reader.h"

#define BUFFER_BYTES (8 * CTF_PACKET_BYTES)
#define METADATA_MAX (1 << 20)

struct stream {
	char *name;
	const struct loop_event *event; /* the earliest not yet handed out */
	unsigned int order;		/* among events of the same time */
	uint64_t tid;			/* whose its packets say it is */
	uint64_t packets;		/* begun */
	uint64_t discarded;
	uint64_t last_ns;
	uint64_t end_ns;  /* of the packet */
	uint32_t at;	  /* in the buffer, where the next event begins */
	uint32_t content; /* where the packet's content ends */
	uint32_t packet;  /* where the next packet begins */
	uint32_t filled;  /* whole packets in the buffer, in bytes */
	char *buffer;
};

struct ctf_reader {
	int dir;
	struct ctf_metadata metadata;
	struct stream *streams;
	struct stream **heap;
	unsigned int n_heap;
	unsigned int started; /* streams whose first event was looked for */
	bool merging;	      /* all are */
	bool handed_out;      /* the top's event */
	struct ctf_reader_stats stats;
	char error[256];
};

static int fail(struct ctf_reader *reader, int err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(reader->error, sizeof(reader->error), format, args);
	va_end(args);
	return err;
}

/* --- packets ---------------------------------------------------------------------------------- */

static int damaged(struct ctf_reader *reader, const struct stream *stream, const char *what)
{
	return fail(reader, -EBADMSG, "%s: packet %" PRIu64 ": %s", stream->name, stream->packets,
		    what);
}

/* Opened anew each time, as there may be more threads than a process may have open files. */
static int fill_buffer(struct ctf_reader *reader, struct stream *stream)
{
	int flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
	int fd = openat(reader->dir, stream->name, flags);
	off_t offset = (off_t)stream->packets * CTF_PACKET_BYTES;
	size_t got = 0;
	ssize_t n;
	int err;

	if (fd < 0)
		return fail(reader, -errno, "%s: %s", stream->name, strerror(errno));
	do {
		n = pread(fd, stream->buffer + got, BUFFER_BYTES - got, offset + got);
		got += n > 0 ? n : 0;
	} while ((n > 0 && got < BUFFER_BYTES) || (n < 0 && errno == EINTR));
	err = n < 0 ? -errno : 0;
	close(fd);
	if (err)
		return fail(reader, err, "%s: %s", stream->name, strerror(-err));
	stream->packet = 0;
	stream->filled = got / CTF_PACKET_BYTES * CTF_PACKET_BYTES;
	if (!stream->filled)
		reader->stats.cut_bytes += got;
	return 0;
}

static const char *check_packet(const struct ctf_reader *reader, const struct stream *stream,
				const struct ctf_packet *head)
{
	if (head->magic != CTF_MAGIC)
		return "not a packet";
	if (memcmp(head->uuid, reader->metadata.uuid, CTF_UUID_BYTES) != 0)
		return "of another recording";
	if (head->stream_id != 0 || head->packet_bits != CTF_PACKET_BYTES * 8)
		return "of another kind";
	if (head->seq != stream->packets)
		return "out of sequence";
	if (head->content_bits % 8 || head->content_bits < sizeof(*head) * 8 ||
	    head->content_bits > CTF_PACKET_BYTES * 8)
		return "impossible size";
	if (head->begin_ns > head->end_ns || head->begin_ns < stream->end_ns)
		return "goes back in time";
	if (head->discarded < stream->discarded)
		return "count of discarded events goes back";
	return NULL;
}

/* 1 when there is a next packet, 0 at the end. */
static int next_packet(struct ctf_reader *reader, struct stream *stream)
{
	const struct ctf_packet *head;
	const char *what;

	if (stream->packet == stream->filled) {
		int err = fill_buffer(reader, stream);

		if (err || !stream->filled)
			return err;
	}
	head = (const struct ctf_packet *)(stream->buffer + stream->packet);
	what = check_packet(reader, stream, head);
	if (what)
		return damaged(reader, stream, what);
	stream->at = stream->packet + sizeof(*head);
	stream->content = stream->packet + head->content_bits / 8;
	stream->packet += CTF_PACKET_BYTES;
	stream->tid = head->stream_instance_id;
	stream->last_ns = head->begin_ns;
	stream->end_ns = head->end_ns;
	if (reader->stats.end_ns < head->end_ns)
		reader->stats.end_ns = head->end_ns;
	stream->packets++;
	reader->stats.packets++;
	reader->stats.discarded += head->discarded - stream->discarded;
	stream->discarded = head->discarded;
	return 1;
}

/* --- events ----------------------------------------------------------------------------------- */

/* left: bytes of content from the event's beginning on. */
static const char *check_event(const struct stream *stream, const struct loop_event *event,
			       const struct loop_event_desc *desc, uint32_t left)
{
	if (left < sizeof(*event) || event->size < sizeof(*event) || event->size % 8 ||
	    event->size >= left + 8)
		return "an event of impossible size";
	if (event->time_ns < stream->last_ns || event->time_ns > stream->end_ns)
		return "an event out of its time";
	if (!desc)
		return NULL;
	if (!desc->has_text)
		return event->size == desc->size && desc->content <= left
			       ? NULL
			       : "an event of wrong size";
	if (event->size < left)
		left = event->size;
	if (desc->content >= left ||
	    !memchr((const char *)event + desc->content, '\0', left - desc->content))
		return "a text without an end";
	return NULL;
}

/* Find the stream's next event: 1, 0 at its end, or -errno. */
static int next_event(struct ctf_reader *reader, struct stream *stream)
{
	for (;;) {
		const struct loop_event_desc *desc;
		const struct loop_event *event;
		const char *what;

		while (stream->at >= stream->content) {
			int got = next_packet(reader, stream);

			if (got <= 0)
				return got;
		}
		event = (const struct loop_event *)(stream->buffer + stream->at);
		desc = stream->content - stream->at >= sizeof(*event) ? loop_event_desc(event->id)
								      : NULL;
		what = check_event(stream, event, desc, stream->content - stream->at);
		if (what)
			return damaged(reader, stream, what);
		stream->at += event->size;
		stream->last_ns = event->time_ns;
		if (desc) {
			stream->event = event;
			return 1;
		}
		reader->stats.unknown++;
	}
}

/* --- merging ---------------------------------------------------------------------------------- */

static bool earlier(const struct stream *a, const struct stream *b)
{
	uint64_t a_ns = a->event->time_ns, b_ns = b->event->time_ns;

	return a_ns != b_ns ? a_ns < b_ns : a->order < b->order;
}

static void sift_down(struct ctf_reader *reader, unsigned int i)
{
	struct stream **heap = reader->heap, *moved = heap[i];
	unsigned int child;

	while ((child = 2 * i + 1) < reader->n_heap) {
		if (child + 1 < reader->n_heap && earlier(heap[child + 1], heap[child]))
			child++;
		if (!earlier(heap[child], moved))
			break;
		heap[i] = heap[child];
		i = child;
	}
	heap[i] = moved;
}

static int start_streams(struct ctf_reader *reader)
{
	while (reader->started < reader->stats.streams) {
		struct stream *stream = &reader->streams[reader->started++];
		int got = next_event(reader, stream);

		if (got < 0)
			return got;
		if (got > 0)
			reader->heap[reader->n_heap++] = stream;
	}
	for (unsigned int i = reader->n_heap / 2; i-- > 0;)
		sift_down(reader, i);
	reader->merging = true;
	return 0;
}

int ctf_reader_next(struct ctf_reader *reader, const struct loop_event **ret_event)
{
	int err = reader->merging ? 0 : start_streams(reader);

	if (err)
		return err;
	if (reader->handed_out) {
		int got = next_event(reader, reader->heap[0]);

		reader->handed_out = false;
		if (got <= 0)
			reader->heap[0] = reader->heap[--reader->n_heap];
		if (reader->n_heap)
			sift_down(reader, 0);
		if (got < 0)
			return got;
	}
	if (!reader->n_heap)
		return 0;
	reader->handed_out = true;
	reader->stats.events++;
	*ret_event = reader->heap[0]->event;
	return 1;
}

/* --- opening ---------------------------------------------------------------------------------- */

static int read_metadata(struct ctf_reader *reader)
{
	int flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
	int fd = openat(reader->dir, CTF_METADATA, flags);
	char *text = NULL;
	struct stat st;
	ssize_t n = 0;
	int err;

	if (fd < 0)
		return fail(reader, -EPROTO, "not a recording: no metadata: %s", strerror(errno));
	err = fstat(fd, &st) < 0 ? -errno : 0;
	if (!err && (!S_ISREG(st.st_mode) || st.st_size > METADATA_MAX))
		err = -EPROTO;
	if (!err)
		text = malloc(st.st_size + 1);
	if (!err && !text)
		err = -ENOMEM;
	if (!err && (n = pread(fd, text, st.st_size, 0)) < 0)
		err = -errno;
	close(fd);
	if (!err)
		err = ctf_metadata_parse(text, n, &reader->metadata);
	free(text);
	if (err)
		return fail(reader, err, "not a recording of loopscope: its metadata: %s",
			    err == -EPROTO ? "not understood" : strerror(-err));
	if (reader->metadata.format != LOOP_FORMAT)
		return fail(reader, -EPROTO,
			    "the recording has format %lu, this program reads format %d",
			    reader->metadata.format, LOOP_FORMAT);
	return 0;
}

static int is_stream(const struct dirent *entry)
{
	return entry->d_name[0] != '.' && strcmp(entry->d_name, CTF_METADATA) != 0;
}

static int add_stream(struct ctf_reader *reader, const char *name)
{
	struct stream *stream = &reader->streams[reader->stats.streams];
	struct stat st;

	if (fstatat(reader->dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return fail(reader, -errno, "%s: %s", name, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return 0;
	stream->name = strdup(name);
	stream->buffer = aligned_alloc(8, BUFFER_BYTES);
	stream->order = reader->stats.streams++;
	if (!stream->name || !stream->buffer)
		return fail(reader, -ENOMEM, "no memory");
	return 0;
}

int ctf_reader_open(struct ctf_reader *reader, const char *path)
{
	struct dirent **entries = NULL;
	int n = 0, err;

	reader->dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (reader->dir < 0)
		return fail(reader, -errno, "%s: %s", path, strerror(errno));
	err = read_metadata(reader);
	if (err)
		return err;
	n = scandirat(reader->dir, ".", &entries, is_stream, alphasort);
	if (n < 0)
		return fail(reader, -errno, "%s: %s", path, strerror(errno));
	reader->streams = calloc(n + 1, sizeof(*reader->streams));
	reader->heap = calloc(n + 1, sizeof(*reader->heap));
	if (!reader->streams || !reader->heap)
		err = fail(reader, -ENOMEM, "no memory");
	for (int i = 0; i < n; i++) {
		if (!err)
			err = add_stream(reader, entries[i]->d_name);
		free(entries[i]);
	}
	free(entries);
	return err;
}

struct ctf_reader *ctf_reader_new(void)
{
	struct ctf_reader *reader = calloc(1, sizeof(*reader));

	if (reader)
		reader->dir = -1;
	return reader;
}

void ctf_reader_free(struct ctf_reader *reader)
{
	if (!reader)
		return;
	for (uint64_t i = 0; i < reader->stats.streams; i++) {
		free(reader->streams[i].name);
		free(reader->streams[i].buffer);
	}
	free(reader->streams);
	free(reader->heap);
	ctf_metadata_release(&reader->metadata);
	if (reader->dir >= 0)
		close(reader->dir);
	free(reader);
}

const char *ctf_reader_error(const struct ctf_reader *reader)
{
	return reader->error;
}

const char *ctf_reader_env(const struct ctf_reader *reader, const char *key)
{
	for (size_t i = 0; i < reader->metadata.n_env; i++)
		if (strcmp(reader->metadata.env[i].key, key) == 0)
			return reader->metadata.env[i].value;
	return NULL;
}

int64_t ctf_reader_epoch_ns(const struct ctf_reader *reader)
{
	return reader->metadata.epoch_ns;
}

const struct ctf_reader_stats *ctf_reader_stats(const struct ctf_reader *reader)
{
	return &reader->stats;
}

struct ctf_reader_stream ctf_reader_stream(const struct ctf_reader *reader, uint64_t number)
{
	const struct stream *stream = &reader->streams[number];

	return (struct ctf_reader_stream){ .tid = stream->tid, .discarded = stream->discarded };
}

uint64_t ctf_reader_discarded(const struct ctf_reader *reader)
{
	return reader->handed_out ? reader->heap[0]->discarded : 0;
}
