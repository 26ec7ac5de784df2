/* SPDX-License-Identifier: MIT */
/*
 * The loops of a target at one moment: every AioContext with its handlers, bottom halves and
 * timers, every GMainContext with its sources, and what each waiting thread polls.
 *
 * It is read without stopping the target. A list that changes under the reader is read again; one
 * that stays inconsistent is marked damaged, with the address where it breaks.
 */
#ifndef TRACER_LOOPS_H
#define TRACER_LOOPS_H

#include "tracer/fds.h"
#include "tracer/layout.h"
#include "tracer/reader.h"

struct handler {
	uint64_t addr;
	int fd;
	uint16_t events, revents;
	uint64_t io_read, io_write, io_poll, opaque;
	bool deleted; /* removed, kept until nobody walks the list */
	bool on_poll_list;
};

struct bottom_half {
	uint64_t addr, cb, opaque;
	uint32_t flags; /* BH_* */
	bool taken;	/* off the context's list, by an aio_bh_poll() that has not called it yet */
	char name[64];	/* "" in builds that keep none */
};

enum { BH_PENDING = 1, BH_SCHEDULED = 2, BH_DELETED = 4, BH_ONESHOT = 8, BH_IDLE = 16 };

/* Its context is to call it at once: an idle one may wait. */
static inline bool bh_is_due(const struct bottom_half *bh)
{
	return (bh->flags & (BH_SCHEDULED | BH_DELETED | BH_IDLE)) == BH_SCHEDULED;
}

struct timer {
	uint64_t addr, cb, opaque;
	int64_t expire_ns; /* on its clock */
	int clock;	   /* QEMU_CLOCK_REALTIME 0, VIRTUAL 1, HOST 2, VIRTUAL_RT 3 */
	int32_t scale;
};

enum context_kind { CONTEXT_MAIN, CONTEXT_IOHANDLER, CONTEXT_IOTHREAD, CONTEXT_OTHER };

struct context {
	uint64_t addr, gctx;
	enum context_kind kind;
	char name[64];
	pid_t tid;		 /* the thread that polls it now, 0 if that is unknown */
	int notifier_fd;	 /* -1: unknown */
	int fdmon_fd;		 /* its epoll instance or ring; -1: none is known */
	int notified, notify_me; /* -1: unknown */
	char fdmon[32];		 /* poll, epoll, io_uring; "" unknown */
	GArray *handlers;	 /* struct handler */
	GArray *bhs;		 /* struct bottom_half: those taken, then the list */
	GArray *timers;		 /* struct timer, by clock and expiry */
	uint64_t damaged_at;	 /* where its handler list breaks, or 0 */
};

/* GSource's flags: public, the same since GLib 2.0. */
enum {
	SOURCE_ACTIVE = 1 << 0, /* not destroyed */
	SOURCE_IN_CALL = 1 << 1,
	SOURCE_READY = 1 << 4,
	SOURCE_CAN_RECURSE = 1 << 5,
	SOURCE_BLOCKED = 1 << 6, /* is being dispatched, and may not be meanwhile */
};

#define READY_NEVER   (-1)	/* only what it polls, or its prepare or check, makes it ready */
#define READY_UNKNOWN INT64_MIN /* GLib's private part is not proven */

struct loop_source {
	uint64_t addr, funcs, callback, data;
	uint64_t prepare, check, dispatch; /* what GLib calls; 0: it has none */
	int priority;
	unsigned id, ref_count;
	uint32_t flags;	  /* SOURCE_* */
	int64_t ready_ns; /* when it is due, on CLOCK_MONOTONIC; or READY_* */
	uint64_t name_at; /* address of its name; 0: it has none */
	char name[64];
	bool is_aio_context;
	GArray *fds;	  /* GPollFD, added by g_source_add_poll() */
	GArray *unix_fds; /* GPollFD, added by g_source_add_unix_fd(): from GLib's private part */
};

/* A GMainContext: of a QEMU those its AioContexts are attached to, of any program all there are. */
struct loop_gcontext {
	uint64_t addr;
	bool is_default;
	int wakeup_fd;	     /* -1: unknown */
	pid_t tid;	     /* the thread that polls it now, 0 if that is unknown */
	int owned;	     /* 1: a thread iterates it now, polling or not; 0: none; -1: unknown */
	uint64_t owner;	     /* that thread's GThread */
	uint64_t damaged_at; /* where its list of sources breaks, or 0 */
	GPtrArray *sources;  /* struct loop_source *, by priority */
};

struct loops {
	struct target *t;
	struct images *images;
	struct layout *l;
	struct fds *fds;
	enum read_way way;
	GPtrArray *contexts;   /* struct context *: main, iohandler, then the others; none in a
				* program that is no QEMU */
	GPtrArray *gcontexts;  /* struct loop_gcontext * */
	GArray *main_timers;   /* struct timer of main_loop_tlg */
	struct tables *tables; /* with the poll sets */
};

/*
 * Read the loops. @t, @images, @l and @fds are borrowed. Errors: -EBADMSG (no context could be
 * read), those of tables_read().
 */
int loops_read(struct target *t, struct images *images, struct layout *l, struct fds *fds,
	       enum read_way way, int timeout_ms, struct loops **ret, struct failure *why);
void loops_free(struct loops *loops);

/* The context at @addr, or NULL. */
struct context *loops_context(const struct loops *loops, uint64_t addr);
struct loop_gcontext *loops_gcontext(const struct loops *loops, uint64_t addr);
/* The first that thread polls now, or NULL. */
struct context *loops_context_of(const struct loops *loops, pid_t tid);
struct loop_gcontext *loops_gcontext_of(const struct loops *loops, pid_t tid);
/* qemu_aio_context; NULL in a program that is no QEMU. */
struct context *loops_main(const struct loops *loops);

/* GLib's own kinds of sources, by the symbol of their GSourceFuncs; ends with NULL. */
extern const struct source_kind {
	const char *symbol, *name;
} loops_source_kinds[];

/* Is the source "timeout", "idle", "fd" ...? By GLib's own GSourceFuncs; NULL for other kinds. */
const char *loops_source_kind(const struct loops *loops, const struct loop_source *s);

/* Who polls @fd in @tid's poll set, and why. */
enum owner_kind {
	OWNER_UNKNOWN,
	OWNER_NOTIFIER,
	OWNER_HANDLER,
	OWNER_SOURCE,
	OWNER_WAKEUP,
	OWNER_FDMON
};

struct owner {
	enum owner_kind kind;
	const struct context *context; /* of a handler, notifier or monitor */
	const struct handler *handler;
	const struct loop_gcontext *gcontext; /* of a source or wake-up */
	const struct loop_source *source;
};

void loops_owner(const struct loops *loops, pid_t tid, int fd, struct owner *ret);

/* Parts of loops_read(), each in its file. */
int loops_find_contexts(struct loops *loops, struct failure *why); /* loops-contexts.c */
void loops_read_glib(struct loops *loops);			   /* loops-glib.c */
void loops_find_monitors(struct loops *loops);			   /* loops-fdmon.c */
int loops_unix_fd(const struct loops *loops, uint64_t source);	   /* loops-glib.c; or -1 */
void loops_name_iothreads(struct loops *loops);			   /* loops-iothread.c */

#endif
