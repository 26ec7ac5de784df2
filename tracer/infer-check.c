// SPDX-License-Identifier: MIT
/* Is a layout that was not inferred from the target true of it? See infer.h. */
#include <errno.h>
#include <inttypes.h>

#include "tracer/infer.h"

#define MAX_NODES 65536

static bool read_field(struct target *t, const struct layout *l, uint64_t base, enum layout_field f,
		       uint64_t *ret)
{
	uint64_t value = 0;

	if (l->off[f] < 0 || target_read(t, base + l->off[f], &value, layout_field_size(f)))
		return false;
	*ret = value;
	return true;
}

static int check_context(struct target *t, const struct image *program, const struct layout *l,
			 enum layout_global g, struct failure *why)
{
	uint64_t ctx, at, prev, fd, own, back;
	bool found = false;

	if (!l->global[g] || target_read_u64(t, l->global[g] + program->bias, &ctx))
		return fail(why, -EBADMSG, "%s: %s is not where its layout says", program->name,
			    layout_global_name(g));
	if (!ctx)
		return fail(why, -ENOENT, "%s has no main loop: %s is not set up", program->name,
			    layout_global_name(g));
	if (!read_field(t, l, ctx, CTX_HANDLERS, &at) ||
	    !read_field(t, l, ctx, CTX_NOTIFIER_RFD, &own))
		return fail(why, -EBADMSG, "%s: %s is no AioContext of this layout", program->name,
			    layout_global_name(g));
	back = ctx + l->off[CTX_HANDLERS];
	for (int n = 0; at && n < MAX_NODES; n++) {
		if (!read_field(t, l, at, NODE_PREV, &prev) || prev != back ||
		    !read_field(t, l, at, NODE_FD, &fd))
			return fail(why, -EBADMSG,
				    "%s: handler 0x%" PRIx64
				    " of %s does not point back: the layout is not of this program",
				    program->name, at, layout_global_name(g));
		found |= fd == own;
		back = at + l->off[NODE_NEXT];
		if (target_read_u64(t, back, &at))
			break;
	}
	if (!found)
		return fail(why, -EBADMSG,
			    "%s: %s has no handler for its own notifier: the layout is not of this "
			    "program",
			    program->name, layout_global_name(g));
	return 0;
}

int infer_check(struct target *t, struct images *images, const struct layout *l,
		struct failure *why)
{
	const struct image *program = images_program(images);
	int err, attempt = 0;

	do {
		err = check_context(t, program, l, GLOBAL_QEMU_CTX, why);
		if (!err)
			err = check_context(t, program, l, GLOBAL_IOHANDLER_CTX, why);
	} while (err == -EBADMSG && target_read_again(t, attempt++));
	return err;
}
