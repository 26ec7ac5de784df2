/* SPDX-License-Identifier: MIT */
/* A recording's metadata: what its streams are made of, and where, when and by what it was made.
 *
 * Most of the text is generated (loop_tsdl); this adds the blocks that differ from one recording to
 * the next, and reads exactly those back. */
#ifndef CTF_METADATA_H
#define CTF_METADATA_H

#include <stddef.h>

#include "trace/ctf.h"

struct ctf_metadata {
	uint8_t uuid[CTF_UUID_BYTES];
	int64_t epoch_ns; /* CLOCK_REALTIME when CLOCK_MONOTONIC was 0 */
	unsigned long format;
	size_t n_env;
	struct ctf_env *env; /* strings and array are the metadata's own */
};

/* Make the text, to be freed by the caller. */
int ctf_metadata_print(const struct ctf_metadata *metadata, char **ret_text, size_t *ret_size);

/* Read it back.  Nothing in text is trusted.  -EPROTO: not a recording of ours, or of another byte
 * order; the format is the caller's to check. */
int ctf_metadata_parse(const char *text, size_t size, struct ctf_metadata *ret_metadata);

void ctf_metadata_release(struct ctf_metadata *metadata);

#endif
