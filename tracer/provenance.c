// SPDX-License-Identifier: MIT
/* See provenance.h. */
#include <bpf/bpf.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <linux/ptrace.h>
#include <linux/types.h>
#include "bpf/provenance.h"
#include "bpf/provenance.skel.h"
#include "tracer/attach.h"
#include "tracer/clock.h"
#include "tracer/out.h"
#include "tracer/provenance.h"

struct provenance {
	struct provenance_bpf *skel;
	struct attachment *attachment;
	pid_t pid;
	GHashTable *before; /* fds that were open when the watch began */
	bool command;	    /* it had not begun to run */
	int64_t begun_ns;
	struct unwinder *unwinder;
};

static const struct {
	const char *name;
	bool of_glib; /* else of the program */
	int n_args;
} sites[PROVENANCE_SITES] = {
	[PROVENANCE_AIO_SET_FD_HANDLER] = { "aio_set_fd_handler", false, 2 },
	[PROVENANCE_ADD_UNIX_FD] = { "g_source_add_unix_fd", true, 2 },
	[PROVENANCE_ADD_POLL] = { "g_source_add_poll", true, 2 },
};

static const struct {
	int nr;
	const char *name;
} calls[] = {
	{ 2, "open" },
	{ 22, "pipe" },
	{ 32, "dup" },
	{ 33, "dup2" },
	{ 41, "socket" },
	{ 43, "accept" },
	{ 53, "socketpair" },
	{ 72, "fcntl" },
	{ 257, "openat" },
	{ 282, "signalfd" },
	{ 283, "timerfd_create" },
	{ 284, "eventfd" },
	{ 288, "accept4" },
	{ 289, "signalfd4" },
	{ 290, "eventfd2" },
	{ 291, "epoll_create1" },
	{ 292, "dup3" },
	{ 293, "pipe2" },
	{ 294, "inotify_init1" },
	{ 319, "memfd_create" },
	{ 323, "userfaultfd" },
	{ 425, "io_uring_setup" },
	{ 434, "pidfd_open" },
	{ 437, "openat2" },
	{ 438, "pidfd_getfd" },
};

static const char *call_named(uint64_t nr)
{
	for (size_t i = 0; i < G_N_ELEMENTS(calls); i++)
		if ((uint64_t)calls[i].nr == nr)
			return calls[i].name;
	return "a system call";
}

static void remember_open(struct provenance *p)
{
	char path[32];
	struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", p->pid);
	dir = opendir(path);
	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			g_hash_table_add(p->before, GINT_TO_POINTER(atoi(entry->d_name)));
	if (dir)
		closedir(dir);
}

/*
 * GLib's library as the target has mapped it, whatever root it has that from; of one that has not,
 * as it may load it later, that at the path of our own.
 */
static char *glib_path(pid_t pid)
{
	char *path = g_strdup_printf("/proc/%d/maps", pid), *maps = NULL, *found = NULL;
	Dl_info info;

	if (g_file_get_contents(path, &maps, NULL, NULL)) {
		char **lines = g_strsplit(maps, "\n", -1);

		for (char **line = lines; *line && !found; line++)
			if (strstr(*line, "/libglib-2.0.so"))
				found = g_strdup_printf("/proc/%d/map_files/%.*s", pid,
							(int)strcspn(*line, " "), *line);
		g_strfreev(lines);
	}
	g_free(maps);
	g_free(path);
	if (!found && dladdr((void *)g_source_new, &info) && info.dli_fname)
		found = g_strdup_printf("/proc/%d/root%s", pid, info.dli_fname);
	return found;
}

/* The registering functions, as far as there are such and a probe can be placed. */
static int attach_functions(struct provenance *p, const struct image *program, struct failure *why)
{
	char *path = glib_path(p->pid);
	struct site found[PROVENANCE_SITES];
	struct image *glib = NULL;
	size_t n = 0;
	int err;

	if (path)
		image_open_file(path, &glib, NULL);
	g_free(path);
	for (int i = 0; i < PROVENANCE_SITES; i++) {
		const struct image *img = sites[i].of_glib ? glib : program;
		const struct symbol *symbol = img ? image_symbol(img, sites[i].name) : NULL;

		if (!symbol || site_at_args(img, symbol->link, sites[i].n_args, &found[n], NULL))
			continue;
		found[n++].cookie = i;
	}
	err = n ? attach_sites(p->skel->progs.on_register, ATTACH_BEST, p->pid, found, n,
			       &p->attachment, why)
		: 0;
	image_close(glib);
	return err;
}

static int load(struct provenance *p, struct failure *why)
{
	int err;

	p->skel = provenance_bpf__open();
	if (!p->skel)
		return bpf_failure(-errno, why);
	p->skel->rodata->tgid = p->pid;
	attach_prepare(p->skel->progs.on_register, ATTACH_BEST);
	err = provenance_bpf__load(p->skel);
	if (err)
		return bpf_failure(err, why);
	p->skel->links.on_exit = bpf_program__attach(p->skel->progs.on_exit);
	return p->skel->links.on_exit ? 0 : bpf_failure(-errno, why);
}

static struct provenance *provenance_new(pid_t pid)
{
	struct provenance *p = g_new0(struct provenance, 1);

	p->pid = pid;
	p->before = g_hash_table_new(NULL, NULL);
	return p;
}

int provenance_begin(pid_t pid, struct provenance **ret, struct failure *why)
{
	struct provenance *p = provenance_new(pid);
	struct image *program = NULL;
	int err = image_open_exe(pid, &program, why);

	if (!err)
		err = load(p, why);
	if (!err)
		err = attach_functions(p, program, why);
	image_close(program);
	if (err) {
		provenance_free(p);
		return err;
	}
	remember_open(p);
	p->begun_ns = now_ns();
	*ret = p;
	return 0;
}

/* It is another program now: what is open was passed on to it, by what is no longer there. */
static void begin_again(void *arg)
{
	struct provenance *p = arg;
	int events = bpf_map__fd(p->skel->maps.events);
	struct provenance_key key;

	while (!bpf_map_get_next_key(events, NULL, &key))
		if (bpf_map_delete_elem(events, &key))
			break;
	attach_remove(p->attachment);
	p->attachment = NULL;
	g_hash_table_remove_all(p->before);
	remember_open(p);
	p->begun_ns = now_ns();
}

static int attach_at_entry(void *arg, struct image **program, struct failure *why)
{
	struct provenance *p = arg;
	int err = attach_functions(p, *program, why);

	p->begun_ns = now_ns();
	return err;
}

int provenance_begin_command(struct child *child, struct provenance **ret, struct failure *why)
{
	struct provenance *p = provenance_new(child->pid);
	struct hold_steps steps = { begin_again, attach_at_entry, p };
	int err;

	p->command = true;
	err = load(p, why);
	if (!err)
		err = hold_begin(child->pid, &steps, &child->hold, why);
	if (err)
		provenance_free(p);
	else
		*ret = p;
	return err;
}

void provenance_end(struct provenance *p)
{
	attach_remove(p->attachment);
	p->attachment = NULL;
	bpf_link__destroy(p->skel->links.on_exit);
	p->skel->links.on_exit = NULL;
}

void provenance_free(struct provenance *p)
{
	if (!p)
		return;
	attach_remove(p->attachment);
	provenance_bpf__destroy(p->skel);
	unwinder_free(p->unwinder);
	g_hash_table_destroy(p->before);
	g_free(p);
}

uint64_t provenance_lost(const struct provenance *p)
{
	return p->skel->bss->lost;
}

static bool find(struct provenance *p, struct session *s, int fd, enum provenance_kind kind,
		 struct origin *ret)
{
	struct provenance_key key = { (__u32)fd, kind };
	struct provenance_event *e = g_new0(struct provenance_event, 1);
	bool found = !bpf_map_lookup_elem(bpf_map__fd(p->skel->maps.events), &key, e);

	memset(ret, 0, sizeof(*ret));
	if (found) {
		ret->known = ORIGIN_SEEN;
		ret->call = kind == PROVENANCE_MADE    ? call_named(e->by)
			    : e->by < PROVENANCE_SITES ? sites[e->by].name
						       : "?";
		ret->at_ns = (int64_t)e->time_ns - p->begun_ns;
		ret->tid = (pid_t)e->stack.thread.tid;
		if (!p->unwinder)
			p->unwinder = unwinder_new(s->t, s->images);
		if (!p->unwinder || unwinder_run(p->unwinder, &e->stack, &ret->stack))
			ret->stack.n = 0;
	}
	g_free(e);
	return found;
}

static bool was_open(const struct provenance *p, int fd)
{
	return g_hash_table_contains(p->before, GINT_TO_POINTER(fd));
}

void provenance_made(struct provenance *p, struct session *s, int fd, struct origin *ret)
{
	if (find(p, s, fd, PROVENANCE_MADE, ret))
		return;
	ret->known = !was_open(p, fd) ? ORIGIN_UNSEEN
		     : p->command     ? ORIGIN_INHERITED
				      : ORIGIN_OLDER;
}

/* Was it registered inside of a call of that function? */
static bool is_inside(struct session *s, const struct origin *o, const char *function)
{
	bool inside = false;

	for (int i = 0; i < o->stack.n && !inside; i++) {
		uint64_t at = o->stack.frames[i].function;
		char *name = at ? images_name(s->images, at) : NULL;

		inside = name && !strcmp(name, function);
		g_free(name);
	}
	return inside;
}

/* A descriptor that is older may have been registered before, too. */
void provenance_registered(struct provenance *p, struct session *s, int fd, struct origin *ret)
{
	struct origin by_qemu;
	bool qemu = find(p, s, fd, PROVENANCE_BY_QEMU, &by_qemu);
	bool glib = find(p, s, fd, PROVENANCE_BY_GLIB, ret);

	if (qemu && (!glib || is_inside(s, ret, by_qemu.call) || by_qemu.at_ns > ret->at_ns))
		*ret = by_qemu;
	if (qemu || glib)
		return;
	ret->known = was_open(p, fd) && !p->command ? ORIGIN_OLDER : ORIGIN_UNSEEN;
}

/* The wrappers of system calls say nothing that the call's name does not. */
static bool is_wrapper(struct session *s, uint64_t pc)
{
	struct image *img = images_at(s->images, pc);

	return img &&
	       (g_str_has_prefix(img->name, "libc.so") || g_str_has_prefix(img->name, "libc-") ||
		g_str_has_prefix(img->name, "ld-linux"));
}

GPtrArray *provenance_chain(struct session *s, const struct origin *o)
{
	GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
	int first = 0;

	while (first < o->stack.n && is_wrapper(s, o->stack.frames[first].pc))
		first++;
	for (int i = o->stack.n - 1; i >= first; i--) {
		const struct frame *f = &o->stack.frames[i];

		g_ptr_array_add(names, images_name(s->images, f->function ? f->function : f->pc));
	}
	return names;
}

/* The function that made the call, or, of a registering function, that called it. */
static char *caller(struct session *s, const struct origin *o)
{
	GPtrArray *names = provenance_chain(s, o);
	char *found = NULL;

	for (int i = (int)names->len - 1; i >= 0 && !found; i--)
		if (strcmp(names->pdata[i], o->call))
			found = g_strdup(names->pdata[i]);
	g_ptr_array_free(names, TRUE);
	return found;
}

char *provenance_text(struct provenance *p, struct session *s, const struct origin *o)
{
	char *in, *when, *text;

	switch (o->known) {
	case ORIGIN_OLDER:
		return g_strdup("older than attach");
	case ORIGIN_INHERITED:
		return g_strdup("inherited from whoever started the command");
	case ORIGIN_UNSEEN:
		return g_strdup("not seen: by something that is not watched");
	case ORIGIN_SEEN:
		break;
	}
	in = caller(s, o);
	when = out_duration(o->at_ns < 0 ? 0 : o->at_ns);
	text = g_strdup_printf("%s()%s%s, %s after %s, thread %d", o->call, in ? " in " : "",
			       in ? in : "", when, p->command ? "start" : "attach", o->tid);
	g_free(in);
	g_free(when);
	return text;
}
