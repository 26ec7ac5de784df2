// SPDX-License-Identifier: MIT
/*
 * What the code of exported functions says: where the two main contexts are kept, how large an
 * AioContext is, which of its bytes aio_notify() touches. Each find is then held against the data.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "tracer/code.h"
#include "tracer/infer-private.h"

static int find_global(struct infer *in, const char *getter, enum layout_global g)
{
	const struct symbol *symbol = image_symbol(in->program, getter);
	struct value place;
	uint64_t link, addr;
	int err;

	if (!symbol)
		return fail(in->why, -ENOENT, "%s is not a QEMU: it exports no %s()",
			    in->program->name, getter);
	place = code_getter(in->program, symbol->link);
	if (place.kind != VALUE_LINK)
		return fail(in->why, -EBADMSG, "%s: %s() does not begin by loading a global",
			    in->program->name, getter);
	link = place.n;
	if (target_read_u64(in->t, link + in->program->bias, &addr))
		return fail(in->why, -EBADMSG, "%s: %s is not in memory", in->program->name,
			    layout_global_name(g));
	if (!addr)
		return fail(in->why, -ENOENT, "%s has no main loop: %s is not set up",
			    in->program->name, layout_global_name(g));
	in->l->global[g] = link;
	layout_note(in->l, "%s lies at link address 0x%" PRIx64 ": %s() loads it",
		    layout_global_name(g), link, getter);
	err = infer_add_context(in, addr);
	return err;
}

/* aio_context_new() hands its GSourceFuncs and the size of an AioContext to g_source_new(). */
struct source_new {
	uint64_t funcs, size;
};

static bool see_source_new(const struct code_step *step, void *arg)
{
	struct source_new *seen = arg;

	if (!step->calls || strcmp(step->calls, "g_source_new"))
		return false;
	if (step->regs[GPR_RDI].kind == VALUE_LINK && step->regs[GPR_RSI].kind == VALUE_CONST) {
		seen->funcs = step->regs[GPR_RDI].n;
		seen->size = step->regs[GPR_RSI].n;
	}
	return true;
}

static int find_size(struct infer *in)
{
	const struct symbol *symbol = image_symbol(in->program, "aio_context_new");
	struct source_new seen = { 0 };
	uint64_t funcs = word_at(context_at(in, 0)->bytes, offsetof(GSource, source_funcs));

	if (symbol)
		code_walk(in->program, symbol->link, see_source_new, &seen);
	if (seen.size <= sizeof(GSource) || seen.size > CTX_MAX)
		return fail(in->why, -EBADMSG,
			    "%s: aio_context_new() does not show the size of an AioContext",
			    in->program->name);
	if (funcs != seen.funcs + in->program->bias)
		return fail(
			in->why, -EBADMSG,
			"%s: qemu_aio_context's source_funcs are not what aio_context_new() sets",
			in->program->name);
	in->l->size[TYPE_CTX] = seen.size;
	in->l->global[GLOBAL_SOURCE_FUNCS] = seen.funcs;
	layout_note(in->l,
		    "AioContext is %" PRIu64
		    " bytes: aio_context_new() passes that to g_source_new()",
		    seen.size);
	return infer_reread_contexts(in);
}

/* aio_notify() sets notified, tests notify_me, and then sets the notifier. */
struct notify {
	int64_t notified, notify_me, notifier;
};

static bool see_notify(const struct code_step *step, void *arg)
{
	struct notify *seen = arg;

	if (step->mem.kind == VALUE_ARG0 && step->mem_write && step->mem_size == 1 &&
	    seen->notified < 0)
		seen->notified = step->mem.n;
	else if (step->mem.kind == VALUE_ARG0 && !step->mem_write && step->mem_size == 4 &&
		 seen->notified >= 0 && seen->notify_me < 0)
		seen->notify_me = step->mem.n;
	if (step->calls && !strcmp(step->calls, "event_notifier_set") &&
	    step->regs[GPR_RDI].kind == VALUE_ARG0)
		seen->notifier = step->regs[GPR_RDI].n;
	return false;
}

/* Hold what aio_notify() showed against one context. */
static int check_notifier(struct infer *in, const struct context_copy *c)
{
	const struct layout *l = in->l;
	uint64_t notified = layout_get(l, CTX_NOTIFIED, c->bytes, CTX_MAX);
	uint64_t notify_me = layout_get(l, CTX_NOTIFY_ME, c->bytes, CTX_MAX);
	int rfd = (int)layout_get(l, CTX_NOTIFIER_RFD, c->bytes, CTX_MAX);
	int wfd = (int)layout_get(l, CTX_NOTIFIER_WFD, c->bytes, CTX_MAX);
	const struct fd_info *info;

	if (notified > 1 || notify_me > 0xffff)
		return fail(in->why, -EBADMSG,
			    "%s: context 0x%" PRIx64 ": notified is %" PRIu64
			    " and notify_me %" PRIu64 ", which no context can have",
			    in->program->name, c->addr, notified, notify_me);
	info = fds_get(in->fds, rfd);
	if (rfd < 0 || wfd < 0 || (in->t->live && !info->open) ||
	    (rfd == wfd && in->t->live && strcmp(info->kind, "eventfd")))
		return fail(in->why, -EBADMSG,
			    "%s: context 0x%" PRIx64 ": its notifier is fd %d, which is no eventfd",
			    in->program->name, c->addr, rfd);
	return 0;
}

static int find_notify(struct infer *in)
{
	const struct symbol *symbol = image_symbol(in->program, "aio_notify");
	struct notify seen = { -1, -1, -1 };
	int err = 0;

	if (symbol)
		code_walk(in->program, symbol->link, see_notify, &seen);
	if (seen.notified < 0 || seen.notify_me < 0 || seen.notifier < 0)
		return fail(in->why, -EBADMSG,
			    "%s: aio_notify() does not show notified, notify_me and the notifier",
			    in->program->name);
	layout_set(in->l, CTX_NOTIFIED, seen.notified, "aio_notify() sets this byte; 0 or 1");
	layout_set(in->l, CTX_NOTIFY_ME, seen.notify_me, "aio_notify() tests it; below 65536");
	layout_set(in->l, CTX_NOTIFIER_RFD, seen.notifier,
		   "aio_notify() passes it to event_notifier_set(); an open eventfd");
	layout_set(in->l, CTX_NOTIFIER_WFD, seen.notifier + 4, "the int after rfd; an open fd");
	for (size_t i = 0; i < in->contexts->len && !err; i++)
		err = check_notifier(in, context_at(in, i));
	return err;
}

/* aio_bh_poll() takes the whole list of bottom halves by an atomic exchange. */
static bool see_exchange(const struct code_step *step, void *arg)
{
	if (step->insn->id != X86_INS_XCHG || step->mem.kind != VALUE_ARG0 || step->mem_size != 8)
		return false;
	*(int64_t *)arg = step->mem.n;
	return true;
}

/* An empty bh_slice_list's last pointer points back at its first; the list head lies before it. */
void infer_bh_lists(struct infer *in)
{
	const struct symbol *symbol = image_symbol(in->program, "aio_bh_poll");
	int64_t list = -1;
	size_t quiet = 0;

	if (symbol)
		code_walk(in->program, symbol->link, see_exchange, &list);
	if (list < 0 || list + 24 > in->l->size[TYPE_CTX]) {
		layout_set(in->l, CTX_BH_LIST, LAYOUT_UNKNOWN, "aio_bh_poll() shows no exchange");
		return;
	}
	layout_set(in->l, CTX_BH_LIST, list, "aio_bh_poll() exchanges it for NULL");
	for (size_t i = 0; i < in->contexts->len; i++) {
		const struct context_copy *c = context_at(in, i);

		quiet += !word_at(c->bytes, list + 8) &&
			 word_at(c->bytes, list + 16) == c->addr + list + 8;
	}
	if (quiet)
		layout_set(in->l, CTX_SLICES, list + 8,
			   "empty in %zu contexts: its end is its head", quiet);
	else
		layout_set(in->l, CTX_SLICES, LAYOUT_UNKNOWN, "every context was running BHs");
}

/* iothread_get_aio_context() returns a field of its argument. */
static void find_iothread(struct infer *in)
{
	const struct symbol *symbol = image_symbol(in->program, "iothread_get_aio_context");
	struct value place = { 0 };

	if (symbol)
		place = code_getter(in->program, symbol->link);
	if (place.kind == VALUE_ARG0 && place.n >= 0)
		layout_set(in->l, IOTHREAD_CTX, (int32_t)place.n,
			   "iothread_get_aio_context() returns it");
}

int infer_from_code(struct infer *in)
{
	int err = find_global(in, "qemu_get_aio_context", GLOBAL_QEMU_CTX);

	if (!err)
		err = find_global(in, "iohandler_get_aio_context", GLOBAL_IOHANDLER_CTX);
	if (!err)
		err = find_size(in);
	if (!err)
		err = find_notify(in);
	if (err)
		return err;
	find_iothread(in);
	return 0;
}
