/* SPDX-License-Identifier: MIT */
/* Writing a recording: see ctf-writer.h, and docs/trace-format.md for why it is like this.
 *
 * A packet is filled in memory and written whole, by one pwrite at its place.  So a killed writer
 * leaves whole packets, and a write that failed half-way is undone by cutting the file. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "trace/ctf-metadata.h"
#include "trace/ctf-writer.h"
#include "trace/version.h"

#define BUCKETS		      256 /* threads are found by tid */
#define OPEN_FILES	      200 /* streams beyond that open theirs for each packet */
#define ENV_ADDED	      3
#define ENV_MAX		      64
#define PACKET_OFFSET(stream) ((off_t)(stream)->packets * CTF_PACKET_BYTES)

struct stream {
	struct stream *next;	/* of all */
	struct stream *chained; /* in its bucket */
	uint32_t tid;
	int fd;
	uint64_t packets;   /* whole, in the file */
	uint64_t events;    /* in the packet being filled */
	uint64_t discarded; /* all that the stream has lost */
	uint64_t told;	    /* of those, what its file says */
	uint64_t last_ns;
	bool ends;	  /* an empty packet is to say so */
	uint32_t used;	  /* bytes of the packet, a multiple of 8 */
	uint32_t content; /* without the padding of its last event */
	union {
		struct ctf_packet head;
		char bytes[CTF_PACKET_BYTES];
	} packet;
};

struct ctf_writer {
	int dir;
	bool failed;
	uint8_t uuid[CTF_UUID_BYTES];
	struct stream *streams, *latest;
	struct stream *buckets[BUCKETS];
	struct ctf_writer_stats stats;
};

/* --- files ------------------------------------------------------------------------------------ */

static int write_all(int fd, const char *bytes, size_t size, off_t offset)
{
	while (size) {
		ssize_t n = pwrite(fd, bytes, size, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ENOSPC;
		bytes += n;
		size -= n;
		offset += n;
	}
	return 0;
}

static const char *stream_name(const struct stream *stream, char name[32])
{
	snprintf(name, 32, "thread-%u", stream->tid);
	return name;
}

static int stream_open(struct ctf_writer *writer, struct stream *stream)
{
	char name[32];
	int flags = O_WRONLY | O_CLOEXEC | O_NOFOLLOW | (stream->packets ? 0 : O_CREAT | O_EXCL);

	if (stream->fd >= 0)
		return 0;
	stream->fd = openat(writer->dir, stream_name(stream, name), flags, 0644);
	return stream->fd < 0 ? -errno : 0;
}

static int stream_close(struct stream *stream)
{
	int err = stream->fd >= 0 && close(stream->fd) < 0 ? -errno : 0;

	stream->fd = -1;
	return err;
}

/* Leave whole packets only; a file without any is not a stream to babeltrace2. */
static void stream_cut(struct ctf_writer *writer, struct stream *stream)
{
	char name[32];

	if (stream->packets)
		(void)!ftruncate(stream->fd, PACKET_OFFSET(stream));
	else
		(void)unlinkat(writer->dir, stream_name(stream, name), 0);
}

/* --- packets ---------------------------------------------------------------------------------- */

static void packet_begin(struct ctf_writer *writer, struct stream *stream)
{
	stream->packet.head = (struct ctf_packet){
		.magic = CTF_MAGIC,
		.stream_instance_id = stream->tid,
		.packet_bits = CTF_PACKET_BYTES * 8,
		.seq = stream->packets,
	};
	memcpy(stream->packet.head.uuid, writer->uuid, CTF_UUID_BYTES);
	stream->used = stream->content = sizeof(struct ctf_packet);
	stream->events = 0;
}

static int writer_fail(struct ctf_writer *writer, struct stream *stream, int err)
{
	if (stream->fd >= 0)
		stream_cut(writer, stream);
	writer->failed = true;
	return err;
}

static int packet_write(struct ctf_writer *writer, struct stream *stream)
{
	struct ctf_packet *head = &stream->packet.head;
	/* babeltrace2 can say how many events were lost only from one packet to the next. */
	uint64_t told = stream->packets ? stream->discarded : 0;
	int err;

	if (stream->used == sizeof(*head))
		head->begin_ns = stream->last_ns;
	head->end_ns = stream->last_ns;
	head->content_bits = stream->content * 8ULL;
	head->discarded = told;
	memset(stream->packet.bytes + stream->content, 0, CTF_PACKET_BYTES - stream->content);

	err = stream_open(writer, stream);
	if (!err)
		err = write_all(stream->fd, stream->packet.bytes, CTF_PACKET_BYTES,
				PACKET_OFFSET(stream));
	if (!err && writer->stats.streams > OPEN_FILES)
		err = stream_close(stream);
	if (err)
		return writer_fail(writer, stream, err);

	writer->stats.packets++;
	writer->stats.events += stream->events;
	stream->packets++;
	stream->told = told;
	packet_begin(writer, stream);
	return 0;
}

/* Empty packets say what was lost when no event comes any more to do it. */
static int stream_flush(struct ctf_writer *writer, struct stream *stream)
{
	int err = stream->events || stream->ends ? packet_write(writer, stream) : 0;

	stream->ends = false;
	while (!err && stream->told != stream->discarded)
		err = packet_write(writer, stream);
	return err;
}

/* --- streams ---------------------------------------------------------------------------------- */

static struct stream *find_stream(struct ctf_writer *writer, uint32_t tid)
{
	struct stream **bucket = &writer->buckets[tid % BUCKETS];
	struct stream *stream = writer->latest;

	if (stream && stream->tid == tid)
		return stream;
	for (stream = *bucket; stream && stream->tid != tid; stream = stream->chained)
		;
	if (!stream) {
		stream = malloc(sizeof(*stream));
		if (!stream)
			return NULL;
		memset(stream, 0, offsetof(struct stream, packet));
		stream->tid = tid;
		stream->fd = -1;
		stream->chained = *bucket;
		*bucket = stream;
		stream->next = writer->streams;
		writer->streams = stream;
		writer->stats.streams++;
		packet_begin(writer, stream);
	}
	writer->latest = stream;
	return stream;
}

/* The event's bytes without padding, or 0 when it is not an event of the table. */
static uint32_t event_content(const struct loop_event *event)
{
	const struct loop_event_desc *desc = loop_event_desc(event->id);
	size_t length;

	if (!desc || event->size < desc->size || event->size > CTF_EVENT_MAX || event->size % 8)
		return 0;
	if (!desc->has_text)
		return event->size == desc->size ? desc->content : 0;
	length = strnlen((const char *)event + desc->content, event->size - desc->content);
	return desc->content + length < event->size ? desc->content + length + 1 : 0;
}

int ctf_writer_event(struct ctf_writer *writer, const struct loop_event *event)
{
	uint32_t content = event_content(event);
	struct stream *stream;
	struct loop_event *copy;
	int err = 0;

	if (!content)
		return -EINVAL;
	stream = find_stream(writer, event->tid);
	if (!stream)
		return -ENOMEM;
	if (!writer->failed && stream->used + event->size > CTF_PACKET_BYTES)
		err = packet_write(writer, stream);
	if (writer->failed) {
		stream->discarded++;
		return err;
	}

	copy = (struct loop_event *)(stream->packet.bytes + stream->used);
	memcpy(copy, event, event->size);
	if (copy->time_ns < stream->last_ns) {
		copy->time_ns = stream->last_ns;
		writer->stats.reordered++;
	}
	stream->last_ns = copy->time_ns;
	if (!stream->events++)
		stream->packet.head.begin_ns = copy->time_ns;
	stream->content = stream->used + content;
	stream->used += event->size;
	return 0;
}

int ctf_event_with_text(const struct loop_event *event, const char *text, union ctf_text_event *ret)
{
	const struct loop_event_desc *desc = loop_event_desc(event->id);
	size_t length = strnlen(text, CTF_TEXT_MAX);

	if (!desc || !desc->has_text || desc->content + 8u > sizeof(*ret) - CTF_TEXT_MAX)
		return -EINVAL;
	/* Not in the middle of an UTF-8 character. */
	if (length == CTF_TEXT_MAX)
		for (length--; length && (text[length] & 0xc0) == 0x80; length--)
			;
	memset(ret, 0, desc->content + length + 8);
	memcpy(ret, event, desc->content);
	memcpy(ret->bytes + desc->content, text, length);
	ret->h.size = (desc->content + length + 8) / 8 * 8;
	return 0;
}

int ctf_writer_text(struct ctf_writer *writer, const struct loop_event *event, const char *text)
{
	union ctf_text_event whole;
	int err = ctf_event_with_text(event, text, &whole);

	return err ? err : ctf_writer_event(writer, &whole.h);
}

int ctf_writer_discard(struct ctf_writer *writer, uint32_t tid, uint64_t count, uint64_t time_ns)
{
	struct stream *stream = find_stream(writer, tid);

	if (!stream)
		return -ENOMEM;
	stream->discarded += count;
	/* An empty packet needs a time; one with events already ends with its last event. */
	if (!stream->events && stream->last_ns < time_ns)
		stream->last_ns = time_ns;
	return 0;
}

void ctf_writer_end(struct ctf_writer *writer, uint64_t time_ns)
{
	struct stream *last = NULL;

	for (struct stream *s = writer->streams; s; s = s->next) {
		if (s->events && s->last_ns < time_ns)
			s->last_ns = time_ns;
		if (!last || last->last_ns < s->last_ns)
			last = s;
	}
	/* All were written already (ctf_writer_flush()): an empty packet of one of them tells. */
	if (last && last->last_ns < time_ns && !writer->failed) {
		last->last_ns = time_ns;
		last->ends = true;
	}
}

/* --- the recording ---------------------------------------------------------------------------- */

static int check_empty(int dir)
{
	int again = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = again < 0 ? NULL : fdopendir(again);
	int entries = 0;

	if (!list)
		return -errno;
	while (entries <= 2 && readdir(list))
		entries++; /* "." and ".." among them */
	closedir(list);
	return entries > 2 ? -ENOTEMPTY : 0;
}

static int64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static int write_metadata(struct ctf_writer *writer, const struct ctf_env *env)
{
	struct ctf_metadata metadata = { .format = LOOP_FORMAT };
	struct ctf_env all[ENV_MAX] = { { "tracer_name", "loopscope" },
					{ "tracer_version", LOOPSCOPE_VERSION } };
	struct utsname host;
	size_t size;
	char *text;
	int err, fd;

	if (uname(&host) < 0 || getrandom(metadata.uuid, CTF_UUID_BYTES, 0) != CTF_UUID_BYTES)
		return -errno;
	all[2] = (struct ctf_env){ "host_kernel", host.release };
	metadata.n_env = ENV_ADDED;
	for (; env && env->key; env++) {
		if (strcmp(env->key, all[0].key) == 0) {
			all[0] = *env;
			continue;
		}
		if (metadata.n_env == ENV_MAX)
			return -E2BIG;
		all[metadata.n_env++] = *env;
	}
	metadata.env = all;
	metadata.epoch_ns = clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_MONOTONIC);
	memcpy(writer->uuid, metadata.uuid, CTF_UUID_BYTES);
	err = ctf_metadata_print(&metadata, &text, &size);
	if (err)
		return err;
	fd = openat(writer->dir, CTF_METADATA, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	err = fd < 0 ? -errno : write_all(fd, text, size, 0);
	if (fd >= 0)
		close(fd);
	if (fd >= 0 && err)
		(void)unlinkat(writer->dir, CTF_METADATA, 0);
	free(text);
	return err;
}

int ctf_writer_open(const char *path, const struct ctf_env *env, struct ctf_writer **ret_writer)
{
	bool made = mkdir(path, 0755) == 0;
	struct ctf_writer *writer;
	int err;

	if (!made && errno != EEXIST)
		return -errno;
	writer = calloc(1, sizeof(*writer));
	if (!writer)
		return -ENOMEM;
	writer->dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	err = writer->dir < 0 ? -errno : check_empty(writer->dir);
	if (!err)
		err = write_metadata(writer, env);
	if (!err) {
		*ret_writer = writer;
		return 0;
	}
	if (writer->dir >= 0)
		close(writer->dir);
	if (made)
		(void)rmdir(path);
	free(writer);
	return err;
}

int ctf_writer_flush(struct ctf_writer *writer)
{
	int err = 0;

	for (struct stream *s = writer->streams; s && !writer->failed; s = s->next)
		err = stream_flush(writer, s);
	return err;
}

/* The disk is full, but a packet that is there can be changed: it gets the count of what was lost.
 * As a first packet cannot say how many, the others' losses go to a stream that has two. */
static void tell_losses(struct ctf_writer *writer)
{
	struct stream *teller = writer->streams;
	uint64_t lost = 0;
	char name[32];

	for (struct stream *s = writer->streams; s; s = s->next) {
		s->discarded += s->events;
		lost += s->discarded - s->told;
		if (s->packets > teller->packets)
			teller = s;
	}
	if (!teller || !teller->packets || !lost)
		return;
	lost += teller->told;
	if (teller->fd < 0)
		teller->fd = openat(writer->dir, stream_name(teller, name), O_WRONLY | O_CLOEXEC);
	if (teller->fd >= 0)
		(void)write_all(teller->fd, (const char *)&lost, sizeof(lost),
				PACKET_OFFSET(teller) - CTF_PACKET_BYTES +
					(off_t)offsetof(struct ctf_packet, discarded));
}

int ctf_writer_close(struct ctf_writer *writer, struct ctf_writer_stats *ret_stats)
{
	int err = ctf_writer_flush(writer);

	if (writer->failed)
		tell_losses(writer);
	for (struct stream *s = writer->streams, *next; s; s = next) {
		int closed = stream_close(s);

		if (!err && !writer->failed)
			err = closed;
		writer->stats.discarded += s->discarded;
		next = s->next;
		free(s);
	}
	if (ret_stats)
		*ret_stats = writer->stats;
	close(writer->dir);
	free(writer);
	return err;
}
