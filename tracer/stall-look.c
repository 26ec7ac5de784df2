// SPDX-License-Identifier: MIT
/* See stall-look.h. */
#include "tracer/doctor.h"
#include "tracer/stall-look.h"

#define TAKE_MS 20

struct stall_look {
	struct doctor d;
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
