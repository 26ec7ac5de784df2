// SPDX-License-Identifier: MIT
/*
 * The GMainContexts of a program and their sources. GSource's public part comes from GLib's own
 * header; the way from the context to its first source from the layout.
 */
#include <inttypes.h>
#include <string.h>

#include "tracer/infer.h"
#include "tracer/loops.h"

#define MAX_SOURCES 4096
#define MAX_FDS	    4096 /* of one source */
#define PRIV_WORDS  8	 /* of GSourcePrivate that are looked at for a list of fds */

/*
 * A GSList of GPollFD pointers at @link: append what it holds. A source may keep a GPollFD of no
 * descriptor (-1), which poll() passes over.
 */
static void read_fd_list(struct target *t, uint64_t link, GArray *fds)
{
	for (int n = 0; link && n < MAX_FDS; n++) {
		uint64_t node[2];
		GPollFD fd;

		if (link % 8 || target_read(t, link, node, sizeof(node)) ||
		    target_read(t, node[0], &fd, sizeof(fd)) || fd.fd < -1 || fd.events & ~0x3f)
			return;
		g_array_append_val(fds, fd);
		link = node[1];
	}
}

/* A word that happens to be @gctx is not enough: a source has functions, too. */
static bool is_source_of(const struct loops *loops, uint64_t addr, uint64_t gctx)
{
	GSource source;
	uint64_t funcs[3];

	return gctx && !target_read(loops->t, addr, &source, sizeof(source)) &&
	       (uintptr_t)source.context == gctx && source.ref_count &&
	       !target_read(loops->t, (uintptr_t)source.source_funcs, funcs, sizeof(funcs)) &&
	       images_is_function(loops->images, funcs[2]);
}

/*
 * The fds that g_source_add_unix_fd() gave a source of @gctx are on a list that some word of
 * GSourcePrivate leads to. Other words lead to its parent and to a list of its children, or to what
 * looks like a descriptor that is polled for nothing.
 */
static void read_private_fds(const struct loops *loops, uint64_t priv, uint64_t gctx, GArray *fds)
{
	uint64_t words[PRIV_WORDS], first;

	if (!priv || target_read(loops->t, priv, words, sizeof(words)))
		return;
	for (int i = 0; i < PRIV_WORDS; i++) {
		guint before = fds->len;

		if (!words[i] || is_source_of(loops, words[i], gctx) ||
		    target_read_u64(loops->t, words[i], &first) || is_source_of(loops, first, gctx))
			continue;
		read_fd_list(loops->t, words[i], fds);
		for (guint k = before; k < fds->len; k++)
			if (g_array_index(fds, GPollFD, k).fd < 0 ||
			    !g_array_index(fds, GPollFD, k).events)
				g_array_set_size(fds, before);
	}
}

/* A callback that g_source_set_callback() set is { reference count, function, data, destroy }. */
static void read_callback(struct loops *loops, const GSource *source, struct loop_source *s)
{
	uint64_t words[3], funcs = (uintptr_t)source->callback_funcs;
	struct image *glib = infer_glib_image(loops->images);

	if (!glib || !image_holds(glib, funcs) ||
	    target_read(loops->t, (uintptr_t)source->callback_data, words, sizeof(words)) ||
	    !images_is_function(loops->images, words[1]))
		return;
	s->callback = words[1];
	s->data = words[2];
}

/* In microseconds, on CLOCK_MONOTONIC; -1 is never. */
static int64_t read_ready_time(struct loops *loops, const GSource *source)
{
	int32_t off = loops->l->off[PRIV_READY_TIME];
	int64_t us;

	if (off < 0 || !source->priv ||
	    target_read(loops->t, (uintptr_t)source->priv + off, &us, sizeof(us)) ||
	    us > INT64_MAX / 1000)
		return READY_UNKNOWN;
	return us < 0 ? READY_NEVER : us * 1000;
}

static void read_source(struct loops *loops, struct loop_gcontext *g, uint64_t addr,
			const GSource *source)
{
	struct loop_source *s = g_new0(struct loop_source, 1);
	uint64_t funcs[3];

	s->addr = addr;
	s->funcs = (uintptr_t)source->source_funcs;
	if (!target_read(loops->t, s->funcs, funcs, sizeof(funcs))) {
		s->prepare = funcs[0];
		s->check = funcs[1];
		s->dispatch = funcs[2];
	}
	s->priority = source->priority;
	s->id = source->source_id;
	s->flags = source->flags;
	s->ref_count = source->ref_count;
	s->ready_ns = read_ready_time(loops, source);
	s->fds = g_array_new(FALSE, FALSE, sizeof(GPollFD));
	s->unix_fds = g_array_new(FALSE, FALSE, sizeof(GPollFD));
	s->name_at = (uintptr_t)source->name;
	if (s->name_at)
		target_read_string(loops->t, s->name_at, s->name, sizeof(s->name));
	for (size_t i = 0; i < loops->contexts->len; i++)
		s->is_aio_context |= ((struct context *)loops->contexts->pdata[i])->addr == addr;
	read_callback(loops, source, s);
	read_fd_list(loops->t, (uintptr_t)source->poll_fds, s->fds);
	read_private_fds(loops, (uintptr_t)source->priv, g->addr, s->unix_fds);
	g_ptr_array_add(g->sources, s);
}

/* What g_source_add_unix_fd() gave a source: for an AioContext, its fd monitor's descriptor. */
int loops_unix_fd(const struct loops *loops, uint64_t addr)
{
	GArray *found;
	GSource source;
	int fd = -1;

	if (target_read(loops->t, addr, &source, sizeof(source)))
		return -1;
	found = g_array_new(FALSE, FALSE, sizeof(GPollFD));
	read_private_fds(loops, (uintptr_t)source.priv, (uintptr_t)source.context, found);
	if (found->len == 1)
		fd = g_array_index(found, GPollFD, 0).fd;
	g_array_free(found, TRUE);
	return fd;
}

/* Follow the lists; each source has to be of this context, and to point back at the one before. */
static void read_sources(struct loops *loops, struct loop_gcontext *g)
{
	const struct layout *l = loops->l;
	uint64_t link[2] = { 0 }, at, before;

	if (l->off[GCTX_SOURCES] < 0 || l->off[GSL_HEAD] < 0 ||
	    target_read_u64(loops->t, g->addr + l->off[GCTX_SOURCES], &link[1]))
		return;
	while (link[1] && g->sources->len < MAX_SOURCES) {
		g->damaged_at = link[1];
		if (target_read(loops->t, link[1], link, sizeof(link)) ||
		    target_read_u64(loops->t, link[0] + l->off[GSL_HEAD], &at))
			return;
		for (before = 0; at && g->sources->len < MAX_SOURCES; before = g->damaged_at) {
			GSource source;

			g->damaged_at = at;
			if (target_read(loops->t, at, &source, sizeof(source)) ||
			    (uintptr_t)source.context != g->addr ||
			    (uintptr_t)source.prev != before)
				return;
			read_source(loops, g, at, &source);
			at = (uintptr_t)source.next;
		}
	}
	g->damaged_at = 0;
}

struct loop_gcontext *loops_gcontext(const struct loops *loops, uint64_t addr)
{
	for (size_t i = 0; i < loops->gcontexts->len; i++) {
		struct loop_gcontext *g = loops->gcontexts->pdata[i];

		if (g->addr == addr)
			return g;
	}
	return NULL;
}

struct loop_gcontext *loops_gcontext_of(const struct loops *loops, pid_t tid)
{
	for (size_t i = 0; i < loops->gcontexts->len; i++) {
		struct loop_gcontext *g = loops->gcontexts->pdata[i];

		if (g->tid == tid)
			return g;
	}
	return NULL;
}

const struct source_kind loops_source_kinds[] = {
	{ "g_timeout_funcs", "timeout" },
	{ "g_idle_funcs", "idle" },
	{ "g_child_watch_funcs", "child watch" },
	{ "g_io_watch_funcs", "channel watch" },
	{ "g_unix_signal_funcs", "signal" },
	{ "g_unix_fd_source_funcs", "fd" },
	{ NULL, NULL },
};

const char *loops_source_kind(const struct loops *loops, const struct loop_source *s)
{
	struct image *glib = infer_glib_image(loops->images);

	if (s->is_aio_context)
		return "AioContext";
	for (const struct source_kind *kind = loops_source_kinds; glib && kind->symbol; kind++) {
		const struct symbol *symbol = image_symbol(glib, kind->symbol);

		if (symbol && s->funcs == symbol->link + glib->bias)
			return kind->name;
	}
	return NULL;
}

static void source_free(void *source)
{
	struct loop_source *s = source;

	g_array_free(s->fds, TRUE);
	g_array_free(s->unix_fds, TRUE);
	g_free(s);
}

static void add_gcontext(struct loops *loops, uint64_t addr)
{
	const struct layout *l = loops->l;
	struct loop_gcontext *g;
	GPollFD wakeup;
	int attempt = 0;

	if (!addr || loops_gcontext(loops, addr))
		return;
	g = g_new0(struct loop_gcontext, 1);
	g->addr = addr;
	g->wakeup_fd = g->owned = -1;
	g->sources = g_ptr_array_new_with_free_func(source_free);
	g_ptr_array_add(loops->gcontexts, g);
	infer_glib(loops->t, loops->images, loops->l, addr);
	g->is_default = infer_is_default(loops->t, l, addr);
	if (l->off[GCTX_WAKEUP] >= 0 &&
	    !target_read(loops->t, addr + l->off[GCTX_WAKEUP], &wakeup, sizeof(wakeup)))
		g->wakeup_fd = wakeup.fd;
	if (l->off[GCTX_OWNER] >= 0 &&
	    !target_read_u64(loops->t, addr + l->off[GCTX_OWNER], &g->owner))
		g->owned = g->owner != 0;
	do {
		g_ptr_array_set_size(g->sources, 0);
		read_sources(loops, g);
	} while (g->damaged_at && target_read_again(loops->t, attempt++));
}

void loops_read_glib(struct loops *loops)
{
	GArray *found = infer_gcontexts(loops->t, loops->images, loops->l);

	for (size_t i = 0; i < loops->contexts->len; i++)
		add_gcontext(loops, ((struct context *)loops->contexts->pdata[i])->gctx);
	for (size_t i = 0; i < found->len; i++)
		add_gcontext(loops, g_array_index(found, uint64_t, i));
	g_array_free(found, TRUE);
}
