/* SPDX-License-Identifier: MIT */
/*
 * A ring of events between one thread that has them and one that writes them down, without a lock
 * and without a system call.
 *
 *   record_ring_put(ring, event)      the thread it belongs to: stamps the event and copies it
 *   record_ring_peek(ring)            the writer: the oldest event, or NULL
 *   record_ring_drop(ring, event)     the writer: done with that one
 *
 * Positions count bytes and never wrap; modulo the size they are places in the ring.  Its memory is
 * mapped twice in a row, so that an event that begins before the end is contiguous all the same.
 *
 * The thread may be interrupted by a signal handler that has events, too: those are put between, in
 * the order of their times, and whoever was interrupted publishes them with its own.
 */
#ifndef DEMO_RECORD_RING_H
#define DEMO_RECORD_RING_H

#include <linux/types.h>
#include "osdep.h"
#include "atomic.h"
#include "trace/loop_events.h"

typedef struct RecordRing {
	char *bytes;
	uint64_t size; /* a power of two */

	/* Of the thread alone, and of the signal handlers that interrupt it. */
	uint64_t reserved;  /* up to here somebody writes */
	uint64_t tail_seen; /* tail, or an older value of it */
	unsigned depth;	    /* puts under way, one inside of the other */

	/* Each on a cache line of its own: one side writes it, the other one reads. */
	uint64_t head __attribute__((aligned(64))); /* up to here it is written */
	uint64_t lost;				    /* events that did not fit */
	uint64_t tail __attribute__((aligned(64))); /* up to here it is dropped */
} RecordRing;

/* @size is rounded up to a power of two, at least a page.  0 or -errno. */
int record_ring_init(RecordRing *ring, size_t size);
void record_ring_destroy(RecordRing *ring);

static inline uint64_t record_clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ULL + now.tv_nsec;
}

/* The time is read between looking at "reserved" and taking the place: so places are in its order.
 */
static inline bool record_ring_reserve(RecordRing *ring, struct loop_event *event, uint64_t *ret_at)
{
	uint64_t at;

	do {
		at = qatomic_read(&ring->reserved);
		if (G_UNLIKELY(at + event->size - qatomic_read(&ring->tail_seen) > ring->size)) {
			qatomic_set(&ring->tail_seen, qatomic_load_acquire(&ring->tail));
			if (at + event->size - qatomic_read(&ring->tail_seen) > ring->size)
				return false;
		}
		event->time_ns = record_clock_ns();
	} while (qatomic_cmpxchg(&ring->reserved, at, at + event->size) != at);
	*ret_at = at;
	return true;
}

/*
 * Only the outermost publishes, up to what is reserved then: everything before is written.  If a
 * signal came between its look at "reserved" and its leaving, it has to do it once more.
 */
static inline void record_ring_publish(RecordRing *ring)
{
	if (qatomic_read(&ring->depth) > 1) {
		qatomic_set(&ring->depth, ring->depth - 1);
		return;
	}
	do {
		qatomic_set(&ring->depth, 1);
		barrier();
		qatomic_store_release(&ring->head, qatomic_read(&ring->reserved));
		barrier();
		qatomic_set(&ring->depth, 0);
		barrier();
	} while (G_UNLIKELY(qatomic_read(&ring->reserved) != qatomic_read(&ring->head)));
}

/* What does not fit is counted and forgotten. */
static inline void record_ring_put(RecordRing *ring, struct loop_event *event)
{
	uint64_t at;

	qatomic_set(&ring->depth, qatomic_read(&ring->depth) + 1);
	barrier();
	if (G_LIKELY(record_ring_reserve(ring, event, &at))) {
		uint64_t *to = (uint64_t *)(ring->bytes + (at & (ring->size - 1)));
		const uint64_t *from = (const uint64_t *)event;

		/* Few words: a call of memcpy() would cost more. */
		for (unsigned i = 0; i < event->size / sizeof(*to); i++)
			to[i] = from[i];
	} else {
		qatomic_inc(&ring->lost);
	}
	record_ring_publish(ring);
}

/* It stays, and is the writer's to change, until it is dropped. */
static inline struct loop_event *record_ring_peek(const RecordRing *ring)
{
	uint64_t tail = qatomic_read(&ring->tail);

	if (tail == qatomic_load_acquire(&ring->head))
		return NULL;
	return (struct loop_event *)(ring->bytes + (tail & (ring->size - 1)));
}

static inline void record_ring_drop(RecordRing *ring, const struct loop_event *event)
{
	qatomic_store_release(&ring->tail, ring->tail + event->size);
}

#endif
