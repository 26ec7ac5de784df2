/* SPDX-License-Identifier: (MIT OR BSD-2-Clause OR GPL-2.0-only) */
/*
 * Where a descriptor comes from: what provenance.bpf.c keeps for the tracer (tracer/provenance.c),
 * the latest of each kind for each descriptor. The includer supplies what bpf/stack.h needs.
 */
#ifndef BPF_PROVENANCE_H
#define BPF_PROVENANCE_H

#include "bpf/stack.h"

#define PROVENANCE_MAX 1024 /* makings and registrations that are kept */

/* QEMU's registering functions call GLib's: both are kept. */
enum provenance_kind { PROVENANCE_MADE, PROVENANCE_BY_QEMU, PROVENANCE_BY_GLIB };

struct provenance_key {
	__u32 fd;
	__u32 kind;
};

/* How a registering function is told its descriptor; the cookie of its probe. */
enum provenance_site {
	PROVENANCE_AIO_SET_FD_HANDLER, /* (ctx, fd, ...) */
	PROVENANCE_ADD_UNIX_FD,	       /* (source, fd, events) */
	PROVENANCE_ADD_POLL,	       /* (source, GPollFD *) */
	PROVENANCE_SITES,
};

struct provenance_event {
	__u64 time_ns;
	__u64 by; /* the system call, or the enum provenance_site */
	struct stack_copy stack;
};

#endif
