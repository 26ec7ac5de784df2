// SPDX-License-Identifier: MIT
/*
 * The GMainContexts of any program, without debug information of it or of GLib.
 *
 * g_main_context_default() loads the variable of the default one, and up to GLib 2.84
 * g_main_context_new() puts each into a list: their code says where both lie. Of a later GLib, or
 * where that fails, a thread that polls knows its context: a pointer to it is on its stack, and the
 * context holds the array that was given to poll. Whatever is found has to prove that it is a
 * GMainContext: it has a wake-up descriptor where GLib's structure has it.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include <linux/types.h>
#include "bpf/tables.h"
#include "tracer/code.h"
#include "tracer/infer-private.h"

#define MAX_CONTEXTS 4096
#define MAX_WORDS    8	  /* variables that one function loads */
#define STACK_WORDS  2048 /* of a polling thread */
#define GCTX_WORDS   64

/* The variables a function loads a word of: link addresses. */
struct loads {
	uint64_t link[MAX_WORDS];
	int n;
};

static bool see_load(const struct code_step *step, void *arg)
{
	struct loads *seen = arg;

	if (step->mem.kind == VALUE_LINK && step->mem_size == 8 && !step->mem_write &&
	    !step->calls && seen->n < MAX_WORDS)
		seen->link[seen->n++] = step->mem.n;
	return false;
}

static void find_loads(const struct image *glib, const char *function, struct loads *seen)
{
	const struct symbol *symbol = image_symbol(glib, function);

	if (symbol)
		code_walk(glib, symbol->link, see_load, seen);
}

/* Does the GMainContext at @addr have its wake-up descriptor where such a one has it? */
static bool is_gcontext(struct target *t, struct images *images, struct layout *l, uint64_t addr)
{
	uint64_t wakeup;
	GPollFD rec;
	int pair[2];

	if (!addr || addr % 8)
		return false;
	if (l->off[GCTX_WAKEUP] < 0 || l->off[GCTX_SOURCES] < 0)
		infer_glib(t, images, l, addr);
	return l->off[GCTX_WAKEUP] >= 8 &&
	       !target_read(t, addr + l->off[GCTX_WAKEUP], &rec, sizeof(rec)) && rec.fd >= 0 &&
	       rec.events == POLLIN &&
	       !target_read_u64(t, addr + l->off[GCTX_WAKEUP] - 8, &wakeup) &&
	       !target_read(t, wakeup, pair, sizeof(pair)) && pair[0] == rec.fd;
}

static void add_found(GArray *found, uint64_t addr)
{
	for (size_t i = 0; i < found->len; i++)
		if (g_array_index(found, uint64_t, i) == addr)
			return;
	if (found->len < MAX_CONTEXTS)
		g_array_append_val(found, addr);
}

/* Is the list at @link (a GSList) of GMainContexts, @wanted (if not 0) one of them? */
static bool read_list(struct target *t, struct images *images, struct layout *l, uint64_t link,
		      uint64_t wanted, GArray *found)
{
	GArray *list = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	bool good = link != 0, seen = !wanted;

	while (good && link && list->len < MAX_CONTEXTS) {
		uint64_t node[2]; /* data, next */

		good = !(link % 8) && !target_read(t, link, node, sizeof(node)) &&
		       is_gcontext(t, images, l, node[0]);
		if (!good)
			break;
		seen |= node[0] == wanted;
		g_array_append_val(list, node[0]);
		link = node[1];
	}
	good = good && seen;
	for (size_t i = 0; good && i < list->len; i++)
		add_found(found, g_array_index(list, uint64_t, i));
	g_array_free(list, TRUE);
	return good;
}

bool infer_glib_is_opaque(void)
{
	const char *value = getenv("LOOPSCOPE_GLIB");

	return value && !strcmp(value, "opaque");
}

/* Find GLib's two variables; each is believed for what it leads to. */
static void find_places(struct target *t, struct images *images, struct layout *l)
{
	struct image *glib = infer_glib_image(images);
	struct loads getter = { 0 }, maker = { 0 };
	GArray *found;
	uint64_t word, first = 0;

	if (l->glib.looked || !glib)
		return;
	find_loads(glib, "g_main_context_default", &getter);
	for (int i = 0; i < getter.n && !l->glib.default_context; i++) {
		uint64_t at = getter.link[i] + glib->bias;

		if (target_read_u64(t, at, &word) || !is_gcontext(t, images, l, word))
			continue;
		l->glib.default_context = at;
		first = word;
	}
	if (!infer_glib_is_opaque()) {
		find_loads(glib, "g_main_context_new_with_flags", &maker);
		find_loads(glib, "g_main_context_new", &maker);
	}
	found = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	for (int i = 0; i < maker.n && !l->glib.list; i++) {
		uint64_t at = maker.link[i] + glib->bias;

		if (!target_read_u64(t, at, &word) && read_list(t, images, l, word, first, found))
			l->glib.list = at;
	}
	g_array_free(found, TRUE);
	/* A program that has none yet is asked again. */
	l->glib.looked = l->glib.default_context && l->glib.list;
}

static bool polls_array(const struct thread *thread)
{
	return thread->sleeping && thread->sp && thread->args[0] &&
	       (thread->nr == NR_POLL || thread->nr == NR_PPOLL);
}

/* The context whose poll set a thread waits for holds the array it gave to poll; or 0. */
static uint64_t context_of(struct target *t, struct images *images, struct layout *l,
			   const struct thread *thread)
{
	uint64_t word, words[GCTX_WORDS];

	for (int i = 0; i < STACK_WORDS; i++) {
		const struct map *map;

		if (target_read_u64(t, thread->sp + 8 * i, &word))
			break;
		if (!word || word % 8 || word - thread->sp < 8 * STACK_WORDS)
			continue;
		map = target_map_at(t, word);
		if (!map || !map->write || target_read(t, word, words, sizeof(words)))
			continue;
		for (int k = 0; k < GCTX_WORDS; k++)
			if (words[k] == thread->args[0] && is_gcontext(t, images, l, word))
				return word;
	}
	return 0;
}

GArray *infer_gcontexts(struct target *t, struct images *images, struct layout *l)
{
	GArray *found = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	uint64_t word;

	find_places(t, images, l);
	if (l->glib.default_context && !target_read_u64(t, l->glib.default_context, &word) &&
	    is_gcontext(t, images, l, word))
		add_found(found, word);
	if (l->glib.list && !target_read_u64(t, l->glib.list, &word))
		read_list(t, images, l, word, 0, found);
	for (size_t i = 0; !l->glib.list && i < t->threads->len; i++) {
		const struct thread *thread = &g_array_index(t->threads, struct thread, i);

		word = polls_array(thread) ? context_of(t, images, l, thread) : 0;
		if (word)
			add_found(found, word);
	}
	return found;
}

bool infer_is_default(struct target *t, const struct layout *l, uint64_t gctx)
{
	uint64_t word;

	return l->glib.default_context && !target_read_u64(t, l->glib.default_context, &word) &&
	       word == gctx;
}

int infer_glib_layout(struct target *t, struct images *images, struct layout **ret,
		      struct failure *why)
{
	const struct image *program = images_program(images);
	struct layout *l;
	GArray *found;

	if (!infer_glib_image(images))
		return fail(why, -ENOENT,
			    "%s is not a QEMU: it exports no qemu_get_aio_context(); and it has no "
			    "libglib-2.0 either",
			    program->name);
	l = layout_new(LAYOUT_INFERRED, program);
	found = infer_gcontexts(t, images, l);
	if (!found->len) {
		g_array_free(found, TRUE);
		layout_free(l);
		return fail(why, -ENOENT,
			    "%s is not a QEMU, and uses GLib without a main loop: it has no "
			    "GMainContext",
			    program->name);
	}
	g_array_free(found, TRUE);
	for (int f = 0; f < N_LAYOUT_FIELDS; f++)
		if (l->off[f] < 0)
			layout_set(l, f, LAYOUT_UNKNOWN, "%s",
				   layout_is_glib(f) ? "nothing in this process proves it"
						     : "the program is no QEMU");
	*ret = l;
	return 0;
}
