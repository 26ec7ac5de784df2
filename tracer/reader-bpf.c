// SPDX-License-Identifier: MIT
/* The readers that run in the kernel: a task iterator, and a probe on the poll. See reader.h. */
#include <bpf/bpf.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/types.h>
#include "bpf/tables.h"
#include "bpf/pollset.skel.h"
#include "bpf/tables.skel.h"
#include "tracer/attach.h"
#include "tracer/clock.h"
#include "tracer/reader.h"

#define POLL_INTERVAL_MS 5 /* nobody is woken by the ring: it is looked at this often */

static void take_set(struct tables *tables, const struct tables_pollset *p)
{
	struct poll_set *set = NULL;

	for (size_t i = 0; p->first && i < tables->sets->len; i++) {
		struct poll_set *known = &g_array_index(tables->sets, struct poll_set, i);

		if (known->tid == (pid_t)p->wait.tid)
			set = known;
	}
	if (!set)
		set = tables_add_set(tables, p->wait.tid, p->wait.nr,
				     (const uint64_t *)p->wait.args,
				     (const int64_t *)p->wait.timeout);
	if (!p->failed && p->n <= TABLES_CHUNK)
		g_array_append_vals(set->fds, p->fds, p->n);
}

static int take_record(void *arg, void *data, size_t size)
{
	struct tables *tables = arg;
	const struct tables_element *e = data;
	struct element element = { 0 };

	if (size >= sizeof(struct tables_pollset) && e->type == TABLES_POLLSET) {
		take_set(tables, data);
	} else if (size >= sizeof(*e) && e->type == TABLES_ELEMENT &&
		   e->list < tables->lists->len) {
		element.addr = e->addr;
		element.failed = e->failed;
		memcpy(element.bytes, e->bytes, sizeof(element.bytes));
		g_array_append_val((GArray *)tables->lists->pdata[e->list], element);
	}
	return 0;
}

int bpf_failure(int err, struct failure *why)
{
	if (err == -EPERM || err == -EACCES)
		return fail(why, -EPERM,
			    "not allowed to load bpf programs: it needs CAP_BPF and CAP_PERFMON");
	return fail(why, -EOPNOTSUPP, "this kernel cannot run the bpf program (%s)",
		    strerror(-err));
}

/* Here there is another way. */
static int read_failure(int err, struct failure *why)
{
	err = bpf_failure(err, why);
	if (why)
		g_strlcat(why->text, "; --via mem reads memory instead", sizeof(why->text));
	return err;
}

/* Run the iterator over the threads of the target. */
static int run_iterator(struct tables_bpf *skel, pid_t pid, struct failure *why)
{
	union bpf_iter_link_info info = { .task = { .pid = pid } };
	LIBBPF_OPTS(bpf_iter_attach_opts, opts, .link_info = &info, .link_info_len = sizeof(info));
	struct bpf_link *link = bpf_program__attach_iter(skel->progs.dump_tables, &opts);
	char nothing[16];
	int fd, err = 0;

	if (!link && errno == EINVAL) /* before 6.1 an iterator cannot be bound to a process */
		link = bpf_program__attach_iter(skel->progs.dump_tables, NULL);
	if (!link && errno == ESRCH)
		return fail(why, -ESRCH, "process %d has exited", pid);
	if (!link)
		return read_failure(-errno, why);
	fd = bpf_iter_create(bpf_link__fd(link));
	if (fd < 0)
		err = read_failure(-errno, why);
	while (fd >= 0 && read(fd, nothing, sizeof(nothing)) > 0)
		;
	if (fd >= 0)
		close(fd);
	bpf_link__destroy(link);
	return err;
}

/*
 * The iterator is not drained while it runs, so lists that may be longer than the ring has room for
 * are asked for one at a time by the caller; what does not fit is counted.
 */
static int read_iter(struct target *t, const struct list_spec *specs, size_t n, bool sets,
		     size_t ring_bytes, struct tables *tables, struct failure *why)
{
	struct tables_bpf *skel = NULL;
	struct ring_buffer *ring = NULL;
	int err;

	for (size_t from = 0; !from || from < n; from += TABLES_MAX_LISTS) {
		size_t count = MIN(n - from, TABLES_MAX_LISTS);

		skel = tables_bpf__open();
		if (!skel)
			return read_failure(-errno, why);
		skel->rodata->tgid = t->pid;
		/* An empty list, rather than none: without any the 6.18 verifier trips over code
		 * that it has found dead (EFAULT). */
		skel->rodata->n_lists = MAX(count, 1);
		skel->rodata->want_pollsets = sets && !from;
		skel->rodata->first_list = from;
		bpf_map__set_max_entries(skel->maps.ring, ring_bytes);
		err = tables_bpf__load(skel);
		if (err) {
			err = read_failure(err, why);
			goto cleanup;
		}
		for (uint32_t i = 0; i < count; i++) {
			const struct list_spec *s = &specs[from + i];
			struct tables_list list = { s->first, s->next, s->size, LIST_MAX, 0 };

			bpf_map_update_elem(bpf_map__fd(skel->maps.lists), &i, &list, BPF_ANY);
		}
		ring = ring_buffer__new(bpf_map__fd(skel->maps.ring), take_record, tables, NULL);
		err = ring ? run_iterator(skel, t->pid, why) : read_failure(-errno, why);
		if (err)
			goto cleanup;
		ring_buffer__consume(ring);
		tables->lost += skel->bss->lost;
		ring_buffer__free(ring);
		tables_bpf__destroy(skel);
		ring = NULL;
		skel = NULL;
	}
	return 0;

cleanup:
	ring_buffer__free(ring);
	tables_bpf__destroy(skel);
	return err;
}

/* The kernel clears every page of a ring: a small one serves most, and a large one the rest. */
int tables_read_iter(struct target *t, const struct list_spec *specs, size_t n, bool sets,
		     struct tables *tables, struct failure *why)
{
	static const size_t rings[] = { 4 << 20, 16 << 20 }; /* some 13,000 records; 50,000 */
	int err = 0;

	for (size_t i = 0; !err && i < G_N_ELEMENTS(rings) && (!i || tables->lost); i++) {
		tables_clear(tables);
		err = read_iter(t, specs, n, sets, rings[i], tables, why);
	}
	return err;
}

/* Do all threads that wait now have their set? */
static bool all_seen(struct target *t, const struct tables *tables)
{
	for (size_t i = 0; i < t->threads->len; i++) {
		const struct thread *thread = &g_array_index(t->threads, struct thread, i);
		bool seen = !thread->sleeping || !is_wait_call(thread->nr);

		for (size_t k = 0; k < tables->sets->len && !seen; k++)
			seen = g_array_index(tables->sets, struct poll_set, k).tid == thread->tid;
		if (!seen)
			return false;
	}
	return tables->sets->len > 0;
}

int tables_read_probe(struct target *t, struct images *images, int timeout_ms,
		      struct tables *tables, struct failure *why)
{
	static const struct {
		const char *name;
		long nr;
	} calls[] = { { "poll", NR_POLL }, { "ppoll", NR_PPOLL } };
	struct image *libc = images_library(images, "libc.so");
	struct site sites[G_N_ELEMENTS(calls)];
	int64_t end;
	struct pollfd exit = { .fd = (int)syscall(SYS_pidfd_open, t->pid, 0), .events = POLLIN };
	struct attachment *attachment = NULL;
	struct pollset_bpf *skel = NULL;
	struct ring_buffer *ring = NULL;
	int err = 0;

	if (!libc)
		return fail(why, -ENOENT, "process %d has no libc whose poll() could be probed",
			    t->pid);
	for (size_t i = 0; i < G_N_ELEMENTS(calls) && !err; i++) {
		err = site_of(libc, calls[i].name, &sites[i], why);
		sites[i].cookie = calls[i].nr;
	}
	if (err)
		return err;
	skel = pollset_bpf__open();
	if (!skel)
		return read_failure(-errno, why);
	skel->rodata->tgid = t->pid;
	attach_prepare(skel->progs.send_pollset, ATTACH_BEST);
	err = pollset_bpf__load(skel);
	if (err) {
		err = read_failure(err, why);
		goto cleanup;
	}
	ring = ring_buffer__new(bpf_map__fd(skel->maps.ring), take_record, tables, NULL);
	if (!ring) {
		err = read_failure(-errno, why);
		goto cleanup;
	}
	err = attach_sites(skel->progs.send_pollset, ATTACH_BEST, t->pid, sites,
			   G_N_ELEMENTS(sites), &attachment, why);
	end = now_ms() + timeout_ms;
	while (!err && !all_seen(t, tables) && now_ms() < end) {
		if (poll(&exit, 1, POLL_INTERVAL_MS) > 0)
			err = fail(why, -ESRCH, "process %d has exited", t->pid);
		ring_buffer__consume(ring);
	}
	attach_remove(attachment);
	ring_buffer__consume(ring);
	tables->lost += skel->bss->lost;

cleanup:
	if (exit.fd >= 0)
		close(exit.fd);
	ring_buffer__free(ring);
	pollset_bpf__destroy(skel);
	return err;
}
