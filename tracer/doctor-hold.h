/* SPDX-License-Identifier: MIT */
/* The big lock: who waits for it. */
#ifndef TRACER_DOCTOR_HOLD_H
#define TRACER_DOCTOR_HOLD_H

#include "tracer/doctor.h"

/* "2 threads wait for the big lock, which it holds: ..."; NULL if none does, or @tid does not hold
 * it. To be freed. */
char *hold_waiters(const struct doctor *d, pid_t tid);
/* "thread 12 "CPU 0/KVM" holds the big lock, in foo", by its stack. To be freed. */
char *hold_culprit(const struct doctor *d, pid_t tid, const struct stack *stack);

#endif
