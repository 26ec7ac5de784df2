/* SPDX-License-Identifier: MIT */
/*
 * All the ELF files a target runs, opened when first needed, and the names of addresses.
 */
#ifndef TRACER_IMAGES_H
#define TRACER_IMAGES_H

#include "tracer/image.h"

struct images;

/* The program is opened at once (its failure is the caller's), libraries when an address asks. */
int images_open(struct target *t, struct images **ret, struct failure *why);
void images_close(struct images *set);

struct image *images_program(struct images *set);
/* The image that holds a run address, or NULL. */
struct image *images_at(struct images *set, uint64_t addr);
/* The library whose file name starts with @prefix, or NULL if the target has none. */
struct image *images_library(struct images *set, const char *prefix);

/* The image number @i of those that are open, the program first; NULL behind the last. */
struct image *images_nth(const struct images *set, size_t i);
/*
 * Open all that import one of the functions @names (NULL-terminated); when it is called again, for
 * the same names, only new ones are looked at.
 */
void images_open_importers(struct images *set, const char *const *names);

/* True if a function of any image starts at the run address. */
bool images_is_function(struct images *set, uint64_t addr);

/*
 * The name of a run address: "symbol", "symbol+0x1f", "program+0x9c3b60" with the link address
 * where no symbol covers it, or "0x..." outside all images. To be freed.
 */
char *images_name(struct images *set, uint64_t addr);

/* The exported or imported functions that the function at @addr calls: "read, memset", or NULL. */
char *images_calls(struct images *set, uint64_t addr);

/* What was wrong with a debug file that was found for one of them, and not used; or NULL. */
const char *images_refused(const struct images *set);

#endif
