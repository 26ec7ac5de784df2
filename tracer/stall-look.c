// SPDX-License-Identifier: MIT
/* See stall-look.h. */
#include <string.h>

#include "tracer/stall-look.h"
#include "tracer/stalls.h"

#define TAKE_MS 20

struct stall_look {
	struct doctor d;
	struct stalls *stalls; /* or NULL */
	void (*took)(void *data, const struct stall_time *time);
	void *data;
};

struct stall_look *stall_look_open(struct session *s)
{
	struct stall_look *look = g_new0(struct stall_look, 1);

	if (!doctor_open_tables(&look->d, s->t, s->images, s->l, s->fds, NULL))
		return look;
	stall_look_close(look);
	return NULL;
}

void stall_look_close(struct stall_look *look)
{
	if (!look)
		return;
	stalls_close(look->stalls);
	doctor_close(&look->d);
	g_free(look);
}

bool stall_look_take(struct stall_look *look, pid_t tid, struct stall_looked *ret)
{
	struct doctor *d = &look->d;

	if (doctor_look(d, NULL) || stacks_take(d->stacks, tid, TAKE_MS, &ret->stack, NULL) ||
	    doctor_is_own_wait(d, &ret->stack))
		return false;
	ret->is_loop = doctor_is_loop(d, &ret->stack);
	ret->lock = doctor_mutex_waited_for(d, &ret->stack);
	ret->holder = ret->lock ? doctor_mutex_owner(d, ret->lock) : 0;
	if (ret->holder == tid)
		ret->holder = 0;
	ret->has_held =
		ret->holder && !stacks_take(d->stacks, ret->holder, TAKE_MS, &ret->held, NULL);
	return true;
}

/* --- what time went into -------------------------------------------------------------------- */

static void take(void *data, const struct stall *stall)
{
	const struct stall_look *look = data;
	struct stall_time time = { .tid = stall->tid,
				   .goes_on = stall->goes_on,
				   .since_attach = stall->since_attach,
				   .begin_ns = stall->begin_ns,
				   .ns = stall->ns };

	memcpy(time.split, stall->split, sizeof(time.split));
	memcpy(time.calls, stall->calls, sizeof(time.calls));
	for (int i = 0; i < STALLS_CALLS; i++)
		doctor_call_name((long)time.calls[i].nr, &time.has_fd[i]);
	look->took(look->data, &time);
}

int stall_look_watch(struct stall_look *look, int64_t min_ns,
		     void (*took)(void *data, const struct stall_time *time), void *data,
		     struct failure *why)
{
	look->took = took;
	look->data = data;
	return stalls_open(&look->d, min_ns, 0, false, take, look, &look->stalls, why);
}

void stall_look_step(struct stall_look *look)
{
	if (look->stalls)
		stalls_step(look->stalls);
}

void stall_look_end(struct stall_look *look)
{
	if (look->stalls)
		stalls_end(look->stalls);
}

uint64_t stall_look_lost(const struct stall_look *look)
{
	return look->stalls ? stalls_lost(look->stalls) : 0;
}
