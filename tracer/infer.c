// SPDX-License-Identifier: MIT
/* The order of the inference, and what its steps share. See infer.h. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "tracer/infer-private.h"

int infer_read_element(struct infer *in, uint64_t addr, uint8_t *bytes)
{
	size_t page = 4096 - addr % 4096;

	if (!target_read(in->t, addr, bytes, NODE_MAX))
		return 0;
	if (page >= NODE_MAX)
		return -EFAULT;
	memset(bytes, 0, NODE_MAX);
	return target_read(in->t, addr, bytes, page);
}

/* Read as much of a context as is mapped; the rest is zero. */
static int read_context(struct infer *in, uint64_t addr, struct context_copy *c)
{
	size_t want = in->l->size[TYPE_CTX] ? in->l->size[TYPE_CTX] : sizeof(GSource);

	memset(c, 0, sizeof(*c));
	c->addr = addr;
	return target_read(in->t, addr, c->bytes, want);
}

int infer_add_context(struct infer *in, uint64_t addr)
{
	struct context_copy c;
	uint64_t funcs, fn[4];

	for (size_t i = 0; i < in->contexts->len; i++)
		if (context_at(in, i)->addr == addr)
			return 0;
	if (addr % 8 || read_context(in, addr, &c))
		return fail(in->why, -EBADMSG, "%s: there is no context at 0x%" PRIx64,
			    in->program->name, addr);
	funcs = word_at(c.bytes, offsetof(GSource, source_funcs));
	if (!image_holds(in->program, funcs) || target_read(in->t, funcs, fn, sizeof(fn)) ||
	    (in->contexts->len &&
	     funcs != word_at(context_at(in, 0)->bytes, offsetof(GSource, source_funcs))))
		return fail(in->why, -EBADMSG,
			    "%s: the GSource at 0x%" PRIx64 " is not that of an AioContext",
			    in->program->name, addr);
	for (int i = 0; i < 4; i++)
		if (!image_is_function(in->program, fn[i]))
			return fail(in->why, -EBADMSG,
				    "%s: source_funcs of context 0x%" PRIx64 " are not functions",
				    in->program->name, addr);
	g_array_append_val(in->contexts, c);
	return 0;
}

/* The contexts were added before the size was known, or are older than the lists just read. */
int infer_reread_contexts(struct infer *in)
{
	for (size_t i = 0; i < in->contexts->len; i++) {
		struct context_copy *c = &g_array_index(in->contexts, struct context_copy, i);

		if (read_context(in, c->addr, c))
			return fail(in->why, -EBADMSG, "%s: context 0x%" PRIx64 " is gone",
				    in->program->name, c->addr);
	}
	return 0;
}

/* Every gap has its reason. */
static void explain_gaps(struct layout *l)
{
	static const struct {
		const char *type, *reason;
	} reasons[] = {
		{ "AioContext", "no invariant holds for it in every context" },
		{ "AioHandler", "no list of the handlers shows it in every context" },
		{ "QEMUTimer", "no timer was armed to prove it on" },
		{ "QEMUTimerList", "no timer was armed to prove it on" },
		{ "BHListSlice", "it lies on a stack, and only while bottom halves run" },
		{ "IOThread", "nothing exported shows it; names come from the object tree" },
		{ "GMainContext", "no context of GLib's was found to prove it on" },
		{ "GSourceList", "no context of GLib's was found to prove it on" },
		{ "GSourcePrivate", "GLib's code does not show it" },
	};

	static const enum layout_field old[] = { CTX_FIRST_BH,	   NODE_DELETED, BH_OLD_NEXT,
						 BH_OLD_SCHEDULED, BH_OLD_IDLE,	 BH_OLD_DELETED };

	for (size_t i = 0; i < G_N_ELEMENTS(old); i++)
		layout_set(l, old[i], LAYOUT_UNKNOWN, "only QEMU before 5.0 has it");
	for (int f = 0; f < N_LAYOUT_FIELDS; f++)
		for (size_t i = 0; i < G_N_ELEMENTS(reasons); i++)
			if (l->off[f] < 0 && !l->proof[f] &&
			    !strcmp(layout_field_type(f), reasons[i].type))
				layout_set(l, f, LAYOUT_UNKNOWN, "%s", reasons[i].reason);
}

static int try_once(struct infer *in)
{
	int err = infer_from_code(in);

	if (!err)
		err = infer_reread_contexts(in);
	if (!err)
		err = infer_timers(in);
	if (!err)
		err = infer_reread_contexts(in);
	if (!err)
		err = infer_handlers(in);
	if (!err)
		err = infer_bottom_halves(in);
	if (err)
		return err;
	infer_bh_lists(in);
	infer_fdmon(in);
	infer_glib(in->t, in->images, in->l,
		   word_at(context_at(in, 0)->bytes, offsetof(GSource, context)));
	explain_gaps(in->l);
	return 0;
}

int infer_layout(struct target *t, struct images *images, struct fds *fds, struct layout **ret,
		 struct failure *why)
{
	struct infer in = { .t = t, .images = images, .fds = fds, .why = why };
	int err, attempt = 0;

	in.program = images_program(images);
	do {
		in.l = layout_new(LAYOUT_INFERRED, in.program);
		in.contexts = g_array_new(FALSE, FALSE, sizeof(struct context_copy));
		err = try_once(&in);
		g_array_free(in.contexts, TRUE);
		if (err)
			layout_free(in.l);
	} while (err == -EBADMSG && target_read_again(t, attempt++));
	if (!err)
		*ret = in.l;
	return err;
}
