/* SPDX-License-Identifier: MIT */
/*
 * Attaching a bpf program to sites of a running program, and getting off it again.
 *
 * All sites of one file are one uprobe_multi link, made with bpf(2) itself: the libbpf of Debian 12
 * does not know that link. It attaches hundreds of sites in milliseconds, and the kernel removes
 * them when the tracer's descriptor goes, however it goes. Kernels before 6.6 lack it: there each
 * site is a perf event of libbpf's, whose removal takes some 0.1 s, so they get at most
 * ATTACH_SLOW_MAX sites.
 */
#ifndef TRACER_ATTACH_H
#define TRACER_ATTACH_H

#include <bpf/libbpf.h>
#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "tracer/failure.h"
#include "tracer/site.h"

#define ATTACH_SLOW_MAX 20

struct attachment;

enum attach_how {
	ATTACH_BEST, /* uprobe_multi where the kernel has it */
	ATTACH_SLOW, /* as on a kernel before 6.6 */
};

/* Does this kernel have uprobe_multi? Asked once. */
bool attach_has_multi(void);

/* Call before the program is loaded: a program is loaded for one way of attaching or the other. */
void attach_prepare(struct bpf_program *prog, enum attach_how how);

/*
 * Attach @prog to @n sites in process @pid. All or nothing. Errors: -ESRCH (the process has gone),
 * -EPERM, -E2BIG (more sites than the slow way allows), -EOPNOTSUPP. The caller detaches.
 */
int attach_sites(struct bpf_program *prog, enum attach_how how, pid_t pid, const struct site *sites,
		 size_t n, struct attachment **ret, struct failure *why);

/*
 * Remove every probe; returns when none is left. NULL is fine. Of many, whose array is empty then,
 * at once: a link takes 0.1 s to go, and so do fifty.
 */
void attach_remove(struct attachment *a);
void attach_remove_all(GPtrArray *attachments);

/* Set up libbpf for this program: silent unless @verbose. */
void attach_set_verbose(bool verbose);

#endif
