// SPDX-License-Identifier: MIT
/*
 * The loop's structures in the shapes that QEMU releases gave them, as far as a debugger looks:
 * fields that come and go around those that stay. One context with one handler, one bottom half and
 * one timer. Prints where the fields lie, then "ready", and waits.
 *
 * SHAPE 60: like 6.0; 82: like 8.2; 102: like 10.2; 0: members inside unnamed structures.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

typedef struct AioContext AioContext;
typedef struct AioHandler AioHandler;
typedef struct QEMUBH QEMUBH;
typedef struct QEMUTimer QEMUTimer;
typedef struct QEMUTimerList QEMUTimerList;
typedef void Callback(void *opaque);

typedef struct {
	void (*prepare)(void), (*check)(void), (*dispatch)(void), (*finalize)(void);
} SourceFuncs;

typedef struct {
	int fd;
	unsigned short events, revents;
} PollFd;

struct link {
	AioHandler *le_next, **le_prev;
};

struct head {
	AioHandler *lh_first;
};

typedef struct {
	QEMUTimerList *tl[4];
} QEMUTimerListGroup;

struct AioContext {
	struct {
		void *callback_data, *callback_funcs;
		SourceFuncs *source_funcs;
		char rest[72];
	} source;
	char lock[SHAPE + 1]; /* as large as the build's mutexes are */
#if SHAPE >= 80
	void *bdrv_graph;
#endif
#if SHAPE
	struct head aio_handlers, deleted_aio_handlers;
#else
	union {
		struct {
			struct head aio_handlers, deleted_aio_handlers;
		};
		int64_t raw;
	};
#endif
	uint32_t notify_me;
	unsigned list_lock;
	struct {
		QEMUBH *slh_first;
	} bh_list;
	struct {
		void *sqh_first, **sqh_last;
	} bh_slice_list;
	bool notified;
	struct {
		int rfd, wfd;
#if SHAPE >= 80
		bool initialized;
#endif
	} notifier;
#if SHAPE == 60
	void *linux_aio, *linux_io_uring;
	int external_disable_cnt;
#elif SHAPE == 102
	void *io_uring_fd_tag, *cqe_handler_ready_list[2];
#endif
	QEMUTimerListGroup tlg;
	int poll_disable_cnt;
#if SHAPE < 100
	int64_t poll_ns;
#endif
	struct head poll_aio_handlers;
	const void *fdmon_ops;
};

struct AioHandler {
	PollFd pfd;
	Callback *io_read, *io_write, *io_poll;
#if SHAPE != 60
	Callback *io_poll_ready;
#endif
	Callback *io_poll_begin, *io_poll_end;
	void *opaque;
	struct link node, node_ready, node_deleted, node_poll;
#if SHAPE == 60
	bool is_external;
#endif
};

struct QEMUBH {
	AioContext *ctx;
#if SHAPE != 60
	const char *name;
#endif
	Callback *cb;
	void *opaque;
	struct {
		QEMUBH *sle_next;
	} next;
	unsigned flags;
};

typedef struct {
	struct {
		QEMUTimerList *lh_first;
	} timerlists;
	unsigned type;
	bool enabled;
} QEMUClock;

struct QEMUTimerList {
	QEMUClock *clock;
	char active_timers_lock[SHAPE + 1];
	QEMUTimer *active_timers;
	struct {
		QEMUTimerList *le_next, **le_prev;
	} list;
	Callback *notify_cb;
	void *notify_opaque;
};

struct QEMUTimer {
	int64_t expire_time;
	QEMUTimerList *timer_list;
	Callback *cb;
	void *opaque;
	QEMUTimer *next;
	int attributes, scale;
};

static SourceFuncs aio_source_funcs;
static AioContext context;
static AioContext *qemu_aio_context = &context;

static void read_it(void *opaque)
{
	(void)opaque;
}

static void half_bottom(void *opaque)
{
	(void)opaque;
}

static void time_is_up(void *opaque)
{
	(void)opaque;
}

#define SAY(type, path) printf(#type " " #path " %zu\n", offsetof(type, path))

int main(void)
{
	static AioHandler handler = { .pfd = { 23, 1, 0 }, .io_read = read_it };
	static QEMUBH bh = { .ctx = &context, .cb = half_bottom, .flags = 2 };
	static QEMUClock clock = { .type = 0 };
	static QEMUTimerList list = { .clock = &clock, .notify_opaque = &context };
	static QEMUTimer timer = { .timer_list = &list, .cb = time_is_up };

	context.source.source_funcs = &aio_source_funcs;
	context.aio_handlers.lh_first = &handler;
	handler.node.le_prev = &context.aio_handlers.lh_first;
	context.bh_list.slh_first = &bh;
	context.tlg.tl[0] = &list;
	clock.timerlists.lh_first = &list;
	list.list.le_prev = &clock.timerlists.lh_first;
	list.active_timers = &timer;
	list.notify_cb = half_bottom;
	SAY(AioContext, aio_handlers.lh_first);
	SAY(AioContext, notifier.rfd);
	SAY(AioContext, tlg.tl);
	SAY(AioContext, fdmon_ops);
	SAY(AioHandler, opaque);
	SAY(AioHandler, node.le_next);
	SAY(AioHandler, node_deleted.le_prev);
	SAY(QEMUBH, cb);
	SAY(QEMUTimerList, active_timers);
	SAY(QEMUTimer, scale);
#if SHAPE != 60
	SAY(AioHandler, io_poll_ready);
	SAY(QEMUBH, name);
#endif
	puts("ready");
	fflush(stdout);
	pause();
	return qemu_aio_context == NULL;
}
