// SPDX-License-Identifier: MIT
/*
 * Which IOThread a context belongs to, and what it is called.
 *
 * The thread that runs an IOThread keeps a pointer to it on its stack: a word there that leads to a
 * structure which holds the context where iothread_get_aio_context() looks. Its name is the one
 * under which its parent in the object tree keeps it: a property of type "child<iothread>" whose
 * value is the object. Where one of the two is not found, the thread's own name has to do.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tracer/loops.h"

#define STACK_WORDS    2048 /* from the stack pointer up */
#define OBJECT_WORDS   8
#define TABLE_WORDS    12
#define MAX_PROPERTIES 4096
#define PROPERTY_WORDS 10
#define MAX_CANDIDATES 8

static const struct thread *find_thread(const struct target *t, pid_t tid)
{
	for (size_t i = 0; i < t->threads->len; i++) {
		const struct thread *thread = &g_array_index(t->threads, struct thread, i);

		if (thread->tid == tid)
			return thread;
	}
	return NULL;
}

/*
 * What may be the IOThread of @c, found on the stack of its thread: anything that holds the context
 * at the right place. Distinct addresses into @found, as many as there is room for.
 */
static size_t find_iothreads(struct loops *loops, const struct context *c, uint64_t *found)
{
	const struct thread *thread = find_thread(loops->t, c->tid);
	int32_t off = loops->l->off[IOTHREAD_CTX];
	uint64_t stack[STACK_WORDS];
	size_t n = 0, n_found = 0;

	if (off < 0 || !thread || !thread->sleeping)
		return 0;
	/* In steps: one read that crosses the stack's end would get nothing. */
	while (n < STACK_WORDS &&
	       !target_read(loops->t, thread->sp + 8 * n, &stack[n], 64 * sizeof(stack[0])))
		n += 64;
	for (size_t i = 0; i < n && n_found < MAX_CANDIDATES; i++) {
		bool known = false;
		uint64_t ctx;

		for (size_t k = 0; k < n_found; k++)
			known |= found[k] == stack[i];
		if (!known && stack[i] && !(stack[i] % 8) && stack[i] != c->addr - off &&
		    !target_read_u64(loops->t, stack[i] + off, &ctx) && ctx == c->addr)
			found[n_found++] = stack[i];
	}
	return n_found;
}

/* The values of the GHashTable at @table if its keys are strings: their array and its length. */
static uint64_t string_table_values(struct loops *loops, uint64_t table, size_t *ret_n)
{
	struct image *glib = images_library(loops->images, "libglib-2.0.so");
	const struct symbol *hash = glib ? image_symbol(glib, "g_str_hash") : NULL;
	const struct symbol *equal = glib ? image_symbol(glib, "g_str_equal") : NULL;
	uint64_t words[TABLE_WORDS];
	uint32_t ints[4];

	if (!hash || !equal || !table || table % 8 ||
	    target_read(loops->t, table, words, sizeof(words)))
		return 0;
	for (int i = 3; i + 1 < TABLE_WORDS; i++) {
		if (words[i] != hash->link + glib->bias || words[i + 1] != equal->link + glib->bias)
			continue;
		/* size, mod, mask, ...: the arrays have mask + 1 places. */
		memcpy(ints, words, sizeof(ints));
		*ret_n = (size_t)ints[2] + 1;
		return *ret_n <= MAX_PROPERTIES ? words[i - 1] : 0;
	}
	return 0;
}

/* Is @property { name, type "child<iothread>", ..., @object, ... }? Its name goes to @name. */
static bool is_child(struct loops *loops, uint64_t property, uint64_t object, char *name,
		     size_t size)
{
	uint64_t words[PROPERTY_WORDS];
	char type[32];
	bool holds = false;

	if (!property || property % 8 || target_read(loops->t, property, words, sizeof(words)))
		return false;
	for (int i = 2; i < PROPERTY_WORDS; i++)
		holds |= words[i] == object;
	return holds && !target_read_string(loops->t, words[1], type, sizeof(type)) &&
	       !strcmp(type, "child<iothread>") &&
	       !target_read_string(loops->t, words[0], name, size);
}

static bool find_name_in(struct loops *loops, uint64_t table, uint64_t object, char *name,
			 size_t size)
{
	size_t n;
	uint64_t values = string_table_values(loops, table, &n);
	bool found = false;
	uint64_t *array;

	if (!values)
		return false;
	array = g_new(uint64_t, n);
	if (!target_read(loops->t, values, array, n * sizeof(*array)))
		for (size_t i = 0; i < n && !found; i++)
			found = is_child(loops, array[i], object, name, size);
	g_free(array);
	return found;
}

/* Some word of the object leads to its parent, some word of that to the table of properties. */
static bool find_name(struct loops *loops, uint64_t object, char *name, size_t size)
{
	uint64_t words[OBJECT_WORDS], parent[OBJECT_WORDS];

	if (target_read(loops->t, object, words, sizeof(words)))
		return false;
	for (int i = 0; i < OBJECT_WORDS; i++) {
		if (!words[i] || words[i] % 8 ||
		    target_read(loops->t, words[i], parent, sizeof(parent)))
			continue;
		for (int k = 0; k < OBJECT_WORDS; k++)
			if (find_name_in(loops, parent[k], object, name, size))
				return true;
	}
	return false;
}

/* An id as QEMU allows them: of letters, digits, and "-._". */
static bool read_id(struct loops *loops, uint64_t iothread, char *name, size_t size)
{
	int32_t id = loops->l->off[IOTHREAD_ID];
	uint64_t text;

	if (id < 0 || target_read_u64(loops->t, iothread + id, &text) ||
	    target_read_string(loops->t, text, name, size) || !name[0])
		return false;
	for (const char *c = name; *c; c++)
		if (!g_ascii_isalnum(*c) && !strchr("-._", *c))
			return false;
	return true;
}

void loops_name_iothreads(struct loops *loops)
{
	for (size_t i = 0; i < loops->contexts->len; i++) {
		struct context *c = loops->contexts->pdata[i];
		const struct thread *thread = find_thread(loops->t, c->tid);
		uint64_t candidates[MAX_CANDIDATES];
		bool named = false;
		char name[32];
		size_t n;

		if (c->kind != CONTEXT_OTHER)
			continue;
		n = find_iothreads(loops, c, candidates);
		if (n)
			c->kind = CONTEXT_IOTHREAD;
		for (size_t k = 0; k < n && !named; k++)
			named = read_id(loops, candidates[k], name, sizeof(name)) ||
				find_name(loops, candidates[k], name, sizeof(name));
		if (named)
			snprintf(c->name, sizeof(c->name), "%s", name);
		else if (thread && g_str_has_prefix(thread->comm, "IO "))
			snprintf(c->name, sizeof(c->name), "%s", thread->comm + 3);
		else if (n)
			snprintf(c->name, sizeof(c->name), "IOThread of thread %d", c->tid);
	}
}
