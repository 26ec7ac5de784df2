// SPDX-License-Identifier: MIT
/*
 * Nested waits as a tree: what called them, and what ran inside. A node stands for all calls of one
 * thing inside of another: a callback that waits, the AIO_WAIT_WHILE in it, the aio_poll in that,
 * the callbacks that this one runs.
 *
 * A frame gets its node when the first nested wait begins in it, so callbacks that never wait cost
 * nothing; inside of a wait every callback has one.
 */
#include "tracer/report-model.h"

/* More of them, or deeper ones, are not shown: something calls itself. */
#define NODES_MAX 4096
#define LEVEL_MAX 24

/* Stands for those. */
static struct report_node no_room;

static bool is_wait(enum report_kind kind)
{
	return kind == REPORT_AIO_POLL || kind == REPORT_AIO_WAIT;
}

/* What is equal is one node: calls of a handler with different fds, say. */
static struct report_key node_key(const struct report_frame *frame,
				  const struct report_node *parent)
{
	const struct report_callback *callback = frame->entry;
	const struct report_nested *nested = frame->entry;
	uint64_t where = (parent ? (uint64_t)parent->number << 32 : 0) | frame->kind;

	if (is_wait(frame->kind))
		return (struct report_key){ where, nested->site, nested->ctx, 0 };
	return (struct report_key){ where, callback->cb, callback->ctx, callback->source };
}

static struct report_node *find_node(struct report_thread *thread, const struct report_frame *frame,
				     struct report_node *parent)
{
	struct report_key key = node_key(frame, parent);
	struct report_node *node;

	if (parent == &no_room || (parent && parent->level == LEVEL_MAX))
		return &no_room;
	if (thread->tree.n >= NODES_MAX && !report_map_find(&thread->tree, key))
		return &no_room;
	node = report_map_get(&thread->tree, key);
	if (!node->number) {
		node->number = thread->tree.n;
		node->parent = parent ? parent->number : 0;
		node->level = parent ? parent->level + 1 : 0;
		node->in_wait = is_wait(frame->kind) || (parent && parent->in_wait);
		node->kind = frame->kind;
		node->entry = frame->entry;
	}
	return node;
}

static void place(struct report_thread *thread, uint32_t i)
{
	struct report_frame *frame = &thread->stack[i];
	struct report_node *parent = i ? thread->stack[i - 1].node : NULL;

	frame->is_node = frame->kind <= REPORT_NOTIFIER || is_wait(frame->kind);
	frame->node = frame->is_node ? find_node(thread, frame, parent) : parent;
	frame->is_node &= frame->node != &no_room;
}

void report_tree_begin(struct report_thread *thread)
{
	uint32_t top = thread->depth - 1;
	const struct report_node *parent = top ? thread->stack[top - 1].node : NULL;

	if (!is_wait(thread->stack[top].kind) && !(parent && parent->in_wait))
		return;
	for (uint32_t i = thread->placed; i < thread->depth; i++)
		place(thread, i);
	thread->placed = thread->depth;
}

void report_tree_end(struct report_thread *thread, const struct report_frame *frame, uint64_t ns,
		     bool finished)
{
	struct report_node *node = frame->node;

	thread->placed = MIN(thread->placed, thread->depth);
	if (!frame->is_node)
		return;
	if (!finished) {
		node->unfinished++;
		return;
	}
	node->count++;
	node->total_ns += ns;
	node->max_ns = MAX(node->max_ns, ns);
}

void report_tree_slept(struct report_thread *thread, uint64_t ns)
{
	for (uint32_t i = 0; i < thread->placed; i++)
		if (thread->stack[i].is_node)
			thread->stack[i].node->asleep_ns += ns;
}

/* --- reading it ------------------------------------------------------------------------------- */

static int by_total(const void *a, const void *b)
{
	const struct report_node *x = *(void *const *)a, *y = *(void *const *)b;

	if (x->total_ns != y->total_ns)
		return x->total_ns > y->total_ns ? -1 : 1;
	return (x->number > y->number) - (x->number < y->number);
}

static void add_children(const struct report_thread *thread, uint32_t parent, GPtrArray *nodes)
{
	GPtrArray *children = g_ptr_array_new();
	const struct report_node *node;

	report_each (&thread->tree, node) {
		if (node->parent == parent)
			g_ptr_array_add(children, (void *)node);
	}
	g_ptr_array_sort(children, by_total);
	for (uint32_t i = 0; i < children->len; i++) {
		node = children->pdata[i];
		g_ptr_array_add(nodes, (void *)node);
		add_children(thread, node->number, nodes);
	}
	g_ptr_array_free(children, TRUE);
}

GPtrArray *report_tree_nodes(const struct report_thread *thread)
{
	GPtrArray *nodes = g_ptr_array_new();

	add_children(thread, 0, nodes);
	return nodes;
}
