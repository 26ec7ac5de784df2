/* SPDX-License-Identifier: MIT */
/*
 * What the monitor tells of the loops, as tables.  Each list is read as its own rules allow to any
 * thread: handlers by a visitor of list_lock, timers under their list's lock.  A list of bottom
 * halves belongs to the thread that runs the context: that one is asked.
 */
#include "osdep.h"
#include "aio-bh.h"
#include "aio-posix.h"
#include "monitor-int.h"
#include "monitor-table.h"

/* --- cells ------------------------------------------------------------------------------- */

static char *number(int64_t n)
{
	return g_strdup_printf("%" PRId64, n);
}

static char *address(const void *pointer)
{
	return pointer ? g_strdup_printf("%p", pointer) : g_strdup("-");
}

static char *function(const Monitor *mon, const void *address)
{
	uint64_t offset;
	char *name = address ? self_symbols_name(mon->symbols, (uintptr_t)address, &offset)
			     : g_strdup("-");

	return name ?: g_strdup_printf("%p", address);
}

/* --- contexts and IOThreads --------------------------------------------------------------- */

static char *thread_of(const MonitorContext *context)
{
	return number(context->iothread ? context->iothread->thread_id : getpid());
}

static const char *run_by(const MonitorContext *context)
{
	if (!context->iothread)
		return "main_loop_wait";
	return qatomic_read(&context->iothread->run_gcontext) ? "g_main_loop_run" : "aio_poll";
}

static void count_handler(AioHandler *node G_GNUC_UNUSED, void *count)
{
	++*(unsigned *)count;
}

/* Calls @fn for each of the context's handlers that is not removed. */
static void for_each_handler(AioContext *ctx, void (*fn)(AioHandler *node, void *opaque),
			     void *opaque)
{
	AioHandler *node;

	qemu_lockcnt_inc(&ctx->list_lock);
	QLIST_FOREACH_RCU (node, &ctx->aio_handlers, node) {
		if (!aio_handler_deleted(node))
			fn(node, opaque);
	}
	qemu_lockcnt_dec(&ctx->list_lock);
}

MonitorResult monitor_info_contexts(MonitorCall *call)
{
	GArray *contexts = monitor_contexts();

	TABLE(table, "CONTEXT", "THREAD", "RUN BY", "NOTIFY_ME", "NOTIFIED", "WOKEN BY", "HANDLERS",
	      "FD MONITOR");
	for (unsigned i = 0; i < contexts->len; i++) {
		const MonitorContext *c = &g_array_index(contexts, MonitorContext, i);
		unsigned handlers = 0;

		for_each_handler(c->ctx, count_handler, &handlers);
		table_add(&table, g_strdup(c->name));
		table_add(&table, thread_of(c));
		table_add(&table, g_strdup(run_by(c)));
		table_add(&table, number(qatomic_read(&c->ctx->notify_me)));
		table_add(&table, g_strdup(qatomic_read(&c->ctx->notified) ? "yes" : "no"));
		table_add(&table,
			  g_strdup_printf("fd %d", event_notifier_get_fd(&c->ctx->notifier)));
		table_add(&table, number(handlers));
		table_add(&table, function(call->mon, aio_fdmon(c->ctx)->wait));
	}
	table_print(&table, call->out, "");
	g_array_unref(contexts);
	return MONITOR_OK;
}

MonitorResult monitor_info_iothreads(MonitorCall *call)
{
	GArray *contexts = monitor_contexts();

	TABLE(table, "IOTHREAD", "THREAD", "RUNS", "POLL-MAX-NS", "POLL-GROW", "POLL-SHRINK");
	for (unsigned i = 0; i < contexts->len; i++) {
		const MonitorContext *c = &g_array_index(contexts, MonitorContext, i);

		if (!c->iothread)
			continue;
		table_add(&table, g_strdup(c->name));
		table_add(&table, thread_of(c));
		table_add(&table, g_strdup(run_by(c)));
		table_add(&table, number(c->iothread->poll_max_ns));
		table_add(&table, number(c->iothread->poll_grow));
		table_add(&table, number(c->iothread->poll_shrink));
	}
	table_print(&table, call->out, "no IOThreads");
	g_array_unref(contexts);
	return MONITOR_OK;
}

/* --- handlers ----------------------------------------------------------------------------- */

typedef struct {
	Table *table;
	const Monitor *mon;
	const char *context;
} Rows;

/* "eventfd" of "anon_inode:[eventfd]", "socket" of "socket:[1234]". */
static char *kind_of_fd(int fd)
{
	char *path = g_strdup_printf("/proc/self/fd/%d", fd);
	char *link = g_file_read_link(path, NULL);
	char *bracket = link ? strchr(link, '[') : NULL;
	char *kind;

	if (bracket && g_str_has_prefix(link, "anon_inode:"))
		kind = g_strndup(bracket + 1, strcspn(bracket + 1, "]"));
	else
		kind = link ? g_strndup(link, strcspn(link, ":")) : g_strdup("-");
	g_free(link);
	g_free(path);
	return kind;
}

static void add_handler(AioHandler *node, void *opaque)
{
	Rows *rows = opaque;

	table_add(rows->table, g_strdup(rows->context));
	table_add(rows->table, number(node->pfd.fd));
	table_add(rows->table, kind_of_fd(node->pfd.fd));
	table_add(rows->table, function(rows->mon, node->io_read));
	table_add(rows->table, function(rows->mon, node->io_write));
	table_add(rows->table, g_strdup(node->io_poll ? "yes" : "-"));
	table_add(rows->table, address(node->opaque));
}

/* Of the named context, or of all. */
MonitorResult monitor_info_handlers(MonitorCall *call)
{
	GArray *contexts = monitor_contexts();
	MonitorContext only = { 0 };

	if (call->n_args && !monitor_find_context(call, 0, &only)) {
		g_array_unref(contexts);
		return MONITOR_ERROR;
	}
	TABLE(table, "CONTEXT", "FD", "KIND", "READ", "WRITE", "BUSY POLL", "OPAQUE");
	for (unsigned i = 0; i < contexts->len; i++) {
		const MonitorContext *c = &g_array_index(contexts, MonitorContext, i);
		Rows rows = { &table, call->mon, c->name };

		if (!only.ctx || only.ctx == c->ctx)
			for_each_handler(c->ctx, add_handler, &rows);
	}
	table_print(&table, call->out, "no handlers");
	g_array_unref(contexts);
	return MONITOR_OK;
}

/* --- bottom halves ------------------------------------------------------------------------ */

static void add_bh(const AioBHState *bh, void *opaque)
{
	Rows *rows = opaque;

	table_add(rows->table, address(bh->bh));
	table_add(rows->table, g_strdup(bh->name ?: "-"));
	table_add(rows->table, function(rows->mon, bh->cb));
	table_add(rows->table, address(bh->opaque));
	table_add(rows->table, g_strdup(bh->deleted	? "to be freed"
					: bh->idle	? "idle"
					: bh->scheduled ? "to be called"
							: "cancelled"));
}

static void print_bhs(AioContext *ctx, const Monitor *mon, GString *out)
{
	TABLE(table, "BH", "NAME", "CALLBACK", "OPAQUE", "STATE");
	Rows rows = { &table, mon, NULL };

	aio_bh_visit(ctx, add_bh, &rows);
	table_print(&table, out, "none");
}

/* A question to a context's thread, and the answer's way back. */
typedef struct {
	MonitorClient *client;
	Monitor *mon;
	AioContext *ctx;
	GString *out;
} Question;

static void monitor_answer_bh(void *opaque)
{
	Question *q = opaque;

	monitor_answer(q->client, q->out);
	monitor_unref(q->mon);
	g_free(q);
}

static void monitor_bhs_bh(void *opaque)
{
	Question *q = opaque;

	print_bhs(q->ctx, q->mon, q->out);
	aio_bh_schedule_oneshot(qemu_get_aio_context(), monitor_answer_bh, q);
}

MonitorResult monitor_info_bhs(MonitorCall *call)
{
	MonitorContext context;
	Question *q;

	if (!monitor_find_context(call, 0, &context))
		return MONITOR_ERROR;
	if (!context.iothread) {
		print_bhs(context.ctx, call->mon, call->out);
		return MONITOR_OK;
	}
	q = g_new(Question, 1);
	*q = (Question){ monitor_client_ref(call->client), monitor_ref(call->mon), context.ctx,
			 g_string_new(NULL) };
	monitor_run_at_home(&context, monitor_bhs_bh, q);
	return MONITOR_LATER;
}

/* --- timers ------------------------------------------------------------------------------- */

static const char *const clock_names[] = {
	[QEMU_CLOCK_REALTIME] = "realtime",
	[QEMU_CLOCK_VIRTUAL] = "virtual",
	[QEMU_CLOCK_HOST] = "host",
	[QEMU_CLOCK_VIRTUAL_RT] = "virtual_rt",
};

static void add_timer(const QEMUTimer *timer, void *opaque)
{
	Rows *rows = opaque;
	QEMUClockType clock = timerlist_get_clock(timer->timer_list);
	int64_t in_ns = timer->expire_time - qemu_clock_get_ns(clock);

	table_add(rows->table, g_strdup(rows->context));
	table_add(rows->table, g_strdup(clock_names[clock]));
	table_add(rows->table, address(timer));
	table_add(rows->table, function(rows->mon, timer->cb));
	table_add(rows->table, address(timer->opaque));
	table_add(rows->table, in_ns < 0 ? g_strdup_printf("%.3f ms late", -in_ns / 1e6)
					 : g_strdup_printf("in %.3f ms", in_ns / 1e6));
}

static void add_timers(Table *table, const Monitor *mon, const char *name, QEMUTimerListGroup *tlg)
{
	Rows rows = { table, mon, name };

	for (int clock = 0; clock < QEMU_CLOCK_MAX; clock++)
		timerlist_visit(tlg->tl[clock], add_timer, &rows);
}

MonitorResult monitor_info_timers(MonitorCall *call)
{
	GArray *contexts = monitor_contexts();

	TABLE(table, "LIST OF", "CLOCK", "TIMER", "CALLBACK", "OPAQUE", "EXPIRES");
	add_timers(&table, call->mon, "main_loop_tlg", &main_loop_tlg);
	for (unsigned i = 0; i < contexts->len; i++) {
		const MonitorContext *c = &g_array_index(contexts, MonitorContext, i);

		add_timers(&table, call->mon, c->name, &c->ctx->tlg);
	}
	table_print(&table, call->out, "no timer is armed");
	g_array_unref(contexts);
	return MONITOR_OK;
}
