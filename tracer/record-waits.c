// SPDX-License-Identifier: MIT
/*
 * What calls of exported functions say of iterations, of waits and of GLib's dispatch: rows of the
 * table in record-functions.c.
 */
#include <errno.h>

#include "tracer/record-glib.h"
#include "tracer/record-meanings.h"

static uint64_t current_context(const struct thread_state *t)
{
	return t->polls > 0 && t->polls <= (int)G_N_ELEMENTS(t->ctx) ? t->ctx[t->polls - 1] : 0;
}

static void enter_context(struct thread_state *t, uint64_t ctx)
{
	if (t->polls < (int)G_N_ELEMENTS(t->ctx))
		t->ctx[t->polls] = ctx;
	t->polls++;
}

/* --- main_loop_wait(nonblocking), aio_poll(ctx, blocking) --- */

void main_loop_wait_entry(struct recorder *r, struct thread_state *t,
			  const struct record_entry *hit, struct call *call)
{
	struct context *main = r->loops ? loops_main(r->loops) : NULL;

	call->a = main ? main->addr : 0;
	call->b = t->callbacks;
	enter_context(t, call->a);
	emit(r, hit->h.time_ns, t->tid, LOOP_EV_ITERATION_BEGIN,
	     VALUES(call->a, LOOP_LOOP_KIND_MAIN_LOOP_WAIT, !(uint32_t)hit->args[0]));
}

void main_loop_wait_return(struct recorder *r, struct thread_state *t, const struct call *call,
			   const struct ending *end)
{
	t->polls--;
	emit(r, end->time_ns, t->tid, LOOP_EV_ITERATION_END,
	     VALUES(call->a, LOOP_LOOP_KIND_MAIN_LOOP_WAIT, t->callbacks != call->b));
}

void aio_poll_entry(struct recorder *r, struct thread_state *t, const struct record_entry *hit,
		    struct call *call)
{
	uint32_t blocking = (uint8_t)hit->args[1];

	call->a = hit->args[0];
	enter_context(t, call->a);
	call->b = t->polls;
	call->c = t->callbacks;
	if (t->polls == 1)
		emit(r, hit->h.time_ns, t->tid, LOOP_EV_ITERATION_BEGIN,
		     VALUES(call->a, LOOP_LOOP_KIND_AIO_POLL, blocking));
	else
		emit(r, hit->h.time_ns, t->tid, LOOP_EV_AIO_POLL_ENTER,
		     VALUES(call->a, blocking, call->b, hit->stack[0]));
}

void aio_poll_return(struct recorder *r, struct thread_state *t, const struct call *call,
		     const struct ending *end)
{
	uint32_t progress = end->seen ? (uint8_t)end->value : t->callbacks != call->c;

	t->polls--;
	if (call->b == 1)
		emit(r, end->time_ns, t->tid, LOOP_EV_ITERATION_END,
		     VALUES(call->a, LOOP_LOOP_KIND_AIO_POLL, progress));
	else
		emit(r, end->time_ns, t->tid, LOOP_EV_AIO_POLL_EXIT,
		     VALUES(call->a, progress, call->b));
}

/*
 * --- the waits: poll(fds, n, ms), ppoll(fds, n, timespec, mask), epoll_wait(fd, ev, n, ms),
 *     io_uring_submit_and_wait(ring, n), io_uring_submit_and_wait_timeout(ring, cqe, n, timespec)
 * ---
 */

static void wait_entry(struct recorder *r, struct thread_state *t, const struct record_entry *hit,
		       struct call *call, uint64_t n, int64_t timeout_ns, uint32_t monitor)
{
	record_glib_poll(r, t, hit, timeout_ns);
	call->a = current_context(t);
	emit(r, hit->h.time_ns, t->tid, LOOP_EV_POLL_ENTER,
	     VALUES(call->a, n, timeout_ns, monitor, t->polls, t->bql));
}

static int64_t from_ms(uint64_t value)
{
	return (int)value < 0 ? -1 : (int)value * 1000000LL;
}

/* The timespec that argument @arg points to; without one the wait is for ever. */
static int64_t timespec_ns(const struct record_entry *hit, int arg)
{
	return hit->args[arg] ? (int64_t)(hit->reads[0] * 1000000000 + hit->reads[1]) : -1;
}

void poll_entry(struct recorder *r, struct thread_state *t, const struct record_entry *hit,
		struct call *call)
{
	record_levels_poll(r, t, hit->args[0], hit->args[1]);
	wait_entry(r, t, hit, call, hit->args[1], from_ms(hit->args[2]), LOOP_FDMON_POLL);
}

void ppoll_entry(struct recorder *r, struct thread_state *t, const struct record_entry *hit,
		 struct call *call)
{
	record_levels_poll(r, t, hit->args[0], hit->args[1]);
	wait_entry(r, t, hit, call, hit->args[1], timespec_ns(hit, 2), LOOP_FDMON_POLL);
}

void epoll_entry(struct recorder *r, struct thread_state *t, const struct record_entry *hit,
		 struct call *call)
{
	wait_entry(r, t, hit, call, 0, from_ms(hit->args[3]), LOOP_FDMON_EPOLL);
}

void io_uring_entry(struct recorder *r, struct thread_state *t, const struct record_entry *hit,
		    struct call *call)
{
	call->b = LOOP_FDMON_IO_URING;
	wait_entry(r, t, hit, call, 0, -1, LOOP_FDMON_IO_URING);
}

void io_uring_timeout_entry(struct recorder *r, struct thread_state *t,
			    const struct record_entry *hit, struct call *call)
{
	call->b = LOOP_FDMON_IO_URING;
	wait_entry(r, t, hit, call, 0, timespec_ns(hit, 3), LOOP_FDMON_IO_URING);
}

/* A ring says how much was submitted, or why not; that it woke is all that is known of fds. */
static int64_t ready_count(const struct call *call, int64_t value)
{
	if (call->b != LOOP_FDMON_IO_URING || (value < 0 && value != -ETIME))
		return value;
	return value != -ETIME;
}

void wait_return(struct recorder *r, struct thread_state *t, const struct call *call,
		 const struct ending *end)
{
	/* One that was lost is not made up: its value is not known. */
	if (end->seen)
		emit(r, end->time_ns, t->tid, LOOP_EV_POLL_EXIT,
		     VALUES(call->a, ready_count(call, (int)end->value)));
}

/* --- GLib's dispatch --- */

/* The main loop's dispatch: GLib's function, called by QEMU itself. */
void dispatch_entry(struct recorder *r, struct thread_state *t, const struct record_entry *hit,
		    struct call *call)
{
	call->a = hit->args[0];
	call->b = t->callbacks;
	emit(r, hit->h.time_ns, t->tid, LOOP_EV_DISPATCH_BEGIN, VALUES(call->a));
}

void dispatch_return(struct recorder *r, struct thread_state *t, const struct call *call,
		     const struct ending *end)
{
	emit(r, end->time_ns, t->tid, LOOP_EV_DISPATCH_END,
	     VALUES(call->a, t->callbacks != call->b));
	record_glib_end(r, t, call->a, end->time_ns);
}
