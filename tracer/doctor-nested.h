/* SPDX-License-Identifier: MIT */
/* A nested wait: what could end it. */
#ifndef TRACER_DOCTOR_NESTED_H
#define TRACER_DOCTOR_NESTED_H

#include "tracer/doctor.h"

/*
 * What p->nested polls, who waits for the lock that it keeps, what it does not run. Called while it
 * sleeps; the reading counts only if it did so all the time.
 */
void nested_look_around(struct doctor *d, struct patient *p);

#endif
