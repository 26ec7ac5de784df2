// SPDX-License-Identifier: MIT
/*
 * Events from exported functions, of a program that carries no probes: Debian's QEMU.
 *
 * Each row of the table is a function and what its entry and its return mean. Fields of structures
 * that a call points to are read by the bpf program at the entry, by the layout's offsets; a field
 * the layout does not know is 0. What happened on a thread before we attached is not known:
 * contexts and the big lock start as unknown.
 */
#include <errno.h>
#include <string.h>

#include "tracer/record.h"
#include "tracer/record-functions.h"
#include "tracer/record-glib.h"

/* The tables are looked at this often after a change: the first time it may not be made yet. */
#define LOOKS 2

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

static void main_loop_wait_entry(struct recorder *r, struct thread_state *t,
				 const struct record_entry *hit, struct call *call)
{
	struct context *main = r->loops ? loops_main(r->loops) : NULL;

	call->a = main ? main->addr : 0;
	call->b = t->callbacks;
	enter_context(t, call->a);
	emit(r, hit->h.time_ns, t->tid, LOOP_EV_ITERATION_BEGIN,
	     VALUES(call->a, LOOP_LOOP_KIND_MAIN_LOOP_WAIT, !(uint32_t)hit->args[0]));
}

static void main_loop_wait_return(struct recorder *r, struct thread_state *t,
				  const struct call *call, const struct ending *end)
{
	t->polls--;
	emit(r, end->time_ns, t->tid, LOOP_EV_ITERATION_END,
	     VALUES(call->a, LOOP_LOOP_KIND_MAIN_LOOP_WAIT, t->callbacks != call->b));
}

static void aio_poll_entry(struct recorder *r, struct thread_state *t,
			   const struct record_entry *hit, struct call *call)
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

static void aio_poll_return(struct recorder *r, struct thread_state *t, const struct call *call,
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

static void poll_entry(struct recorder *r, struct thread_state *t, const struct record_entry *hit,
		       struct call *call)
{
	wait_entry(r, t, hit, call, hit->args[1], from_ms(hit->args[2]), LOOP_FDMON_POLL);
}

static void ppoll_entry(struct recorder *r, struct thread_state *t, const struct record_entry *hit,
			struct call *call)
{
	wait_entry(r, t, hit, call, hit->args[1], timespec_ns(hit, 2), LOOP_FDMON_POLL);
}

static void epoll_entry(struct recorder *r, struct thread_state *t, const struct record_entry *hit,
			struct call *call)
{
	wait_entry(r, t, hit, call, 0, from_ms(hit->args[3]), LOOP_FDMON_EPOLL);
}

static void io_uring_entry(struct recorder *r, struct thread_state *t,
			   const struct record_entry *hit, struct call *call)
{
	call->b = LOOP_FDMON_IO_URING;
	wait_entry(r, t, hit, call, 0, -1, LOOP_FDMON_IO_URING);
}

static void io_uring_timeout_entry(struct recorder *r, struct thread_state *t,
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

static void wait_return(struct recorder *r, struct thread_state *t, const struct call *call,
			const struct ending *end)
{
	/* One that was lost is not made up: its value is not known. */
	if (end->seen)
		emit(r, end->time_ns, t->tid, LOOP_EV_POLL_EXIT,
		     VALUES(call->a, ready_count(call, (int)end->value)));
}

/* --- bottom halves: reads are ctx, cb, opaque, flags, name --- */

static void name_bh(struct recorder *r, uint64_t bh, uint64_t cb, uint64_t name)
{
	char text[128];

	if (!name || !g_hash_table_add(r->named, (void *)(cb ^ name)))
		return;
	if (!target_read_string(r->s->t, name, text, sizeof(text)))
		emit_text(r, LOOP_EV_BH_NAME, VALUES(bh, cb, 0), text);
}

static void bh_call_entry(struct recorder *r, struct thread_state *t,
			  const struct record_entry *hit, struct call *call)
{
	call->a = hit->reads[0];
	call->b = hit->args[0];
	call->c = hit->reads[1];
	t->callbacks++;
	name_bh(r, call->b, call->c, hit->reads[4]);
	emit(r, hit->h.time_ns, t->tid, LOOP_EV_BH_BEGIN,
	     VALUES(call->a, call->b, call->c, hit->reads[2], (uint32_t)hit->reads[3]));
}

static void bh_call_return(struct recorder *r, struct thread_state *t, const struct call *call,
			   const struct ending *end)
{
	emit(r, end->time_ns, t->tid, LOOP_EV_BH_END, VALUES(call->a, call->b, call->c));
}

static void bh_schedule_entry(struct recorder *r, struct thread_state *t,
			      const struct record_entry *hit, struct call *call)
{
	uint32_t flags = (uint32_t)hit->reads[3];

	(void)call;
	name_bh(r, hit->args[0], hit->reads[1], hit->reads[4]);
	emit(r, hit->h.time_ns, t->tid, LOOP_EV_BH_SCHEDULE,
	     VALUES(hit->reads[0], hit->args[0], hit->reads[1], flags | BH_SCHEDULED,
		    !(flags & BH_PENDING), hit->stack[0]));
}

/* aio_bh_schedule_oneshot_full(ctx, cb, opaque, name): the bottom half is made inside. */
static void bh_oneshot_entry(struct recorder *r, struct thread_state *t,
			     const struct record_entry *hit, struct call *call)
{
	(void)call;
	emit(r, hit->h.time_ns, t->tid, LOOP_EV_BH_SCHEDULE,
	     VALUES(hit->args[0], 0, hit->args[1], BH_SCHEDULED | BH_ONESHOT, 1, hit->stack[0]));
}

static void bh_cancel_entry(struct recorder *r, struct thread_state *t,
			    const struct record_entry *hit, struct call *call)
{
	(void)call;
	emit(r, hit->h.time_ns, t->tid, LOOP_EV_BH_CANCEL,
	     VALUES(hit->reads[0], hit->args[0], hit->reads[1]));
}

static void bh_delete_entry(struct recorder *r, struct thread_state *t,
			    const struct record_entry *hit, struct call *call)
{
	(void)call;
	emit(r, hit->h.time_ns, t->tid, LOOP_EV_BH_DELETE,
	     VALUES(hit->reads[0], hit->args[0], hit->reads[1]));
}

/* --- timers: reads are list, cb, opaque, expire_time --- */

static void timer_arm_entry(struct recorder *r, struct thread_state *t,
			    const struct record_entry *hit, struct call *call)
{
	(void)call;
	emit(r, hit->h.time_ns, t->tid, LOOP_EV_TIMER_ARM,
	     VALUES(hit->reads[0], hit->args[0], hit->reads[1], hit->args[1], LOOP_NS_UNKNOWN,
		    hit->stack[0]));
	record_note_timer(r, hit->args[0], hit->reads[0], hit->reads[1], hit->reads[2],
			  (int64_t)hit->args[1]);
}

/* It only ever makes a timer sooner. */
static void timer_anticipate_entry(struct recorder *r, struct thread_state *t,
				   const struct record_entry *hit, struct call *call)
{
	int64_t now = (int64_t)hit->reads[3];

	if (now < 0 || (int64_t)hit->args[1] < now)
		timer_arm_entry(r, t, hit, call);
}

static void timer_del_entry(struct recorder *r, struct thread_state *t,
			    const struct record_entry *hit, struct call *call)
{
	(void)call;
	emit(r, hit->h.time_ns, t->tid, LOOP_EV_TIMER_DEL,
	     VALUES(hit->reads[0], hit->args[0], hit->reads[1], hit->stack[0]));
}

/* --- wake-ups: reads are notified, notify_me --- */

static void notify_entry(struct recorder *r, struct thread_state *t, const struct record_entry *hit,
			 struct call *call)
{
	uint32_t notify_me = (uint32_t)hit->reads[1];

	(void)call;
	emit(r, hit->h.time_ns, t->tid, LOOP_EV_NOTIFY,
	     VALUES(hit->args[0], notify_me, notify_me != 0, hit->stack[0]));
}

static void notify_accept_entry(struct recorder *r, struct thread_state *t,
				const struct record_entry *hit, struct call *call)
{
	(void)call;
	emit(r, hit->h.time_ns, t->tid, LOOP_EV_NOTIFY_ACCEPT,
	     VALUES(hit->args[0], (uint8_t)hit->reads[0], (uint32_t)hit->reads[1]));
}

/* --- handlers: aio_set_fd_handler(ctx, fd, ...), whose other arguments differ by version --- */

static void set_handler_entry(struct recorder *r, struct thread_state *t,
			      const struct record_entry *hit, struct call *call)
{
	(void)call;
	emit(r, hit->h.time_ns, t->tid, LOOP_EV_HANDLER_SET,
	     VALUES(hit->args[0], (uint32_t)hit->args[1], 0, 0, hit->stack[0]));
	r->looks = LOOKS;
}

/* --- the big lock: lock(file, line), unlock() --- */

static void bql_lock_entry(struct recorder *r, struct thread_state *t,
			   const struct record_entry *hit, struct call *call)
{
	call->a = hit->stack[0];
	call->b = hit->args[0];
	call->c = (uint32_t)hit->args[1];
	emit(r, hit->h.time_ns, t->tid, LOOP_EV_BQL_WAIT, VALUES(0, call->a, call->b, call->c));
}

static void bql_lock_return(struct recorder *r, struct thread_state *t, const struct call *call,
			    const struct ending *end)
{
	t->bql = LOOP_HELD_YES;
	emit(r, end->time_ns, t->tid, LOOP_EV_BQL_ACQUIRED, VALUES(0, call->a, call->b, call->c));
}

static void bql_unlock_entry(struct recorder *r, struct thread_state *t,
			     const struct record_entry *hit, struct call *call)
{
	(void)call;
	t->bql = LOOP_HELD_NO;
	emit(r, hit->h.time_ns, t->tid, LOOP_EV_BQL_RELEASED, VALUES(0, hit->stack[0]));
}

/* --- contexts, GLib's dispatch, coroutines --- */

/* Which it is, the tables will tell. */
static void context_new_entry(struct recorder *r, struct thread_state *t,
			      const struct record_entry *hit, struct call *call)
{
	(void)call;
	r->made.n++;
	r->made.tid = t->tid;
	r->made.site = hit->stack[0];
	r->looks = LOOKS;
}

/* The main loop's dispatch: GLib's function, called by QEMU itself. */
static void dispatch_entry(struct recorder *r, struct thread_state *t,
			   const struct record_entry *hit, struct call *call)
{
	call->a = hit->args[0];
	call->b = t->callbacks;
	emit(r, hit->h.time_ns, t->tid, LOOP_EV_DISPATCH_BEGIN, VALUES(call->a));
}

static void dispatch_return(struct recorder *r, struct thread_state *t, const struct call *call,
			    const struct ending *end)
{
	emit(r, end->time_ns, t->tid, LOOP_EV_DISPATCH_END,
	     VALUES(call->a, t->callbacks != call->b));
	record_glib_end(r, t, call->a, end->time_ns);
}

static void co_schedule_entry(struct recorder *r, struct thread_state *t,
			      const struct record_entry *hit, struct call *call)
{
	(void)call;
	emit(r, hit->h.time_ns, t->tid, LOOP_EV_AIO_CO_SCHEDULE,
	     VALUES(hit->args[0], hit->args[1]));
}

static void wait_kick_entry(struct recorder *r, struct thread_state *t,
			    const struct record_entry *hit, struct call *call)
{
	(void)call;
	emit(r, hit->h.time_ns, t->tid, LOOP_EV_AIO_WAIT_KICK, VALUES(0, hit->stack[0]));
}

#define BH_READS                                                                                   \
	{ { 0, BH_CTX }, { 0, BH_CB }, { 0, BH_OPAQUE }, { 0, BH_FLAGS }, { 0, BH_NAME } }, 5
#define TIMER_READS                                                                                \
	{ { 0, TIMER_LIST }, { 0, TIMER_CB }, { 0, TIMER_OPAQUE }, { 0, TIMER_EXPIRE } }, 4
#define NOTIFY_READS	   { { 0, CTX_NOTIFIED }, { 0, CTX_NOTIFY_ME } }, 2
#define NO_READS	   { { 0, 0 } }, 0
#define TIMESPEC_OF_ARG(n) { { n, RAW_OFFSET(0) }, { n, RAW_OFFSET(8) } }, 2

const struct function_probe function_probes[] = {
	{ { "main_loop_wait" },
	  NULL,
	  1,
	  NO_READS,
	  main_loop_wait_entry,
	  main_loop_wait_return,
	  "iteration_begin iteration_end" },
	{ { "aio_poll" },
	  NULL,
	  2,
	  NO_READS,
	  aio_poll_entry,
	  aio_poll_return,
	  "iteration_begin iteration_end aio_poll_enter aio_poll_exit" },
	{ { "poll" }, "libc.so", 3, NO_READS, poll_entry, wait_return, "poll_enter poll_exit" },
	{ { "ppoll" },
	  "libc.so",
	  3,
	  TIMESPEC_OF_ARG(2),
	  ppoll_entry,
	  wait_return,
	  "poll_enter poll_exit" },
	{ { "epoll_wait" },
	  "libc.so",
	  4,
	  NO_READS,
	  epoll_entry,
	  wait_return,
	  "poll_enter poll_exit" },
	{ { "io_uring_submit_and_wait" },
	  "liburing.so",
	  2,
	  NO_READS,
	  io_uring_entry,
	  wait_return,
	  "poll_enter poll_exit" },
	{ { "io_uring_submit_and_wait_timeout" },
	  "liburing.so",
	  4,
	  TIMESPEC_OF_ARG(3),
	  io_uring_timeout_entry,
	  wait_return,
	  "poll_enter poll_exit" },
	{ { "aio_bh_call" },
	  NULL,
	  1,
	  BH_READS,
	  bh_call_entry,
	  bh_call_return,
	  "bh_begin bh_end bh_name" },
	{ { "qemu_bh_schedule" }, NULL, 1, BH_READS, bh_schedule_entry, NULL, "bh_schedule" },
	{ { "qemu_bh_schedule_idle" }, NULL, 1, BH_READS, bh_schedule_entry, NULL, "bh_schedule" },
	{ { "aio_bh_schedule_oneshot_full" },
	  NULL,
	  4,
	  NO_READS,
	  bh_oneshot_entry,
	  NULL,
	  "bh_schedule" },
	{ { "qemu_bh_cancel" }, NULL, 1, BH_READS, bh_cancel_entry, NULL, "bh_cancel" },
	{ { "qemu_bh_delete" }, NULL, 1, BH_READS, bh_delete_entry, NULL, "bh_delete" },
	{ { "timer_mod_ns" }, NULL, 2, TIMER_READS, timer_arm_entry, NULL, "timer_arm" },
	{ { "timer_mod_anticipate_ns" },
	  NULL,
	  2,
	  TIMER_READS,
	  timer_anticipate_entry,
	  NULL,
	  "timer_arm" },
	{ { "timer_del" }, NULL, 1, TIMER_READS, timer_del_entry, NULL, "timer_del" },
	{ { "aio_notify" }, NULL, 1, NOTIFY_READS, notify_entry, NULL, "notify" },
	{ { "aio_notify_accept" },
	  NULL,
	  1,
	  NOTIFY_READS,
	  notify_accept_entry,
	  NULL,
	  "notify_accept" },
	{ { "aio_set_fd_handler" }, NULL, 2, NO_READS, set_handler_entry, NULL, "handler_set" },
	{ { "bql_lock_impl", "qemu_mutex_lock_iothread_impl" },
	  NULL,
	  2,
	  NO_READS,
	  bql_lock_entry,
	  bql_lock_return,
	  "bql_wait bql_acquired" },
	{ { "bql_unlock", "qemu_mutex_unlock_iothread" },
	  NULL,
	  0,
	  NO_READS,
	  bql_unlock_entry,
	  NULL,
	  "bql_released" },
	{ { "g_main_context_dispatch" },
	  "libglib-2.0.so",
	  1,
	  NO_READS,
	  dispatch_entry,
	  dispatch_return,
	  "dispatch_begin dispatch_end" },
	{ { "aio_context_new" }, NULL, 1, NO_READS, context_new_entry, NULL, "context_new" },
	{ { "aio_co_schedule" }, NULL, 2, NO_READS, co_schedule_entry, NULL, "aio_co_schedule" },
	{ { "aio_wait_kick" }, NULL, 0, NO_READS, wait_kick_entry, NULL, "aio_wait_kick" },
};
const size_t n_function_probes = G_N_ELEMENTS(function_probes);

const struct symbol *function_symbol(const struct function_probe *fn, struct images *images,
				     struct image **ret)
{
	struct image *img =
		fn->library ? images_library(images, fn->library) : images_program(images);

	for (size_t i = 0; img && i < G_N_ELEMENTS(fn->names) && fn->names[i]; i++) {
		const struct symbol *symbol = image_symbol(img, fn->names[i]);

		if (!symbol || !symbol->function)
			continue;
		*ret = img;
		return symbol;
	}
	return NULL;
}

static void fill_reads(const struct function_probe *fn, const struct layout *l,
		       struct record_site *reads)
{
	for (int i = 0; i < fn->n_reads; i++) {
		int field = fn->reads[i].field;
		int off = field >= RAW_OFFSET(0) ? field - RAW_OFFSET(0) : l ? l->off[field] : -1;

		/* An argument the program does not have reads as 0. */
		reads->reads[i].arg = off < 0 ? RECORD_ARGS : fn->reads[i].arg;
		reads->reads[i].off = off < 0 ? 0 : off;
	}
	reads->n_reads = fn->n_reads;
}

bool function_is_leaf(const struct function_probe *fn)
{
	return fn->leave == wait_return;
}

int function_site(const struct function_probe *fn, const struct image *img, uint64_t link,
		  struct site *ret)
{
	return (function_is_leaf(fn) ? site_at_untouched : site_at_args)(img, link, fn->n_args, ret,
									 NULL);
}

static void add_functions(struct recorder *r, const struct function_probe *fns, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct function_probe *fn = &fns[i];
		struct record_probe p = { .function = fn };
		const struct symbol *symbol;
		struct image *img;

		/* How deep a wait is nested, iterations and aio_poll()s say. */
		if (!record_wants_any(r, fn->gives) &&
		    !(strstr(fn->gives, "iteration_") &&
		      record_wants_any(r, "poll_enter poll_exit")))
			continue;
		symbol = function_symbol(fn, r->s->images, &img);
		if (!symbol || function_site(fn, img, symbol->link, &p.site)) {
			r->refused += symbol != NULL;
			continue;
		}
		if (!layout_is_qemu(r->s->l) && !glib_probe_serves(r->s->images, fn))
			continue;
		fill_reads(fn, r->s->l, &p.reads);
		p.reads.stack_bytes = p.site.stack_bytes;
		r->stepped += !p.site.emulated;
		record_add_probe(r, &p);
	}
}

void record_add_functions(struct recorder *r)
{
	add_functions(r, function_probes, n_function_probes);
	if (layout_is_qemu(r->s->l))
		return;
	add_functions(r, glib_probes, n_glib_probes);
	record_glib_kinds(r);
}

void record_function_entry(struct recorder *r, struct thread_state *t,
			   const struct record_probe *probe, const struct record_entry *hit)
{
	struct call call = { .probe = probe };

	probe->function->entry(r, t, hit, &call);
	if (probe->function->leave)
		record_begin_call(r, t, hit, &call);
}
