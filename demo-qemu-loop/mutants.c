/* SPDX-License-Identifier: MIT */
/* Faults of the loop; the header says which. */
#include "osdep.h"
#include "aio-wait.h"
#include "atomic.h"
#include "mutants.h"

__thread void (*mutant_notify_barrier)(AioContext *ctx);

static __thread uint32_t early_notify_me;
static __thread AioContext *early_ctx; /* whose value that is, or NULL */

void mutant_load_early(AioContext *ctx)
{
	early_notify_me = qatomic_read(&ctx->notify_me);
	early_ctx = ctx;
	mutant_notify_barrier(ctx);
}

/* A notification that nothing was published for has nothing to overtake. */
uint32_t mutant_loaded_early(AioContext *ctx)
{
	if (early_ctx != ctx)
		return qatomic_read(&ctx->notify_me);
	early_ctx = NULL;
	return early_notify_me;
}

__thread void (*mutant_kick_barrier)(void);

static __thread unsigned early_waiters;

void mutant_before_condition(void)
{
	if (!mutant_kick_barrier)
		return;
	early_waiters = qatomic_read(&global_aio_wait.num_waiters);
	mutant_kick_barrier();
}

unsigned mutant_waiters_loaded_early(void)
{
	return early_waiters;
}

__thread bool mutant_bh_not_cancelled;
__thread bool mutant_poll_abroad;
__thread void (*mutant_unlocked_upgrade)(AioContext *ctx);
__thread bool mutant_stays_on_poll_list;
__thread void (*mutant_stop_by_flag)(void);
__thread void (*mutant_notified_unread)(AioContext *ctx);
