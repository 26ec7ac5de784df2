/* SPDX-License-Identifier: MIT */
/* The ring between a thread and the writer: order, room, what a signal handler puts in between. */
#include "loop-test.h"
#include <sys/time.h>
#include "record-ring.h"

typedef struct loop_poll_exit Numbered; /* 32 bytes, with a place for a number */

static void put_number(RecordRing *ring, uint64_t number)
{
	Numbered event = { .h = { .id = LOOP_EV_POLL_EXIT, .size = sizeof(event) }, .ctx = number };

	record_ring_put(ring, &event.h);
}

/* The oldest one's number, which is dropped then. */
static uint64_t take_number(RecordRing *ring)
{
	struct loop_event *event = record_ring_peek(ring);
	uint64_t number;

	g_assert_nonnull(event);
	g_assert_cmpuint(event->id, ==, LOOP_EV_POLL_EXIT);
	number = ((Numbered *)event)->ctx;
	record_ring_drop(ring, event);
	return number;
}

static RecordRing *new_ring(size_t size)
{
	RecordRing *ring = g_aligned_alloc0(1, sizeof(*ring), __alignof__(*ring));

	g_assert_cmpint(record_ring_init(ring, size), ==, 0);
	return ring;
}

static void free_ring(RecordRing *ring)
{
	record_ring_destroy(ring);
	g_aligned_free(ring);
}

static void test_size(void)
{
	RecordRing *ring = new_ring(1);

	g_assert_cmpuint(ring->size, ==, getpagesize());
	free_ring(ring);
	ring = new_ring(100000);
	g_assert_cmpuint(ring->size, ==, 131072);
	free_ring(ring);
}

static void test_order(void)
{
	RecordRing *ring = new_ring(1);

	g_assert_null(record_ring_peek(ring));
	for (int i = 0; i < 10; i++)
		put_number(ring, i);
	for (int i = 0; i < 10; i++)
		g_assert_cmpuint(take_number(ring), ==, i);
	g_assert_null(record_ring_peek(ring));
	free_ring(ring);
}

/* What does not fit is counted; what was there before stays, and there is room again afterwards. */
static void test_full(void)
{
	RecordRing *ring = new_ring(1);
	unsigned room = ring->size / sizeof(Numbered);

	for (unsigned lap = 1; lap <= 3; lap++) {
		for (unsigned i = 0; i < room + 5; i++)
			put_number(ring, i);
		g_assert_cmpuint(ring->lost, ==, 5 * lap);
		for (unsigned i = 0; i < room; i++)
			g_assert_cmpuint(take_number(ring), ==, i);
		g_assert_null(record_ring_peek(ring));
	}
	free_ring(ring);
}

/* An event that begins before the ring's end and ends after it. */
static void test_across_the_end(void)
{
	RecordRing *ring = new_ring(1);
	struct loop_iteration_begin small = {
		.h = { .id = LOOP_EV_ITERATION_BEGIN, .size = 24 },
		.ctx = 1,
	};

	record_ring_put(ring, &small.h);
	record_ring_drop(ring, record_ring_peek(ring));
	for (uint64_t i = 0; i < 1000; i++) {
		put_number(ring, i);
		g_assert_cmpuint(take_number(ring), ==, i);
	}
	g_assert_cmpuint(ring->lost, ==, 0);
	free_ring(ring);
}

#define STRESS 3000000

static void *put_many(void *opaque)
{
	RecordRing *ring = opaque;

	for (uint64_t i = 0; i < STRESS; i++)
		put_number(ring, i);
	return NULL;
}

/* Another thread empties it meanwhile: in order, each once or lost, with times that never go back.
 */
static void test_two_threads(void)
{
	RecordRing *ring = new_ring(1 << 16);
	uint64_t taken = 0, next = 0, last_ns = 0;
	struct loop_event *event;
	bool ended = false;
	QemuThread thread;

	qemu_thread_create(&thread, "put", put_many, ring, QEMU_THREAD_JOINABLE);
	while (taken + qatomic_read(&ring->lost) < STRESS) {
		event = record_ring_peek(ring);
		if (!event)
			continue;
		g_assert_cmpuint(event->time_ns, >=, last_ns);
		last_ns = event->time_ns;
		g_assert_cmpuint(((Numbered *)event)->ctx, >=, next);
		next = ((Numbered *)event)->ctx + 1;
		record_ring_drop(ring, event);
		taken++;
	}
	ended = record_ring_peek(ring) == NULL;
	g_assert_true(ended);
	g_assert_cmpuint(taken, >, 0);
	qemu_thread_join(&thread);
	g_assert_cmpuint(taken + ring->lost, ==, STRESS);
	free_ring(ring);
}

static RecordRing *interrupted_ring;
static uint64_t by_handler;

static void put_from_handler(int signal G_GNUC_UNUSED)
{
	put_number(interrupted_ring, 1000000000 + by_handler++);
}

/* Wherever the signal comes, both sides' events are there, in their order and in that of time. */
static void test_signal_handler(void)
{
	struct itimerval often = { { 0, 20 }, { 0, 20 } }, off = { { 0, 0 }, { 0, 0 } };
	struct sigaction action = { .sa_handler = put_from_handler };
	uint64_t own = 0, handlers = 0, last_ns = 0;
	struct loop_event *event;

	interrupted_ring = new_ring(1 << 16);
	by_handler = 0;
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	for (uint64_t i = 0; qatomic_read(&by_handler) < 2000; i++) {
		put_number(interrupted_ring, i);
		while ((event = record_ring_peek(interrupted_ring))) {
			uint64_t number = ((Numbered *)event)->ctx;

			g_assert_cmpuint(event->time_ns, >=, last_ns);
			last_ns = event->time_ns;
			if (number >= 1000000000)
				g_assert_cmpuint(number - 1000000000, ==, handlers++);
			else
				g_assert_cmpuint(number, ==, own++);
			record_ring_drop(interrupted_ring, event);
		}
		g_assert_cmpuint(own, ==, i + 1);
	}
	setitimer(ITIMER_REAL, &off, NULL);
	while (record_ring_peek(interrupted_ring))
		g_assert_cmpuint(take_number(interrupted_ring), ==, 1000000000 + handlers++);
	g_assert_cmpuint(handlers, ==, by_handler);
	g_assert_cmpuint(interrupted_ring->lost, ==, 0);
	signal(SIGALRM, SIG_DFL);
	free_ring(interrupted_ring);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/record-ring/size", test_size);
	g_test_add_func("/record-ring/order", test_order);
	g_test_add_func("/record-ring/full", test_full);
	g_test_add_func("/record-ring/across-the-end", test_across_the_end);
	g_test_add_func("/record-ring/two-threads", test_two_threads);
	g_test_add_func("/record-ring/signal-handler", test_signal_handler);
	return g_test_run();
}
