/* SPDX-License-Identifier: MIT */
/*
 * The layout of a QEMU without debug information, inferred from a process or a core of it.
 *
 * Nothing is known beforehand but what the structures are for: which lists point back at their
 * heads, which words are functions, which descriptor is an eventfd. Each offset is found by such an
 * invariant, held against every context of the target, and reported with it; where an invariant
 * fails, the layout is refused and the message names it. No table of builds, no test of versions.
 */
#ifndef TRACER_INFER_H
#define TRACER_INFER_H

#include "tracer/fds.h"
#include "tracer/images.h"
#include "tracer/layout.h"

/*
 * Infer the layout of the target's program. Errors: -ENOENT (the program is no QEMU, or has no
 * context yet), -EBADMSG (an invariant does not hold). A live target may change under the reader:
 * failures are looked at again a few times before they are believed.
 */
int infer_layout(struct target *t, struct images *images, struct fds *fds, struct layout **ret,
		 struct failure *why);

/*
 * Hold a layout that somebody gave us against the target: the handlers of both main
 * contexts have to point back at their heads, and the notifier's to be among them. -EBADMSG names
 * what does not hold; -ENOENT: the target has no context yet.
 */
int infer_check(struct target *t, struct images *images, const struct layout *l,
		struct failure *why);

/*
 * Add GLib's part (GMainContext, GSourceList, GSourcePrivate) to @l: it never has debug
 * information. @gctx is the address of a GMainContext that polls. What cannot be proven stays
 * unknown.
 */
void infer_glib(struct target *t, struct images *images, struct layout *l, uint64_t gctx);

/* The image that GLib's functions are in: its library, or the program itself; or NULL. */
struct image *infer_glib_image(struct images *images);

/*
 * The GMainContexts of any program that uses GLib (infer-reach.c): addresses, the default one
 * first, each proven to be one. Adds GLib's part to @l.
 */
GArray *infer_gcontexts(struct target *t, struct images *images, struct layout *l);

/*
 * Is GLib to be taken for one whose loop calls none of its exported functions, and which keeps no
 * list of its contexts (environment variable LOOPSCOPE_GLIB=opaque)? So a GLib after 2.84 is tried
 * out on an older one.
 */
bool infer_glib_is_opaque(void);

/* Is this the address of the default GMainContext? After infer_gcontexts(). */
bool infer_is_default(struct target *t, const struct layout *l, uint64_t gctx);

/*
 * The layout of a program that is no QEMU but has a GMainContext: GLib's part. -ENOENT if it has
 * none.
 */
int infer_glib_layout(struct target *t, struct images *images, struct layout **ret,
		      struct failure *why);

#endif
