/* SPDX-License-Identifier: MIT */
/*
 * Where a function is called from, for one that has no place where a probe is cheap.
 *
 * A call and a jump to a known place are emulated, and there all arguments are in place. If all of
 * them are known, and nobody has the function's address to call it by, probes on them see what a
 * probe on the function would see. Proven by: each place in the code that could stand for the
 * function's address, decoded from the start of the function that an FDE says it lies in; the
 * relocations, which would put the address into data; the same of each library that imports it.
 */
#ifndef TRACER_SITE_CALLERS_H
#define TRACER_SITE_CALLERS_H

#include "tracer/images.h"
#include "tracer/site.h"

struct site_callers {
	const struct image *img;     /* that the function is in */
	uint64_t link;		     /* where it starts */
	const char *name;	     /* that it is exported by */
	GArray *sites;		     /* struct site: the result, to be freed; NULL at first */
	size_t looked;		     /* at so many images; the next look is at what came later */
	const struct image *refused; /* where not all callers can be known; or NULL */
};

/* Look for the callers of all @n functions at once, in the images that were not looked at yet. */
void site_find_callers(struct images *images, struct site_callers **wanted, size_t n);

#endif
