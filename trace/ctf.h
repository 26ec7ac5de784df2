/* SPDX-License-Identifier: MIT */
/* A recording's bytes, as writer and reader share them; docs/trace-format.md explains them.
 *
 * A recording is a CTF 1.8 directory: "metadata", a text, and a stream file for each thread.  A
 * stream is a row of packets of CTF_PACKET_BYTES.  A packet is a struct ctf_packet and then events,
 * struct loop_event and what follows it, each at a multiple of 8 bytes. */
#ifndef CTF_H
#define CTF_H

#include <stdint.h>

#include "trace/loop-table.h"

#define CTF_PACKET_BYTES 4096
#define CTF_MAGIC	 0xC1FC1FC1U
#define CTF_UUID_BYTES	 16
#define CTF_METADATA	 "metadata"

/* Sizes in it are in bits, as CTF has them. */
struct ctf_packet {
	uint32_t magic;
	uint8_t uuid[CTF_UUID_BYTES]; /* the one in the metadata */
	uint32_t stream_id;	      /* 0, the only class of streams */
	uint64_t stream_instance_id;  /* the thread */
	uint64_t begin_ns;
	uint64_t end_ns;
	uint64_t content_bits;
	uint64_t packet_bits;
	uint64_t seq;
	uint64_t discarded; /* events lost in this stream up to here; 0 in its first packet */
};
_Static_assert(sizeof(struct ctf_packet) == 80, "ctf_packet");

#define CTF_EVENT_MAX (CTF_PACKET_BYTES - sizeof(struct ctf_packet))
/* Of a text in an event, its NUL included. */
#define CTF_TEXT_MAX 1024

/* A line of the metadata's environment block. */
struct ctf_env {
	const char *key; /* letters, digits, _ */
	const char *value;
};

#endif
