// SPDX-License-Identifier: MIT
/* See attach.h. */
#include <bpf/bpf.h>
#include <errno.h>
#include <glib.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tracer/attach.h"

/* enum bpf_attach_type and a flag of it, from Linux 6.6; Debian 12's header ends before them. */
#define UPROBE_MULTI 48
#define MULTI_RETURN 1

/* The part of union bpf_attr that BPF_LINK_CREATE takes for UPROBE_MULTI
	   (uapi/linux/bpf.h). */
struct link_create_uprobe_multi {
	uint32_t prog_fd;
	uint32_t target_fd;
	uint32_t attach_type;
	uint32_t flags;
	uint64_t path;
	uint64_t offsets;
	uint64_t ref_ctr_offsets;
	uint64_t cookies;
	uint32_t cnt;
	uint32_t multi_flags;
	uint32_t pid;
	uint32_t pad;
};

struct attachment {
	GArray *links;	 /* int: descriptors of uprobe_multi links */
	GPtrArray *slow; /* struct bpf_link * */
};

static int silent(enum libbpf_print_level level, const char *fmt, va_list args)
{
	(void)level;
	(void)fmt;
	(void)args;
	return 0;
}

static int loud(enum libbpf_print_level level, const char *fmt, va_list args)
{
	return level == LIBBPF_DEBUG ? 0 : vfprintf(stderr, fmt, args);
}

void attach_set_verbose(bool verbose)
{
	libbpf_set_print(verbose ? loud : silent);
}

static int link_create(struct link_create_uprobe_multi *attr)
{
	int fd = (int)syscall(SYS_bpf, BPF_LINK_CREATE, attr, sizeof(*attr));

	return fd < 0 ? -errno : fd;
}

/* A kernel that knows the link says that "/" is no file; one that does not refuses the type. */
static bool probe_multi(void)
{
	static const struct bpf_insn nothing[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = UPROBE_MULTI);
	struct link_create_uprobe_multi attr = { .attach_type = UPROBE_MULTI, .cnt = 1 };
	uint64_t offset = 0;
	int err, prog = bpf_prog_load(BPF_PROG_TYPE_KPROBE, NULL, "GPL", nothing,
				      G_N_ELEMENTS(nothing), &opts);

	if (prog < 0)
		return false;
	attr.prog_fd = prog;
	attr.path = (uintptr_t) "/";
	attr.offsets = (uintptr_t)&offset;
	err = link_create(&attr);
	close(prog);
	if (err >= 0)
		close(err);
	return err == -EBADF;
}

bool attach_has_multi(void)
{
	static int has = -1;

	if (has < 0)
		has = probe_multi();
	return has;
}

static bool use_multi(enum attach_how how)
{
	return how == ATTACH_BEST && attach_has_multi();
}

void attach_prepare(struct bpf_program *prog, enum attach_how how)
{
	if (use_multi(how))
		bpf_program__set_expected_attach_type(prog, (enum bpf_attach_type)UPROBE_MULTI);
}

/* A link is of one file, and of entries or of returns. */
static bool same_link(const struct site *a, const struct site *b)
{
	return a->img == b->img && a->on_return == b->on_return;
}

/* One link for all sites that can share it with @first. */
static int attach_link(struct attachment *a, int prog_fd, pid_t pid, const struct site *first,
		       const struct site *sites, size_t n)
{
	uint64_t *offsets = g_new0(uint64_t, n), *counters = g_new0(uint64_t, n);
	uint64_t *cookies = g_new0(uint64_t, n);
	struct link_create_uprobe_multi attr = {
		.prog_fd = prog_fd,
		.attach_type = UPROBE_MULTI,
		.path = (uintptr_t)first->img->open_path,
		.offsets = (uintptr_t)offsets,
		.cookies = (uintptr_t)cookies,
		.multi_flags = first->on_return ? MULTI_RETURN : 0,
		.pid = pid,
	};
	int fd;

	for (size_t i = 0; i < n; i++) {
		if (!same_link(&sites[i], first))
			continue;
		offsets[attr.cnt] = sites[i].offset;
		counters[attr.cnt] = sites[i].ref_ctr_offset;
		cookies[attr.cnt] = sites[i].cookie;
		if (sites[i].ref_ctr_offset)
			attr.ref_ctr_offsets = (uintptr_t)counters;
		attr.cnt++;
	}
	fd = link_create(&attr);
	if (fd >= 0)
		g_array_append_val(a->links, fd);
	g_free(offsets);
	g_free(counters);
	g_free(cookies);
	return fd < 0 ? fd : 0;
}

static int attach_multi(struct attachment *a, struct bpf_program *prog, pid_t pid,
			const struct site *sites, size_t n)
{
	int err = 0;

	for (size_t i = 0; i < n && !err; i++) {
		bool done = false;

		for (size_t k = 0; k < i && !done; k++)
			done = same_link(&sites[k], &sites[i]);
		if (!done)
			err = attach_link(a, bpf_program__fd(prog), pid, &sites[i], sites, n);
	}
	return err;
}

static int attach_slow(struct attachment *a, struct bpf_program *prog, pid_t pid,
		       const struct site *sites, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		LIBBPF_OPTS(bpf_uprobe_opts, opts, .ref_ctr_offset = sites[i].ref_ctr_offset,
			    .bpf_cookie = sites[i].cookie, .retprobe = sites[i].on_return);
		struct bpf_link *link = bpf_program__attach_uprobe_opts(
			prog, pid, sites[i].img->open_path, sites[i].offset, &opts);

		if (!link)
			return -errno;
		g_ptr_array_add(a->slow, link);
	}
	return 0;
}

int attach_sites(struct bpf_program *prog, enum attach_how how, pid_t pid, const struct site *sites,
		 size_t n, struct attachment **ret, struct failure *why)
{
	struct attachment *a;
	int err;

	if (!use_multi(how) && n > ATTACH_SLOW_MAX)
		return fail(
			why, -E2BIG,
			"this kernel can attach %d probes at once, not %zu: it is older than 6.6",
			ATTACH_SLOW_MAX, n);
	a = g_new0(struct attachment, 1);
	a->links = g_array_new(FALSE, FALSE, sizeof(int));
	a->slow = g_ptr_array_new();
	err = use_multi(how) ? attach_multi(a, prog, pid, sites, n)
			     : attach_slow(a, prog, pid, sites, n);
	if (!err) {
		*ret = a;
		return 0;
	}
	attach_remove(a);
	switch (err) {
	case -ESRCH:
		return fail(why, err, "process %d has exited", pid);
	case -EPERM:
	case -EACCES:
		return fail(why, -EPERM,
			    "not allowed to probe process %d: it needs CAP_BPF and "
			    "CAP_PERFMON",
			    pid);
	default:
		/* Its file goes with a process that ends meanwhile. */
		if (kill(pid, 0) && errno == ESRCH)
			return fail(why, -ESRCH, "process %d has exited", pid);
		return fail(why, err, "the kernel refuses to probe process %d: %s", pid,
			    strerror(-err));
	}
}

/* A link's last close waits for every CPU to have left its programs, 0.1 s: so all wait at once. */
#define CLOSERS 32

struct closer {
	const GArray *links;
	guint first;
};

static void *close_links(void *data)
{
	const struct closer *c = data;

	for (guint i = c->first; i < c->links->len; i += CLOSERS)
		close(g_array_index(c->links, int, i));
	return NULL;
}

static void close_at_once(const GArray *links)
{
	guint n = MIN(links->len, CLOSERS);
	struct closer closers[CLOSERS];
	pthread_t threads[CLOSERS];
	bool started[CLOSERS];

	for (guint i = 0; i < n; i++) {
		closers[i] = (struct closer){ links, i };
		started[i] = i && !pthread_create(&threads[i], NULL, close_links, &closers[i]);
	}
	for (guint i = 0; i < n; i++)
		if (!started[i])
			close_links(&closers[i]);
	for (guint i = 0; i < n; i++)
		if (started[i])
			pthread_join(threads[i], NULL);
}

void attach_remove_all(GPtrArray *attachments)
{
	GArray *links = g_array_new(FALSE, FALSE, sizeof(int));

	for (guint i = 0; i < attachments->len; i++) {
		struct attachment *a = attachments->pdata[i];

		g_array_append_vals(links, a->links->data, a->links->len);
		for (guint k = 0; k < a->slow->len; k++)
			bpf_link__destroy(a->slow->pdata[k]);
		g_array_free(a->links, TRUE);
		g_ptr_array_free(a->slow, TRUE);
		g_free(a);
	}
	close_at_once(links);
	g_array_free(links, TRUE);
	g_ptr_array_set_size(attachments, 0);
}

void attach_remove(struct attachment *a)
{
	GPtrArray *one = g_ptr_array_new();

	if (a)
		g_ptr_array_add(one, a);
	attach_remove_all(one);
	g_ptr_array_free(one, TRUE);
}
