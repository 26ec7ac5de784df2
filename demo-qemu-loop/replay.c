/* SPDX-License-Identifier: MIT */
/*
 * The replay lock.  It is fair, first come first served by ticket: a plain mutex would let the
 * thread that unlocks and locks again, main loop or vCPU, keep the other out.
 */
#include "osdep.h"
#include "main-loop.h"
#include "replay.h"

ReplayMode replay_mode = REPLAY_MODE_NONE;

static pthread_mutex_t ticket_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t ticket_served = PTHREAD_COND_INITIALIZER;
static unsigned long next_ticket, now_serving;
static __thread bool replay_locked;

bool replay_mutex_locked(void)
{
	return replay_locked;
}

void replay_mutex_lock(void)
{
	unsigned long ticket;

	if (replay_mode == REPLAY_MODE_NONE)
		return;
	assert(!bql_locked());
	assert(!replay_locked);

	pthread_mutex_lock(&ticket_lock);
	ticket = next_ticket++;
	while (ticket != now_serving)
		pthread_cond_wait(&ticket_served, &ticket_lock);
	pthread_mutex_unlock(&ticket_lock);
	replay_locked = true;
}

void replay_mutex_unlock(void)
{
	if (replay_mode == REPLAY_MODE_NONE)
		return;
	assert(replay_locked);

	replay_locked = false;
	pthread_mutex_lock(&ticket_lock);
	now_serving++;
	pthread_cond_broadcast(&ticket_served);
	pthread_mutex_unlock(&ticket_lock);
}
