// SPDX-License-Identifier: MIT
/*
 * record -v: how often each probe was hit, and whether the kernel had to single-step it. That is
 * what a recording costs its target; the ends of calls, which no table knows before, are among it.
 */
#include <inttypes.h>
#include <stdio.h>

#include "tracer/out.h"
#include "tracer/record-functions.h"
#include "tracer/record.h"

static uint64_t hits_of(const struct record_probe *p)
{
	return p->hits + p->returns;
}

static int by_hits(const void *a, const void *b)
{
	const struct record_probe *const *x = a, *const *y = b;

	return (hits_of(*y) > hits_of(*x)) - (hits_of(*y) < hits_of(*x));
}

static const char *what(const struct record_probe *p)
{
	return p->event			       ? "USDT"
	       : p->resumes		       ? "ends"
	       : p->function && p->returns > 0 ? "entry, return"
	       : p->function		       ? "entry"
					       : "callback";
}

static const char *cost(const struct record_probe *p)
{
	return p->site.emulated ? "emulated" : "single-stepped";
}

/* "main_loop_wait+0x1c2", "libc.so.6+0x1234" where there is no symbol, and what is called there.
 * To be freed. */
static char *place(const struct record_probe *p)
{
	const struct symbol *symbol = image_symbol_at(p->site.img, p->site.link);

	char *at, *text;

	if (p->event)
		return g_strdup(loop_event_desc(p->event)->name);
	at = symbol ? g_strdup_printf("%s+0x%" PRIx64, symbol->name, p->site.link - symbol->link)
		    : g_strdup_printf("%s+0x%" PRIx64, p->site.img->name, p->site.link);
	if (!p->site.of_call)
		return at;
	text = g_strdup_printf("%s, called at %s", p->site.name, at);
	g_free(at);
	return text;
}

static void show(struct table *table, const struct record_probe *p)
{
	char *where = place(p), number[24];

	snprintf(number, sizeof(number), "%" PRIu64, hits_of(p));
	if (table)
		table_row(table, number, cost(p), what(p), where, NULL);
	else
		out_json(json_pack("{s:s, s:I, s:I, s:s, s:s, s:o, s:s, s:o}", "type", "probe",
				   "hits", (json_int_t)p->hits, "returns", (json_int_t)p->returns,
				   "cost", cost(p), "what", what(p), "where", out_text(where),
				   "image", p->site.img->name, "link", out_address(p->site.link)));
	g_free(where);
}

void record_show_hits(const struct recorder *r, bool json)
{
	static const char *const heads[] = { "HITS", "COST", "WHAT", "WHERE", NULL };
	struct table *table = json ? NULL : table_new(heads);
	GPtrArray *probes = g_ptr_array_new();

	for (size_t i = 0; i < r->probes->len; i++)
		if (hits_of(r->probes->pdata[i]))
			g_ptr_array_add(probes, r->probes->pdata[i]);
	g_ptr_array_sort(probes, by_hits);
	for (size_t i = 0; i < probes->len; i++)
		show(table, probes->pdata[i]);
	if (table)
		table_print(table, "");
	g_ptr_array_free(probes, TRUE);
}
