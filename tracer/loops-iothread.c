// SPDX-License-Identifier: MIT
/*
 * Which IOThread a context belongs to, and what it is called.
 *
 * The thread that runs an IOThread keeps a pointer to it in its first frames: a word there that
 * leads to a structure which holds the context where iothread_get_aio_context() looks. Its name is
 * the one under which its parent in the object tree keeps it: a property of type "child<iothread>"
 * whose value is the object. Where one of the two is not found, the thread's own name has to do.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tracer/loops.h"

#define STACK_WORDS    2048
#define IOTHREAD_INTS  64
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
 * Where the first frames of a thread lie, whether it sleeps or runs. libc has its descriptor at the
 * top of the stack, the thread's own variables and then the frames below it; and the kernel knows
 * one address in the descriptor, that of the list of robust mutexes. In a core fs_base is another,
 * but for the main thread's, whose descriptor lies elsewhere.
 */
static uint64_t outermost_frames(const struct target *t, const struct thread *thread)
{
	void *head = NULL;
	size_t size;

	if (t->live && !syscall(SYS_get_robust_list, thread->tid, &head, &size) && head)
		return (uintptr_t)head - 8 * STACK_WORDS;
	if (!t->live && thread->tid != t->pid && thread->regs.fs_base > thread->sp)
		return thread->regs.fs_base - 8 * STACK_WORDS;
	/* Without either: from the innermost on. */
	return thread->sleeping ? thread->sp : 0;
}

/* The words of a thread's stack that may be an IOThread, and the contexts these would have. */
struct stack_words {
	uint64_t words[STACK_WORDS], contexts[STACK_WORDS];
	size_t n;
};

static void read_stack(const struct loops *loops, const struct thread *thread,
		       struct stack_words *ret)
{
	uint64_t from = outermost_frames(loops->t, thread), step[64];

	ret->n = 0;
	/* In steps: one read that crosses the stack's end would get nothing. */
	for (size_t at = 0; from && at < STACK_WORDS; at += G_N_ELEMENTS(step)) {
		if (target_read(loops->t, from + 8 * at, step, sizeof(step)))
			continue;
		for (size_t i = 0; i < G_N_ELEMENTS(step); i++) {
			/* What points into the stack is a frame, with a context among its words. */
			bool known = !step[i] || step[i] % 8 || step[i] - from < 8 * STACK_WORDS;
			uint64_t ctx;

			for (size_t k = 0; k < ret->n && !known; k++)
				known = ret->words[k] == step[i];
			if (known ||
			    target_read_u64(loops->t, step[i] + loops->l->off[IOTHREAD_CTX], &ctx))
				continue;
			ret->words[ret->n] = step[i];
			ret->contexts[ret->n++] = ctx;
		}
	}
}

/* Which of them hold @c at the right place? As many as there is room for. */
static size_t iothreads_of(const struct loops *loops, const struct stack_words *stack,
			   const struct context *c, uint64_t *found)
{
	size_t n = 0;

	for (size_t i = 0; i < stack->n && n < MAX_CANDIDATES; i++)
		if (stack->contexts[i] == c->addr &&
		    stack->words[i] != c->addr - loops->l->off[IOTHREAD_CTX])
			found[n++] = stack->words[i];
	return n;
}

/* The number that the thread knows itself by: in a container it is another one than ours. */
static int own_tid(const struct target *t, pid_t tid)
{
	char path[64], *status = NULL, *line, *last;
	int own = tid;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/status", t->pid, tid);
	if (t->live && g_file_get_contents(path, &status, NULL, NULL)) {
		line = strstr(status, "\nNSpid:");
		if (line) {
			line[1 + strcspn(line + 1, "\n")] = 0;
			last = strrchr(line, '\t');
			own = last ? atoi(last + 1) : tid;
		}
	}
	g_free(status);
	return own;
}

/* An IOThread notes its thread's number. */
static bool notes_thread(const struct loops *loops, uint64_t iothread, int tid)
{
	int words[IOTHREAD_INTS];

	if (target_read(loops->t, iothread, words, sizeof(words)))
		return false;
	for (size_t i = 0; i < G_N_ELEMENTS(words); i++)
		if (words[i] == tid)
			return true;
	return false;
}

/*
 * What may be the IOThread of @c: from the stack of the thread that polls it, or, while nobody
 * does, of the thread whose number it has. That thread is then its thread.
 */
static size_t find_iothreads(struct loops *loops, struct context *c, uint64_t *found)
{
	struct stack_words *stack = g_new(struct stack_words, 1);
	size_t n = 0;

	for (size_t i = 0; i < loops->t->threads->len && !n; i++) {
		const struct thread *thread = &g_array_index(loops->t->threads, struct thread, i);
		size_t n_here;
		int tid;

		if (c->tid ? thread->tid != c->tid : thread->tid == loops->t->pid)
			continue;
		read_stack(loops, thread, stack);
		n_here = iothreads_of(loops, stack, c, found);
		tid = n_here && !c->tid ? own_tid(loops->t, thread->tid) : 0;
		for (size_t k = 0; k < n_here; k++)
			if (!tid || notes_thread(loops, found[k], tid))
				found[n++] = found[k];
		if (n)
			c->tid = thread->tid;
	}
	g_free(stack);
	return n;
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
		const struct thread *thread;
		uint64_t candidates[MAX_CANDIDATES];
		bool named = false;
		char name[32];
		size_t n;

		if (c->kind != CONTEXT_OTHER)
			continue;
		n = loops->l->off[IOTHREAD_CTX] >= 0 ? find_iothreads(loops, c, candidates) : 0;
		thread = find_thread(loops->t, c->tid);
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
