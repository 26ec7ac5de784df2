/* SPDX-License-Identifier: MIT */
/*
 * The intrusive lists of the loop, with the macro and field names of qemu/queue.h, so that a
 * debugger script walks ours and QEMU's alike:
 *
 *   QLIST     doubly linked, O(1) removal of any element     lh_first, le_next, le_prev
 *   QSLIST    singly linked, a stack                         slh_first, sle_next
 *   QSIMPLEQ  singly linked with a tail pointer, a queue     sqh_first, sqh_last, sqe_next
 *   QTAILQ    doubly linked with a tail pointer              tqh_first, tqh_last, tqe_next
 *
 * le_prev is the address of the pointer that points at the element: the previous element's le_next
 * or the head's lh_first.  NULL there means "on no list", which SAFE_REMOVE and IS_INSERTED use.
 *
 * The _RCU forms let one thread, who holds the list's lock, insert while others walk without it.
 * Freeing an element needs the walkers to be gone: see lockcnt.h.
 */
#ifndef DEMO_QUEUE_H
#define DEMO_QUEUE_H

#include "atomic.h"

/* --- QLIST -------------------------------------------------------------------------------- */

#define QLIST_HEAD(name, type)                                                                     \
	struct name {                                                                              \
		struct type *lh_first;                                                             \
	}
#define QLIST_ENTRY(type)                                                                          \
	struct {                                                                                   \
		struct type *le_next;                                                              \
		struct type **le_prev;                                                             \
	}
#define QLIST_HEAD_INITIALIZER(head)                                                               \
	{                                                                                          \
		NULL                                                                               \
	}

#define QLIST_INIT(head)       ((head)->lh_first = NULL)
#define QLIST_FIRST(head)      ((head)->lh_first)
#define QLIST_NEXT(elm, field) ((elm)->field.le_next)
#define QLIST_EMPTY(head)      (QLIST_FIRST(head) == NULL)
#define QLIST_FIRST_RCU(head)  qatomic_rcu_read(&(head)->lh_first)
#define QLIST_NEXT_RCU(elm, f) qatomic_rcu_read(&(elm)->f.le_next)
#define QLIST_EMPTY_RCU(head)  (QLIST_FIRST_RCU(head) == NULL)

/* Read without the lock by those who ask whether a handler was removed: hence atomic. */
#define QLIST_IS_INSERTED(elm, field) (qatomic_read(&(elm)->field.le_prev) != NULL)

#define QLIST_INSERT_HEAD(head, elm, field)                                                        \
	do {                                                                                       \
		(elm)->field.le_next = (head)->lh_first;                                           \
		if ((elm)->field.le_next)                                                          \
			(elm)->field.le_next->field.le_prev = &(elm)->field.le_next;               \
		(head)->lh_first = (elm);                                                          \
		(elm)->field.le_prev = &(head)->lh_first;                                          \
	} while (0)

/* The element is complete before the head shows it. */
#define QLIST_INSERT_HEAD_RCU(head, elm, field)                                                    \
	do {                                                                                       \
		__typeof__(elm) second_ = (head)->lh_first;                                        \
		qatomic_set(&(elm)->field.le_prev, &(head)->lh_first);                             \
		qatomic_set(&(elm)->field.le_next, second_);                                       \
		qatomic_rcu_set(&(head)->lh_first, (elm));                                         \
		if (second_)                                                                       \
			qatomic_set(&second_->field.le_prev, &(elm)->field.le_next);               \
	} while (0)

#define QLIST_REMOVE(elm, field)                                                                   \
	do {                                                                                       \
		if ((elm)->field.le_next)                                                          \
			qatomic_set(&(elm)->field.le_next->field.le_prev, (elm)->field.le_prev);   \
		qatomic_set((elm)->field.le_prev, (elm)->field.le_next);                           \
		(elm)->field.le_next = NULL;                                                       \
		qatomic_set(&(elm)->field.le_prev, NULL);                                          \
	} while (0)

#define QLIST_SAFE_REMOVE(elm, field)                                                              \
	do {                                                                                       \
		if (QLIST_IS_INSERTED(elm, field))                                                 \
			QLIST_REMOVE(elm, field);                                                  \
	} while (0)

#define QLIST_FOREACH(var, head, field)                                                            \
	for ((var) = QLIST_FIRST(head); (var); (var) = QLIST_NEXT(var, field))
#define QLIST_FOREACH_SAFE(var, head, field, next)                                                 \
	for ((var) = QLIST_FIRST(head); (var) && ((next) = QLIST_NEXT(var, field), 1);             \
	     (var) = (next))
#define QLIST_FOREACH_RCU(var, head, field)                                                        \
	for ((var) = QLIST_FIRST_RCU(head); (var); (var) = QLIST_NEXT_RCU(var, field))
#define QLIST_FOREACH_SAFE_RCU(var, head, field, next)                                             \
	for ((var) = QLIST_FIRST_RCU(head); (var) && ((next) = QLIST_NEXT_RCU(var, field), 1);     \
	     (var) = (next))

/* --- QSLIST ------------------------------------------------------------------------------- */

#define QSLIST_HEAD(name, type)                                                                    \
	struct name {                                                                              \
		struct type *slh_first;                                                            \
	}
#define QSLIST_ENTRY(type)                                                                         \
	struct {                                                                                   \
		struct type *sle_next;                                                             \
	}
#define QSLIST_HEAD_INITIALIZER(head)                                                              \
	{                                                                                          \
		NULL                                                                               \
	}

#define QSLIST_INIT(head)	((head)->slh_first = NULL)
#define QSLIST_FIRST(head)	((head)->slh_first)
#define QSLIST_EMPTY(head)	(QSLIST_FIRST(head) == NULL)
#define QSLIST_NEXT(elm, field) ((elm)->field.sle_next)
#define QSLIST_FIRST_RCU(head)	qatomic_rcu_read(&(head)->slh_first)
#define QSLIST_NEXT_RCU(elm, f) qatomic_rcu_read(&(elm)->f.sle_next)

#define QSLIST_INSERT_HEAD(head, elm, field)                                                       \
	do {                                                                                       \
		(elm)->field.sle_next = (head)->slh_first;                                         \
		(head)->slh_first = (elm);                                                         \
	} while (0)

#define QSLIST_REMOVE_HEAD(head, field)                                                            \
	do {                                                                                       \
		__typeof__((head)->slh_first) first_ = (head)->slh_first;                          \
		(head)->slh_first = first_->field.sle_next;                                        \
		first_->field.sle_next = NULL;                                                     \
	} while (0)

/* Any thread may push; only one, the list's consumer, may take the whole list away. */
#define QSLIST_INSERT_HEAD_ATOMIC(head, elm, field)                                                \
	do {                                                                                       \
		__typeof__(elm) seen_, top_ = qatomic_read(&(head)->slh_first);                    \
		do {                                                                               \
			seen_ = top_;                                                              \
			qatomic_set(&(elm)->field.sle_next, seen_);                                \
			top_ = qatomic_cmpxchg(&(head)->slh_first, seen_, (elm));                  \
		} while (top_ != seen_);                                                           \
	} while (0)
#define QSLIST_MOVE_ATOMIC(dest, src) ((dest)->slh_first = qatomic_xchg(&(src)->slh_first, NULL))

#define QSLIST_FOREACH(var, head, field)                                                           \
	for ((var) = QSLIST_FIRST(head); (var); (var) = QSLIST_NEXT(var, field))

/* --- QSIMPLEQ ----------------------------------------------------------------------------- */

#define QSIMPLEQ_HEAD(name, type)                                                                  \
	struct name {                                                                              \
		struct type *sqh_first;                                                            \
		struct type **sqh_last;                                                            \
	}
#define QSIMPLEQ_ENTRY(type)                                                                       \
	struct {                                                                                   \
		struct type *sqe_next;                                                             \
	}

#define QSIMPLEQ_INIT(head)                                                                        \
	do {                                                                                       \
		(head)->sqh_first = NULL;                                                          \
		(head)->sqh_last = &(head)->sqh_first;                                             \
	} while (0)
#define QSIMPLEQ_FIRST(head)	  ((head)->sqh_first)
#define QSIMPLEQ_NEXT(elm, field) ((elm)->field.sqe_next)
#define QSIMPLEQ_EMPTY(head)	  (QSIMPLEQ_FIRST(head) == NULL)

#define QSIMPLEQ_INSERT_TAIL(head, elm, field)                                                     \
	do {                                                                                       \
		(elm)->field.sqe_next = NULL;                                                      \
		*(head)->sqh_last = (elm);                                                         \
		(head)->sqh_last = &(elm)->field.sqe_next;                                         \
	} while (0)

#define QSIMPLEQ_REMOVE_HEAD(head, field)                                                          \
	do {                                                                                       \
		__typeof__((head)->sqh_first) first_ = (head)->sqh_first;                          \
		(head)->sqh_first = first_->field.sqe_next;                                        \
		if (!(head)->sqh_first)                                                            \
			(head)->sqh_last = &(head)->sqh_first;                                     \
		first_->field.sqe_next = NULL;                                                     \
	} while (0)

/* All of @other before all of @head. */
#define QSIMPLEQ_PREPEND(head, other)                                                              \
	do {                                                                                       \
		if (!QSIMPLEQ_EMPTY(other)) {                                                      \
			*(other)->sqh_last = (head)->sqh_first;                                    \
			if (QSIMPLEQ_EMPTY(head))                                                  \
				(head)->sqh_last = (other)->sqh_last;                              \
			(head)->sqh_first = (other)->sqh_first;                                    \
			QSIMPLEQ_INIT(other);                                                      \
		}                                                                                  \
	} while (0)

#define QSIMPLEQ_FOREACH(var, head, field)                                                         \
	for ((var) = QSIMPLEQ_FIRST(head); (var); (var) = QSIMPLEQ_NEXT(var, field))

/* --- QTAILQ ------------------------------------------------------------------------------- */

/* A queue that any element can leave.  Each element knows the pointer that points at it. */
#define QTAILQ_HEAD(name, type)                                                                    \
	struct name {                                                                              \
		struct type *tqh_first;                                                            \
		struct type **tqh_last;                                                            \
	}
#define QTAILQ_ENTRY(type)                                                                         \
	struct {                                                                                   \
		struct type *tqe_next;                                                             \
		struct type **tqe_prev;                                                            \
	}

#define QTAILQ_INIT(head)                                                                          \
	do {                                                                                       \
		(head)->tqh_first = NULL;                                                          \
		(head)->tqh_last = &(head)->tqh_first;                                             \
	} while (0)
#define QTAILQ_FIRST(head) ((head)->tqh_first)
#define QTAILQ_EMPTY(head) (QTAILQ_FIRST(head) == NULL)

#define QTAILQ_INSERT_TAIL(head, elm, field)                                                       \
	do {                                                                                       \
		(elm)->field.tqe_next = NULL;                                                      \
		(elm)->field.tqe_prev = (head)->tqh_last;                                          \
		*(head)->tqh_last = (elm);                                                         \
		(head)->tqh_last = &(elm)->field.tqe_next;                                         \
	} while (0)

#define QTAILQ_REMOVE(head, elm, field)                                                            \
	do {                                                                                       \
		if ((elm)->field.tqe_next)                                                         \
			(elm)->field.tqe_next->field.tqe_prev = (elm)->field.tqe_prev;             \
		else                                                                               \
			(head)->tqh_last = (elm)->field.tqe_prev;                                  \
		*(elm)->field.tqe_prev = (elm)->field.tqe_next;                                    \
		(elm)->field.tqe_prev = NULL;                                                      \
	} while (0)

#endif
