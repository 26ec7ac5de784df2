/* SPDX-License-Identifier: MIT */
/* The image of the running test program, which sample-functions.S is part of, and addresses in it.
 */
#ifndef TEST_SAMPLES_H
#define TEST_SAMPLES_H

#include "tracer/image.h"

/* Opened once; a test that cannot have it fails. */
struct target *samples_target(void);
struct image *samples_image(void);

/* The link address of a label of sample-functions.S. */
#define LINK(label)                                                                                \
	({                                                                                         \
		extern const char label[];                                                         \
		samples_link(label);                                                               \
	})

uint64_t samples_link(const void *run);

#endif
