// SPDX-License-Identifier: MIT
/* One pass over a recording for all verdicts. See doctor-trace.h. */
#include <inttypes.h>
#include <string.h>

#include "tracer/doctor-trace.h"
#include "tracer/report-words.h"
#include "tracer/text.h"

struct trace_thread *trace_thread(struct trace_doctor *d, uint32_t tid)
{
	struct trace_thread *t = d->latest;

	if (t && t->tid == tid)
		return t;
	t = report_map_get(&d->threads, (struct report_key){ .a = tid });
	t->tid = tid;
	t->spin.counters.entry_size = t->spin.counters.entry_size ?: TRACE_COUNTER_SIZE;
	d->latest = t;
	return t;
}

struct trace_context *trace_context(struct trace_doctor *d, uint64_t ctx)
{
	return report_map_get(&d->contexts, (struct report_key){ .a = ctx });
}

const struct report_frame *trace_callback(const struct trace_thread *t)
{
	for (uint32_t i = t->model ? t->model->depth : 0; i-- > 0;)
		if (t->model->stack[i].kind <= REPORT_NOTIFIER)
			return &t->model->stack[i];
	return NULL;
}

/* A program that carries our probes carries all; nobody else tells of notify_me. */
bool trace_is_complete(const struct trace_doctor *d)
{
	const char *tracer = ctf_reader_env(d->report->reader, "tracer_name");

	return d->report->counts[LOOP_EV_NOTIFY_ME] || !g_strcmp0(tracer, "demo-qemu-loop");
}

bool trace_has_event(const struct trace_doctor *d, unsigned id)
{
	return d->report->counts[id] || d->report->provenance[id] > LOOP_PROVENANCE_ABSENT ||
	       trace_is_complete(d);
}

/* --- what things are called ------------------------------------------------------------------- */

char *trace_name(const struct trace_doctor *d, const char *kind, uint64_t addr)
{
	char *symbol = report_place(d->report, addr), *text;

	text = g_strdup_printf("%s%s%s", kind, *kind ? " " : "", symbol);
	g_free(symbol);
	return text;
}

char *trace_callback_name(const struct trace_doctor *d, const struct report_callback *callback)
{
	static const char *const kinds[] = { "handler", "BH", "timer", "GSource callback",
					     "poll notifier" };
	char *name = report_callback_name(d->report, callback), *text;

	if (!name)
		return trace_name(d, kinds[callback->kind], callback->cb);
	text = g_strdup_printf("%s %s", kinds[callback->kind], name);
	g_free(name);
	return text;
}

char *trace_context_name(const struct trace_doctor *d, uint64_t ctx)
{
	const char *name = report_context_name(d->report, ctx);

	return name ? g_strdup(name) : g_strdup_printf("the context at 0x%" PRIx64, ctx);
}

char *trace_fd_name(const struct trace_doctor *d, int32_t number)
{
	const struct report_fd *fd =
		report_map_find(&d->report->fds, (struct report_key){ .a = (uint32_t)number });
	const char *kind = fd ? report_enum_name(LOOP_EV_FD, "kind", fd->kind) : NULL;

	if (!kind || !fd->kind)
		return g_strdup_printf("fd %d", number);
	return g_strdup_printf("fd %d (%s)", number, kind);
}

char *trace_thread_name(const struct trace_doctor *d, uint32_t tid)
{
	const struct report_thread *thread =
		report_map_find(&d->report->threads, (struct report_key){ .a = tid });

	if (!thread || !thread->name)
		return g_strdup_printf("thread %u", tid);
	return g_strdup_printf("thread %u \"%s\"", tid, thread->name);
}

char *trace_when(const struct trace_doctor *d, uint64_t ns)
{
	char *duration = report_duration(ns - MIN(ns, d->report->begin_ns));
	char *text = g_strdup_printf("+%s", duration);

	g_free(duration);
	return text;
}

struct finding *trace_finding(struct trace_doctor *d, const char *verdict, uint32_t tid)
{
	struct finding *f = g_new0(struct finding, 1);
	const struct report_thread *thread =
		report_map_find(&d->report->threads, (struct report_key){ .a = tid });

	f->verdict = verdict;
	f->tid = (pid_t)tid;
	if (thread && report_is_loop(thread))
		f->role = report_loop_name(d->report, thread);
	else if (thread && thread->name)
		f->role = g_strdup_printf("thread \"%s\"", thread->name);
	else
		f->role = g_strdup("thread");
	f->evidence = g_ptr_array_new_with_free_func(g_free);
	g_ptr_array_add(d->findings, f);
	return f;
}

bool trace_has_finding(const struct trace_doctor *d, uint32_t tid, const char *verdict)
{
	for (size_t i = 0; i < d->findings->len; i++) {
		const struct finding *f = d->findings->pdata[i];

		if (f->tid == (pid_t)tid && (!verdict || !strcmp(f->verdict, verdict)))
			return true;
	}
	return false;
}

/* --- reading ---------------------------------------------------------------------------------- */

static void on_event(void *data, const struct loop_event *event)
{
	struct trace_doctor *d = data;
	struct trace_thread *t;

	if (!event->tid) {
		trace_split_event(d, event);
		trace_spin_record(d, event);
		if (event->id == LOOP_EV_FD_LEVEL)
			trace_flood_look(d, (const struct loop_fd_level *)event);
		return;
	}
	t = trace_thread(d, event->tid);
	if (!d->first_ns)
		d->first_ns = event->time_ns;
	d->last_ns = event->time_ns;
	trace_lost_event(d, t, event);
	trace_handlers_event(d, t, event);
	trace_long_event(d, t, event);
	trace_glib_event(d, t, event);
	trace_spin_event(d, t, event);
	trace_flood_event(d, t, event);
	trace_context_event(d, t, event);
}

static void on_begin(void *data, const struct report_thread *model,
		     const struct report_frame *frame)
{
	struct trace_thread *t = trace_thread(data, model->tid);

	(void)frame;
	t->model = model;
}

static void on_end(void *data, const struct report_thread *model, const struct report_frame *frame,
		   uint64_t now_ns, enum report_ending ending)
{
	struct trace_doctor *d = data;
	struct trace_thread *t = trace_thread(d, model->tid);

	if (ending == REPORT_ENDED && frame->kind <= REPORT_NOTIFIER)
		trace_spin_called(t, frame, now_ns - frame->begin_ns - frame->child_ns);
	if (ending == REPORT_CUT)
		return;
	trace_long_end(d, t, model, frame, now_ns, ending);
	trace_glib_end(d, t, model, frame, now_ns, ending);
}

static void on_lost(void *data, const struct report_thread *model, uint64_t n)
{
	struct trace_thread *t = trace_thread(data, model->tid);

	(void)n;
	trace_spin_lost(t);
	t->waits = false;
	t->exit_ns = 0;
	t->nested_ctx = 0;
	t->bql_wait_ns = 0;
	t->published = NULL;
}

int trace_doctor_read(struct trace_doctor *d, const char *path, struct failure *why)
{
	const struct report_watcher watcher = {
		.data = d, .event = on_event, .begin = on_begin, .end = on_end, .lost = on_lost
	};
	int err;

	d->findings = g_ptr_array_new_with_free_func(finding_free);
	d->threads.entry_size = sizeof(struct trace_thread);
	d->contexts.entry_size = sizeof(struct trace_context);
	d->work.entry_size = sizeof(struct trace_work);
	d->misses.entry_size = sizeof(struct trace_miss);
	d->longs.entry_size = sizeof(struct trace_long);
	d->handlers.entry_size = sizeof(struct trace_handlers);
	d->fds.entry_size = sizeof(struct trace_fd);
	d->sources.entry_size = sizeof(struct trace_source);
	d->glib_waits.entry_size = sizeof(struct trace_glib_wait);
	d->glib_groups.entry_size = sizeof(struct trace_glib_group);
	d->floods.entry_size = sizeof(struct trace_flood);
	d->orphans.entry_size = sizeof(struct trace_orphan);
	d->splits = stall_splits_new();
	err = report_read_watched(path, &watcher, &d->report, why);
	if (err)
		return err;
	d->report->watcher = NULL;
	trace_lost_conclude(d);
	trace_handlers_conclude(d);
	trace_spin_conclude(d);
	trace_flood_conclude(d);
	trace_idle_conclude(d);
	trace_glib_conclude(d);
	trace_long_conclude(d);
	trace_context_conclude(d);
	trace_late_conclude(d);
	return 0;
}

static void release_thread(void *entry)
{
	report_map_release(&((struct trace_thread *)entry)->spin.counters, NULL);
	stall_split_clear(&((struct trace_thread *)entry)->split);
}

static void release_long(void *entry)
{
	trace_long_forget_split(entry);
}

void trace_doctor_clear(struct trace_doctor *d)
{
	report_map_release(&d->threads, release_thread);
	report_map_release(&d->contexts, NULL);
	report_map_release(&d->work, NULL);
	report_map_release(&d->misses, NULL);
	report_map_release(&d->longs, release_long);
	stall_splits_free(d->splits);
	report_map_release(&d->handlers, NULL);
	report_map_release(&d->fds, NULL);
	report_map_release(&d->sources, NULL);
	report_map_release(&d->glib_waits, NULL);
	report_map_release(&d->glib_groups, NULL);
	report_map_release(&d->floods, trace_flood_clear);
	report_map_release(&d->orphans, NULL);
	if (d->findings)
		g_ptr_array_free(d->findings, TRUE);
	report_free(d->report);
}

void trace_doctor_describe(const struct trace_doctor *d, char **ret_target, int *ret_loops,
			   int *ret_threads)
{
	char *exe = report_env(d->report, "target_exe"),
	     *base = exe ? g_path_get_basename(exe) : NULL;
	const struct report_thread *thread;

	*ret_target = g_strdup_printf("%s (recording)", base ? base : "a program");
	*ret_loops = 0;
	*ret_threads = 0;
	report_each (&d->report->threads, thread) {
		*ret_loops += report_is_loop(thread);
		(*ret_threads)++;
	}
	g_free(exe);
	g_free(base);
}
