/* SPDX-License-Identifier: MIT */
/*
 * IOThreads; the header says how they are used.  QEMU: iothread.c.
 *
 * The thread alternates between two ways to run its context.  aio_poll() is the fast one and knows
 * nothing of GLib; once somebody has asked for the GMainContext, it is g_main_loop_run() instead.
 *
 * Stopping is a bottom half in the thread itself: setting a flag from outside and waking it would
 * not do, as the wake-up might be used up before the flag is looked at.
 */
#include "osdep.h"
#include "atomic.h"
#include "iothread.h"
#include "loop-trace.h"
#include "mutants.h"

/* All of them, for lookups and for debuggers. */
static QLIST_HEAD(, IOThread) iothreads;

/* GLib's poll as it is, with probes: the rest of its iteration is in its own hands. */
static gint iothread_gcontext_poll(GPollFD *fds, guint n, gint timeout)
{
	GMainContext *context = g_main_context_get_thread_default();
	int ret;

	probe_poll_enter(context, n, loop_ms_to_ns(timeout), LOOP_FDMON_POLL, loop_depth,
			 loop_bql());
	ret = g_poll(fds, n, timeout);
	probe_poll_exit(context, ret < 0 ? -errno : ret);
	if (ret > 0 && probe_enabled(fd_ready))
		loop_trace_ready_fds(context, fds, n);
	return ret;
}

static void *iothread_run(void *opaque)
{
	IOThread *iothread = opaque;

	/* Who asks GLib for "this thread's context" gets ours, not the main one. */
	g_main_context_push_thread_default(iothread->worker_context);
	qemu_set_current_aio_context(iothread->ctx);

	iothread->thread_id = qemu_get_thread_id();
	qemu_sem_post(&iothread->init_done_sem);

	if (probe_enabled(iothread_state))
		loop_trace_context(iothread->ctx, LOOP_CONTEXT_KIND_IOTHREAD, iothread->id);
	probe_iothread_state(iothread, iothread->ctx, LOOP_IOTHREAD_PHASE_POLLING);
	while (qatomic_read(&iothread->running)) {
		aio_poll(iothread->ctx, true);

		/* The bottom half that stops us may just have run: its quit came too early. */
		if (iothread->running && qatomic_read(&iothread->run_gcontext)) {
			probe_iothread_state(iothread, iothread->ctx, LOOP_IOTHREAD_PHASE_GLIB);
			loop_depth++;
			g_main_loop_run(iothread->main_loop);
			loop_depth--;
		}
	}
	probe_iothread_state(iothread, iothread->ctx, LOOP_IOTHREAD_PHASE_STOPPED);

	g_main_context_pop_thread_default(iothread->worker_context);
	return NULL;
}

static void iothread_stop_bh(void *opaque)
{
	IOThread *iothread = opaque;

	iothread->running = false;
	g_main_loop_quit(iothread->main_loop);
}

void iothread_stop(IOThread *iothread)
{
	if (iothread->stopping)
		return;
	iothread->stopping = true;
	probe_iothread_state(iothread, iothread->ctx, LOOP_IOTHREAD_PHASE_STOPPING);
	if (G_UNLIKELY(mutant_stop_by_flag)) {
		qatomic_set(&iothread->running, false);
		aio_notify(iothread->ctx);
		mutant_stop_by_flag();
	} else {
		aio_bh_schedule_oneshot(iothread->ctx, iothread_stop_bh, iothread);
	}
	qemu_thread_join(&iothread->thread);
}

/* Attached from the start, whether or not it will ever run: the context is GLib-ready. */
static void iothread_init_gcontext(IOThread *iothread, const char *thread_name)
{
	GSource *source = aio_get_g_source(iothread->ctx);
	char *name = g_strdup_printf("%s aio-context", thread_name);

	iothread->worker_context = g_main_context_new();
	g_main_context_set_poll_func(iothread->worker_context, iothread_gcontext_poll);
	g_source_set_name(source, name);
	g_free(name);
	loop_source_attach(source, iothread->worker_context);
	g_source_unref(source);
	iothread->main_loop = g_main_loop_new(iothread->worker_context, FALSE);
}

bool iothread_set_poll_params(IOThread *iothread, int64_t max_ns, int64_t grow, int64_t shrink,
			      Error **errp)
{
	Error *err = NULL;

	aio_context_set_poll_params(iothread->ctx, max_ns, grow, shrink, &err);
	if (err) {
		error_propagate(errp, err);
		return false;
	}
	iothread->poll_max_ns = max_ns;
	iothread->poll_grow = grow;
	iothread->poll_shrink = shrink;
	return true;
}

IOThread *iothread_create(const char *id, Error **errp)
{
	char *thread_name;
	AioContext *ctx;
	IOThread *iothread;

	if (iothread_by_id(id)) {
		error_setg(errp, "there is an iothread '%s' already", id);
		return NULL;
	}
	ctx = aio_context_new(errp);
	if (!ctx)
		return NULL;

	iothread = g_new0(IOThread, 1);
	iothread->id = g_strdup(id);
	iothread->ctx = ctx;
	iothread->running = true;
	iothread->poll_max_ns = loop_settings.iothread_poll_max_ns;
	qemu_sem_init(&iothread->init_done_sem, 0);
	aio_context_set_poll_params(ctx, iothread->poll_max_ns, iothread->poll_grow,
				    iothread->poll_shrink, &error_abort);

	thread_name = g_strdup_printf("IO %s", id);
	iothread_init_gcontext(iothread, thread_name);
	QLIST_INSERT_HEAD(&iothreads, iothread, node);
	probe_iothread_state(iothread, ctx, LOOP_IOTHREAD_PHASE_CREATED);

	qemu_thread_create(&iothread->thread, thread_name, iothread_run, iothread,
			   QEMU_THREAD_JOINABLE);
	g_free(thread_name);
	qemu_sem_wait(&iothread->init_done_sem);
	return iothread;
}

void iothread_destroy(IOThread *iothread)
{
	iothread_stop(iothread);
	QLIST_REMOVE(iothread, node);

	/* The source leaves GLib's context first, so that the context's end does not find it. */
	loop_source_destroy(&iothread->ctx->source);
	aio_context_unref(iothread->ctx);
	g_main_loop_unref(iothread->main_loop);
	g_main_context_unref(iothread->worker_context);

	qemu_sem_destroy(&iothread->init_done_sem);
	g_free(iothread->id);
	g_free(iothread);
}

void iothread_for_each(void (*fn)(IOThread *iothread, void *opaque), void *opaque)
{
	IOThread *iothread;

	QLIST_FOREACH (iothread, &iothreads, node)
		fn(iothread, opaque);
}

IOThread *iothread_by_id(const char *id)
{
	IOThread *iothread;

	QLIST_FOREACH (iothread, &iothreads, node) {
		if (g_str_equal(iothread->id, id))
			return iothread;
	}
	return NULL;
}

char *iothread_get_id(IOThread *iothread)
{
	return g_strdup(iothread->id);
}

AioContext *iothread_get_aio_context(IOThread *iothread)
{
	return iothread->ctx;
}

GMainContext *iothread_get_g_main_context(IOThread *iothread)
{
	qatomic_set(&iothread->run_gcontext, true);
	aio_notify(iothread->ctx);
	return iothread->worker_context;
}
