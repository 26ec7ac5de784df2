/* SPDX-License-Identifier: MIT */
/*
 * Watching the loops of a live process: numbers counted in the kernel (bpf/watch.bpf.c) while the
 * process runs, read whenever somebody asks.
 */
#ifndef TRACER_WATCH_H
#define TRACER_WATCH_H

#include <linux/types.h>

#include "bpf/watch.h"
#include "tracer/images.h"
#include "tracer/layout.h"

struct watch;

struct watched_fd {
	struct watch_fd_key key;
	struct watch_fd value;
};

struct watched_io {
	struct watch_fd_key key;
	struct watch_io value;
};

struct watched_bh {
	struct watch_bh_key key;
	struct watch_bh value;
};

struct watched_timer {
	uint64_t timer;
	struct watch_timer value;
};

struct watched_source {
	uint64_t source;
	struct watch_source value;
};

/*
 * Load the programs and attach them to the waits of libc, and to aio_poll() and timer_mod_ns()
 * where the program exports them. Errors: those of attach.h, -ENOENT (no libc whose polls could be
 * probed). @t and @images are borrowed. The caller closes; NULL is fine there.
 */
int watch_open(struct target *t, struct images *images, const struct layout *l, struct watch **ret,
	       struct failure *why);
void watch_close(struct watch *w);

/*
 * From now on also count bottom halves, and the dispatches of GLib sources (@sources: run addresses
 * of their dispatch functions). Not cheap: where a function begins with an instruction that the
 * kernel single-steps, a call costs the target 12 us. Hence only for a loop that spins anyway.
 */
int watch_callbacks(struct watch *w, const GArray *sources, struct failure *why);

/*
 * From now on tell the calls of the function at run address @function apart; its number, also if it
 * was watched before. Errors: -ENOEXEC and -ENOENT (site.h), -E2BIG (too many functions), those of
 * attach.h.
 */
int watch_calls(struct watch *w, uint64_t function);
/* The calls of function @number by a thread since then; zero if there were none. */
struct watch_call watch_read_call(const struct watch *w, int number, pid_t tid);

/* The counts of a thread; false if it never polled. */
bool watch_read_thread(const struct watch *w, pid_t tid, struct watch_thread *ret);
/* All counts of a kind: of struct watched_..., to be freed. */
GArray *watch_read_threads(const struct watch *w); /* of pid_t */
GArray *watch_read_fds(const struct watch *w);
GArray *watch_read_bhs(const struct watch *w);
GArray *watch_read_timers(const struct watch *w);
GArray *watch_read_sources(const struct watch *w);

/*
 * Count system calls on descriptors while it is on: of the whole machine a few ns each, hence only
 * where something has to be proven.
 */
int watch_io_start(struct watch *w, struct failure *why);
void watch_io_stop(struct watch *w);
GArray *watch_read_ios(const struct watch *w);

/*
 * Learn what the clock @type (QEMU_CLOCK_...) says, from the next reading of it by anybody in the
 * process; true if it is known then. What it says is CLOCK_MONOTONIC plus *ret_offset.
 */
bool watch_learn_clock(struct watch *w, int type, int timeout_ms, int64_t *ret_offset);

/* How many probes there are, and what was not counted for want of space. */
size_t watch_sites(const struct watch *w);
uint64_t watch_lost(const struct watch *w);

#endif
