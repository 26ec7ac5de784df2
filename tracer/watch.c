// SPDX-License-Identifier: MIT
/* Attaching and reading the counters. See watch.h. */
#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <linux/types.h>
#include "bpf/tables.h"
#include "bpf/watch.h"
#include "bpf/watch.skel.h"
#include "tracer/attach.h"
#include "tracer/watch-private.h"

enum { CLOCK_REALTIME_OF_QEMU = 0, CLOCK_HOST_OF_QEMU = 2 };

static int load_failure(int err, struct failure *why)
{
	if (err == -EPERM || err == -EACCES)
		return fail(why, -EPERM,
			    "not allowed to load bpf programs: it needs CAP_BPF and CAP_PERFMON");
	return fail(why, -EOPNOTSUPP, "this kernel cannot run the bpf program that counts (%s)",
		    strerror(-err));
}

static int attach(struct watch *w, struct bpf_program *prog, const GArray *sites,
		  struct failure *why)
{
	struct attachment *attachment;
	int err;

	if (!sites->len)
		return 0;
	err = attach_sites(prog, ATTACH_BEST, w->t->pid, (const struct site *)sites->data,
			   sites->len, &attachment, why);
	if (err)
		return err;
	g_ptr_array_add(w->attachments, attachment);
	w->sites += sites->len;
	return 0;
}

/* A return probe is safe here: these waits call nothing of the target, least of all a coroutine. */
static void find_waits(struct watch *w, GArray *enter, GArray *leave)
{
	static const struct {
		const char *library, *name;
		long nr;
	} waits[] = {
		{ "libc.so", "poll", NR_POLL },
		{ "libc.so", "ppoll", NR_PPOLL },
		{ "libc.so", "epoll_wait", NR_EPOLL_WAIT },
		{ "libc.so", "epoll_pwait", NR_EPOLL_PWAIT },
		{ "libc.so", "epoll_pwait2", NR_EPOLL_PWAIT2 },
		{ "liburing.so", "io_uring_submit_and_wait", NR_IO_URING_ENTER },
		{ "liburing.so", "io_uring_submit_and_wait_timeout", NR_IO_URING_ENTER },
	};

	for (size_t i = 0; i < G_N_ELEMENTS(waits); i++) {
		struct image *library = images_library(w->images, waits[i].library);
		const struct symbol *symbol = library ? image_symbol(library, waits[i].name) : NULL;
		struct site in, out;

		if (!symbol || site_at_args(library, symbol->link, 4, &in, NULL) ||
		    site_at_return(library, symbol->link, &out, NULL))
			continue;
		in.cookie = WATCH_WAIT | waits[i].nr << WATCH_NR_SHIFT;
		g_array_append_val(enter, in);
		g_array_append_val(leave, out);
	}
}

struct counted {
	const char *name;
	int args, cookie;
};

/* Exported by QEMU; in another program, or where it is not safe, they are not watched. */
static void find_functions(struct watch *w, const struct counted *functions, size_t n,
			   GArray *sites)
{
	struct image *program = images_program(w->images);

	for (size_t i = 0; i < n; i++) {
		const struct symbol *symbol = image_symbol(program, functions[i].name);
		struct site site;

		if (!symbol || site_at_args(program, symbol->link, functions[i].args, &site, NULL))
			continue;
		site.cookie = functions[i].cookie;
		g_array_append_val(sites, site);
	}
}

/* Where GLib sources of the target are dispatched. */
static void find_sources(struct watch *w, const GArray *functions, GArray *sites)
{
	for (size_t i = 0; i < functions->len; i++) {
		uint64_t addr = g_array_index(functions, uint64_t, i);
		struct image *img = images_at(w->images, addr);
		struct site site;

		if (!img || site_at_args(img, addr - img->bias, 1, &site, NULL))
			continue;
		site.cookie = WATCH_SOURCE;
		g_array_append_val(sites, site);
	}
}

static int attach_turns(struct watch *w, struct failure *why)
{
	static const struct counted functions[] = { { "timer_mod_ns", 2, WATCH_TIMER },
						    { "aio_poll", 1, WATCH_TURN } };
	GArray *enter = g_array_new(FALSE, FALSE, sizeof(struct site));
	GArray *leave = g_array_new(FALSE, FALSE, sizeof(struct site));
	int err;

	find_waits(w, enter, leave);
	err = enter->len ? 0
			 : fail(why, -ENOENT, "process %d has no libc whose polls could be probed",
				w->t->pid);
	find_functions(w, functions, G_N_ELEMENTS(functions), enter);
	/* The entries first: a return without its entry means nothing and is passed over. */
	if (!err)
		err = attach(w, w->skel->progs.on_entry, enter, why);
	if (!err)
		err = attach(w, w->skel->progs.on_wait_return, leave, why);
	g_array_free(enter, TRUE);
	g_array_free(leave, TRUE);
	return err;
}

int watch_callbacks(struct watch *w, const GArray *sources, struct failure *why)
{
	static const struct counted functions[] = {
		{ "aio_bh_call", 1, WATCH_BH_CALL },
		{ "qemu_bh_schedule", 1, WATCH_BH_SCHEDULE },
		{ "aio_bh_schedule_oneshot_full", 4, WATCH_BH_ONESHOT },
	};
	GArray *sites = g_array_new(FALSE, FALSE, sizeof(struct site));
	int err;

	find_functions(w, functions, G_N_ELEMENTS(functions), sites);
	find_sources(w, sources, sites);
	err = attach(w, w->skel->progs.on_entry, sites, why);
	g_array_free(sites, TRUE);
	return err;
}

int watch_calls(struct watch *w, uint64_t function)
{
	struct image *img = images_at(w->images, function);
	GArray *sites;
	struct site site;
	int err;

	for (size_t i = 0; i < w->called->len; i++)
		if (g_array_index(w->called, uint64_t, i) == function)
			return (int)i;
	if (w->called->len == WATCH_CALLED)
		return -E2BIG;
	err = img ? site_at_args(img, function - img->bias, 0, &site, NULL) : -ENOENT;
	if (err)
		return err;
	site.cookie = WATCH_CALL | (uint64_t)w->called->len << WATCH_NR_SHIFT;
	sites = g_array_new(FALSE, FALSE, sizeof(struct site));
	g_array_append_val(sites, site);
	err = attach(w, w->skel->progs.on_entry, sites, NULL);
	g_array_free(sites, TRUE);
	if (err)
		return err;
	g_array_append_val(w->called, function);
	return (int)w->called->len - 1;
}

/* The clocks that are the kernel's own; the others are learned (watch_learn_clock()). */
static void set_clocks(struct watch *w)
{
	struct timespec mono, real;

	clock_gettime(CLOCK_MONOTONIC, &mono);
	clock_gettime(CLOCK_REALTIME, &real);
	w->skel->bss->clock_offset[CLOCK_HOST_OF_QEMU] =
		(real.tv_sec - mono.tv_sec) * 1000000000LL + real.tv_nsec - mono.tv_nsec;
	w->skel->bss->clock_known[CLOCK_REALTIME_OF_QEMU] = 1;
	w->skel->bss->clock_known[CLOCK_HOST_OF_QEMU] = 1;
}

int watch_open(struct target *t, struct images *images, const struct layout *l, struct watch **ret,
	       struct failure *why)
{
	struct watch *w = g_new0(struct watch, 1);
	int err;

	w->t = t;
	w->images = images;
	w->attachments = g_ptr_array_new();
	w->called = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	w->skel = watch_bpf__open();
	if (!w->skel) {
		err = load_failure(-errno, why);
		goto cleanup;
	}
	w->skel->rodata->tgid = t->pid;
	w->skel->rodata->layout.bh_ctx = l->off[BH_CTX];
	w->skel->rodata->layout.bh_name = l->off[BH_NAME];
	w->skel->rodata->layout.bh_cb = l->off[BH_CB];
	w->skel->rodata->layout.timer_cb = l->off[TIMER_CB];
	w->skel->rodata->layout.timer_list = l->off[TIMER_LIST];
	w->skel->rodata->layout.list_clock = l->off[TL_CLOCK];
	w->skel->rodata->layout.clock_type = l->off[CLOCK_TYPE];
	attach_prepare(w->skel->progs.on_entry, ATTACH_BEST);
	attach_prepare(w->skel->progs.on_wait_return, ATTACH_BEST);
	attach_prepare(w->skel->progs.clock_enter, ATTACH_BEST);
	attach_prepare(w->skel->progs.clock_return, ATTACH_BEST);
	err = watch_bpf__load(w->skel);
	if (err) {
		err = load_failure(err, why);
		goto cleanup;
	}
	set_clocks(w);
	err = attach_turns(w, why);
	if (err)
		goto cleanup;
	*ret = w;
	return 0;

cleanup:
	watch_close(w);
	return err;
}

void watch_close(struct watch *w)
{
	if (!w)
		return;
	watch_io_stop(w);
	attach_remove_all(w->attachments);
	g_ptr_array_free(w->attachments, TRUE);
	g_array_free(w->called, TRUE);
	watch_bpf__destroy(w->skel);
	g_free(w);
}

/* --- only to prove something ---------------------------------------------------------------- */

int watch_io_start(struct watch *w, struct failure *why)
{
	int fd = bpf_map__fd(w->skel->maps.ios);
	struct watch_fd_key key;

	while (!bpf_map_get_next_key(fd, NULL, &key) && !bpf_map_delete_elem(fd, &key))
		;
	w->io = bpf_program__attach_trace(w->skel->progs.io_done);
	return w->io ? 0 : load_failure(-errno, why);
}

void watch_io_stop(struct watch *w)
{
	bpf_link__destroy(w->io);
	w->io = NULL;
}

static int attach_clock(struct watch *w, struct attachment *ret[2])
{
	struct image *program = images_program(w->images);
	const struct symbol *symbol = image_symbol(program, "qemu_clock_get_ns");
	struct site in, out;
	int err;

	if (!symbol || site_at_args(program, symbol->link, 1, &in, NULL) ||
	    site_at_return(program, symbol->link, &out, NULL))
		return -ENOENT;
	err = attach_sites(w->skel->progs.clock_enter, ATTACH_BEST, w->t->pid, &in, 1, &ret[0],
			   NULL);
	if (!err)
		err = attach_sites(w->skel->progs.clock_return, ATTACH_BEST, w->t->pid, &out, 1,
				   &ret[1], NULL);
	return err;
}

bool watch_learn_clock(struct watch *w, int type, int timeout_ms, int64_t *ret_offset)
{
	struct attachment *attachments[2] = { NULL, NULL };

	if (type < 0 || type >= WATCH_CLOCKS)
		return false;
	if (!w->skel->bss->clock_known[type] && !attach_clock(w, attachments)) {
		for (int ms = 0; ms < timeout_ms && !w->skel->bss->clock_known[type]; ms++)
			usleep(1000);
	}
	attach_remove(attachments[1]);
	attach_remove(attachments[0]);
	*ret_offset = w->skel->bss->clock_offset[type];
	return w->skel->bss->clock_known[type];
}
