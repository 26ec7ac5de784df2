/* SPDX-License-Identifier: MIT */
/*
 * Three ways to read the tables of a loop, with one result.
 *
 * READ_MEM    process_vm_readv(2) and /proc (or a core's segments)
 * READ_ITER   a bpf task iterator (bpf/tables.bpf.c): in the kernel, no probe, no stop
 * READ_PROBE  lists as READ_ITER; poll sets from a probe on the poll each thread enters next
 *             (bpf/pollset.bpf.c)
 */
#ifndef TRACER_READER_H
#define TRACER_READER_H

#include <glib.h>
#include <linux/types.h>
#include <stdint.h>

#include "bpf/tables.h"
#include "tracer/failure.h"
#include "tracer/images.h"
#include "tracer/target.h"

#define ELEMENT_MAX 256	      /* bytes of a list element */
#define LIST_MAX    (1 << 20) /* elements: a longer list is a damaged one */

enum read_way { READ_MEM, READ_ITER, READ_PROBE };

struct list_spec {
	uint64_t first; /* address of the first element, 0 for an empty list */
	uint32_t next;	/* offset in an element of the pointer to the next */
	uint32_t size;	/* bytes of an element to read, at most ELEMENT_MAX */
};

struct element {
	uint64_t addr;
	bool failed; /* its memory could not be read; the list ends here */
	uint8_t bytes[ELEMENT_MAX];
};

struct poll_set {
	pid_t tid;
	long nr;	    /* the system call: NR_POLL, NR_PPOLL, NR_EPOLL_WAIT, ... */
	int epfd;	    /* of the epoll and io_uring calls, or -1 */
	int64_t timeout_ns; /* -1: for ever */
	GArray *fds;	    /* GPollFD: of poll and ppoll */
};

struct tables {
	GPtrArray *lists; /* of GArray of struct element, one for each spec */
	GArray *sets;	  /* struct poll_set, by thread */
	uint64_t lost;	  /* records that did not fit: the tables are incomplete */
};

/*
 * Read poll sets and lists. @timeout_ms is how long READ_PROBE waits for polls. Errors: those of
 * target.h and attach.h, -EOPNOTSUPP for a kernel without task iterators.
 */
int tables_read(enum read_way way, struct target *t, struct images *images,
		const struct list_spec *specs, size_t n, int timeout_ms, struct tables **ret,
		struct failure *why);
void tables_free(struct tables *tables);

/* "mem", "iter", "probe". */
const char *read_way_name(enum read_way way);

/* For the readers. */
struct tables *tables_new(size_t n_lists);
void tables_clear(struct tables *tables);
struct poll_set *tables_add_set(struct tables *tables, pid_t tid, long nr, const uint64_t *args,
				const int64_t *timeout);
int tables_read_mem(struct target *t, const struct list_spec *specs, size_t n, bool sets,
		    struct tables *tables, struct failure *why);
int tables_read_iter(struct target *t, const struct list_spec *specs, size_t n, bool sets,
		     struct tables *tables, struct failure *why);
int tables_read_probe(struct target *t, struct images *images, int timeout_ms,
		      struct tables *tables, struct failure *why);

/* Say why a bpf program cannot be loaded or run; returns -EPERM or -EOPNOTSUPP. */
int bpf_failure(int err, struct failure *why);

#endif
