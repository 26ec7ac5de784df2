/* SPDX-License-Identifier: MIT */
/* A nested wait: what could end it. */
#ifndef TRACER_DOCTOR_NESTED_H
#define TRACER_DOCTOR_NESTED_H

#include "tracer/doctor.h"

/* Note in p->nested the wait that @stack shows, by what callback, called from where. */
void nested_note(struct doctor *d, struct patient *p, const struct stack *stack,
		 const struct nest *nest);
/* The finding on p->nested, without evidence but for what was noted; "for ", or "now". */
struct finding *nested_finding(struct doctor *d, struct patient *p, const char *span,
			       const char *first);

/*
 * What p->nested polls, who waits for the lock that it keeps, what it does not run. Called while it
 * sleeps; the reading counts only if it did so all the time.
 */
void nested_look_around(struct doctor *d, struct patient *p);

/* doctor-nested-outside.c: work of this thread that the wait in p->nested does not run. */

/* At the first stack that shows the wait: remember what is scheduled there. */
void nested_note_outside(struct doctor *d, struct patient *p);
/* At the second: say it; as the cause, in n->stuck, if @alone, that is: as far as the sleeper's own
 * descriptors and timers, workers and the big lock go, nothing else could end the wait. */
void nested_say_outside(struct doctor *d, struct patient *p, bool alone);

#endif
