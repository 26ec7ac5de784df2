// SPDX-License-Identifier: MIT
/*
 * The sources of the GMainContexts that the contexts of a QEMU are attached to. GSource's public
 * part comes from GLib's own header; the way from the context to its first source from the layout.
 */
#include <inttypes.h>
#include <string.h>

#include "tracer/infer.h"
#include "tracer/loops.h"

#define MAX_SOURCES 4096
#define MAX_FDS	    4096 /* of one source */
#define PRIV_WORDS  8	 /* of GSourcePrivate that are looked at for a list of fds */

/* A GSList of GPollFD pointers at @link: append what it holds. */
static void read_fd_list(struct target *t, uint64_t link, GArray *fds)
{
	for (int n = 0; link && n < MAX_FDS; n++) {
		uint64_t node[2];
		GPollFD fd;

		if (link % 8 || target_read(t, link, node, sizeof(node)) ||
		    target_read(t, node[0], &fd, sizeof(fd)) || fd.fd < 0 || fd.events & ~0x3f)
			return;
		g_array_append_val(fds, fd);
		link = node[1];
	}
}

/* A callback that g_source_set_callback() set is { reference count, function, data, destroy }. */
static void read_callback(struct loops *loops, const GSource *source, struct loop_source *s)
{
	uint64_t words[3], funcs = (uintptr_t)source->callback_funcs;
	struct image *glib = images_library(loops->images, "libglib-2.0.so");

	if (!glib || !image_holds(glib, funcs) ||
	    target_read(loops->t, (uintptr_t)source->callback_data, words, sizeof(words)) ||
	    !images_is_function(loops->images, words[1]))
		return;
	s->callback = words[1];
	s->data = words[2];
}

static void read_source(struct loops *loops, struct loop_gcontext *g, uint64_t addr,
			const GSource *source)
{
	struct loop_source *s = g_new0(struct loop_source, 1);
	uint64_t priv[PRIV_WORDS];

	s->addr = addr;
	s->funcs = (uintptr_t)source->source_funcs;
	s->priority = source->priority;
	s->id = source->source_id;
	s->fds = g_array_new(FALSE, FALSE, sizeof(GPollFD));
	s->unix_fds = g_array_new(FALSE, FALSE, sizeof(GPollFD));
	if (source->name)
		target_read_string(loops->t, (uintptr_t)source->name, s->name, sizeof(s->name));
	for (size_t i = 0; i < loops->contexts->len; i++)
		s->is_aio_context |= ((struct context *)loops->contexts->pdata[i])->addr == addr;
	read_callback(loops, source, s);
	read_fd_list(loops->t, (uintptr_t)source->poll_fds, s->fds);
	if (source->priv && !target_read(loops->t, (uintptr_t)source->priv, priv, sizeof(priv)))
		for (int i = 0; i < PRIV_WORDS; i++)
			read_fd_list(loops->t, priv[i], s->unix_fds);
	g_ptr_array_add(g->sources, s);
}

/* What g_source_add_unix_fd() gave a source: for an AioContext, its fd monitor's descriptor. */
int loops_unix_fd(const struct loops *loops, uint64_t addr)
{
	uint64_t priv[PRIV_WORDS];
	GArray *found;
	GSource source;
	int fd = -1;

	if (target_read(loops->t, addr, &source, sizeof(source)) || !source.priv ||
	    target_read(loops->t, (uintptr_t)source.priv, priv, sizeof(priv)))
		return -1;
	found = g_array_new(FALSE, FALSE, sizeof(GPollFD));
	for (int i = 0; i < PRIV_WORDS; i++)
		read_fd_list(loops->t, priv[i], found);
	if (found->len == 1)
		fd = g_array_index(found, GPollFD, 0).fd;
	g_array_free(found, TRUE);
	return fd;
}

static void read_sources(struct loops *loops, struct loop_gcontext *g)
{
	const struct layout *l = loops->l;
	uint64_t link[2] = { 0 }, at;

	if (l->off[GCTX_SOURCES] < 0 || l->off[GSL_HEAD] < 0 ||
	    target_read_u64(loops->t, g->addr + l->off[GCTX_SOURCES], &link[1]))
		return;
	while (link[1] && g->sources->len < MAX_SOURCES) {
		if (target_read(loops->t, link[1], link, sizeof(link)) ||
		    target_read_u64(loops->t, link[0] + l->off[GSL_HEAD], &at))
			return;
		while (at && g->sources->len < MAX_SOURCES) {
			GSource source;

			if (target_read(loops->t, at, &source, sizeof(source)) ||
			    (uintptr_t)source.context != g->addr)
				return;
			read_source(loops, g, at, &source);
			at = (uintptr_t)source.next;
		}
	}
}

void loops_read_glib(struct loops *loops)
{
	const struct layout *l = loops->l;

	for (size_t i = 0; i < loops->contexts->len; i++) {
		uint64_t addr = ((struct context *)loops->contexts->pdata[i])->gctx;
		struct loop_gcontext *g = NULL;
		GPollFD wakeup;

		for (size_t k = 0; k < loops->gcontexts->len && !g; k++)
			if (((struct loop_gcontext *)loops->gcontexts->pdata[k])->addr == addr)
				g = loops->gcontexts->pdata[k];
		if (!addr || g)
			continue;
		g = g_new0(struct loop_gcontext, 1);
		g->addr = addr;
		g->wakeup_fd = -1;
		g->sources = g_ptr_array_new();
		g_ptr_array_add(loops->gcontexts, g);
		infer_glib(loops->t, loops->l, addr);
		if (l->off[GCTX_WAKEUP] >= 0 &&
		    !target_read(loops->t, addr + l->off[GCTX_WAKEUP], &wakeup, sizeof(wakeup)))
			g->wakeup_fd = wakeup.fd;
		read_sources(loops, g);
	}
}
