// SPDX-License-Identifier: MIT
/* The lines of top, for a terminal of any width and for a pipe. See top.h. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tracer/out.h"
#include "tracer/top.h"

#define WIDE	  96	    /* from here on there is room for the total time */
#define LONG_CALL 100000000 /* ns: a call that runs for so long is hot */

static void clear_line(void *line)
{
	g_free(((struct top_line *)line)->text);
}

GArray *top_lines_new(void)
{
	GArray *lines = g_array_new(FALSE, TRUE, sizeof(struct top_line));

	g_array_set_clear_func(lines, clear_line);
	return lines;
}

/* Take @text; cut it to @width characters. */
static void add_line(GArray *lines, char *text, int width, enum top_style style, int row)
{
	struct top_line line = { text, style, row };

	if (g_utf8_strlen(text, -1) > width) {
		line.text = g_utf8_substring(text, 0, width);
		g_free(text);
	}
	g_strchomp(line.text);
	g_array_append_val(lines, line);
}

/* The text in exactly @width columns, and a blank. */
static void append_cell(GString *line, const char *text, int width)
{
	glong len = g_utf8_strlen(text, -1);
	char *cut = g_utf8_substring(text, 0, MIN(len, len > width ? width - 2 : len));

	g_string_append_printf(line, "%s%s", cut, len > width ? ".." : "");
	g_string_append_printf(line, "%*s ", (int)MAX(width - len, 0), "");
	g_free(cut);
}

void top_format_time(char text[8], uint64_t ns)
{
	static const struct {
		double unit;
		const char *name;
	} units[] = { { 1e9, "s" }, { 1e6, "ms" }, { 1e3, "us" } };
	double value = (double)ns;

	if (ns >= 1000000000000ULL) {
		snprintf(text, 8, "%.0fs", MIN(value / 1e9, 99999));
		return;
	}
	for (size_t i = 0; i < G_N_ELEMENTS(units); i++) {
		double v = value / units[i].unit;

		/* What would be rounded up to 1000 is one of the next unit. */
		if (v < 0.9995)
			continue;
		snprintf(text, 8, "%.*f%s", v >= 99.95 ? 0 : v >= 9.995 ? 1 : 2, v, units[i].name);
		return;
	}
	if (ns)
		snprintf(text, 8, "%uns", (unsigned)ns);
	else
		snprintf(text, 8, "-");
}

static void append_time(GString *line, uint64_t ns)
{
	char text[8];

	top_format_time(text, ns);
	g_string_append_printf(line, "%6s ", text);
}

/* A share in percent: "99.9", "0.05", "-" for nothing. */
static void append_share(GString *line, double share, int width)
{
	double percent = share * 100;

	if (percent < 0.005)
		g_string_append_printf(line, "%*s ", width, "-");
	else
		g_string_append_printf(line, "%*.*f ", width, percent >= 9.995 ? 1 : 2, percent);
}

static void append_rate(GString *line, double per_s, int width)
{
	if (per_s > 0)
		g_string_append_printf(line, "%*.*f ", width, per_s < 99.95 ? 1 : 0, per_s);
	else
		g_string_append_printf(line, "%*s ", width, "-");
}

/* --- the state of the watching itself --- */

static char *describe_losses(const struct top_view *view)
{
	const struct top_lost *l = &view->lost;
	const struct {
		uint64_t n;
		const char *what;
	} losses[] = {
		{ l->threads, "hits of threads beyond the first 1024" },
		{ l->calls, "calls of callbacks beyond the first 4096" },
		{ l->known, "callbacks that found no place" },
		{ l->wanted, "places where calls end that found no place" },
		{ l->deep, "times calls were nested too deep" },
		{ view->missed, "hits the kernel did not run us for" },
	};
	GString *text = g_string_new("LOST: ");

	for (size_t i = 0; i < G_N_ELEMENTS(losses); i++)
		if (losses[i].n)
			g_string_append_printf(text, "%s%" PRIu64 " %s", text->len > 6 ? ", " : "",
					       losses[i].n, losses[i].what);
	return g_string_free(text, FALSE);
}

void top_add_status(GArray *lines, const struct top *top, const struct top_view *view, int width)
{
	const struct target *t = top->s->t;
	GString *line = g_string_new(NULL);

	g_string_append_printf(line, "%s (pid %d)  %.1f s  %.0f iter/s  %.0f calls/s  ",
			       images_program(top->s->images)->name, t->pid, view->seconds,
			       (double)view->iterations / view->seen_seconds,
			       (double)view->calls / view->seen_seconds);
	g_string_append_printf(line, "%u probes", top->probes->len);
	add_line(lines, g_string_free(line, FALSE), width, TOP_PLAIN, -1);
	add_line(lines, top_budget_words(top), width, TOP_PLAIN, -1);
	if (top->left_out)
		add_line(lines,
			 g_strdup_printf("%d probes are left out: this kernel is older than 6.6",
					 top->left_out),
			 width, TOP_PLAIN, -1);
	if (top_lost_sum(view))
		add_line(lines, describe_losses(view), width, TOP_LOSS, -1);
}

/* --- loops --- */

/* A loop's name where every column counts: that it is an IOThread can be left out. */
static const char *short_name(const char *name, int width)
{
	static const char prefix[] = "IOThread ";

	return g_utf8_strlen(name, -1) > width && g_str_has_prefix(name, prefix)
		       ? name + sizeof(prefix) - 1
		       : name;
}

static char *loop_line(const struct top_loop *loop, int name_width)
{
	double waits = (double)(loop->by_fd + loop->by_timeout + loop->by_signal + loop->no_wait);
	GString *line = g_string_new(NULL);

	append_cell(line, short_name(loop->name, name_width), name_width);
	g_string_append_printf(line, "%7d ", loop->tid);
	append_rate(line, loop->per_s, 8);
	if (!loop->known) {
		g_string_append(line, " has done nothing since we came");
		return g_string_free(line, FALSE);
	}
	append_share(line, loop->wait, 6);
	append_share(line, loop->callbacks, 6);
	append_share(line, loop->bql, 6);
	append_share(line, loop->own, 6);
	append_share(line, waits ? (double)loop->by_fd / waits : 0, 6);
	append_share(line, waits ? (double)loop->by_timeout / waits : 0, 6);
	append_share(line, waits ? (double)loop->no_wait / waits : 0, 6);
	return g_string_free(line, FALSE);
}

/* As wide as the longest name, where there is room for it. */
static void widen(int *width, const char *name, int room)
{
	*width = MIN(MAX(*width, (int)g_utf8_strlen(name, -1)), MAX(room, *width));
}

void top_add_loops(GArray *lines, const struct top_view *view, int width)
{
	int name_width = 10;
	char *head = g_strdup_printf("%-*s %7s %8s %6s %6s %6s %6s %6s %6s %6s", name_width, "LOOP",
				     "THREAD", "ITER/S", "WAIT%", "CALLS%", "BQL%", "REST%",
				     "BY FD", "TIMER", "NOWAIT");

	add_line(lines, head, width, TOP_HEAD, -1);
	for (size_t i = 0; i < view->loops->len; i++) {
		const struct top_loop *loop = &g_array_index(view->loops, struct top_loop, i);

		if (loop->is_loop)
			add_line(lines, loop_line(loop, name_width), width, TOP_PLAIN, -1);
	}
}

/* --- callbacks --- */

static char *row_line(const struct top_row *row, int name_width, int loop_width, bool wide)
{
	GString *line = g_string_new(NULL);

	append_cell(line, row->name, name_width);
	append_cell(line, top_kind_name(row->key.kind), 8);
	append_cell(line, short_name(row->loop, loop_width), loop_width);
	append_rate(line, row->per_s, 8);
	append_share(line, row->share, 6);
	if (wide)
		append_time(line, row->total_ns);
	append_time(line, row->p50_ns);
	append_time(line, row->p99_ns);
	append_time(line, row->max_ns);
	return g_string_free(line, FALSE);
}

void top_add_rows(GArray *lines, const struct top_view *view, int width)
{
	bool wide = width >= WIDE;
	int name_width = 8, loop_width = 9, room = width - 48 - (wide ? 7 : 0);
	GString *head = g_string_new(NULL);

	for (size_t i = 0; i < view->rows->len; i++)
		widen(&loop_width, g_array_index(view->rows, struct top_row, i).loop,
		      wide ? room / 3 : 9);
	for (size_t i = 0; i < view->rows->len; i++)
		widen(&name_width, g_array_index(view->rows, struct top_row, i).name,
		      room - loop_width - 1);
	g_string_append_printf(head, "%-*s %-8s %-*s %8s %6s ", name_width, "CALLBACK", "KIND",
			       loop_width, "LOOP", "CALLS/S", "TIME%");
	if (wide)
		g_string_append_printf(head, "%6s ", "TOTAL");
	g_string_append_printf(head, "%6s %6s %6s", "P50", "P99", "MAX");
	add_line(lines, g_string_free(head, FALSE), width, TOP_HEAD, -1);
	for (size_t i = 0; i < view->rows->len; i++) {
		const struct top_row *row = &g_array_index(view->rows, struct top_row, i);
		bool hot = row->running_ns >= LONG_CALL;

		add_line(lines, row_line(row, name_width, loop_width, wide), width,
			 hot ? TOP_HOT : TOP_PLAIN, (int)i);
	}
}
