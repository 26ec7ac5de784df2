/* SPDX-License-Identifier: MIT */
/*
 * HANDLER LEAK, of whatever kind: a group of things that becomes more and more.
 *
 * Clients that come do that too. So all of this has to hold in readings spread over the visit: more
 * at each but one, none of them gone, and no poll ever found a descriptor of the new ones ready. A
 * reading counts only if the group's loop has turned since the one before: one that gets no CPU, on
 * a busy machine, registers nothing.
 */
#ifndef TRACER_DOCTOR_GROWTH_H
#define TRACER_DOCTOR_GROWTH_H

#include "tracer/doctor.h"

/* The readings of a visit. */
struct growth_readings {
	int64_t next_ns;
	int n;
};

struct growth {
	int n;		 /* readings that count */
	int first, last; /* how many there were */
	int more;	 /* readings with more than the one before */
	bool shrank;	 /* one that was there is gone */
	uint64_t turns;	 /* of its loop, at the last that counts */
};

/* Is it time for one more? */
bool growth_is_due(const struct growth_readings *readings);
/* It was tried now, in a visit of @visit_ns. */
void growth_tried(struct growth_readings *readings, int64_t visit_ns);

/* So many are there in this reading; @readings counts those before, @turns what its loop turned. */
void growth_count(struct growth *g, const struct growth_readings *readings, int n, uint64_t turns);

bool growth_lasts(const struct growth *g);
/* It grew as far as that was seen, which was too seldom: a longer visit will tell. */
bool growth_is_open(const struct growth *g);

/* What the loop of thread @tid has turned; 0 if that is not known. */
uint64_t growth_turns(const struct doctor *d, pid_t tid);

/* Did a poll find one of these descriptors (the keys) ready? */
bool growth_some_was_ready(const struct doctor *d, GHashTable *fds);

/* How much, and at how many readings. */
void growth_say(const struct doctor *d, const struct growth *g, struct finding *f);

#endif
