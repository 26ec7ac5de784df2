// SPDX-License-Identifier: MIT
/*
 * record --overhead: which probes a recording can have within a budget.
 *
 * How often each would be hit is counted in the target for a moment, by a program that does nothing
 * else. Then whole kinds of events are left out, those that explain least first and of them the
 * dearest, until the rest fits; in the end only waits are left. A recording is never sampled: one
 * with gaps in time would say wrong things about what it did not see. What is left out is noted in
 * it, so that nobody takes its absence for a proof.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bpf/record.skel.h"
#include "tracer/overhead.h"
#include "tracer/record-functions.h"
#include "tracer/record.h"

#define COUNT_MS  300
#define CALLBACKS 2 /* rank */
#define EXPLAINS  6 /* rank of what only explains */
#define COPY_RING (4 << 20)

/* --- what a hit costs --- */

static bool copy_usdt; /* which of the programs is measured */

static void destroy_copy(void *object)
{
	record_bpf__destroy(object);
}

static int load_copy(pid_t pid, struct overhead_program *ret, struct failure *why)
{
	struct record_bpf *copy = record_bpf__open();
	int err;

	if (!copy)
		return bpf_failure(-errno, why);
	copy->rodata->tgid = pid;
	bpf_map__set_max_entries(copy->maps.ring, COPY_RING);
	attach_prepare(copy->progs.on_usdt, ATTACH_BEST);
	attach_prepare(copy->progs.on_entry, ATTACH_BEST);
	attach_prepare(copy->progs.on_return, ATTACH_BEST);
	err = record_bpf__load(copy);
	if (err) {
		record_bpf__destroy(copy);
		return bpf_failure(err, why);
	}
	*ret = (struct overhead_program){ copy,
					  copy_usdt ? copy->progs.on_usdt : copy->progs.on_entry,
					  destroy_copy };
	return 0;
}

/* --- units: what makes sense only together --- */

struct unit {
	char *name;
	int rank;
	GPtrArray *probes; /* struct record_probe * */
};

static void free_unit(void *unit)
{
	struct unit *u = unit;

	g_free(u->name);
	g_ptr_array_free(u->probes, TRUE);
	g_free(u);
}

/* "handler" of handler_begin and handler_end, "bql" of bql_wait, bql_acquired and bql_released. */
static char *base_of(const char *event)
{
	static const char *const ends[] = { "_begin", "_end",	   "_enter",
					    "_exit",  "_acquired", "_released" };

	for (size_t i = 0; i < G_N_ELEMENTS(ends); i++)
		if (g_str_has_suffix(event, ends[i]))
			return g_strndup(event, strlen(event) - strlen(ends[i]));
	return g_strdup(strcmp(event, "bql_wait") ? event : "bql");
}

static char *unit_name(const struct recorder *r, const struct record_probe *p)
{
	char *first, *name;

	if (p->event)
		return base_of(loop_event_desc(p->event)->name);
	if (!p->function)
		return images_name(r->s->images, p->callback);
	first = g_strndup(p->function->gives, strcspn(p->function->gives, " "));
	name = base_of(first);
	g_free(first);
	return name;
}

/* The lower, the longer it stays: from when the loop waits to what only explains details. */
static int rank_of(const char *name)
{
	static const struct {
		const char *name;
		int rank;
	} ranks[] = {
		{ "poll", 0 },		 { "iteration", 1 },	   { "aio_poll", 1 },
		{ "dispatch", 2 },	 { "handler", 2 },	   { "bh", 2 },
		{ "timer", 2 },		 { "source_dispatch", 2 }, { "bql", 3 },
		{ "aio_wait", 3 },	 { "notify", 4 },	   { "event_notifier_set", 4 },
		{ "context_wakeup", 4 }, { "bh_schedule", 4 },	   { "aio_co_schedule", 4 },
		{ "aio_wait_kick", 4 },	 { "handler_set", 5 },	   { "timer_arm", 5 },
		{ "timer_del", 5 },
	};

	for (size_t i = 0; i < G_N_ELEMENTS(ranks); i++)
		if (!strcmp(name, ranks[i].name))
			return ranks[i].rank;
	return EXPLAINS;
}

static struct unit *unit_of(GPtrArray *units, const char *name)
{
	struct unit *u;

	for (size_t i = 0; i < units->len; i++)
		if (!strcmp(((struct unit *)units->pdata[i])->name, name))
			return units->pdata[i];
	u = g_new0(struct unit, 1);
	u->name = g_strdup(name);
	u->probes = g_ptr_array_new();
	g_ptr_array_add(units, u);
	return u;
}

static GPtrArray *units_of(const struct recorder *r)
{
	GPtrArray *units = g_ptr_array_new_with_free_func(free_unit);

	for (size_t i = 0; i < r->probes->len; i++) {
		struct record_probe *p = r->probes->pdata[i];
		char *name = unit_name(r, p);
		struct unit *u = unit_of(units, name);

		u->rank = p->event || p->function ? rank_of(name) : CALLBACKS;
		g_ptr_array_add(u->probes, p);
		g_free(name);
	}
	return units;
}

/* --- what is left out --- */

/* How often a second something would be hit, by what a hit costs. */
struct rates {
	double emulated, stepped;
};

static void add_rate(struct rates *rates, bool emulated, double rate)
{
	if (emulated)
		rates->emulated += rate;
	else
		rates->stepped += rate;
}

static bool is_leaf(const struct record_probe *p)
{
	return p->function && function_is_leaf(p->function);
}

/* Is the end of its calls probed where they come back to? */
static bool has_ends(const struct record_probe *p)
{
	return !p->event && (!p->function || p->function->leave) && !is_leaf(p);
}

/* Of each probe, with the ends of its calls: where they come back to was seen. */
static struct rates *rates_of(struct recorder *r, const struct overhead_site *sites,
			      const GArray *ends, double seconds)
{
	struct rates *rates = g_new0(struct rates, r->probes->len);

	for (size_t i = 0; i < r->probes->len; i++) {
		const struct record_probe *p = r->probes->pdata[i];
		double rate = (double)sites[i].hits / seconds;

		add_rate(&rates[i], p->site.emulated, rate);
		if (is_leaf(p))
			add_rate(&rates[i], true, rate);
	}
	for (size_t i = 0; i < ends->len; i++) {
		const struct overhead_end *end = &g_array_index(ends, struct overhead_end, i);
		struct site site;

		if (!record_end_site(r, r->probes->pdata[end->site], end->addr, &site))
			add_rate(&rates[end->site], site.emulated, (double)end->hits / seconds);
	}
	return rates;
}

static double percent_of(const struct unit *u, const struct overhead_cost *cost,
			 const struct rates *rates)
{
	double sum = 0;

	for (size_t i = 0; i < u->probes->len; i++) {
		const struct record_probe *p = u->probes->pdata[i];
		const struct rates *rate = &rates[p->site.cookie];

		sum += overhead_percent(cost, rate->emulated, rate->stepped);
	}
	return sum;
}

/* Leave @u out, and add its name to @names; record_tell_sources() tells it. */
static void leave_out(const struct unit *u, GString *names)
{
	for (size_t i = 0; i < u->probes->len; i++)
		((struct record_probe *)u->probes->pdata[i])->left_out = true;
	g_string_append_printf(names, "%s%s", names->len ? ", " : "", u->name);
}

static char *choose(const GPtrArray *units, struct overhead_unit *costs, double budget)
{
	double all = 0, rest;
	GString *names = g_string_new(NULL);
	char *text;

	for (size_t i = 0; i < units->len; i++)
		all += costs[i].percent;
	rest = overhead_choose(costs, units->len, budget);
	for (size_t i = 0; i < units->len; i++)
		if (costs[i].left_out)
			leave_out(units->pdata[i], names);
	if (names->len)
		text = g_strdup_printf(
			"--overhead %g: all events would cost %.1f %% of a processor; "
			"these cost %.1f %%, left out are %s%s",
			budget, all, rest, names->str,
			rest > budget ? " (the waits alone cost more)" : "");
	else
		text = g_strdup_printf("--overhead %g: all events cost %.1f %% of a processor, %s",
				       budget, all,
				       rest > budget ? "waits alone: nothing can be left out"
						     : "nothing is left out");
	g_string_free(names, TRUE);
	return text;
}

int record_keep_budget(struct recorder *r, double percent, char **ret_words, struct failure *why)
{
	size_t n = r->probes->len;
	struct overhead_site *sites = g_new0(struct overhead_site, n);
	GPtrArray *units = units_of(r);
	struct overhead_unit *costs = g_new0(struct overhead_unit, units->len);
	struct overhead_cost cost;
	struct rates *rates = NULL;
	GArray *ends = NULL;
	double seconds;
	int err;

	copy_usdt = n && ((struct record_probe *)r->probes->pdata[0])->event;
	for (size_t i = 0; i < n; i++) {
		const struct record_probe *p = r->probes->pdata[i];

		sites[i] = (struct overhead_site){ .site = p->site, .ends = has_ends(p) };
	}
	err = overhead_measure(load_copy, &cost, why);
	if (!err)
		err = overhead_count(r->pid, sites, n, COUNT_MS, &ends, &seconds, why);
	if (!err) {
		rates = rates_of(r, sites, ends, seconds);
		for (size_t i = 0; i < units->len; i++) {
			const struct unit *u = units->pdata[i];

			costs[i].rank = u->rank;
			costs[i].percent = percent_of(u, &cost, rates);
		}
		*ret_words = choose(units, costs, percent);
		emit_text(r, LOOP_EV_NOTE, VALUES(0, 0, 0), *ret_words);
		g_array_free(ends, TRUE);
	}
	g_free(rates);
	g_free(costs);
	g_ptr_array_free(units, TRUE);
	g_free(sites);
	return err;
}
