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
 * Add GLib's part (GMainContext, GSourceList) to @l: it never has debug information. @gctx is the
 * address of a GMainContext that polls. What cannot be proven stays unknown.
 */
void infer_glib(struct target *t, struct layout *l, uint64_t gctx);

#endif
