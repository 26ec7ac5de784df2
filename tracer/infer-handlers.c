// SPDX-License-Identifier: MIT
/*
 * The handler lists of an AioContext, and the AioHandler.
 *
 * A list head is a word of the context whose element points back at it. Two such lists are found:
 * all handlers, and those that can be busy-polled, which are among them. The words between an
 * element's GPollFD and its list link are its callbacks and, last, their argument.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>

#include "tracer/code.h"
#include "tracer/infer-private.h"

#define MAX_NODES  65536
#define MAX_HEADS  8
#define ALL_EVENTS (POLLIN | POLLPRI | POLLOUT | POLLERR | POLLHUP)

/* A head at @head of the context, whose element holds the way back at @prev. */
struct head {
	int32_t head, prev;
};

static size_t find_heads(struct infer *in, const struct context_copy *c, struct head *heads)
{
	size_t n = 0;

	for (uint32_t o = sizeof(GSource); o + 8 <= in->l->size[TYPE_CTX]; o += 8) {
		uint64_t at = word_at(c->bytes, o);
		uint8_t node[NODE_MAX];

		if (!at || at % 8 || infer_read_element(in, at, node))
			continue;
		for (int32_t m = 16; m + 8 <= NODE_MAX && n < MAX_HEADS; m += 8)
			if (word_at(node, m) == c->addr + o)
				heads[n++] = (struct head){ o, m };
	}
	return n;
}

/* The length of a list, if every element points back at the one before; -1 if one does not. */
static int list_length(struct infer *in, const struct context_copy *c, struct head h)
{
	uint64_t at = word_at(c->bytes, h.head), back = c->addr + h.head;
	int n = 0;

	for (; at && n < MAX_NODES; n++) {
		uint8_t node[NODE_MAX];

		if (infer_read_element(in, at, node) || word_at(node, h.prev) != back)
			return -1;
		back = at + h.prev - 8;
		at = word_at(node, h.prev - 8);
	}
	return n;
}

/*
 * aio_set_fd_handler() goes through all handlers: it compares the fd, the first int of an element,
 * and then whether the element is a deleted one.
 */
struct walked {
	int64_t head;	/* offset in the context of the list it goes through, or -1 */
	int64_t tested; /* offset in an element of a pointer that has to be NULL, or -1 */
};

static bool see_walk(const struct code_step *step, void *arg)
{
	struct walked *seen = arg;
	const cs_x86 *x = &step->insn->detail->x86;

	if (step->insn->id != X86_INS_CMP || step->mem.kind != VALUE_FIELD)
		return false;
	if (step->mem_size == 4 && !step->mem.n && seen->head < 0)
		seen->head = step->mem.field;
	if (step->mem_size == 8 && step->mem.field == seen->head && seen->tested < 0 &&
	    x->op_count == 2 && x->operands[1].type == X86_OP_IMM && !x->operands[1].imm)
		seen->tested = step->mem.n;
	return false;
}

static struct walked look_at_set_fd_handler(struct infer *in)
{
	const struct symbol *symbol = image_symbol(in->program, "aio_set_fd_handler");
	struct walked seen = { -1, -1 };

	if (symbol)
		code_walk(in->program, symbol->link, see_walk, &seen);
	return seen;
}

/* How many elements the lists at @h of all contexts have; -1 and a message if one is not a list. */
static int total_length(struct infer *in, struct head h)
{
	int total = 0;

	for (size_t i = 0; i < in->contexts->len; i++) {
		const struct context_copy *c = context_at(in, i);
		int length = list_length(in, c, h);

		if (length < 0)
			return fail(in->why, -EBADMSG,
				    "%s: context 0x%" PRIx64
				    ": the list at +%d does not point back "
				    "at its head",
				    in->program->name, c->addr, h.head);
		total += length;
	}
	return total;
}

/* The one of @n heads that has more elements than any other, or -1. */
static int longest(struct infer *in, const struct head *heads, size_t n)
{
	int best = -1, most = 0;

	for (size_t h = 0; h < n; h++) {
		int total = total_length(in, heads[h]);

		if (total == most)
			best = -1;
		if (total > most) {
			best = (int)h;
			most = total;
		}
	}
	return best;
}

/*
 * The head of all handlers is the one that aio_set_fd_handler() goes through; where that function
 * does not show it (it may call another), the one of more elements than any other. The next that
 * holds in every context and links elements further in is of the handlers that can be busy-polled.
 */
static int choose_heads(struct infer *in, struct walked seen, struct head *all, struct head *polled)
{
	struct head heads[MAX_HEADS];
	size_t n = find_heads(in, context_at(in, 0), heads);
	int best = -1, total;

	for (size_t h = 0; h < n; h++)
		if (heads[h].head == seen.head)
			best = (int)h;
	if (best < 0 && seen.head >= 0)
		return fail(in->why, -EBADMSG,
			    "%s: qemu_aio_context: the first element of the list at +%d, which "
			    "aio_set_fd_handler() goes through, does not point back at its head",
			    in->program->name, (int)seen.head);
	if (best < 0)
		best = longest(in, heads, n);
	if (best < 0)
		return fail(
			in->why, -EBADMSG,
			"%s: no list of qemu_aio_context whose elements point back at its head is "
			"the longest",
			in->program->name);
	total = total_length(in, heads[best]);
	if (total < 0)
		return total;
	*all = heads[best];
	polled->head = -1;
	for (size_t h = 0; h < n && polled->head < 0; h++)
		if (heads[h].prev > all->prev && total_length(in, heads[h]) >= 0)
			*polled = heads[h];
	layout_set(in->l, CTX_HANDLERS, all->head, "%d elements in %u contexts point back", total,
		   in->contexts->len);
	return 0;
}

/* Removed while somebody walks the list: it polls for nothing any more, its callbacks are still
 * there. */
static bool is_deleted(const struct layout *l, const uint8_t *node)
{
	return l->off[NODE_DELETED_PREV] >= 0 &&
	       layout_get(l, NODE_DELETED_PREV, node, NODE_MAX) != 0;
}

/* Hold one handler against what every handler is. */
static int check_node(struct infer *in, const struct context_copy *c, uint64_t addr,
		      const uint8_t *node)
{
	const struct layout *l = in->l;
	int fd = (int)layout_get(l, NODE_FD, node, NODE_MAX);
	uint64_t events = layout_get(l, NODE_EVENTS, node, NODE_MAX);
	bool reads = layout_get(l, NODE_IO_READ, node, NODE_MAX);
	bool writes = layout_get(l, NODE_IO_WRITE, node, NODE_MAX);

	if (fd < 0)
		return fail(in->why, -EBADMSG, "%s: handler 0x%" PRIx64 " is of fd %d",
			    in->program->name, addr, fd);
	if (!events && is_deleted(l, node))
		reads = writes = false;
	if (events & ~ALL_EVENTS || !!(events & POLLIN) != reads || !!(events & POLLOUT) != writes)
		return fail(in->why, -EBADMSG,
			    "%s: handler 0x%" PRIx64 " of fd %d polls for 0x%" PRIx64
			    ", which does not fit its callbacks",
			    in->program->name, addr, fd, events);
	for (int32_t o = l->off[NODE_IO_READ]; o < l->off[NODE_OPAQUE]; o += 8) {
		uint64_t cb = word_at(node, o);

		if (cb && !images_is_function(in->images, cb))
			return fail(in->why, -EBADMSG,
				    "%s: handler 0x%" PRIx64 " of fd %d: 0x%" PRIx64
				    " at +%d is not where a function starts",
				    in->program->name, addr, fd, cb, o);
	}
	if (fd != (int)layout_get(l, CTX_NOTIFIER_RFD, c->bytes, CTX_MAX))
		return 0;
	/* The context's own notifier: its EventNotifier is the argument, and it can be polled. */
	if (layout_get(l, NODE_OPAQUE, node, NODE_MAX) != c->addr + l->off[CTX_NOTIFIER_RFD] ||
	    !layout_get(l, NODE_IO_POLL, node, NODE_MAX))
		return fail(in->why, -EBADMSG,
			    "%s: the handler of the notifier of context 0x%" PRIx64
			    " does not hold that notifier",
			    in->program->name, c->addr);
	return 1;
}

/* A target may have closed one and kept its handler: that is for the doctor to say. */
static bool is_closed(const struct infer *in, const uint8_t *node)
{
	int fd = (int)layout_get(in->l, NODE_FD, node, NODE_MAX);

	return in->t->live && !is_deleted(in->l, node) && !fds_get(in->fds, fd)->open;
}

static int check_nodes(struct infer *in)
{
	int n = 0, closed = 0;

	for (size_t i = 0; i < in->contexts->len; i++) {
		const struct context_copy *c = context_at(in, i);
		uint64_t at = layout_get(in->l, CTX_HANDLERS, c->bytes, CTX_MAX);
		int notifiers = 0;

		for (int k = 0; at && k < MAX_NODES; k++, n++) {
			uint8_t node[NODE_MAX];
			int found;

			if (infer_read_element(in, at, node))
				return fail(in->why, -EBADMSG,
					    "%s: handler 0x%" PRIx64 " is not in memory",
					    in->program->name, at);
			found = check_node(in, c, at, node);
			if (found < 0)
				return found;
			notifiers += found;
			closed += is_closed(in, node);
			at = word_at(node, in->l->off[NODE_NEXT]);
		}
		if (notifiers != 1)
			return fail(in->why, -EBADMSG,
				    "%s: context 0x%" PRIx64
				    " has %d handlers for its notifier, not 1",
				    in->program->name, c->addr, notifiers);
	}
	if (2 * closed > n)
		return fail(in->why, -EBADMSG,
			    "%s: %d of %d handlers are of descriptors that are not open",
			    in->program->name, closed, n);
	layout_note(
		in->l,
		"%d handlers in %u contexts: open fds, callbacks that are functions, events that fit "
		"them; each context's notifier has its handler",
		n, in->contexts->len);
	return 0;
}

/* node_deleted lies among the links; aio_set_fd_handler() skips elements where it is set. */
static void find_deleted(struct infer *in, int64_t tested, struct head all, struct head polled)
{
	if (polled.head >= 0) {
		layout_set(in->l, CTX_POLL_HANDLERS, polled.head,
			   "a list of some of the handlers that points back");
		layout_set(in->l, NODE_POLL_PREV, polled.prev, "points back at the poll list");
	}
	if (tested > all.prev && (polled.head < 0 || tested < polled.prev))
		layout_set(in->l, NODE_DELETED_PREV, tested,
			   "aio_set_fd_handler() passes over elements where it is set");
	else if (polled.head >= 0 && polled.prev == all.prev + 48)
		layout_set(in->l, NODE_DELETED_PREV, all.prev + 32,
			   "of the two links between node and node_poll the second");
	else
		layout_set(in->l, NODE_DELETED_PREV, LAYOUT_UNKNOWN,
			   "aio_set_fd_handler() does not show it");
}

int infer_handlers(struct infer *in)
{
	static const enum layout_field with_ready[] = { NODE_IO_READ,	    NODE_IO_WRITE,
							NODE_IO_POLL,	    NODE_IO_POLL_READY,
							NODE_IO_POLL_BEGIN, NODE_IO_POLL_END };
	static const enum layout_field without_ready[] = { NODE_IO_READ, NODE_IO_WRITE,
							   NODE_IO_POLL, NODE_IO_POLL_BEGIN,
							   NODE_IO_POLL_END };
	const enum layout_field *callbacks;
	struct head all = { 0 }, polled = { 0 };
	int32_t first = sizeof(GPollFD), n;
	struct walked seen = look_at_set_fd_handler(in);
	int err = choose_heads(in, seen, &all, &polled);

	if (err)
		return err;
	/* Words between the GPollFD and the link: the callbacks, then opaque. */
	n = (all.prev - 8 - first) / 8 - 1;
	if (n == G_N_ELEMENTS(with_ready))
		callbacks = with_ready;
	else if (n == G_N_ELEMENTS(without_ready))
		callbacks = without_ready;
	else
		return fail(in->why, -EBADMSG,
			    "%s: a handler has room for %d callbacks, where QEMUs have 5 or 6",
			    in->program->name, n);
	layout_set(in->l, NODE_FD, offsetof(GPollFD, fd), "the fd of every handler; most are open");
	layout_set(in->l, NODE_EVENTS, offsetof(GPollFD, events),
		   "fits the callbacks of every handler");
	layout_set(in->l, NODE_REVENTS, offsetof(GPollFD, revents), "follows events in a GPollFD");
	for (int i = 0; i < n; i++)
		layout_set(in->l, callbacks[i], first + 8 * i,
			   "NULL or a function in every handler; %d of %d callbacks", i + 1, n);
	layout_set(in->l, NODE_OPAQUE, first + 8 * n,
		   "last before the link; each context's notifier in the notifier's handler");
	layout_set(in->l, NODE_NEXT, all.prev - 8, "leads through the list to its end");
	layout_set(in->l, NODE_PREV, all.prev, "points back at the one before");
	find_deleted(in, seen.tested, all, polled);
	return check_nodes(in);
}
