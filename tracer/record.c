// SPDX-License-Identifier: MIT
/* Probes, hits and threads of the recorder. See record.h. */
#include <errno.h>
#include <bpf/bpf.h>
#include <string.h>

#include "bpf/record.skel.h"
#include "tracer/record-functions.h"
#include "tracer/record.h"

struct record_probe *record_add_probe(struct recorder *r, const struct record_probe *probe)
{
	struct record_probe *p = g_new(struct record_probe, 1);

	*p = *probe;
	p->site.cookie = r->probes->len;
	g_ptr_array_add(r->probes, p);
	return p;
}

struct thread_state *record_thread(struct recorder *r, uint32_t tid)
{
	struct thread_state *t = g_hash_table_lookup(r->threads, GUINT_TO_POINTER(tid));
	char path[64];
	char *comm = NULL;

	if (t)
		return t;
	t = g_new0(struct thread_state, 1);
	t->tid = tid;
	g_hash_table_insert(r->threads, GUINT_TO_POINTER(tid), t);
	g_snprintf(path, sizeof(path), "/proc/%d/task/%u/comm", r->pid, tid);
	if (g_file_get_contents(path, &comm, NULL, NULL))
		emit_text(r, LOOP_EV_THREAD, (const uint64_t[]){ tid, r->pid, 0 },
			  g_strchomp(comm));
	g_free(comm);
	return t;
}

static bool probes_return(const struct record_probe *p)
{
	return p->callback || (p->function && p->function->leave);
}

/* The sites of one program's probes: USDT, entries, or returns. */
static GArray *collect_sites(struct recorder *r, size_t first, int kind)
{
	GArray *sites = g_array_new(FALSE, FALSE, sizeof(struct site));

	for (size_t i = first; i < r->probes->len; i++) {
		const struct record_probe *p = r->probes->pdata[i];
		struct site site = p->site;

		if ((kind == RECORD_USDT) != (p->event != 0))
			continue;
		if (kind == RECORD_RETURN && !probes_return(p))
			continue;
		site.on_return = kind == RECORD_RETURN;
		g_array_append_val(sites, site);
	}
	return sites;
}

static int attach_kind(struct recorder *r, size_t first, int kind, struct bpf_program *prog,
		       struct failure *why)
{
	GArray *sites = collect_sites(r, first, kind);
	struct attachment *attachment = NULL;
	int err = 0;

	if (sites->len)
		err = attach_sites(prog, ATTACH_BEST, r->pid, (struct site *)sites->data,
				   sites->len, &attachment, why);
	if (attachment)
		g_ptr_array_add(r->attachments, attachment);
	g_array_free(sites, TRUE);
	return err;
}

int record_attach(struct recorder *r, size_t first, struct failure *why)
{
	int map = bpf_map__fd(r->skel->maps.sites), err;

	for (uint32_t i = first; i < r->probes->len && i < RECORD_MAX_SITES; i++) {
		const struct record_probe *p = r->probes->pdata[i];

		bpf_map_update_elem(map, &i, &p->reads, BPF_ANY);
	}
	/* Returns first: an entry whose return is not seen would never end. */
	err = attach_kind(r, first, RECORD_RETURN, r->skel->progs.on_return, why);
	if (!err)
		err = attach_kind(r, first, RECORD_ENTRY, r->skel->progs.on_entry, why);
	if (!err)
		err = attach_kind(r, first, RECORD_USDT, r->skel->progs.on_usdt, why);
	return err;
}

/* The call that a return ends: the innermost of its function; those inside it were lost. */
static bool take_call(struct thread_state *t, const struct record_probe *probe, struct call *ret)
{
	if (t->too_deep) {
		t->too_deep--;
		return false;
	}
	for (int i = t->n_calls; i-- > 0;) {
		if (t->calls[i].probe != probe)
			continue;
		*ret = t->calls[i];
		t->n_calls = i;
		return true;
	}
	return false;
}

static void take_return(struct recorder *r, const struct record_probe *probe,
			const struct record_return *hit)
{
	struct call call;

	if (!take_call(record_thread(r, hit->h.tid), probe, &call))
		return;
	if (probe->function)
		record_function_return(r, &call, hit);
	else
		record_callback_return(r, &call, hit->h.time_ns, hit->h.tid);
}

/*
 * Entries go first, as they came last: an entry without its return would look like a callback that
 * never ends.
 */
void record_detach(struct recorder *r)
{
	while (r->attachments->len)
		g_ptr_array_set_size(r->attachments, r->attachments->len - 1);
}

int record_take_hit(void *recorder, void *data, size_t size)
{
	struct recorder *r = recorder;
	const struct record_hit *h = data;
	const struct record_probe *probe;

	if (size < sizeof(*h) || h->cookie >= r->probes->len)
		return 0;
	probe = r->probes->pdata[h->cookie];
	record_thread(r, h->tid);
	if (h->kind == RECORD_USDT && size >= sizeof(struct record_usdt))
		record_usdt_hit(r, data);
	else if (h->kind == RECORD_ENTRY && size >= sizeof(struct record_entry) && probe->function)
		record_function_entry(r, probe, data);
	else if (h->kind == RECORD_ENTRY && size >= sizeof(struct record_entry))
		record_callback_entry(r, probe, data);
	else if (h->kind == RECORD_RETURN && size >= sizeof(struct record_return))
		take_return(r, probe, data);
	return r->error ? -ECANCELED : 0;
}
