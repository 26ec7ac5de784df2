/* SPDX-License-Identifier: MIT */
/*
 * The doctor on recordings whose every time is known: who was woken and came late has not slept on,
 * and what a long call did is told by what its thread's time went into.
 */
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>

#include "tracer/doctor-trace.h"
#include "tracer/stall-recording.h"
#include "workload.h"

#define AT(ms)	 (FIRST_NS + (ms)*MS)
#define LIMIT_MS 100
#define BH	 0xb000
#define TIMER	 0xb100
#define FILE_FD	 14

struct fixture {
	char *path;
	struct ctf_writer *w;
	struct trace_doctor d;
};

static void set_up(struct fixture *f, gconstpointer data)
{
	(void)data;
	f->path = g_dir_make_tmp("doctor-XXXXXX", NULL);
	g_assert_nonnull(f->path);
	f->w = workload_begin(f->path);
	f->d.min_ns = LIMIT_MS * MS;
	/* It has every event, and this context is the IOThread's. */
	NAME(f->w, CONTEXT, context, "io0", .ctx = IO_CTX, .kind = LOOP_CONTEXT_KIND_IOTHREAD,
	     .home_tid = IO_TID);
	EMIT(f->w, NOTIFY_ME, notify_me, AT(0), IO_TID, .ctx = IO_CTX, .value = 2);
	EMIT(f->w, BH_SCHEDULE, bh_schedule, AT(0), IO_TID, .ctx = IO_CTX, .bh = 1, .cb = 1);
	EMIT(f->w, BH_BEGIN, bh_begin, AT(0), IO_TID, .ctx = IO_CTX, .bh = 1, .cb = 1);
	EMIT(f->w, BH_END, bh_end, AT(0), IO_TID, .ctx = IO_CTX, .bh = 1, .cb = 1);
}

static void tear_down(struct fixture *f, gconstpointer data)
{
	GDir *dir = g_dir_open(f->path, 0, NULL);
	const char *name;

	(void)data;
	trace_doctor_clear(&f->d);
	while (dir && (name = g_dir_read_name(dir))) {
		char *file = g_build_filename(f->path, name, NULL);

		g_unlink(file);
		g_free(file);
	}
	g_dir_close(dir);
	g_rmdir(f->path);
	g_free(f->path);
}

/* End the recording and hear the doctor: the one verdict, or NULL. */
static const struct finding *verdict(struct fixture *f)
{
	struct failure why = { 0 };

	workload_end(f->w);
	g_assert_cmpint(trace_doctor_read(&f->d, f->path, &why), ==, 0);
	g_assert_cmpuint(f->d.findings->len, <=, 1);
	return f->d.findings->len ? f->d.findings->pdata[0] : NULL;
}

static void assert_lost(const struct finding *finding)
{
	g_assert_nonnull(finding);
	g_assert_cmpstr(finding->verdict, ==, "LOST WAKEUP");
	g_assert_cmpint(finding->tid, ==, IO_TID);
}

/* --- LOST WAKEUP ------------------------------------------------------------------------------ */

static void sleep_from(struct fixture *f, uint64_t ms, int64_t timeout_ns)
{
	EMIT(f->w, POLL_ENTER, poll_enter, AT(ms), IO_TID, .ctx = IO_CTX, .depth = 1,
	     .timeout_ns = timeout_ns);
}

static void wake_at(struct fixture *f, uint64_t ms, int ready)
{
	EMIT(f->w, POLL_EXIT, poll_exit, AT(ms), IO_TID, .ctx = IO_CTX, .ret = ready);
	EMIT(f->w, NOTIFY_ACCEPT, notify_accept, AT(ms), IO_TID, .ctx = IO_CTX, .notified = 1);
}

static void publish_bh(struct fixture *f, uint64_t ms)
{
	EMIT(f->w, BH_SCHEDULE, bh_schedule, AT(ms), MAIN_TID, .ctx = IO_CTX, .bh = BH, .cb = BH_CB,
	     .flags = LOOP_BH_BITS_SCHEDULED);
}

static void notify(struct fixture *f, uint64_t ms, bool written)
{
	EMIT(f->w, NOTIFY, notify, AT(ms), MAIN_TID, .ctx = IO_CTX, .notify_me = written,
	     .written = written);
}

static void run_bh(struct fixture *f, uint64_t ms)
{
	EMIT(f->w, BH_BEGIN, bh_begin, AT(ms), IO_TID, .ctx = IO_CTX, .bh = BH, .cb = BH_CB);
	EMIT(f->w, BH_END, bh_end, AT(ms), IO_TID, .ctx = IO_CTX, .bh = BH, .cb = BH_CB);
}

static void test_not_woken(struct fixture *f, gconstpointer data)
{
	(void)data;
	sleep_from(f, 10, -1);
	publish_bh(f, 20);
	notify(f, 20, false);
	wake_at(f, 220, 1);
	run_bh(f, 221);
	assert_lost(verdict(f));
}

/* Its poll returns 3 s later: as long as others had the CPU. */
static void test_woken_and_late(struct fixture *f, gconstpointer data)
{
	(void)data;
	sleep_from(f, 10, -1);
	publish_bh(f, 20);
	notify(f, 20, true);
	wake_at(f, 3020, 1);
	run_bh(f, 3021);
	g_assert_null(verdict(f));
}

/* The recording ends before it had a CPU. */
static void test_woken_and_never_ran(struct fixture *f, gconstpointer data)
{
	(void)data;
	sleep_from(f, 10, -1);
	publish_bh(f, 20);
	notify(f, 20, true);
	EMIT(f->w, BQL_RELEASED, bql_released, AT(3000), MAIN_TID, .lock = 1);
	g_assert_null(verdict(f));
}

/* Whoever scheduled it had no CPU before its notify. */
static void test_published_late(struct fixture *f, gconstpointer data)
{
	(void)data;
	sleep_from(f, 10, -1);
	publish_bh(f, 20);
	notify(f, 3020, true);
	wake_at(f, 3021, 1);
	run_bh(f, 3022);
	g_assert_null(verdict(f));
}

/* Another thread accepted the notification; what ended the sleep was something else. */
static void test_stolen(struct fixture *f, gconstpointer data)
{
	(void)data;
	sleep_from(f, 10, -1);
	publish_bh(f, 20);
	notify(f, 20, true);
	EMIT(f->w, NOTIFY_ACCEPT, notify_accept, AT(21), MAIN_TID, .ctx = IO_CTX, .notified = 1);
	wake_at(f, 3020, 1);
	run_bh(f, 3021);
	assert_lost(verdict(f));
}

static void arm_and_run(struct fixture *f, int64_t timeout_ns)
{
	EMIT(f->w, TIMER_ARM, timer_arm, AT(5), IO_TID, .list = IO_CTX, .timer = TIMER,
	     .cb = TIMER_CB, .in_ns = 45 * MS);
	sleep_from(f, 10, timeout_ns);
	EMIT(f->w, POLL_EXIT, poll_exit, AT(3050), IO_TID, .ctx = IO_CTX, .ret = 0);
	EMIT(f->w, TIMER_BEGIN, timer_begin, AT(3051), IO_TID, .list = IO_CTX, .timer = TIMER,
	     .cb = TIMER_CB, .late_ns = LOOP_NS_UNKNOWN);
	EMIT(f->w, TIMER_END, timer_end, AT(3051), IO_TID, .list = IO_CTX, .timer = TIMER,
	     .cb = TIMER_CB);
}

static void test_own_timeout(struct fixture *f, gconstpointer data)
{
	(void)data;
	arm_and_run(f, 40 * MS);
	g_assert_null(verdict(f));
}

static void test_no_timeout(struct fixture *f, gconstpointer data)
{
	(void)data;
	arm_and_run(f, -1);
	assert_lost(verdict(f));
}

static void test_fd_found_ready(struct fixture *f, gconstpointer data)
{
	(void)data;
	EMIT(f->w, HANDLER_ADD, handler_add, AT(5), IO_TID, .ctx = IO_CTX, .fd = FILE_FD,
	     .io_read = HANDLER_CB);
	sleep_from(f, 10, -1);
	EMIT(f->w, EVENT_NOTIFIER_SET, event_notifier_set, AT(20), MAIN_TID, .fd = FILE_FD);
	EMIT(f->w, BQL_RELEASED, bql_released, AT(21), MAIN_TID, .lock = 1);
	wake_at(f, 3020, 1);
	EMIT(f->w, FD_READY, fd_ready, AT(3020), IO_TID, .ctx = IO_CTX, .fd = FILE_FD, .events = 1,
	     .revents = 1);
	EMIT(f->w, HANDLER_BEGIN, handler_begin, AT(3021), IO_TID, .ctx = IO_CTX, .fd = FILE_FD,
	     .cb = HANDLER_CB);
	EMIT(f->w, HANDLER_END, handler_end, AT(3021), IO_TID, .ctx = IO_CTX, .fd = FILE_FD,
	     .cb = HANDLER_CB);
	g_assert_null(verdict(f));
}

/* --- what a long call did --------------------------------------------------------------------- */

enum { FDATASYNC = 75 };

/* Three calls of 200 ms. Of each it is told that it slept so long, and wanted a CPU for the rest.
 */
static void long_calls(struct fixture *f, uint64_t slept_ms)
{
	NAME(f->w, FD, fd, "/tmp/disk", .fd = FILE_FD, .kind = LOOP_FD_KIND_FILE);
	for (uint64_t i = 0; i < 3; i++) {
		uint64_t ms = 10 + i * 250;

		sleep_from(f, ms, -1);
		EMIT(f->w, POLL_EXIT, poll_exit, AT(ms + 50), IO_TID, .ctx = IO_CTX, .ret = 0);
		run_bh(f, ms + 50);
		EMIT(f->w, BH_BEGIN, bh_begin, AT(ms + 50), IO_TID, .ctx = IO_CTX, .bh = BH,
		     .cb = BH_CB);
		EMIT(f->w, BH_END, bh_end, AT(ms + 250), IO_TID, .ctx = IO_CTX, .bh = BH,
		     .cb = BH_CB);
		if (slept_ms)
			EMIT(f->w, STALL_CALL, stall_call, AT(ms + 255), 0, .of_tid = IO_TID,
			     .syscall = FDATASYNC, .arg = FILE_FD, .for_ns = slept_ms * MS,
			     .times = 1);
		EMIT(f->w, STALL_SPLIT, stall_split, AT(ms + 255), 0, .of_tid = IO_TID,
		     .ended_ns = 5 * MS, .for_ns = 200 * MS, .blocked_ns = slept_ms * MS,
		     .runnable_ns = (200 - slept_ms) * MS);
	}
	sleep_from(f, 760, -1);
}

static void test_slept_in_a_call(struct fixture *f, gconstpointer data)
{
	const struct finding *finding;
	bool said = false;

	(void)data;
	long_calls(f, 180);
	finding = verdict(f);
	g_assert_nonnull(finding);
	g_assert_cmpstr(finding->verdict, ==, "BLOCKED CALLBACK");
	g_assert_cmpstr(finding->span, ==, "for 180 ms"); /* of 200 */
	for (size_t i = 0; i < finding->evidence->len; i++)
		said |= strstr(finding->evidence->pdata[i],
			       "180 ms asleep in fdatasync on fd 14 (file /tmp/disk), 20 ms "
			       "waiting for a CPU") != NULL;
	g_assert_true(said);
}

static void test_had_no_cpu(struct fixture *f, gconstpointer data)
{
	(void)data;
	long_calls(f, 10);
	g_assert_null(verdict(f));
}

static const struct stall_row *only_row(struct fixture *f, uint64_t stalls,
					struct stalls_recorded *recorded)
{
	workload_end(f->w);
	g_assert_cmpint(stalls_of_recording(f->path, 100 * MS, recorded, NULL), ==, 0);
	g_assert_cmpuint(recorded->stalls, ==, stalls);
	g_assert_cmpuint(recorded->rows->len, ==, 1);
	return recorded->rows->pdata[0];
}

static void clear(struct stalls_recorded *recorded)
{
	g_ptr_array_free(recorded->rows, TRUE);
	g_free(recorded->target);
}

static void test_row_of_stalls(struct fixture *f, gconstpointer data)
{
	struct stalls_recorded recorded;
	const struct stall_row *row;

	(void)data;
	long_calls(f, 180);
	row = only_row(f, 3, &recorded);
	g_assert_cmpuint(recorded.unsplit, ==, 0);
	g_assert_true(row->split_known);
	g_assert_cmpint(row->kind, ==, STALL_SYSCALL);
	g_assert_cmpstr(row->what, ==, "fdatasync on fd 14 (file /tmp/disk)");
	g_assert_cmpint(row->split[STALLS_BLOCKED], ==, 180 * MS);
	g_assert_cmpint(row->split[STALLS_RUNNABLE], ==, 20 * MS);
	clear(&recorded);
}

/* To the events it was in its wait, before and after; other times do not make it a stall. */
static void test_stopped_in_a_wait(struct fixture *f, gconstpointer data)
{
	struct stalls_recorded recorded;
	const struct stall_row *row;

	(void)data;
	EMIT(f->w, POLL_EXIT, poll_exit, AT(5), IO_TID, .ctx = IO_CTX, .ret = 0);
	sleep_from(f, 10, -1);
	for (int blocked = 0; blocked < 2; blocked++)
		EMIT(f->w, STALL_SPLIT, stall_split, AT(500), 0, .of_tid = IO_TID,
		     .ended_ns = 10 * MS, .for_ns = 400 * MS, .blocked_ns = blocked ? 400 * MS : 0,
		     .stopped_ns = blocked ? 0 : 400 * MS);
	EMIT(f->w, POLL_EXIT, poll_exit, AT(510), IO_TID, .ctx = IO_CTX, .ret = 0);
	sleep_from(f, 511, -1);
	row = only_row(f, 1, &recorded);
	g_assert_cmpint(row->kind, ==, STALL_STOPPED);
	g_assert_cmpstr(row->culprit, ==, "nobody of the program: it was stopped");
	g_assert_cmpint(row->longest_ns, ==, 400 * MS);
	g_assert_cmpint(row->split[STALLS_STOPPED], ==, 400 * MS);
	clear(&recorded);
}

/* Of another thread, of another time, or with times that cannot be. */
static void test_splits_that_do_not_fit(struct fixture *f, gconstpointer data)
{
	struct stalls_recorded recorded;
	const struct stall_row *row;
	const uint64_t good = 200 * MS, huge = UINT64_MAX / 2;
	const struct {
		uint32_t tid;
		uint64_t ended, for_ns, blocked;
	} wrong[] = {
		{ MAIN_TID, 5 * MS, good, good }, { IO_TID, 300 * MS, good, good },
		{ IO_TID, 5 * MS, 2 * good, 0 },  { IO_TID, huge, good, good },
		{ IO_TID, 5 * MS, huge, good },	  { IO_TID, 5 * MS, good, good + 1 },
		{ IO_TID, 5 * MS, good, -1ULL },  { IO_TID, -1ULL, good, good },
	};

	(void)data;
	for (uint64_t i = 0; i < 3; i++) {
		uint64_t ms = 10 + i * 250;

		sleep_from(f, ms, -1);
		EMIT(f->w, POLL_EXIT, poll_exit, AT(ms + 50), IO_TID, .ctx = IO_CTX, .ret = 0);
		EMIT(f->w, BH_BEGIN, bh_begin, AT(ms + 50), IO_TID, .ctx = IO_CTX, .bh = BH,
		     .cb = BH_CB);
		EMIT(f->w, BH_END, bh_end, AT(ms + 250), IO_TID, .ctx = IO_CTX, .bh = BH,
		     .cb = BH_CB);
	}
	sleep_from(f, 760, -1);
	for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++)
		EMIT(f->w, STALL_SPLIT, stall_split, AT(765), 0, .of_tid = wrong[i].tid,
		     .ended_ns = (int64_t)wrong[i].ended, .for_ns = (int64_t)wrong[i].for_ns,
		     .blocked_ns = (int64_t)wrong[i].blocked);
	row = only_row(f, 3, &recorded);
	g_assert_cmpuint(recorded.unsplit, ==, 3);
	g_assert_false(row->split_known);
	clear(&recorded);
}

#define ADD(name, test)                                                                            \
	g_test_add("/doctor-trace/" name, struct fixture, NULL, set_up, test, tear_down)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD("lost/not-woken", test_not_woken);
	ADD("lost/woken-and-late", test_woken_and_late);
	ADD("lost/woken-and-never-ran", test_woken_and_never_ran);
	ADD("lost/published-late", test_published_late);
	ADD("lost/stolen", test_stolen);
	ADD("lost/own-timeout", test_own_timeout);
	ADD("lost/no-timeout", test_no_timeout);
	ADD("lost/fd-found-ready", test_fd_found_ready);
	ADD("long/slept-in-a-call", test_slept_in_a_call);
	ADD("long/had-no-cpu", test_had_no_cpu);
	ADD("stalls/row", test_row_of_stalls);
	ADD("stalls/stopped-in-a-wait", test_stopped_in_a_wait);
	ADD("stalls/splits-that-do-not-fit", test_splits_that_do_not_fit);
	return g_test_run();
}
