// SPDX-License-Identifier: MIT
/* top as NDJSON: of each interval its loops, its callbacks and a line "interval"; then the total.
 */

#include "tracer/out.h"
#include "tracer/top.h"

/* Six digits say more than was measured. */
static double rounded(double value)
{
	return (double)(int64_t)(value * 1e6 + 0.5) / 1e6;
}

static void print_loop(const struct top_loop *loop)
{
	json_t *row = json_pack("{s:s, s:s, s:i, s:I, s:f}", "type", "loop", "loop", loop->name,
				"thread", loop->tid, "iterations", (json_int_t)loop->iterations,
				"iterations_per_s", rounded(loop->per_s));
	const struct {
		const char *key;
		double share;
	} shares[] = { { "wait_share", loop->wait },
		       { "callbacks_share", loop->callbacks },
		       { "bql_share", loop->bql },
		       { "rest_share", loop->own } };

	for (size_t i = 0; i < G_N_ELEMENTS(shares); i++)
		json_object_set_new(row, shares[i].key,
				    loop->known ? json_real(rounded(shares[i].share))
						: json_null());
	json_object_set_new(row, "bql_waits", json_integer((json_int_t)loop->bql_waits));
	json_object_set_new(row, "woken",
			    json_pack("{s:I, s:I, s:I, s:I}", "fd", (json_int_t)loop->by_fd,
				      "timeout", (json_int_t)loop->by_timeout, "signal",
				      (json_int_t)loop->by_signal, "no_wait",
				      (json_int_t)loop->no_wait));
	out_json(row);
}

static json_t *nanoseconds(uint64_t ns, bool known)
{
	return known ? json_integer((json_int_t)ns) : json_null();
}

static void print_row(const struct top_row *row)
{
	bool timed = row->timed || row->running_ns;
	json_t *json =
		json_pack("{s:s, s:s, s:s, s:o, s:s, s:i, s:I, s:f, s:f}", "type", "callback",
			  "callback", row->name, "kind", top_kind_name(row->key.kind), "address",
			  out_address(row->key.cb), "loop", row->loop, "thread", (int)row->key.tid,
			  "calls", (json_int_t)row->calls, "calls_per_s", rounded(row->per_s),
			  "share", rounded(row->share));

	json_object_set_new(json, "timed", json_integer((json_int_t)row->timed));
	json_object_set_new(json, "total_ns", nanoseconds(row->total_ns, timed));
	json_object_set_new(json, "p50_ns", nanoseconds(row->p50_ns, row->timed));
	json_object_set_new(json, "p99_ns", nanoseconds(row->p99_ns, row->timed));
	json_object_set_new(json, "max_ns", nanoseconds(row->max_ns, timed));
	json_object_set_new(json, "running_ns", nanoseconds(row->running_ns, row->running_ns));
	out_json(json);
}

static void print_all(const struct top *top, const struct top_view *view, const char *type)
{
	uint64_t callbacks = 0;

	for (size_t i = 0; i < view->loops->len; i++) {
		const struct top_loop *loop = &g_array_index(view->loops, struct top_loop, i);

		if (loop->is_loop)
			print_loop(loop);
	}
	for (size_t i = 0; i < view->rows->len; i++) {
		print_row(&g_array_index(view->rows, struct top_row, i));
		callbacks++;
	}
	out_json(json_pack("{s:s, s:i, s:f, s:f, s:I, s:I, s:I, s:I, s:f, s:s, s:f, s:f, s:f, s:I}",
			   "type", type, "pid", top->s->t->pid, "seconds", rounded(view->seconds),
			   "seen_seconds", rounded(view->seen_seconds), "iterations",
			   (json_int_t)view->iterations, "calls", (json_int_t)view->calls,
			   "callbacks", (json_int_t)callbacks, "probes",
			   (json_int_t)top->probes->len, "hits_per_s", rounded(view->hits), "mode",
			   top_mode_name(top->mode), "budget_percent", rounded(top->budget),
			   "cost_percent", rounded(top->percent), "full_cost_percent",
			   rounded(top->full_percent), "lost", (json_int_t)top_lost_sum(view)));
	fflush(stdout);
}

void top_print_json(const struct top *top, const struct top_view *view)
{
	print_all(top, view, "interval");
}

void top_print_total_json(const struct top *top, const struct top_view *view)
{
	print_all(top, view, "total");
}
