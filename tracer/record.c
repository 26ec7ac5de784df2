// SPDX-License-Identifier: MIT
/* Probes, hits and threads of the recorder. See record.h. */
#include <errno.h>
#include <bpf/bpf.h>
#include <string.h>

#include "bpf/record.skel.h"
#include "tracer/clock.h"
#include "tracer/record-functions.h"
#include "tracer/record-glib.h"
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

/* Which of the bpf programs a probe is for. A leaf's return is probed beside its entry. */
static bool is_for(const struct record_probe *p, int kind, bool on_return)
{
	bool leaf = p->function && function_is_leaf(p->function);

	if (p->left_out)
		return false;
	if (p->event)
		return kind == RECORD_USDT;
	if (kind == RECORD_RETURN)
		return on_return ? leaf : p->resumes;
	return kind == RECORD_ENTRY && !p->resumes;
}

static int attach_kind(struct recorder *r, size_t first, int kind, bool on_return,
		       struct bpf_program *prog, struct failure *why)
{
	GArray *sites = g_array_new(FALSE, FALSE, sizeof(struct site));
	struct attachment *attachment = NULL;
	int err = 0;

	for (size_t i = first; i < r->probes->len; i++) {
		const struct record_probe *p = r->probes->pdata[i];
		struct site site = p->site;

		site.on_return = on_return;
		if (!is_for(p, kind, on_return))
			continue;
		if (!attach_has_multi() && r->attached == ATTACH_SLOW_MAX) {
			r->left_out++;
			continue;
		}
		r->attached++;
		g_array_append_val(sites, site);
	}
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
	/* Ends first: an entry whose return is not seen would never end. */
	err = attach_kind(r, first, RECORD_RETURN, true, r->skel->progs.on_return, why);
	if (!err)
		err = attach_kind(r, first, RECORD_RETURN, false, r->skel->progs.on_return, why);
	if (!err)
		err = attach_kind(r, first, RECORD_ENTRY, false, r->skel->progs.on_entry, why);
	if (!err)
		err = attach_kind(r, first, RECORD_USDT, false, r->skel->progs.on_usdt, why);
	for (size_t i = first; !err && i < r->probes->len; i++)
		((struct record_probe *)r->probes->pdata[i])->attached_ns = now_ns();
	return err;
}

void record_detach(struct recorder *r)
{
	r->skel->bss->closed = true;
	attach_remove_all(r->attachments);
}

int record_take_hit(void *recorder, void *data, size_t size)
{
	struct recorder *r = recorder;
	const struct record_hit *h = data;
	struct record_probe *probe;
	struct thread_state *t;

	if (size < sizeof(*h) || h->cookie >= r->probes->len)
		return 0;
	probe = r->probes->pdata[h->cookie];
	t = record_thread(r, h->tid);
	if (h->kind == RECORD_RETURN && !probe->resumes)
		probe->returns++;
	else
		probe->hits++;
	if (h->kind == RECORD_USDT && size >= sizeof(struct record_usdt))
		record_usdt_hit(r, data);
	else if (h->kind == RECORD_RETURN && size >= sizeof(struct record_return))
		record_take_return(r, t, data);
	else if (h->kind == RECORD_ENTRY && size >= sizeof(struct record_entry)) {
		record_settle(r, t, probe, data);
		if (probe->function)
			record_function_entry(r, t, probe, data);
		else if (probe->dispatches)
			record_glib_dispatch(r, t, probe, data);
		else
			record_callback_entry(r, t, probe, data);
	}
	return r->error ? -ECANCELED : 0;
}
