/* SPDX-License-Identifier: MIT */
/* What the two halves of LOST WAKEUP share: what a sleeper misses, and that it is so twice. */
#ifndef TRACER_DOCTOR_LOST_H
#define TRACER_DOCTOR_LOST_H

#include "tracer/doctor.h"

/* Something that should have woken a sleeper. */
struct missed {
	pid_t tid;
	uint64_t switches; /* names the sleep */
	char *key;	   /* equal in both readings: what, not how much */
	char *culprit, *proof;
	const struct context *context; /* of d->loops; NULL: none */
};

void missed_clear(void *missed);
const char *missed_advice(const struct missed *missed);

/* Add to @list (of struct missed) what @p misses in the sleep that d->loops shows it in. */
void lost_check_sleeper(const struct doctor *d, const struct patient *p, GArray *list);

#endif
