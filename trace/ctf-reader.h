/* SPDX-License-Identifier: MIT */
/* Reads a recording, all streams merged by time:
 *
 *	struct ctf_reader *reader = ctf_reader_new();
 *	const struct loop_event *event;
 *
 *	err = ctf_reader_open(reader, "recording");
 *	while (!err && (err = ctf_reader_next(reader, &event)) > 0)
 *		...;
 *	if (err < 0)
 *		printf("%s\n", ctf_reader_error(reader));
 *	ctf_reader_free(reader);
 *
 * Nothing in the files is trusted: every event that is handed out is one of the table, has its
 *size, and its text ends inside of it.  A stream is read up to its last whole packet.  It takes 32
 *KiB of memory for each stream, however long they are. */
#ifndef CTF_READER_H
#define CTF_READER_H

#include "trace/ctf.h"

struct ctf_reader;

/* Of what was read so far. */
struct ctf_reader_stats {
	uint64_t events;
	uint64_t discarded; /* lost when it was recorded */
	uint64_t unknown;   /* skipped: of a newer table */
	uint64_t packets;
	uint64_t streams;
	uint64_t end_ns;    /* of the latest packet: the recording went on until then at least */
	uint64_t cut_bytes; /* after the last whole packet of a stream */
};

/* NULL when there is no memory. */
struct ctf_reader *ctf_reader_new(void);
void ctf_reader_free(struct ctf_reader *reader);

/* -EPROTO: not a recording, or of another format; other errors are the system's. */
int ctf_reader_open(struct ctf_reader *reader, const char *path);

/* 1 and the next event, which stays until the next call; 0 at the end; or -EBADMSG when a stream is
 * damaged: that one ends there, and the next call goes on with the others. */
int ctf_reader_next(struct ctf_reader *reader, const struct loop_event **ret_event);

/* What is wrong, in one line; may contain bytes of a file's name. */
const char *ctf_reader_error(const struct ctf_reader *reader);

/* A value of the metadata's environment, or NULL. */
const char *ctf_reader_env(const struct ctf_reader *reader, const char *key);

/* What to add to time_ns for the time since the epoch. */
int64_t ctf_reader_epoch_ns(const struct ctf_reader *reader);

const struct ctf_reader_stats *ctf_reader_stats(const struct ctf_reader *reader);

/* One stream; all of them are known from the first ctf_reader_next() on, what they lost as far as
 * was read. */
struct ctf_reader_stream {
	uint64_t tid; /* 0: the recorder, or a stream without a whole packet */
	uint64_t discarded;
};
struct ctf_reader_stream ctf_reader_stream(const struct ctf_reader *reader, uint64_t number);

/* What the stream of the event just handed out lost up to the end of that event's packet. */
uint64_t ctf_reader_discarded(const struct ctf_reader *reader);

#endif
