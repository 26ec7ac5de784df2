/* SPDX-License-Identifier: MIT */
/* See workload.h. */
#include <glib.h>
#include <string.h>

#include "workload.h"

struct ctf_writer *workload_begin(const char *path)
{
	static const struct ctf_env env[] = { { "target_exe", "/usr/bin/qemu-system-x86_64" },
					      { "target_build_id", "0123456789abcdef0123" },
					      { "target_pid", "100" },
					      { NULL, NULL } };
	struct ctf_writer *writer;
	int err = ctf_writer_open(path, env, &writer);

	if (err)
		g_error("%s: %s", path, g_strerror(-err));
	return writer;
}

void workload_event(struct ctf_writer *writer, const struct loop_event *event)
{
	if (ctf_writer_event(writer, event))
		g_error("event %u", event->id);
}

void workload_text(struct ctf_writer *writer, const struct loop_event *event, const char *text)
{
	if (ctf_writer_text(writer, event, text))
		g_error("record %u", event->id);
}

void workload_end(struct ctf_writer *writer)
{
	int err = ctf_writer_close(writer, NULL);

	if (err)
		g_error("closing: %s", g_strerror(-err));
}

/* An iteration of 10 ms: it sleeps 5 ms, then a handler of 1 ms with a BH of 400 us inside, or a
 * timer of 100 us that is 20 us late. */
static void known_iteration(struct ctf_writer *w, uint64_t at, bool ready)
{
	EMIT(w, ITERATION_BEGIN, iteration_begin, at, MAIN_TID, .ctx = MAIN_CTX,
	     .kind = LOOP_LOOP_KIND_MAIN_LOOP_WAIT);
	EMIT(w, TIMEOUT_CHOSEN, timeout_chosen, at + 1 * US, MAIN_TID, .ctx = MAIN_CTX,
	     .timeout_ns = 5 * MS, .by = LOOP_CHOOSER_TIMER, .what = 0x7000, .cb = TIMER_CB);
	EMIT(w, POLL_ENTER, poll_enter, at + 2 * US, MAIN_TID, .ctx = MAIN_CTX, .n_fds = 2,
	     .timeout_ns = 5 * MS, .depth = 1);
	at += 2 * US + 5 * MS;
	EMIT(w, POLL_EXIT, poll_exit, at, MAIN_TID, .ctx = MAIN_CTX, .ret = ready);
	if (ready)
		EMIT(w, FD_READY, fd_ready, at + 1 * US, MAIN_TID, .ctx = MAIN_CTX, .fd = 14,
		     .events = LOOP_POLL_BITS_IN, .revents = LOOP_POLL_BITS_IN);
	EMIT(w, BQL_WAIT, bql_wait, at + 2 * US, MAIN_TID, .site = SITE);
	EMIT(w, BQL_ACQUIRED, bql_acquired, at + 12 * US, MAIN_TID, .site = SITE);
	EMIT(w, DISPATCH_BEGIN, dispatch_begin, at + 13 * US, MAIN_TID, .ctx = MAIN_CTX);
	at += 20 * US;
	if (ready) {
		EMIT(w, HANDLER_BEGIN, handler_begin, at, MAIN_TID, .ctx = AIO_CTX, .node = 0x9000,
		     .fd = 14, .op = LOOP_HANDLER_OP_READ, .cb = HANDLER_CB);
		EMIT(w, BH_BEGIN, bh_begin, at + 100 * US, MAIN_TID, .ctx = AIO_CTX, .bh = 0xb000,
		     .cb = BH_CB);
		EMIT(w, BH_END, bh_end, at + 500 * US, MAIN_TID, .ctx = AIO_CTX, .bh = 0xb000,
		     .cb = BH_CB);
		EMIT(w, HANDLER_END, handler_end, at + 1 * MS, MAIN_TID, .ctx = AIO_CTX,
		     .node = 0x9000, .fd = 14, .op = LOOP_HANDLER_OP_READ, .cb = HANDLER_CB);
	} else {
		EMIT(w, TIMER_BEGIN, timer_begin, at, MAIN_TID, .timer = 0x7000, .cb = TIMER_CB,
		     .late_ns = 20 * US);
		EMIT(w, TIMER_END, timer_end, at + 100 * US, MAIN_TID, .timer = 0x7000,
		     .cb = TIMER_CB);
	}
	at += 1 * MS;
	EMIT(w, DISPATCH_END, dispatch_end, at, MAIN_TID, .ctx = MAIN_CTX);
	EMIT(w, BQL_RELEASED, bql_released, at + 10 * US, MAIN_TID, .site = SITE);
	EMIT(w, ITERATION_END, iteration_end, at + 20 * US, MAIN_TID, .ctx = MAIN_CTX,
	     .kind = LOOP_LOOP_KIND_MAIN_LOOP_WAIT, .progress = 1);
}

static void write_known(const char *path)
{
	struct ctf_writer *w = workload_begin(path);

	NAME(w, SYMBOL, symbol, "virtio_queue_host_notifier_read", .addr = HANDLER_CB);
	NAME(w, SYMBOL, symbol, "gui_update", .addr = TIMER_CB);
	NAME(w, SYMBOL, symbol, "os_host_main_loop_wait", .addr = SITE, .offset = 0x1c2);
	NAME(w, BH_NAME, bh_name, "bdrv_co_drain_bh_cb", .bh = 0xb000, .cb = BH_CB);
	NAME(w, CONTEXT, context, "qemu_aio_context", .ctx = AIO_CTX,
	     .kind = LOOP_CONTEXT_KIND_MAIN, .home_tid = MAIN_TID);
	NAME(w, CONTEXT, context, "io0", .ctx = IO_CTX, .kind = LOOP_CONTEXT_KIND_IOTHREAD,
	     .home_tid = IO_TID);
	NAME(w, THREAD, thread, "qemu-system-x86", .of_tid = MAIN_TID, .pid = MAIN_TID);
	NAME(w, FD, fd, "anon_inode:[eventfd]", .fd = 14, .kind = LOOP_FD_KIND_EVENTFD);
	for (unsigned int i = 0; i < KNOWN_ITERATIONS; i++)
		known_iteration(w, KNOWN_BEGIN_NS + i * KNOWN_STEP_NS, i % 2);
	workload_end(w);
}

/* Each of 71 fds wakes the loop once; one function serves them all. */
static void write_queues(const char *path)
{
	struct ctf_writer *w = workload_begin(path);

	NAME(w, SYMBOL, symbol, "virtio_queue_host_notifier_read", .addr = HANDLER_CB);
	for (unsigned int i = 0; i < 71; i++) {
		uint64_t at = FIRST_NS + i * MS;

		EMIT(w, POLL_ENTER, poll_enter, at, MAIN_TID, .timeout_ns = -1, .depth = 1);
		EMIT(w, POLL_EXIT, poll_exit, at + 100 * US, MAIN_TID, .ret = 1);
		EMIT(w, FD_READY, fd_ready, at + 101 * US, MAIN_TID, .fd = 20 + i,
		     .revents = LOOP_POLL_BITS_IN);
		EMIT(w, HANDLER_BEGIN, handler_begin, at + 110 * US, MAIN_TID, .node = i + 1,
		     .fd = 20 + i, .op = LOOP_HANDLER_OP_READ, .cb = HANDLER_CB);
		EMIT(w, HANDLER_END, handler_end, at + 200 * US, MAIN_TID, .node = i + 1,
		     .fd = 20 + i);
	}
	workload_end(w);
}

static void write_hostile(const char *path)
{
	static const char evil[] = "\033]0;owned\a\033[2J\xff\xfe\xc2\x9b"
				   "1m\n\t evil";
	struct ctf_writer *w = workload_begin(path);

	NAME(w, SYMBOL, symbol, evil, .addr = HANDLER_CB);
	NAME(w, BH_NAME, bh_name, evil, .cb = BH_CB);
	NAME(w, CONTEXT, context, evil, .ctx = AIO_CTX, .kind = LOOP_CONTEXT_KIND_IOTHREAD,
	     .home_tid = MAIN_TID);
	NAME(w, THREAD, thread, evil, .of_tid = MAIN_TID);
	NAME(w, FD, fd, evil, .fd = 14);
	NAME(w, NOTE, note, evil, .level = 1);
	NAME(w, SOURCE_LINE, source_line, evil, .addr = SITE);
	NAME(w, STRING, string, evil, .addr = SITE);
	known_iteration(w, KNOWN_BEGIN_NS, true);
	EMIT(w, AIO_POLL_ENTER, aio_poll_enter, FIRST_NS + 20 * MS, MAIN_TID, .depth = 0xffffffff,
	     .site = SITE);
	EMIT(w, BQL_WAIT, bql_wait, FIRST_NS + 21 * MS, MAIN_TID, .file = SITE, .line = 0xffffffff);
	EMIT(w, FD_READY, fd_ready, FIRST_NS + 22 * MS, MAIN_TID, .fd = INT32_MIN);
	EMIT(w, POLL_EXIT, poll_exit, FIRST_NS + 22 * MS, MAIN_TID, .ret = INT32_MIN);
	EMIT(w, TIMER_BEGIN, timer_begin, FIRST_NS + 23 * MS, MAIN_TID, .late_ns = INT64_MAX);
	EMIT(w, TIMER_END, timer_end, 1ULL << 60, MAIN_TID, .timer = 0);
	workload_end(w);
}

/* Each third callback loses its end, and the thread what comes after it. */
static void write_gaps(const char *path)
{
	struct ctf_writer *w = workload_begin(path);

	for (unsigned int i = 0; i < KNOWN_ITERATIONS; i++) {
		uint64_t at = KNOWN_BEGIN_NS + i * KNOWN_STEP_NS;

		known_iteration(w, at, i % 2);
		EMIT(w, ITERATION_BEGIN, iteration_begin, at + 8 * MS, MAIN_TID, .ctx = MAIN_CTX);
		EMIT(w, BH_BEGIN, bh_begin, at + 8 * MS, MAIN_TID, .bh = 0xb000, .cb = BH_CB);
		if (i % 3)
			continue;
		ctf_writer_flush(w);
		ctf_writer_discard(w, MAIN_TID, 5, at + 9 * MS);
		EMIT(w, BH_END, bh_end, at + 9 * MS, MAIN_TID, .bh = 0xb000, .cb = BH_CB);
	}
	workload_end(w);
}

/* A name that a spreadsheet would compute. */
static void write_formula(const char *path)
{
	struct ctf_writer *w = workload_begin(path);

	NAME(w, SYMBOL, symbol, "=cmd|\"x\", 1", .addr = HANDLER_CB);
	known_iteration(w, KNOWN_BEGIN_NS, true);
	workload_end(w);
}

/* Names that a browser would obey. */
static void write_markup(const char *path)
{
	static const char evil[] = "</script><script>document.title='owned'</script>"
				   "<img src=x onerror=\"document.title='owned'\">&lt;b&gt;";
	struct ctf_writer *w = workload_begin(path);

	NAME(w, SYMBOL, symbol, evil, .addr = HANDLER_CB);
	NAME(w, SYMBOL, symbol, evil, .addr = SITE);
	NAME(w, BH_NAME, bh_name, evil, .cb = BH_CB);
	NAME(w, CONTEXT, context, evil, .ctx = AIO_CTX, .kind = LOOP_CONTEXT_KIND_IOTHREAD,
	     .home_tid = MAIN_TID);
	NAME(w, THREAD, thread, evil, .of_tid = MAIN_TID);
	NAME(w, FD, fd, evil, .fd = 14);
	NAME(w, NOTE, note, evil, .level = 1);
	known_iteration(w, KNOWN_BEGIN_NS, true);
	EMIT(w, NOTIFY, notify, KNOWN_BEGIN_NS + KNOWN_STEP_NS, MAIN_TID, .ctx = AIO_CTX,
	     .written = 1, .site = SITE);
	workload_end(w);
}

/* Iterations of 8 events, an iteration each in turn. */
static void write_many(const char *path, uint64_t events)
{
	struct ctf_writer *w = workload_begin(path);

	for (uint64_t i = 0; i < events / 8; i++) {
		uint64_t at = FIRST_NS + i * 800;
		uint32_t tid = MAIN_TID + i % 4;

		EMIT(w, ITERATION_BEGIN, iteration_begin, at, tid, .ctx = MAIN_CTX);
		EMIT(w, TIMEOUT_CHOSEN, timeout_chosen, at + 100, tid, .ctx = MAIN_CTX,
		     .timeout_ns = -1, .by = LOOP_CHOOSER_NOBODY);
		EMIT(w, POLL_ENTER, poll_enter, at + 200, tid, .ctx = MAIN_CTX, .timeout_ns = -1,
		     .depth = 1);
		EMIT(w, POLL_EXIT, poll_exit, at + 300, tid, .ctx = MAIN_CTX, .ret = 1);
		EMIT(w, FD_READY, fd_ready, at + 400, tid, .ctx = MAIN_CTX, .fd = 14 + i % 64,
		     .revents = LOOP_POLL_BITS_IN);
		EMIT(w, HANDLER_BEGIN, handler_begin, at + 500, tid, .ctx = AIO_CTX,
		     .node = 0x9000 + i % 64, .fd = 14 + i % 64, .op = LOOP_HANDLER_OP_READ,
		     .cb = HANDLER_CB);
		EMIT(w, HANDLER_END, handler_end, at + 600 + i % 100, tid, .ctx = AIO_CTX,
		     .node = 0x9000 + i % 64, .fd = 14 + i % 64, .op = LOOP_HANDLER_OP_READ,
		     .cb = HANDLER_CB);
		EMIT(w, ITERATION_END, iteration_end, at + 700, tid, .ctx = MAIN_CTX,
		     .progress = 1);
	}
	workload_end(w);
}

bool workload_write(const char *name, const char *path, uint64_t events)
{
	if (!strcmp(name, "known"))
		write_known(path);
	else if (!strcmp(name, "queues"))
		write_queues(path);
	else if (!strcmp(name, "hostile"))
		write_hostile(path);
	else if (!strcmp(name, "gaps"))
		write_gaps(path);
	else if (!strcmp(name, "formula"))
		write_formula(path);
	else if (!strcmp(name, "markup"))
		write_markup(path);
	else if (!strcmp(name, "many"))
		write_many(path, events);
	else
		return false;
	return true;
}
