/* SPDX-License-Identifier: MIT */
/* What the parts of the doctor of cores share. */
#ifndef TRACER_DOCTOR_CORE_H
#define TRACER_DOCTOR_CORE_H

#include "tracer/doctor.h"

#define ONE_LOOK "one look: since when is not known"

/* DEAD FD and HANDLER LEAK. @stacks: struct stack *, in the order of d->patients. */
void core_check_lists(struct doctor *d, const GPtrArray *stacks);

#endif
