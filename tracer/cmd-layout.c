// SPDX-License-Identifier: MIT
/*
 * loopscope layout: where the fields of the loop's structures lie in this build, and how we know.
 */
#include <stdio.h>

#include "tracer/loops.h"
#include "tracer/out.h"
#include "tracer/session.h"

static void print_table(const struct layout *l)
{
	static const char *const heads[] = { "STRUCTURE", "FIELD", "OFFSET", "PROOF", NULL };
	struct table *table = table_new(heads);
	int unknown = 0;

	char *title = g_strdup_printf(
		"%s, build %s: layout %s", l->exe, l->build_id[0] ? l->build_id : "unknown",
		l->source == LAYOUT_DWARF ? "from debug information" : "inferred");

	out_wrapped(title);
	putchar('\n');
	g_free(title);
	for (int f = 0; f < N_LAYOUT_FIELDS; f++) {
		char offset[16] = "unknown";

		if (l->off[f] >= 0)
			snprintf(offset, sizeof(offset), "%6d", l->off[f]);
		else
			unknown++;
		table_row(table, layout_field_type(f), layout_field_path(f), offset, l->proof[f],
			  NULL);
	}
	table_print(table, "");
	if (l->notes->len)
		putchar('\n');
	for (size_t i = 0; i < l->notes->len; i++)
		out_wrapped(l->notes->pdata[i]);
	printf("\n%d fields known, %d unknown.\n", N_LAYOUT_FIELDS - unknown, unknown);
}

int cmd_layout(const struct options *options, struct failure *why)
{
	struct loops *loops = NULL;
	struct session s;
	int err = session_begin(&s, options, why);

	/* GLib's part is proven on the contexts themselves, also beside debug information. */
	if (!err)
		err = loops_read(s.t, s.images, s.l, s.fds, READ_MEM, 0, &loops, why);
	if (!err && options->btf)
		err = layout_write_btf(s.l, options->btf, why);
	if (!err && options->json)
		out_json(layout_to_json(s.l));
	else if (!err)
		print_table(s.l);
	loops_free(loops);
	session_close(&s);
	return err;
}
