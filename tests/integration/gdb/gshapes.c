// SPDX-License-Identifier: MIT
/*
 * GLib's private structures in the shapes that its releases gave them, with debug information: a
 * GMainContext with two lists of sources, which a thread polls. Prints "ready" and waits.
 *
 * SHAPE 58: like 2.58; 74: like 2.74; 80: like 2.80, a queue of lists; 82: like 2.82.
 */
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

typedef struct _GMainContext GMainContext;
typedef struct _GSource GSource;
typedef struct _GSourcePrivate GSourcePrivate;
typedef struct _GSourceList GSourceList;
typedef struct _GList GList;
typedef struct pollfd GPollFD;

struct _GList {
	void *data;
	GList *next, *prev;
};

typedef struct {
	GList *head, *tail;
	unsigned length;
} GQueue;

typedef struct {
	int (*prepare)(void), (*check)(void), (*dispatch)(void);
	void (*finalize)(void);
} GSourceFuncs;

struct _GSourceList {
#if SHAPE >= 80
	GList link;
#endif
	GSource *head, *tail;
	int priority;
};

struct _GSourcePrivate {
	void *child_sources;
	GSource *parent_source;
	int64_t ready_time;
	void *fds;
#if SHAPE >= 74
	void (*dispose)(void);
	int static_name;
#endif
};

struct _GSource {
	void *callback_data, *callback_funcs;
	const GSourceFuncs *source_funcs;
	unsigned ref_count;
	GMainContext *context;
	int priority;
	unsigned flags, source_id;
	void *poll_fds;
	GSource *prev, *next;
	char *name;
	GSourcePrivate *priv;
};

struct _GMainContext {
	long mutex[1], cond[2];
	void *owner;
	unsigned owner_count;
#if SHAPE >= 74
	unsigned flags;
#endif
	void *waiters;
	int ref_count;
	void *sources, *pending_dispatches;
#if SHAPE >= 82
	int64_t timeout_usec;
#else
	int timeout;
#endif
	unsigned next_id;
#if SHAPE >= 80
	GQueue source_lists;
#else
	GList *source_lists;
#endif
	int in_check_or_prepare;
	void *poll_records;
	unsigned n_poll_records;
	GPollFD *cached_poll_array;
	unsigned cached_poll_array_size;
	void *wakeup;
	GPollFD wake_up_rec;
};

static int dispatches(void)
{
	return 1;
}

static const GSourceFuncs funcs = { .dispatch = dispatches };
static GMainContext context;

int main(void)
{
	static GSourcePrivate privates[3] = { { .ready_time = -1 }, { .ready_time = 5000000 } };
	static GSource sources[3];
	static GSourceList lists[2];
	static GList links[2];
	static GPollFD fd = { -1, POLLIN, 0 };
	int wakeup[2] = { -1, -1 };

	for (int i = 0; i < 3; i++) {
		sources[i] = (GSource){ .source_funcs = &funcs,
					.ref_count = 1,
					.context = &context,
					.flags = 1 | (i == 1) << 4,
					.source_id = i + 1,
					.name = i ? (char *)"later" : (char *)"first",
					.priority = i ? 200 : -5,
					.priv = &privates[i] };
	}
	sources[1].next = &sources[2];
	sources[2].prev = &sources[1];
	lists[0].head = lists[0].tail = &sources[0];
	lists[0].priority = -5;
	lists[1].head = &sources[1];
	lists[1].tail = &sources[2];
	lists[1].priority = 200;
	links[0] = (GList){ &lists[0], &links[1], NULL };
	links[1] = (GList){ &lists[1], NULL, &links[0] };
#if SHAPE >= 80
	lists[0].link = (GList){ &lists[0], &lists[1].link, NULL };
	lists[1].link = (GList){ &lists[1], NULL, &lists[0].link };
	context.source_lists = (GQueue){ &lists[0].link, &lists[1].link, 2 };
#else
	context.source_lists = links;
#endif
	context.cached_poll_array = &fd;
	context.wakeup = wakeup;
	context.wake_up_rec = fd;
	puts("ready");
	fflush(stdout);
	poll(context.cached_poll_array, 1, -1);
	/* Held in main's frame meanwhile, as GLib holds it in its own. */
	GMainContext *volatile held = &context;
	return held == NULL;
}
