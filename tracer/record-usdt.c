// SPDX-License-Identifier: MIT
/*
 * Events from the USDT probes a program carries itself: provider "qemu", named as in the table, the
 * arguments those of the event, in registers. A probe the table does not know is left alone.
 */
#include "tracer/record.h"
#include "tracer/usdt.h"

int record_add_usdt(struct recorder *r, const struct image *program)
{
	int refused, n = 0;
	GArray *probes = usdt_probes(program, "qemu", &refused);

	r->refused += refused;
	for (size_t i = 0; i < probes->len; i++) {
		const struct usdt_probe *probe = &g_array_index(probes, struct usdt_probe, i);
		struct record_probe p = { .site = probe->site };
		int id = loop_event_id(probe->name);

		if (id < 0 || !record_wants(r, (unsigned)id))
			continue;
		p.event = id;
		record_add_probe(r, &p);
		n++;
	}
	g_array_free(probes, TRUE);
	return n;
}

void record_usdt_hit(struct recorder *r, const struct record_usdt *hit)
{
	const struct record_probe *probe = r->probes->pdata[hit->h.cookie];

	if (r->program && !r->program->bias)
		image_set_bias(r->program, hit->pc - probe->site.link);
	emit(r, hit->h.time_ns, hit->h.tid, probe->event, (const uint64_t *)hit->args);
}
