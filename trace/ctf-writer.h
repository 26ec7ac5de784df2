/* SPDX-License-Identifier: MIT */
/* Writes a recording:
 *
 *	struct ctf_env env[] = { { "target_exe", "/usr/bin/qemu-system-x86_64" }, { NULL, NULL } };
 *	struct ctf_writer *writer;
 *
 *	err = ctf_writer_open("recording", env, &writer);
 *	err = ctf_writer_event(writer, &event.h);
 *	err = ctf_writer_close(writer, &stats);
 *
 * One thread calls it.  The events of one thread have to come in their order; those of different
 * threads need not, as each thread has a stream of its own.  Nothing is printed.
 *
 * A disk that is full, or any other failed write, ends the recording: the file is cut back to its
 * last whole packet, the call that met the error returns it (-ENOSPC), and every later event is
 * counted as discarded without an error, so that the caller can report once and go on as it likes.
 */
#ifndef CTF_WRITER_H
#define CTF_WRITER_H

#include "trace/ctf.h"

struct ctf_writer;

struct ctf_writer_stats {
	uint64_t events;    /* in whole packets */
	uint64_t discarded; /* by whom ever: reported to us, or not written */
	uint64_t reordered; /* came with a time before their stream's last one, and were given that
			     */
	uint64_t packets;
	uint64_t streams;
};

/* Make the directory, which may exist but has to be empty (-ENOTEMPTY), and its metadata.  To env,
 * which ends with a NULL key and may be NULL, our version and the host's kernel are added, and
 * "loopscope" as the tracer_name if it has no other. */
int ctf_writer_open(const char *path, const struct ctf_env *env, struct ctf_writer **ret_writer);

/* Add an event to the stream of its tid.  -EINVAL: not an event of the table. */
int ctf_writer_event(struct ctf_writer *writer, const struct loop_event *event);

/* An event with a text behind it: event is all of it but the text, which is cut to CTF_TEXT_MAX. */
union ctf_text_event {
	struct loop_event h;
	char bytes[CTF_TEXT_MAX + 256];
};
int ctf_event_with_text(const struct loop_event *event, const char *text,
			union ctf_text_event *ret);

/* Add a record with a text: event is all of it but the text, which is cut to CTF_TEXT_MAX. */
int ctf_writer_text(struct ctf_writer *writer, const struct loop_event *event, const char *text);

/* Count events of that thread that were lost before they came here, until this time. */
int ctf_writer_discard(struct ctf_writer *writer, uint32_t tid, uint64_t count, uint64_t time_ns);

/* The recording went on until then, though nothing more happened: packets still open end there, or
 * an empty one does. */
void ctf_writer_end(struct ctf_writer *writer, uint64_t time_ns);

/* Write what there is, at the price of packets that are not full. */
int ctf_writer_flush(struct ctf_writer *writer);

/* Flush and free.  Returns an error that no other call has returned; ret_stats may be NULL. */
int ctf_writer_close(struct ctf_writer *writer, struct ctf_writer_stats *ret_stats);

#endif
