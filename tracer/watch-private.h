/* SPDX-License-Identifier: MIT */
/* What watch.c and watch-read.c share. See watch.h. */
#ifndef TRACER_WATCH_PRIVATE_H
#define TRACER_WATCH_PRIVATE_H

#include <linux/types.h>

#include "bpf/watch.h"
#include "build/bpf/watch.skel.h"
#include "tracer/watch.h"

struct watch {
	struct target *t;
	struct images *images;
	struct watch_bpf *skel;
	GPtrArray *attachments; /* of struct attachment * */
	struct bpf_link *io;
	GArray *called; /* uint64_t: the functions whose calls are told apart, by their numbers */
	size_t sites;
};

#endif
