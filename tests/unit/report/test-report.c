/* SPDX-License-Identifier: MIT */
/* A recording into the model: exact numbers of known workloads, and nothing guessed of broken ones.
 */
#include <errno.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>

#include "tracer/report-model.h"
#include "tracer/report-words.h"
#include "workload.h"

#define AT(us) (FIRST_NS + (us)*US)

struct fixture {
	char *path;
	struct ctf_writer *w;
	struct report *report;
};

static void set_up(struct fixture *f, gconstpointer data)
{
	(void)data;
	f->path = g_dir_make_tmp("report-XXXXXX", NULL);
	g_assert_nonnull(f->path);
	f->w = workload_begin(f->path);
}

static void tear_down(struct fixture *f, gconstpointer data)
{
	GDir *dir = g_dir_open(f->path, 0, NULL);
	const char *name;

	(void)data;
	report_free(f->report);
	while (dir && (name = g_dir_read_name(dir))) {
		char *file = g_build_filename(f->path, name, NULL);

		g_unlink(file);
		g_free(file);
	}
	g_dir_close(dir);
	g_rmdir(f->path);
	g_free(f->path);
}

/* End the recording and read it. */
static struct report *read_back(struct fixture *f)
{
	struct failure why = { 0 };

	workload_end(f->w);
	g_assert_cmpint(report_read(f->path, &f->report, &why), ==, 0);
	g_assert_cmpstr(why.text, ==, "");
	return f->report;
}

static const struct report_thread *thread_of(const struct report *report, uint32_t tid)
{
	const struct report_thread *thread =
		report_map_find(&report->threads, (struct report_key){ .a = tid });

	g_assert_nonnull(thread);
	return thread;
}

static const struct report_callback *callback_of(const struct report_thread *thread, uint64_t cb)
{
	const struct report_callback *callback, *found = NULL;

	report_each (&thread->callbacks, callback) {
		if (callback->cb != cb)
			continue;
		g_assert_null(found);
		found = callback;
	}
	g_assert_nonnull(found);
	return found;
}

/* The only entry of a map. */
static const void *only(const struct report_map *map)
{
	uint32_t i = 0;

	g_assert_cmpuint(map->n, ==, 1);
	return report_map_next(map, &i);
}

static uint64_t count_causes(const struct report_thread *thread, enum report_cause cause)
{
	const struct report_wakeup *wakeup;
	uint64_t n = 0;

	report_each (&thread->wakeups, wakeup) {
		if (wakeup->cause == cause)
			n += wakeup->count;
	}
	return n;
}

static void assert_words(char *words, const char *expected)
{
	g_assert_cmpstr(words, ==, expected);
	g_free(words);
}

/* --- 23 iterations ---------------------------------------------------------------------------- */

/* The fixture's own recording is empty and makes way. */
static void read_known(struct fixture *f)
{
	char *metadata = g_build_filename(f->path, "metadata", NULL);

	workload_end(f->w);
	g_assert_cmpint(g_unlink(metadata), ==, 0);
	g_free(metadata);
	g_assert_true(workload_write("known", f->path, 0));
	g_assert_cmpint(report_read(f->path, &f->report, NULL), ==, 0);
}

static void test_known_loop(struct fixture *f, gconstpointer data)
{
	const struct report_thread *main;
	uint64_t sum = 0;

	(void)data;
	read_known(f);
	main = thread_of(f->report, MAIN_TID);
	g_assert_cmpuint(main->iterations, ==, 23);
	g_assert_cmpuint(main->iteration_begins, ==, 23);
	g_assert_cmpuint(main->iteration_ends, ==, 23);
	g_assert_cmpuint(main->polls_ready, ==, 11);
	g_assert_cmpuint(main->polls_timed_out, ==, 12);
	g_assert_cmpuint(main->polls_failed + main->polls_no_wait, ==, 0);
	g_assert_cmpuint(main->ranges[REPORT_BELOW_10_MS], ==, 23);
	g_assert_cmpuint(main->unfinished, ==, 0);
	g_assert_cmpuint(main->unbegun, ==, 0);

	g_assert_cmpuint(main->time_ns[REPORT_POLL], ==, 23 * 5 * MS);
	g_assert_cmpuint(main->time_ns[REPORT_BQL_WAIT], ==, 23 * 10 * US);
	g_assert_cmpuint(report_callbacks_ns(main), ==, 11 * 1 * MS + 12 * 100 * US);
	g_assert_cmpuint(main->time_ns[REPORT_DISPATCH], ==, 11 * 7 * US + 12 * 907 * US);
	/* Own times never overlap: with what is in no frame they are all the time there was. */
	for (int kind = 0; kind < REPORT_KINDS; kind++)
		sum += kind == REPORT_ITERATION ? 0 : main->time_ns[kind];
	g_assert_cmpuint(sum + report_other_ns(main), ==, main->end_ns - main->first_ns);
	/* A wait's end to the next begin: but after the last one. */
	g_assert_cmpuint(main->between.ns.count, ==, 22);
	g_assert_cmpuint(main->between.ns.total, ==, 22 * (KNOWN_STEP_NS - 5 * MS));
	assert_words(report_loop_name(f->report, main), "main loop");
}

static void test_known_callbacks(struct fixture *f, gconstpointer data)
{
	const struct report_callback *callback;
	const struct report_thread *main;

	(void)data;
	read_known(f);
	main = thread_of(f->report, MAIN_TID);
	g_assert_cmpuint(main->callbacks.n, ==, 3);

	callback = callback_of(main, HANDLER_CB);
	g_assert_cmpint(callback->kind, ==, REPORT_HANDLER);
	g_assert_cmpint(callback->fd, ==, 14);
	g_assert_cmpuint(callback->calls.ns.count, ==, 11);
	g_assert_cmpuint(callback->calls.ns.total, ==, 11 * MS);
	g_assert_cmpuint(callback->calls.own_ns, ==, 11 * 600 * US); /* without the BH in it */
	g_assert_cmpuint(report_hist_quantile(&callback->calls.ns, 500), ==, 1 * MS);
	assert_words(report_callback_name(f->report, callback), "virtio_queue_host_notifier_read");
	assert_words(report_callback_what(f->report, callback), "fd 14 eventfd");

	callback = callback_of(main, BH_CB);
	g_assert_cmpint(callback->kind, ==, REPORT_BH);
	g_assert_cmpuint(callback->calls.ns.count, ==, 11);
	g_assert_cmpuint(callback->calls.ns.total, ==, 11 * 400 * US);
	assert_words(report_callback_name(f->report, callback), "bdrv_co_drain_bh_cb");

	callback = callback_of(main, TIMER_CB);
	g_assert_cmpuint(callback->calls.ns.count, ==, 12);
	g_assert_cmpuint(callback->calls.ns.total, ==, 12 * 100 * US);
	g_assert_cmpuint(callback->late->count, ==, 12);
	g_assert_cmpuint(callback->late->max, ==, 20 * US);
}

static void test_known_timeouts_and_causes(struct fixture *f, gconstpointer data)
{
	const struct report_chooser *chooser;
	const struct report_wakeup *wakeup;
	const struct report_thread *main;

	(void)data;
	read_known(f);
	main = thread_of(f->report, MAIN_TID);
	chooser = only(&main->choosers);
	g_assert_cmpuint(chooser->count, ==, 23);
	assert_words(report_chooser_words(f->report, chooser), "timer gui_update");
	g_assert_cmpuint(count_causes(main, REPORT_BY_FD), ==, 11);
	g_assert_cmpuint(count_causes(main, REPORT_BY_TIMEOUT), ==, 12);
	g_assert_cmpuint(main->wakeups.n, ==, 2);
	report_each (&main->wakeups, wakeup) {
		assert_words(report_wakeup_words(f->report, wakeup, 1),
			     wakeup->cause == REPORT_BY_FD
				     ? "fd 14 (eventfd): virtio_queue_host_notifier_read"
				     : "timeout of timer gui_update");
	}
}

static void test_known_bql(struct fixture *f, gconstpointer data)
{
	const struct report_bql *bql;

	(void)data;
	read_known(f);
	bql = only(&f->report->bql);
	g_assert_cmpuint(bql->wait.ns.count, ==, 23);
	g_assert_cmpuint(bql->wait.ns.total, ==, 23 * 10 * US);
	g_assert_cmpuint(bql->hold.ns.count, ==, 23);
	g_assert_cmpuint(bql->hold.ns.max, ==, 1018 * US);
	assert_words(report_bql_place(f->report, bql), "os_host_main_loop_wait+0x1c2");
}

static void test_known_counts(struct fixture *f, gconstpointer data)
{
	const uint64_t *counts;
	uint64_t sum = 0;

	(void)data;
	read_known(f);
	counts = f->report->counts;
	for (int id = 0; id < LOOP_EV_END; id++)
		sum += counts[id];
	g_assert_cmpuint(sum, ==, ctf_reader_stats(f->report->reader)->events);
	g_assert_cmpuint(counts[LOOP_EV_POLL_ENTER], ==, 23);
	g_assert_cmpuint(counts[LOOP_EV_FD_READY], ==, 11);
	g_assert_cmpuint(counts[LOOP_EV_TIMER_END], ==, 12);
	g_assert_cmpuint(counts[LOOP_EV_SYMBOL], ==, 3);
	g_assert_cmpuint(counts[LOOP_EV_AIO_POLL_ENTER], ==, 0);
	g_assert_cmpuint(f->report->end_ns - f->report->begin_ns, ==,
			 22 * KNOWN_STEP_NS + 6042 * US);
}

/* --- nesting ---------------------------------------------------------------------------------- */

static void poll_in(struct ctf_writer *w, uint64_t us, uint32_t tid, uint32_t depth)
{
	EMIT(w, POLL_ENTER, poll_enter, AT(us), tid, .ctx = AIO_CTX, .timeout_ns = -1,
	     .depth = depth);
	EMIT(w, POLL_EXIT, poll_exit, AT(us + 10), tid, .ctx = AIO_CTX, .ret = 1);
}

/* What test_nested_polls has, from the outside in. */
static void assert_tree(const struct report_thread *thread)
{
	static const struct {
		enum report_kind kind;
		uint64_t total_us, asleep_us;
	} levels[] = { { REPORT_BH, 130, 20 },
		       { REPORT_AIO_WAIT, 110, 20 },
		       { REPORT_AIO_POLL, 90, 20 },
		       { REPORT_HANDLER, 50, 10 },
		       { REPORT_AIO_POLL, 30, 10 } };
	GPtrArray *nodes = report_tree_nodes(thread);
	uint32_t parent = 0;

	g_assert_cmpuint(nodes->len, ==, G_N_ELEMENTS(levels));
	for (uint32_t i = 0; i < nodes->len; i++) {
		const struct report_node *node = nodes->pdata[i];

		g_assert_cmpint(node->kind, ==, levels[i].kind);
		g_assert_cmpuint(node->level, ==, i);
		g_assert_cmpuint(node->parent, ==, parent);
		g_assert_cmpuint(node->count, ==, 1);
		g_assert_cmpuint(node->total_ns, ==, levels[i].total_us * US);
		g_assert_cmpuint(node->asleep_ns, ==, levels[i].asleep_us * US);
		parent = node->number;
	}
	g_ptr_array_free(nodes, TRUE);
}

/* A BH drains: AIO_WAIT_WHILE, aio_poll of depth 2 with a handler in which there is one of depth 3.
 */
static void test_nested_polls(struct fixture *f, gconstpointer data)
{
	const struct report_nested *nested, *outer = NULL, *inner = NULL, *wait = NULL;
	const struct report_thread *main;

	(void)data;
	EMIT(f->w, BH_BEGIN, bh_begin, AT(0), MAIN_TID, .ctx = AIO_CTX, .bh = 1, .cb = BH_CB);
	EMIT(f->w, AIO_WAIT_ENTER, aio_wait_enter, AT(10), MAIN_TID, .ctx = AIO_CTX,
	     .site = SITE + 1, .bql = LOOP_HELD_YES);
	EMIT(f->w, AIO_POLL_ENTER, aio_poll_enter, AT(20), MAIN_TID, .ctx = AIO_CTX, .depth = 2,
	     .site = SITE);
	poll_in(f->w, 30, MAIN_TID, 2);
	EMIT(f->w, HANDLER_BEGIN, handler_begin, AT(50), MAIN_TID, .ctx = AIO_CTX, .node = 2,
	     .fd = 3, .cb = HANDLER_CB);
	EMIT(f->w, AIO_POLL_ENTER, aio_poll_enter, AT(60), MAIN_TID, .ctx = AIO_CTX, .depth = 3,
	     .site = SITE + 2);
	poll_in(f->w, 70, MAIN_TID, 3);
	EMIT(f->w, AIO_POLL_EXIT, aio_poll_exit, AT(90), MAIN_TID, .ctx = AIO_CTX, .depth = 3);
	EMIT(f->w, HANDLER_END, handler_end, AT(100), MAIN_TID, .ctx = AIO_CTX, .node = 2);
	EMIT(f->w, AIO_POLL_EXIT, aio_poll_exit, AT(110), MAIN_TID, .ctx = AIO_CTX, .depth = 2);
	EMIT(f->w, AIO_WAIT_EXIT, aio_wait_exit, AT(120), MAIN_TID, .ctx = AIO_CTX,
	     .site = SITE + 9);
	EMIT(f->w, BH_END, bh_end, AT(130), MAIN_TID, .ctx = AIO_CTX, .bh = 1);
	/* Neither of these is in a nested wait or has one in it. */
	EMIT(f->w, BH_BEGIN, bh_begin, AT(140), MAIN_TID, .ctx = AIO_CTX, .bh = 1, .cb = BH_CB);
	EMIT(f->w, BH_BEGIN, bh_begin, AT(140), MAIN_TID, .ctx = AIO_CTX, .bh = 2, .cb = BH_CB);
	EMIT(f->w, BH_END, bh_end, AT(140), MAIN_TID, .ctx = AIO_CTX, .bh = 2);
	EMIT(f->w, BH_END, bh_end, AT(140), MAIN_TID, .ctx = AIO_CTX, .bh = 1);

	main = thread_of(read_back(f), MAIN_TID);
	g_assert_cmpuint(main->iterations, ==, 2);
	g_assert_cmpuint(main->nested_polls, ==, 2);
	g_assert_cmpuint(main->time_ns[REPORT_POLL], ==, 0);
	g_assert_cmpuint(main->time_ns[REPORT_NESTED_POLL], ==, 20 * US);
	g_assert_cmpuint(main->nested_map.n, ==, 3);
	report_each (&main->nested_map, nested) {
		if (nested->site == SITE)
			outer = nested;
		else if (nested->site == SITE + 1)
			wait = nested;
		else
			inner = nested;
	}
	g_assert_cmpint(wait->kind, ==, REPORT_AIO_WAIT);
	g_assert_cmpuint(wait->calls.ns.total, ==, 110 * US);
	g_assert_cmpuint(wait->slept_ns, ==, 20 * US);
	g_assert_cmpuint(wait->with_bql, ==, 1);
	g_assert_cmpuint(outer->calls.ns.total, ==, 90 * US);
	g_assert_cmpuint(outer->slept_ns, ==, 10 * US);
	g_assert_cmpuint(outer->max_depth, ==, 2);
	g_assert_cmpuint(inner->calls.ns.total, ==, 30 * US);
	g_assert_cmpuint(inner->slept_ns, ==, 10 * US);
	g_assert_cmpuint(inner->max_depth, ==, 3);
	g_assert_cmpuint(callback_of(main, HANDLER_CB)->calls.own_ns, ==, 20 * US);
	g_assert_cmpuint(callback_of(main, BH_CB)->calls.ns.total, ==, 130 * US);
	g_assert_cmpuint(callback_of(main, BH_CB)->calls.own_ns, ==, 20 * US);
	g_assert_cmpuint(main->unfinished + main->unbegun, ==, 0);
	assert_tree(main);
}

/* The same timer in two threads at the same time: an end is its own thread's. */
static void test_overlapping_threads(struct fixture *f, gconstpointer data)
{
	struct report *report;

	(void)data;
	EMIT(f->w, TIMER_BEGIN, timer_begin, AT(0), MAIN_TID, .timer = 1, .cb = TIMER_CB);
	EMIT(f->w, TIMER_BEGIN, timer_begin, AT(10), IO_TID, .timer = 1, .cb = TIMER_CB,
	     .late_ns = -5);
	EMIT(f->w, TIMER_END, timer_end, AT(20), MAIN_TID, .timer = 1, .cb = TIMER_CB);
	EMIT(f->w, TIMER_END, timer_end, AT(40), IO_TID, .timer = 1, .cb = TIMER_CB);
	report = read_back(f);
	g_assert_cmpuint(callback_of(thread_of(report, MAIN_TID), TIMER_CB)->calls.ns.total, ==,
			 20 * US);
	g_assert_cmpuint(callback_of(thread_of(report, IO_TID), TIMER_CB)->calls.ns.total, ==,
			 30 * US);
	g_assert_cmpuint(callback_of(thread_of(report, IO_TID), TIMER_CB)->early, ==, 1);
}

/* --- begins without ends ---------------------------------------------------------------------- */

static void test_unfinished_callback(struct fixture *f, gconstpointer data)
{
	const struct report_thread *main;
	struct report *report;

	(void)data;
	NAME(f->w, SYMBOL, symbol, "slow_bh", .addr = BH_CB);
	poll_in(f->w, 0, MAIN_TID, 1);
	EMIT(f->w, BH_BEGIN, bh_begin, AT(20), MAIN_TID, .ctx = AIO_CTX, .bh = 1, .cb = BH_CB);
	EMIT(f->w, NOTIFY, notify, AT(520), VCPU_TID, .ctx = AIO_CTX);
	report = read_back(f);
	main = thread_of(report, MAIN_TID);
	g_assert_cmpuint(callback_of(main, BH_CB)->calls.ns.count, ==, 0);
	g_assert_cmpuint(callback_of(main, BH_CB)->calls.unfinished, ==, 1);
	g_assert_cmpuint(main->n_open, ==, 1);
	assert_words(report_open_words(report, main), "BH slow_bh");
	/* It ran to the end of the recording, which the other thread's event is. */
	g_assert_cmpuint(main->time_ns[REPORT_BH], ==, 500 * US);
}

/* An end that is missing in the middle: the outer callback is whole, the inner one has no time. */
static void test_missing_end(struct fixture *f, gconstpointer data)
{
	const struct report_thread *main;

	(void)data;
	EMIT(f->w, HANDLER_BEGIN, handler_begin, AT(0), MAIN_TID, .node = 2, .fd = 3,
	     .cb = HANDLER_CB);
	EMIT(f->w, BH_BEGIN, bh_begin, AT(10), MAIN_TID, .bh = 1, .cb = BH_CB);
	EMIT(f->w, HANDLER_END, handler_end, AT(100), MAIN_TID, .node = 2);
	EMIT(f->w, BH_END, bh_end, AT(110), MAIN_TID, .bh = 1, .cb = BH_CB);
	main = thread_of(read_back(f), MAIN_TID);
	g_assert_cmpuint(callback_of(main, HANDLER_CB)->calls.ns.total, ==, 100 * US);
	g_assert_cmpuint(callback_of(main, HANDLER_CB)->calls.own_ns, ==, 10 * US);
	g_assert_cmpuint(callback_of(main, BH_CB)->calls.ns.count, ==, 0);
	g_assert_cmpuint(callback_of(main, BH_CB)->calls.unfinished, ==, 1);
	g_assert_cmpuint(main->unknown_ns, ==, 90 * US);
	g_assert_cmpuint(main->unfinished, ==, 1);
	g_assert_cmpuint(main->unbegun, ==, 1);
}

/* The recording begins in the middle of everything: no end finds a begin, nothing has a time. */
static void test_ends_first(struct fixture *f, gconstpointer data)
{
	const struct report_thread *main;

	(void)data;
	EMIT(f->w, POLL_EXIT, poll_exit, AT(0), MAIN_TID, .ret = 1);
	EMIT(f->w, BH_END, bh_end, AT(10), MAIN_TID, .bh = 1);
	EMIT(f->w, BQL_RELEASED, bql_released, AT(20), MAIN_TID);
	EMIT(f->w, AIO_POLL_EXIT, aio_poll_exit, AT(30), MAIN_TID, .depth = 2);
	EMIT(f->w, ITERATION_END, iteration_end, AT(40), MAIN_TID);
	main = thread_of(read_back(f), MAIN_TID);
	g_assert_cmpuint(main->unbegun, ==, 5);
	g_assert_cmpuint(main->unfinished, ==, 0);
	g_assert_cmpuint(main->polls_ready, ==, 1);
	g_assert_cmpuint(main->iterations, ==, 0);
	g_assert_cmpuint(main->iteration_ends, ==, 1);
	for (int kind = 0; kind < REPORT_KINDS; kind++)
		g_assert_cmpuint(main->time_ns[kind], ==, 0);
}

/* Deeper than any stack: counted, bounded. */
static void test_endless_recursion(struct fixture *f, gconstpointer data)
{
	const struct report_thread *main;

	(void)data;
	for (unsigned int i = 0; i < 5000; i++)
		EMIT(f->w, BH_BEGIN, bh_begin, AT(i), MAIN_TID, .bh = i + 1, .cb = BH_CB);
	main = thread_of(read_back(f), MAIN_TID);
	g_assert_cmpuint(callback_of(main, BH_CB)->calls.unfinished, ==, 5000);
	g_assert_cmpuint(main->unfinished, ==, 5000);
	g_assert_cmpuint(main->room, <=, 1024);
}

/* --- losses ----------------------------------------------------------------------------------- */

/* What is open at a loss has no time, even if an end comes after it. */
static void test_lost_events(struct fixture *f, gconstpointer data)
{
	const struct report_thread *main, *io;
	struct report *report;

	(void)data;
	poll_in(f->w, 0, MAIN_TID, 1);
	poll_in(f->w, 0, IO_TID, 1);
	EMIT(f->w, BH_BEGIN, bh_begin, AT(20), MAIN_TID, .bh = 1, .cb = BH_CB);
	EMIT(f->w, BH_BEGIN, bh_begin, AT(20), IO_TID, .bh = 1, .cb = BH_CB);
	g_assert_cmpint(ctf_writer_flush(f->w), ==, 0);
	g_assert_cmpint(ctf_writer_discard(f->w, MAIN_TID, 17, AT(30)), ==, 0);
	EMIT(f->w, BH_END, bh_end, AT(100), MAIN_TID, .bh = 1, .cb = BH_CB);
	EMIT(f->w, BH_END, bh_end, AT(100), IO_TID, .bh = 1, .cb = BH_CB);
	EMIT(f->w, POLL_ENTER, poll_enter, AT(110), MAIN_TID, .timeout_ns = -1, .depth = 1);
	EMIT(f->w, NOTIFY, notify, AT(500), IO_TID, .ctx = AIO_CTX);
	report = read_back(f);
	main = thread_of(report, MAIN_TID);
	io = thread_of(report, IO_TID);
	g_assert_cmpuint(ctf_reader_stats(report->reader)->discarded, ==, 17);
	g_assert_cmpuint(main->lost, ==, 17);
	g_assert_cmpuint(io->lost, ==, 0);
	g_assert_cmpuint(callback_of(main, BH_CB)->calls.ns.count, ==, 0);
	g_assert_cmpuint(callback_of(main, BH_CB)->calls.unfinished, ==, 1);
	g_assert_cmpuint(main->unbegun, ==, 1);
	g_assert_cmpuint(main->between.ns.count, ==, 0);
	/* That it slept to the end is not certain of a thread that lost events. */
	g_assert_cmpuint(main->time_ns[REPORT_POLL], ==, 10 * US);
	g_assert_cmpuint(callback_of(io, BH_CB)->calls.ns.total, ==, 80 * US);
}

/* Lost by the recorder, of whom ever: nobody's last state is certain to the end. */
static void test_lost_by_anybody(struct fixture *f, gconstpointer data)
{
	struct report *report;

	(void)data;
	NAME(f->w, THREAD, thread, "main", .of_tid = MAIN_TID);
	g_assert_cmpint(ctf_writer_flush(f->w), ==, 0);
	g_assert_cmpint(ctf_writer_discard(f->w, 0, 17, AT(30)), ==, 0);
	EMIT(f->w, POLL_ENTER, poll_enter, AT(110), MAIN_TID, .timeout_ns = -1, .depth = 1);
	EMIT(f->w, NOTIFY, notify, AT(500), IO_TID, .ctx = AIO_CTX);
	report = read_back(f);
	g_assert_cmpuint(ctf_reader_stats(report->reader)->discarded, ==, 17);
	g_assert_cmpuint(thread_of(report, MAIN_TID)->lost, ==, 0);
	g_assert_cmpuint(thread_of(report, MAIN_TID)->time_ns[REPORT_POLL], ==, 0);
	g_assert_cmpuint(thread_of(report, MAIN_TID)->n_open, ==, 1);
}

/* --- who woke whom ---------------------------------------------------------------------------- */

static const struct report_wakeup *wake_by_notify(struct fixture *f)
{
	const struct report_wakeup *wakeup;
	const struct report_thread *main;

	main = thread_of(read_back(f), MAIN_TID);
	g_assert_cmpuint(count_causes(main, REPORT_BY_NOTIFY), ==, 1);
	report_each (&main->wakeups, wakeup) {
		if (wakeup->cause == REPORT_BY_NOTIFY)
			return wakeup;
	}
	return NULL;
}

/* aio_notify knows who, the eventfd's write knows which fd; after it was drained it is an fd. */
static void test_woken_by_notify(struct fixture *f, gconstpointer data)
{
	const struct report_wakeup *wakeup;

	(void)data;
	EMIT(f->w, POLL_ENTER, poll_enter, AT(0), MAIN_TID, .ctx = MAIN_CTX, .timeout_ns = -1);
	EMIT(f->w, NOTIFY, notify, AT(10), VCPU_TID, .ctx = AIO_CTX, .written = 1, .site = SITE);
	EMIT(f->w, EVENT_NOTIFIER_SET, event_notifier_set, AT(11), VCPU_TID, .fd = 5,
	     .site = 0xbad);
	EMIT(f->w, POLL_EXIT, poll_exit, AT(20), MAIN_TID, .ctx = MAIN_CTX, .ret = 1);
	EMIT(f->w, FD_READY, fd_ready, AT(21), MAIN_TID, .ctx = MAIN_CTX, .fd = 5,
	     .revents = LOOP_POLL_BITS_IN);
	EMIT(f->w, EVENT_NOTIFIER_CLEAR, event_notifier_clear, AT(22), MAIN_TID, .fd = 5,
	     .was_set = 1);
	EMIT(f->w, POLL_ENTER, poll_enter, AT(30), MAIN_TID, .ctx = MAIN_CTX, .timeout_ns = -1);
	EMIT(f->w, POLL_EXIT, poll_exit, AT(40), MAIN_TID, .ctx = MAIN_CTX, .ret = 1);
	EMIT(f->w, FD_READY, fd_ready, AT(41), MAIN_TID, .ctx = MAIN_CTX, .fd = 5,
	     .revents = LOOP_POLL_BITS_IN);
	wakeup = wake_by_notify(f);
	g_assert_null(wakeup->in);
	g_assert_cmpuint(wakeup->by_tid, ==, VCPU_TID);
	g_assert_cmpuint(wakeup->site, ==, SITE);
	g_assert_cmpuint(wakeup->ctx, ==, AIO_CTX);
	g_assert_cmpint(wakeup->fd, ==, 5);
	g_assert_cmpuint(count_causes(thread_of(f->report, MAIN_TID), REPORT_BY_FD), ==, 1);
}

/* The innermost callback of whoever wrote: the BH that its handler runs in a nested aio_poll. */
static void test_woken_in_a_callback(struct fixture *f, gconstpointer data)
{
	const struct report_wakeup *wakeup;

	(void)data;
	EMIT(f->w, POLL_ENTER, poll_enter, AT(0), MAIN_TID, .ctx = MAIN_CTX, .timeout_ns = -1);
	EMIT(f->w, HANDLER_BEGIN, handler_begin, AT(1), IO_TID, .ctx = IO_CTX, .node = 1, .fd = 14,
	     .op = LOOP_HANDLER_OP_READ, .cb = HANDLER_CB);
	EMIT(f->w, AIO_POLL_ENTER, aio_poll_enter, AT(2), IO_TID, .ctx = IO_CTX, .depth = 2);
	EMIT(f->w, BH_BEGIN, bh_begin, AT(3), IO_TID, .ctx = IO_CTX, .bh = 2, .cb = BH_CB);
	EMIT(f->w, NOTIFY, notify, AT(10), IO_TID, .ctx = AIO_CTX, .written = 1, .site = SITE);
	EMIT(f->w, EVENT_NOTIFIER_SET, event_notifier_set, AT(11), IO_TID, .fd = 5);
	EMIT(f->w, POLL_EXIT, poll_exit, AT(20), MAIN_TID, .ctx = MAIN_CTX, .ret = 1);
	EMIT(f->w, FD_READY, fd_ready, AT(21), MAIN_TID, .ctx = MAIN_CTX, .fd = 5,
	     .revents = LOOP_POLL_BITS_IN);
	wakeup = wake_by_notify(f);
	g_assert_nonnull(wakeup->in);
	g_assert_cmpint(wakeup->in->kind, ==, REPORT_BH);
	g_assert_cmpuint(wakeup->in->cb, ==, BH_CB);
}

/* GLib's own wake-up fd is nobody's handler. */
static void test_woken_by_glib(struct fixture *f, gconstpointer data)
{
	const struct report_wakeup *wakeup;

	(void)data;
	EMIT(f->w, POLL_ENTER, poll_enter, AT(0), MAIN_TID, .ctx = MAIN_CTX, .timeout_ns = -1);
	EMIT(f->w, CONTEXT_WAKEUP, context_wakeup, AT(10), IO_TID, .ctx = MAIN_CTX, .site = SITE);
	EMIT(f->w, POLL_EXIT, poll_exit, AT(20), MAIN_TID, .ctx = MAIN_CTX, .ret = 1);
	EMIT(f->w, FD_READY, fd_ready, AT(21), MAIN_TID, .ctx = MAIN_CTX, .fd = 6,
	     .revents = LOOP_POLL_BITS_IN);
	wakeup = wake_by_notify(f);
	g_assert_cmpuint(wakeup->by_tid, ==, IO_TID);
	g_assert_cmpuint(wakeup->site, ==, SITE);
}

/* Without fd_ready the first handler that runs tells; without any of both it is unknown. */
static void test_woken_by_unrecorded_fd(struct fixture *f, gconstpointer data)
{
	const struct report_thread *main;

	(void)data;
	poll_in(f->w, 0, MAIN_TID, 1);
	EMIT(f->w, HANDLER_BEGIN, handler_begin, AT(20), MAIN_TID, .node = 1, .fd = 9,
	     .cb = HANDLER_CB);
	EMIT(f->w, HANDLER_END, handler_end, AT(30), MAIN_TID, .node = 1, .fd = 9);
	poll_in(f->w, 40, MAIN_TID, 1);
	poll_in(f->w, 60, MAIN_TID, 1);
	main = thread_of(read_back(f), MAIN_TID);
	g_assert_cmpuint(count_causes(main, REPORT_BY_FD), ==, 1);
	g_assert_cmpuint(count_causes(main, REPORT_BY_UNKNOWN), ==, 2);
}

/* An fd that was closed and is somebody else's now is another cause. */
static void test_fd_number_used_again(struct fixture *f, gconstpointer data)
{
	const struct report_wakeup *wakeup;
	const struct report_thread *main;

	(void)data;
	for (unsigned int i = 0; i < 2; i++) {
		uint64_t us = i * 100, cb = HANDLER_CB + i;

		EMIT(f->w, HANDLER_ADD, handler_add, AT(us), MAIN_TID, .fd = 9, .io_read = cb);
		poll_in(f->w, us + 10, MAIN_TID, 1);
		EMIT(f->w, FD_READY, fd_ready, AT(us + 30), MAIN_TID, .fd = 9,
		     .revents = LOOP_POLL_BITS_IN);
		EMIT(f->w, HANDLER_REMOVE, handler_remove, AT(us + 40), MAIN_TID, .fd = 9);
	}
	main = thread_of(read_back(f), MAIN_TID);
	g_assert_cmpuint(main->wakeups.n, ==, 2);
	report_each (&main->wakeups, wakeup) {
		g_assert_cmpuint(wakeup->count, ==, 1);
		g_assert_true(wakeup->cb == HANDLER_CB || wakeup->cb == HANDLER_CB + 1);
	}
}

static void test_ranges(struct fixture *f, gconstpointer data)
{
	static const int64_t timeouts[] = { 0,	       1,	 999999,    1000000,
					    9999999,   10000000, 999999999, 1000000000,
					    INT64_MAX, -1,	 INT64_MIN };
	static const uint64_t expected[REPORT_RANGES] = { 1, 2, 2, 1, 1, 2, 1, 1 };
	const struct report_thread *main;

	(void)data;
	for (unsigned int i = 0; i < G_N_ELEMENTS(timeouts); i++) {
		EMIT(f->w, POLL_ENTER, poll_enter, AT(i * 10), MAIN_TID, .depth = 1,
		     .timeout_ns = timeouts[i]);
		EMIT(f->w, POLL_EXIT, poll_exit, AT(i * 10 + 5), MAIN_TID, .ret = i ? -EINTR : 0);
	}
	main = thread_of(read_back(f), MAIN_TID);
	for (int range = 0; range < REPORT_RANGES; range++)
		g_assert_cmpuint(main->ranges[range], ==, expected[range]);
	g_assert_cmpuint(main->polls_no_wait, ==, 1);
	g_assert_cmpuint(count_causes(main, REPORT_BY_ERROR), ==, 10);
	g_assert_cmpuint(count_causes(main, REPORT_BY_NOTHING), ==, 1);
}

/* Whichever comes first: that a thread polls as an IOThread, or a record that knows no better. */
/* --- waits that began before the recording ------------------------------------------------------
 */

static void wait_state(struct fixture *f, uint64_t ns, uint32_t tid, uint64_t ctx)
{
	EMIT(f->w, WAIT_STATE, wait_state, ns, 0, .ctx = ctx, .of_tid = tid, .timeout_ns = -1);
}

static void poll_once(struct fixture *f, uint64_t enter_ns, uint64_t exit_ns, uint32_t tid)
{
	EMIT(f->w, POLL_ENTER, poll_enter, enter_ns, tid, .timeout_ns = -1, .depth = 1);
	EMIT(f->w, POLL_EXIT, poll_exit, exit_ns, tid, .ret = 1);
}

static void test_waits_from_before(struct fixture *f, gconstpointer data)
{
	const struct report_thread *thread;

	(void)data;
	wait_state(f, AT(0), MAIN_TID, MAIN_CTX);
	wait_state(f, AT(0), IO_TID, IO_CTX);
	wait_state(f, AT(0), VCPU_TID, AIO_CTX);
	EMIT(f->w, POLL_EXIT, poll_exit, AT(500), MAIN_TID, .ret = 1);
	poll_once(f, AT(600), AT(1000), MAIN_TID);
	/* The return from its wait was not seen. */
	EMIT(f->w, BH_BEGIN, bh_begin, AT(200), VCPU_TID, .cb = BH_CB);
	EMIT(f->w, BH_END, bh_end, AT(300), VCPU_TID, .cb = BH_CB);
	read_back(f);

	thread = thread_of(f->report, MAIN_TID);
	g_assert_cmpuint(thread->time_ns[REPORT_POLL], ==, 900 * US);
	g_assert_cmpuint(thread->end_ns - thread->first_ns, ==, 1000 * US);
	g_assert_cmpuint(thread->iterations, ==, 1); /* the wait before is none of ours */
	g_assert_cmpuint(thread->polls_ready, ==, 2);
	g_assert_cmpuint(thread->unbegun + thread->unfinished, ==, 0);

	thread = thread_of(f->report, IO_TID); /* without a single event */
	g_assert_true(report_is_loop(thread));
	g_assert_cmpuint(thread->iterations, ==, 0);
	g_assert_cmpuint(thread->time_ns[REPORT_POLL], ==, 1000 * US);
	g_assert_cmpuint(thread->end_ns - thread->first_ns, ==, 1000 * US);

	thread = thread_of(f->report, VCPU_TID);
	g_assert_cmpuint(thread->time_ns[REPORT_POLL], ==, 200 * US);
	g_assert_cmpuint(thread->time_ns[REPORT_BH], ==, 100 * US);
	g_assert_cmpuint(thread->unknown_ns, ==, 0);
}

/* It is told as of a time when its thread had events already: those know better. */
static void test_wait_told_too_late(struct fixture *f, gconstpointer data)
{
	const struct report_thread *thread;

	(void)data;
	EMIT(f->w, POLL_EXIT, poll_exit, AT(0), MAIN_TID, .ret = 1);
	wait_state(f, AT(50), MAIN_TID, MAIN_CTX);
	poll_once(f, AT(100), AT(300), MAIN_TID);
	read_back(f);
	thread = thread_of(f->report, MAIN_TID);
	g_assert_false(thread->waited);
	g_assert_cmpuint(thread->time_ns[REPORT_POLL], ==, 200 * US);
	g_assert_cmpuint(thread->between.ns.total, ==, 100 * US);
}

/* Which fd woke a loop of GSources: the only one that the source has. */
static void test_woken_by_a_source(struct fixture *f, gconstpointer data)
{
	const struct report_thread *thread;
	uint64_t one = 0x5100, two = 0x5200;

	(void)data;
	EMIT(f->w, SOURCE_ADD_FD, source_add_fd, AT(0), MAIN_TID, .source = one, .fd = 14);
	EMIT(f->w, SOURCE_ATTACH, source_attach, AT(1), MAIN_TID, .source = one, .cb = HANDLER_CB);
	EMIT(f->w, SOURCE_ADD_FD, source_add_fd, AT(2), MAIN_TID, .source = two, .fd = 15);
	EMIT(f->w, SOURCE_ADD_FD, source_add_fd, AT(3), MAIN_TID, .source = two, .fd = 16);
	EMIT(f->w, SOURCE_ATTACH, source_attach, AT(4), MAIN_TID, .source = two, .cb = TIMER_CB);
	for (int i = 0; i < 4; i++) {
		uint64_t source = i % 2 ? two : one, at = AT(100 * (i + 1));

		/* The first's address is used again, for a source with another fd. */
		if (i == 2) {
			EMIT(f->w, SOURCE_ADD_FD, source_add_fd, at, MAIN_TID, .source = one,
			     .fd = 17);
			EMIT(f->w, SOURCE_ATTACH, source_attach, at + 1, MAIN_TID, .source = one,
			     .cb = HANDLER_CB);
		}
		poll_once(f, at + 2, at + 10 * US, MAIN_TID);
		EMIT(f->w, SOURCE_DISPATCH_BEGIN, source_dispatch_begin, at + 20 * US, MAIN_TID,
		     .source = source, .cb = HANDLER_CB);
		EMIT(f->w, SOURCE_DISPATCH_END, source_dispatch_end, at + 30 * US, MAIN_TID,
		     .source = source);
	}
	read_back(f);
	thread = thread_of(f->report, MAIN_TID);
	g_assert_cmpuint(count_causes(thread, REPORT_BY_FD), ==, 2);	  /* 14, 17 */
	g_assert_cmpuint(count_causes(thread, REPORT_BY_UNKNOWN), ==, 2); /* 15 or 16 */
}

static void test_iothread_by_its_state(struct fixture *f, gconstpointer data)
{
	const struct report *report;

	(void)data;
	NAME(f->w, CONTEXT, context, "context 0xc200", .ctx = IO_CTX,
	     .kind = LOOP_CONTEXT_KIND_OTHER);
	EMIT(f->w, IOTHREAD_STATE, iothread_state, AT(0), IO_TID, .ctx = IO_CTX,
	     .phase = LOOP_IOTHREAD_PHASE_POLLING);
	EMIT(f->w, POLL_ENTER, poll_enter, AT(10), IO_TID, .ctx = IO_CTX, .depth = 1);
	EMIT(f->w, IOTHREAD_STATE, iothread_state, AT(0), VCPU_TID, .ctx = AIO_CTX,
	     .phase = LOOP_IOTHREAD_PHASE_POLLING);
	EMIT(f->w, POLL_ENTER, poll_enter, AT(10), VCPU_TID, .ctx = AIO_CTX, .depth = 1);
	NAME_AT(f->w, AT(20), CONTEXT, context, "context 0xc100", .ctx = AIO_CTX,
		.kind = LOOP_CONTEXT_KIND_OTHER);
	report = read_back(f);
	assert_words(report_loop_name(report, thread_of(report, IO_TID)), "IOThread");
	assert_words(report_loop_name(report, thread_of(report, VCPU_TID)), "IOThread");
}

/* --- what cannot be read ---------------------------------------------------------------------- */

static void assert_refused(const char *path, int err, const char *text)
{
	struct report *report = NULL;
	struct failure why = { 0 };

	g_assert_cmpint(report_read(path, &report, &why), ==, err);
	g_assert_null(report);
	g_assert_nonnull(strstr(why.text, text));
}

static void test_nothing_to_read(struct fixture *f, gconstpointer data)
{
	char *metadata = g_build_filename(f->path, "metadata", NULL);

	(void)data;
	workload_end(f->w);
	assert_refused(f->path, -ENODATA, "no event in it");
	assert_refused(metadata, -ENOTDIR, metadata);
	assert_refused("/nonexistent", -ENOENT, "/nonexistent");
	g_assert_cmpint(g_unlink(metadata), ==, 0);
	assert_refused(f->path, -EPROTO, "not a recording");
	g_free(metadata);
}

/* A stream that is cut or damaged ends there; the others are read. */
static void test_damaged_stream(struct fixture *f, gconstpointer data)
{
	char *path = g_build_filename(f->path, "thread-101", NULL), *bytes;
	struct failure why = { 0 };
	gsize size;

	(void)data;
	for (unsigned int i = 0; i < 200; i++) {
		poll_in(f->w, i * 100, MAIN_TID, 1);
		poll_in(f->w, i * 100, IO_TID, 1);
	}
	workload_end(f->w);
	g_assert_true(g_file_get_contents(path, &bytes, &size, NULL));
	memset(bytes + 4096, 0xff, 16);
	g_assert_true(g_file_set_contents(path, bytes, size, NULL));
	g_assert_cmpint(report_read(f->path, &f->report, &why), ==, 0);
	g_assert_cmpuint(f->report->damaged->len, ==, 1);
	g_assert_cmpuint(thread_of(f->report, MAIN_TID)->iterations, ==, 200);
	g_assert_cmpuint(thread_of(f->report, IO_TID)->iterations, <, 200);
	g_assert_cmpuint(thread_of(f->report, IO_TID)->iterations, >, 10);
	g_free(bytes);
	g_free(path);
}

#define ADD(path, function)                                                                        \
	g_test_add("/report/" path, struct fixture, NULL, set_up, function, tear_down)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD("known/loop", test_known_loop);
	ADD("known/callbacks", test_known_callbacks);
	ADD("known/timeouts-and-causes", test_known_timeouts_and_causes);
	ADD("known/bql", test_known_bql);
	ADD("known/counts", test_known_counts);
	ADD("nested-polls", test_nested_polls);
	ADD("overlapping-threads", test_overlapping_threads);
	ADD("unfinished-callback", test_unfinished_callback);
	ADD("missing-end", test_missing_end);
	ADD("ends-first", test_ends_first);
	ADD("endless-recursion", test_endless_recursion);
	ADD("lost-events", test_lost_events);
	ADD("lost-by-anybody", test_lost_by_anybody);
	ADD("woken/by-notify", test_woken_by_notify);
	ADD("woken/in-a-callback", test_woken_in_a_callback);
	ADD("woken/by-glib", test_woken_by_glib);
	ADD("woken/by-unrecorded-fd", test_woken_by_unrecorded_fd);
	ADD("woken/fd-number-used-again", test_fd_number_used_again);
	ADD("timeout-ranges", test_ranges);
	ADD("waits-from-before", test_waits_from_before);
	ADD("wait-told-too-late", test_wait_told_too_late);
	ADD("woken/by-a-source", test_woken_by_a_source);
	ADD("iothread-by-its-state", test_iothread_by_its_state);
	ADD("nothing-to-read", test_nothing_to_read);
	ADD("damaged-stream", test_damaged_stream);
	return g_test_run();
}
