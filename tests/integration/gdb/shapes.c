// SPDX-License-Identifier: MIT
/*
 * The loop's structures in the shapes that QEMU releases gave them, as far as a debugger looks:
 * fields that come and go around those that stay. A main loop and an IOThread; the main context has
 * a handler, two bottom halves, one of them in a slice, and a timer. Prints where the fields lie,
 * then "ready", and waits.
 *
 * SHAPE 60 is like 6.0, 61 like 6.1, ... 102 like 10.2, 111 like 11.1; 0: like 8.2, with members
 * inside unnamed structures.
 */
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LIKE (SHAPE ? SHAPE : 82)

typedef struct AioContext AioContext;
typedef struct AioHandler AioHandler;
typedef struct QEMUBH QEMUBH;
typedef struct QEMUTimer QEMUTimer;
typedef struct QEMUTimerList QEMUTimerList;
typedef struct BHListSlice BHListSlice;
typedef struct IOThread IOThread;
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

struct bh_head {
	QEMUBH *slh_first;
};

struct BHListSlice {
	struct bh_head bh_list;
	struct {
		BHListSlice *sqe_next;
	} next;
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
	char lock[LIKE % 7 * 8 + 40]; /* as large as the build's mutexes are */
#if LIKE >= 80
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
	struct bh_head bh_list;
	struct {
		BHListSlice *sqh_first, **sqh_last;
	} bh_slice_list;
	bool notified;
	struct {
		int rfd, wfd;
		bool initialized;
	} notifier;
	void *scheduled_coroutines, *co_schedule_bh;
#if LIKE >= 71
	int thread_pool_min, thread_pool_max;
#endif
	void *thread_pool, *linux_aio;
#if LIKE < 102
	void *linux_io_uring;
#endif
	char fdmon_io_uring[216]; /* of liburing */
	void *submit_list;
#if LIKE >= 102
	void *io_uring_fd_tag, *cqe_handler_ready_list[2];
#endif
	QEMUTimerListGroup tlg;
#if LIKE < 81
	int external_disable_cnt;
#endif
	int poll_disable_cnt;
#if LIKE < 100 || LIKE >= 111
	int64_t poll_ns;
#endif
	int64_t poll_max_ns, poll_grow, poll_shrink;
#if LIKE >= 111
	int64_t poll_weight;
#endif
#if LIKE >= 61
	int64_t aio_max_batch;
#endif
	struct head poll_aio_handlers;
	bool poll_started;
	int epollfd;
#if LIKE >= 102
	void *epollfd_tag;
#endif
	const void *fdmon_ops;
#if LIKE >= 102
	bool initialized;
#endif
};

struct AioHandler {
	PollFd pfd;
	Callback *io_read, *io_write, *io_poll;
#if LIKE >= 70
	Callback *io_poll_ready;
#endif
	Callback *io_poll_begin, *io_poll_end;
	void *opaque;
	struct link node, node_ready, node_deleted, node_poll;
	void *node_submitted;
	unsigned flags;
#if LIKE >= 102
	char internal_cqe_handler[40];
#endif
	int64_t poll_idle_timeout;
#if LIKE >= 100
	struct {
		int64_t ns;
	} poll;
#endif
#if LIKE >= 70
	bool poll_ready;
#endif
#if LIKE < 81
	bool is_external;
#endif
};

struct QEMUBH {
	AioContext *ctx;
#if LIKE >= 61
	const char *name;
#endif
	Callback *cb;
	void *opaque;
	struct {
		QEMUBH *sle_next;
	} next;
	unsigned flags;
#if LIKE >= 81
	void *reentrancy_guard;
#endif
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
	char active_timers_lock[LIKE % 5 * 8 + 40];
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

struct IOThread {
	struct {
		void *class, *free, *properties;
		int ref;
		void *parent;
#if LIKE >= 71
		int64_t aio_max_batch, thread_pool_min, thread_pool_max;
#endif
	} parent_obj;
	pthread_t thread;
	AioContext *ctx;
	bool run_gcontext;
	void *worker_context, *main_loop;
	char init_done_sem[96];
	bool stopping, running;
	int thread_id;
	int64_t poll_max_ns, poll_grow, poll_shrink;
#if LIKE == 61 || LIKE == 70
	int64_t aio_max_batch;
#endif
};

static SourceFuncs aio_source_funcs;
static AioContext context, handlers_context, thread_context;
static AioContext *qemu_aio_context = &context, *iohandler_ctx = &handlers_context;
static QEMUClock qemu_clock = { .type = 0, .enabled = true };
static QEMUTimerList lists[3];

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

static void notifies(void *opaque)
{
	(void)opaque;
}

static void set_up(AioContext *ctx, QEMUTimerList *list)
{
	ctx->source.source_funcs = &aio_source_funcs;
	ctx->notifier.rfd = ctx->notifier.wfd = eventfd(0, 0);
	ctx->tlg.tl[0] = list;
	*list = (QEMUTimerList){ .clock = &qemu_clock, .notify_cb = notifies };
	list->notify_opaque = ctx;
	list->list.le_next = qemu_clock.timerlists.lh_first;
	if (list->list.le_next)
		list->list.le_next->list.le_prev = &list->list.le_next;
	list->list.le_prev = &qemu_clock.timerlists.lh_first;
	qemu_clock.timerlists.lh_first = list;
}

static void *iothread_run(void *opaque)
{
	IOThread *volatile iothread = opaque;
	struct pollfd fd = { iothread->ctx->notifier.rfd, POLLIN, 0 };

	iothread->thread_id = (int)syscall(SYS_gettid);
	poll(&fd, 1, -1);
	return iothread;
}

#define SAY(type, path) printf(#type " " #path " %zu\n", offsetof(type, path))

int main(void)
{
	static AioHandler handler = { .pfd = { 23, 1, 0 }, .io_read = read_it };
	static QEMUBH bh = { .ctx = &context, .cb = half_bottom, .flags = 2 };
	static QEMUBH taken = { .ctx = &context, .cb = half_bottom, .flags = 2 | 8 };
	static BHListSlice slice = { .bh_list = { &taken } };
	static QEMUTimer timer = { .timer_list = &lists[0], .cb = time_is_up };
	static IOThread iothread = { .ctx = &thread_context, .poll_max_ns = 32768 };
	struct pollfd fds[2] = { { .events = POLLIN }, { .events = POLLIN } };

	set_up(&thread_context, &lists[2]);
	set_up(&handlers_context, &lists[1]);
	set_up(&context, &lists[0]);
	context.aio_handlers.lh_first = &handler;
	handler.node.le_prev = &context.aio_handlers.lh_first;
	context.bh_list.slh_first = &bh;
	context.bh_slice_list.sqh_first = &slice;
	lists[0].active_timers = &timer;
	iothread.running = true;
	pthread_create(&iothread.thread, NULL, iothread_run, &iothread);
	pthread_setname_np(iothread.thread, "IO io0");
	SAY(AioContext, aio_handlers.lh_first);
	SAY(AioContext, bh_slice_list.sqh_first);
	SAY(AioContext, notifier.rfd);
	SAY(AioContext, tlg.tl);
	SAY(AioContext, fdmon_ops);
	SAY(AioHandler, opaque);
	SAY(AioHandler, node.le_next);
	SAY(AioHandler, node_deleted.le_prev);
	SAY(QEMUBH, cb);
	SAY(QEMUTimerList, active_timers);
	SAY(QEMUTimer, scale);
	SAY(IOThread, ctx);
#if LIKE >= 70
	SAY(AioHandler, io_poll_ready);
#endif
#if LIKE >= 61
	SAY(QEMUBH, name);
#endif
	puts("ready");
	fflush(stdout);
	fds[0].fd = qemu_aio_context->notifier.rfd;
	fds[1].fd = iohandler_ctx->notifier.rfd;
	poll(fds, 2, -1);
	return 0;
}
