// SPDX-License-Identifier: MIT
/*
 * A loop's waits: for how long at most and who said so, and what ended them.
 *
 * A wait is poll_enter to poll_exit. timeout_chosen comes before it, the fds that it found ready
 * after it. One wait may be ended by several fds: causes are counted, not waits.
 */
#include "tracer/report-model.h"

static enum report_range range_of(int64_t timeout_ns)
{
	if (timeout_ns == LOOP_NS_UNKNOWN)
		return REPORT_RANGE_UNKNOWN;
	if (timeout_ns < 0)
		return REPORT_FOR_EVER;
	if (timeout_ns == 0)
		return REPORT_NO_WAIT;
	if (timeout_ns < 1000000)
		return REPORT_BELOW_1_MS;
	if (timeout_ns < 10000000)
		return REPORT_BELOW_10_MS;
	if (timeout_ns < 100000000)
		return REPORT_BELOW_100_MS;
	return timeout_ns < 1000000000 ? REPORT_BELOW_1_S : REPORT_FROM_1_S;
}

/* Whoever was named since the wait before this one; else unknown. */
static struct report_chooser *take_chooser(struct report_thread *thread)
{
	uint32_t by = thread->chosen.known ? thread->chosen.by : LOOP_CHOOSER_UNKNOWN;
	uint64_t what = thread->chosen.known ? thread->chosen.what : 0;
	uint64_t cb = thread->chosen.known ? thread->chosen.cb : 0;
	/* Timers and BHs of one function are one; where there is none, the object stands for it. */
	struct report_key key = { by, cb, cb ? 0 : what, 0 };
	struct report_chooser *chooser = report_map_get(&thread->choosers, key);

	chooser->by = by;
	chooser->what = what;
	chooser->cb = cb;
	thread->chosen.known = false;
	return chooser;
}

void report_timeout_chosen(struct report_thread *thread, const struct loop_timeout_chosen *event)
{
	thread->chosen.known = true;
	thread->chosen.by = event->by;
	thread->chosen.what = event->what;
	thread->chosen.cb = event->cb;
}

_Static_assert(REPORT_CAUSES <= 16 && REPORT_NOTIFIER < 16, "four bits each");

static struct report_wakeup *count_cause_in(struct report_thread *thread, enum report_cause cause,
					    uint64_t b, uint64_t c, uint64_t d,
					    const struct report_callback *in)
{
	/* Whatever its fd: one function that serves many queues is one. */
	uint64_t within = in ? in->cb << 8 | in->kind << 4 : 0;
	struct report_key key = { within | cause, b, c, d };
	struct report_wakeup *wakeup = report_map_get(&thread->wakeups, key);

	if (!wakeup->count++) {
		wakeup->cause = cause;
		wakeup->fd = -1;
	}
	return wakeup;
}

static struct report_wakeup *count_cause(struct report_thread *thread, enum report_cause cause,
					 uint64_t b, uint64_t c, uint64_t d)
{
	return count_cause_in(thread, cause, b, c, d, NULL);
}

/* Fds ended the wait before this one, and no event has said which. */
static void settle_fds(struct report_thread *thread)
{
	if (thread->awaits_fd)
		count_cause(thread, REPORT_BY_UNKNOWN, 0, 0, 0);
	thread->awaits_fd = false;
}

/* The loop's own wait is outside of all callbacks: only its iteration may be open around it. */
static void begin_own_wait(struct report_thread *thread, const struct loop_poll_enter *event)
{
	bool in_iteration = thread->depth && thread->stack[0].kind == REPORT_ITERATION;
	uint64_t now_ns = event->h.time_ns;

	report_cut(thread, in_iteration, now_ns);
	if (thread->returned_ns)
		report_calls_add(&thread->between, thread->returned_ns,
				 now_ns - thread->returned_ns, 0);
	thread->returned_ns = 0;
	if (event->ctx)
		thread->poll_ctx = event->ctx;
}

void report_poll_enter(struct report_thread *thread, const struct loop_poll_enter *event)
{
	bool nested = event->depth > 1 || (!event->depth && thread->nested);
	struct report_frame frame = {
		.begin_ns = event->h.time_ns,
		.kind = nested ? REPORT_NESTED_POLL : REPORT_POLL,
	};
	enum report_range range = range_of(event->timeout_ns);

	settle_fds(thread);
	thread->iterations++;
	if (nested)
		thread->nested_polls++;
	else
		begin_own_wait(thread, event);
	if (event->bql == LOOP_HELD_YES && event->timeout_ns)
		thread->polls_with_bql++;

	thread->chooser = take_chooser(thread);
	thread->chooser->count++;
	thread->chooser->ranges[range]++;
	thread->ranges[range]++;
	thread->timeout_ns = event->timeout_ns;
	thread->poll_kind = frame.kind;
	report_push(thread, &frame);
}

/* Of a wait that began before the recording, only its time is counted. */
void report_wait_state(struct report_thread *thread, const struct loop_wait_state *event)
{
	struct report_frame frame = { .begin_ns = event->h.time_ns, .kind = REPORT_POLL };

	if (thread->events || thread->waited)
		return; /* it has told by itself where it is */
	thread->waited = true;
	thread->first_ns = thread->last_ns = event->h.time_ns;
	thread->poll_ctx = event->ctx;
	thread->poll_kind = frame.kind;
	thread->timeout_ns = event->timeout_ns;
	report_push(thread, &frame);
}

/* Its return was not seen, as it began before the probe was there: that may cost some us. */
void report_wait_over(struct report_thread *thread, uint64_t now_ns)
{
	report_pop(thread, REPORT_POLL, 0, now_ns);
}

void report_poll_exit(struct report_thread *thread, const struct loop_poll_exit *event)
{
	bool begun = report_pop(thread, thread->poll_kind, 0, event->h.time_ns);
	bool no_wait = begun && thread->timeout_ns == 0;
	uintptr_t chooser = begun ? (uintptr_t)thread->chooser : 0;

	if (!begun)
		settle_fds(thread);
	if (begun ? thread->poll_kind == REPORT_POLL : !thread->depth)
		thread->returned_ns = event->h.time_ns;
	thread->polls_ready += event->ret > 0;
	thread->polls_no_wait += event->ret == 0 && no_wait;
	thread->polls_timed_out += event->ret == 0 && !no_wait;
	thread->polls_failed += event->ret < 0;
	if (event->ret < 0)
		count_cause(thread, REPORT_BY_ERROR, (uint32_t)event->ret, 0, 0)->err =
			(int32_t) - (int64_t)event->ret;
	else if (no_wait)
		count_cause(thread, REPORT_BY_NOTHING, chooser, 0, 0)->chooser = thread->chooser;
	else if (event->ret == 0)
		count_cause(thread, REPORT_BY_TIMEOUT, chooser, 0, 0)->chooser =
			begun ? thread->chooser : NULL;
	thread->awaits_fd = event->ret > 0 && !no_wait;
}

static void count_fd(struct report_thread *thread, const struct report_fd *fd, uint64_t cb)
{
	struct report_wakeup *wakeup =
		count_cause(thread, REPORT_BY_FD, (uint32_t)fd->fd, fd->owner, 0);

	wakeup->fd = fd->fd;
	wakeup->owner = fd->owner;
	if (cb)
		wakeup->cb = cb;
}

static void count_wake(struct report_thread *thread, const struct report_fd *fd,
		       const struct report_wake *wake, uint64_t cb)
{
	uint64_t tid_and_fd = (uint64_t)wake->tid << 32 | (uint32_t)fd->fd;
	struct report_wakeup *wakeup = count_cause_in(thread, REPORT_BY_NOTIFY, tid_and_fd,
						      wake->site, wake->ctx, wake->in);

	wakeup->fd = fd->fd;
	wakeup->owner = fd->owner;
	wakeup->by_tid = wake->tid;
	wakeup->site = wake->site;
	wakeup->ctx = wake->ctx;
	wakeup->in = wake->in;
	if (cb)
		wakeup->cb = cb;
}

static void found_ready(struct report *report, struct report_thread *thread, uint64_t ctx,
			struct report_fd *fd, uint64_t cb)
{
	const struct report_wake *wake = report_take_wake(report, ctx, fd);

	if (wake)
		count_wake(thread, fd, wake, cb);
	if (wake && thread->watcher && thread->watcher->woken)
		thread->watcher->woken(thread->watcher->data, thread, wake);
	if (!wake)
		count_fd(thread, fd, cb);
}

void report_fd_ready(struct report *report, struct report_thread *thread,
		     const struct loop_fd_ready *event)
{
	struct report_fd *fd = report_fd(report, event->fd);
	bool readable = event->revents & LOOP_POLL_BITS_IN;

	/* A wait that was none needs no cause; what has begun to be counted goes on. */
	if (thread->timeout_ns == 0)
		return;
	thread->awaits_fd = false;
	found_ready(report, thread, event->ctx, fd,
		    readable && fd->io_read ? fd->io_read : fd->io_write);
}

void report_fd_handled(struct report *report, struct report_thread *thread, int32_t number,
		       uint64_t cb, bool writes)
{
	struct report_fd *fd = report_fd(report, number);

	report_fd_owned(fd, writes ? fd->io_read : cb, writes ? cb : fd->io_write, 0);
	if (thread->awaits_fd && !report->counts[LOOP_EV_FD_READY]) {
		thread->awaits_fd = false;
		found_ready(report, thread, thread->poll_ctx, fd, cb);
	}
}

void report_source_dispatched(struct report *report, struct report_thread *thread, uint64_t source,
			      uint64_t cb)
{
	int32_t number;

	if (!thread->awaits_fd || report->counts[LOOP_EV_FD_READY])
		return;
	number = report_source_fd(report, source);
	if (number < 0)
		return;
	thread->awaits_fd = false;
	found_ready(report, thread, thread->poll_ctx, report_fd(report, number), cb);
}

void report_polls_end(struct report_thread *thread)
{
	settle_fds(thread);
}
