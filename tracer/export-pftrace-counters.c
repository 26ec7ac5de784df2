// SPDX-License-Identifier: MIT
/* What a Perfetto trace counts: BHs that are queued in each context; and who holds the big lock. */
#include "tracer/export-pftrace.h"
#include "tracer/report-words.h"

/* More BHs are not queued at one time but in a recording that is not what it seems. */
#define QUEUED_MAX 65536

/* BHs that a context has queued. */
struct bh_count {
	uint64_t uuid;
	uint32_t n;
};

static struct bh_count *bh_count_of(struct pftrace *p, uint64_t ctx)
{
	struct bh_count *count = g_hash_table_lookup(p->contexts, (void *)ctx);
	const char *known = report_context_name(p->report, ctx);
	char *name;

	if (count)
		return count;
	count = g_new0(struct bh_count, 1);
	count->uuid = pftrace_uuid(TRACK_BHS, g_hash_table_size(p->contexts));
	g_hash_table_insert(p->contexts, (void *)ctx, count);
	name = known ? g_strdup_printf("BHs queued in %s", known)
		     : g_strdup_printf("BHs queued in 0x%lx", (unsigned long)ctx);
	pftrace_child(p, count->uuid, pftrace_process(p), name, true);
	g_free(name);
	return count;
}

static void count_bhs(struct pftrace *p, uint64_t ctx, int step)
{
	struct bh_count *count = bh_count_of(p, ctx);

	count->n += step;
	pftrace_counter(p, count->uuid, count->n);
}

void pftrace_bh_queued(struct pftrace *p, uint64_t bh, uint64_t ctx)
{
	if (g_hash_table_contains(p->queued, (void *)bh) ||
	    g_hash_table_size(p->queued) >= QUEUED_MAX)
		return;
	g_hash_table_insert(p->queued, (void *)bh, (void *)ctx);
	count_bhs(p, ctx, 1);
}

void pftrace_bh_taken(struct pftrace *p, uint64_t bh)
{
	void *ctx;

	if (g_hash_table_steal_extended(p->queued, (void *)bh, NULL, &ctx))
		count_bhs(p, (uint64_t)ctx, -1);
}

void pftrace_forget_bhs(struct pftrace *p)
{
	GHashTableIter iter;
	void *bh, *ctx;

	g_hash_table_iter_init(&iter, p->queued);
	while (g_hash_table_iter_next(&iter, &bh, &ctx)) {
		g_hash_table_iter_remove(&iter);
		count_bhs(p, (uint64_t)ctx, -1);
	}
}

/* --- the big lock ----------------------------------------------------------------------------- */

void pftrace_bql_released(struct pftrace *p)
{
	if (p->bql_holder)
		pftrace_event(p, p->event->time_ns, pftrace_uuid(TRACK_BQL, 0), TYPE_END);
	p->bql_holder = 0;
}

void pftrace_bql_acquired(struct pftrace *p, const struct loop_bql_acquired *event)
{
	uint64_t uuid = pftrace_child(p, pftrace_uuid(TRACK_BQL, 0), pftrace_process(p),
				      "BQL holder", false);
	char *name = export_thread_name(p->report, event->h.tid);
	const char *new_name;
	uint32_t number;

	pftrace_bql_released(p); /* or its release came too late to be told before */
	number = export_names_text(p->names, g_strdup_printf("%u %s", event->h.tid, name),
				   &new_name);
	pftrace_name(p, number, new_name, REPORT_BQL_WAIT);
	pftrace_note_words(p, NOTE_SITE, report_place(p->report, event->site));
	pftrace_event(p, event->h.time_ns, uuid, TYPE_BEGIN);
	p->bql_holder = event->h.tid;
	g_free(name);
}
