// SPDX-License-Identifier: MIT
/*
 * Events from exported functions, of a program that carries no probes: Debian's QEMU.
 *
 * Each row of the table is a function and what its entry and its return mean (record-waits.c,
 * record-objects.c). Fields of structures that a call points to are read by the bpf program at the
 * entry, by the layout's offsets; a field the layout does not know is 0. What happened on a thread
 * before we attached is not known: contexts and the big lock start as unknown.
 */
#include "tracer/record-functions.h"
#include "tracer/record-glib.h"
#include "tracer/record-meanings.h"

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
	{ { "qemu_cond_wait_impl" },
	  NULL,
	  2,
	  NO_READS,
	  cond_wait_entry,
	  cond_wait_return,
	  "bql_released bql_wait bql_acquired" },
	{ { "qemu_cond_timedwait_impl" },
	  NULL,
	  2,
	  NO_READS,
	  cond_wait_entry,
	  cond_wait_return,
	  "bql_released bql_wait bql_acquired" },
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

bool function_tells_value(const struct function_probe *fn)
{
	return fn->leave == aio_poll_return || glib_probe_tells_value(fn);
}

/* How deep a wait is nested, iterations and aio_poll()s say. */
static bool is_wanted(const struct function_probe *fn, const void *recorder)
{
	const struct recorder *r = recorder;

	return (record_wants_any(r, fn->gives) ||
		(strstr(fn->gives, "iteration_") && record_wants_any(r, "poll_enter poll_exit"))) &&
	       (layout_is_qemu(r->s->l) || glib_probe_serves(r->s->images, fn));
}

static bool is_left_out(const struct recorder *r, const struct function_probe *fn)
{
	for (size_t i = 0; i < r->probes->len; i++) {
		const struct record_probe *p = r->probes->pdata[i];

		if (p->function == fn)
			return p->left_out;
	}
	return false;
}

/* Add the sites from number @first on. */
static void add_sites(struct recorder *r, const struct function_sites *f, size_t first)
{
	for (size_t i = first; i < function_n_sites(f); i++) {
		const struct site *site = function_site_nth(f, i);
		struct record_probe p = { .function = f->fn, .site = *site, .again = i > 0 };

		p.left_out = i > 0 && is_left_out(r, f->fn);
		fill_reads(f->fn, r->s->l, &p.reads);
		p.reads.stack_bytes = site->stack_bytes;
		if (site->stack_bytes < 0)
			p.reads.back = site->img->bias + site->link + CALL_BYTES;
		r->stepped += !site->emulated;
		record_add_probe(r, &p);
	}
}

static GArray *add_functions(struct recorder *r, const struct function_probe *fns, size_t n)
{
	GArray *found = function_find_sites(fns, n, r->s->images, is_wanted, r);

	for (size_t i = 0; i < found->len; i++) {
		const struct function_sites *f = &g_array_index(found, struct function_sites, i);

		r->refused += !f->own.img;
		add_sites(r, f, 0);
	}
	return found;
}

void record_follow_functions(struct recorder *r)
{
	size_t *before;

	if (!r->functions || target_refresh(r->s->t, NULL))
		return;
	before = g_new0(size_t, r->functions->len + 1);
	for (size_t i = 0; i < r->functions->len; i++)
		before[i] =
			function_n_sites(&g_array_index(r->functions, struct function_sites, i));
	function_follow_callers(r->s->images, r->functions);
	for (size_t i = 0; i < r->functions->len; i++)
		add_sites(r, &g_array_index(r->functions, struct function_sites, i), before[i]);
	g_free(before);
}

void record_add_functions(struct recorder *r)
{
	r->functions = add_functions(r, function_probes, n_function_probes);
	g_array_free(add_functions(r, source_probes, n_source_probes), TRUE);
	if (layout_is_qemu(r->s->l))
		return;
	g_array_free(add_functions(r, glib_probes, n_glib_probes), TRUE);
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
