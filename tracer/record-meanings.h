/* SPDX-License-Identifier: MIT */
/* What entries and returns of functions mean, for the table in record-functions.c. */
#ifndef TRACER_RECORD_MEANINGS_H
#define TRACER_RECORD_MEANINGS_H

#include "tracer/record.h"

/* The tables are looked at this often after a change: the first time it may not be made yet. */
#define LOOKS 2

#define FUNCTION_ENTRY(name)                                                                       \
	void name(struct recorder *r, struct thread_state *t, const struct record_entry *hit,      \
		  struct call *call)
#define FUNCTION_RETURN(name)                                                                      \
	void name(struct recorder *r, struct thread_state *t, const struct call *call,             \
		  const struct ending *end)

/* --- record-waits.c: iterations, waits, dispatch ---------------------------------------------- */

FUNCTION_ENTRY(main_loop_wait_entry);
FUNCTION_RETURN(main_loop_wait_return);
FUNCTION_ENTRY(aio_poll_entry);
FUNCTION_RETURN(aio_poll_return);
FUNCTION_ENTRY(poll_entry);
FUNCTION_ENTRY(ppoll_entry);
FUNCTION_ENTRY(epoll_entry);
FUNCTION_ENTRY(io_uring_entry);
FUNCTION_ENTRY(io_uring_timeout_entry);
FUNCTION_RETURN(wait_return);
FUNCTION_ENTRY(dispatch_entry);
FUNCTION_RETURN(dispatch_return);

/* --- record-objects.c: bottom halves, timers, handlers, notifiers, the big lock, contexts ----- */

FUNCTION_ENTRY(bh_call_entry);
FUNCTION_RETURN(bh_call_return);
FUNCTION_ENTRY(bh_schedule_entry);
FUNCTION_ENTRY(bh_oneshot_entry);
FUNCTION_ENTRY(bh_cancel_entry);
FUNCTION_ENTRY(bh_delete_entry);
FUNCTION_ENTRY(timer_arm_entry);
FUNCTION_ENTRY(timer_anticipate_entry);
FUNCTION_ENTRY(timer_del_entry);
FUNCTION_ENTRY(notify_entry);
FUNCTION_ENTRY(notify_accept_entry);
FUNCTION_ENTRY(set_handler_entry);
FUNCTION_ENTRY(bql_lock_entry);
FUNCTION_RETURN(bql_lock_return);
FUNCTION_ENTRY(bql_unlock_entry);
FUNCTION_ENTRY(cond_wait_entry);
FUNCTION_RETURN(cond_wait_return);
FUNCTION_ENTRY(context_new_entry);
FUNCTION_ENTRY(co_schedule_entry);
FUNCTION_ENTRY(wait_kick_entry);

#endif
