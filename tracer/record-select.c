// SPDX-License-Identifier: MIT
/* See record-select.h. */
#include <errno.h>
#include <glib.h>
#include <string.h>

#include "tracer/record-select.h"
#include "tracer/text.h"

#define NEAREST	 3
#define MAX_NAME 64

static const struct group {
	const char *name, *events;
} groups[] = {
	{ "iterations", "iteration_begin iteration_end prepare query check dispatch_begin "
			"dispatch_end" },
	{ "polls", "timeout_chosen poll_enter poll_exit fd_ready" },
	{ "callbacks", "handler_begin handler_end bh_begin bh_end timer_begin timer_end "
		       "source_dispatch_begin source_dispatch_end poll_notifier_begin "
		       "poll_notifier_end" },
	{ "handlers", "handler_*" },
	{ "bhs", "bh_* reentrant_aio" },
	{ "timers", "timer_* clock_enable" },
	{ "sources", "source_*" },
	{ "wakeups", "notify notify_accept notify_me event_notifier_set event_notifier_clear "
		     "context_wakeup bh_schedule" },
	{ "nested", "aio_poll_enter aio_poll_exit aio_wait_enter aio_wait_exit aio_wait_kick" },
	{ "bql", "bql_*" },
	{ "coroutines", "aio_co_* qemu_aio_coroutine_enter qemu_coroutine_*" },
};

static bool is_choice(const struct loop_event_desc *desc)
{
	return desc && desc->is_probe;
}

/* Returns how many events it matches. */
static int choose(struct record_select *select, const char *pattern)
{
	int n = 0;

	for (unsigned id = 0; id < LOOP_EV_END; id++) {
		const struct loop_event_desc *desc = loop_event_desc(id);

		if (!is_choice(desc) || !g_pattern_match_simple(pattern, desc->name))
			continue;
		select->chosen[id] = true;
		n++;
	}
	return n;
}

static int choose_group(struct record_select *select, const char *name)
{
	int n = 0;

	for (size_t i = 0; i < G_N_ELEMENTS(groups); i++) {
		char **events;

		if (strcmp(groups[i].name, name))
			continue;
		events = g_strsplit(groups[i].events, " ", -1);
		for (int k = 0; events[k]; k++)
			n += choose(select, events[k]);
		g_strfreev(events);
	}
	return n;
}

/* --- the nearest names ---------------------------------------------------------------------- */

/* How many letters have to be changed, added or left out. */
static unsigned distance(const char *a, const char *b)
{
	size_t n = strlen(b);
	unsigned row[MAX_NAME + 1];

	if (n > MAX_NAME)
		return MAX_NAME;
	for (size_t k = 0; k <= n; k++)
		row[k] = k;
	for (unsigned i = 1; *a && i <= MAX_NAME; a++, i++) {
		unsigned diagonal = row[0];

		row[0] = i;
		for (size_t k = 1; k <= n; k++) {
			unsigned change = diagonal + (*a != b[k - 1]);

			diagonal = row[k];
			row[k] = MIN(change, MIN(row[k], row[k - 1]) + 1);
		}
	}
	return row[n];
}

struct near {
	const char *name;
	unsigned distance;
};

static void consider(struct near *nearest, const char *wanted, const char *name)
{
	struct near one = { name, distance(wanted, name) };

	/* Half of a name tells which was meant, too. */
	if (strlen(wanted) >= 3 && strstr(name, wanted))
		one.distance = MIN(one.distance, 2);
	for (int i = 0; i < NEAREST; i++) {
		if (!nearest[i].name || one.distance < nearest[i].distance) {
			struct near next = nearest[i];

			nearest[i] = one;
			one = next;
			if (!one.name)
				return;
		}
	}
}

static int fail_unknown(const char *name, struct failure *why)
{
	struct near nearest[NEAREST] = { { NULL, 0 } };
	char *wanted = g_strndup(name, MAX_NAME);
	GString *text = g_string_new(NULL), *all = g_string_new(NULL);
	int err;

	text_make_safe(wanted);
	for (unsigned id = 0; id < LOOP_EV_END; id++)
		if (is_choice(loop_event_desc(id)))
			consider(nearest, wanted, loop_event_desc(id)->name);
	for (size_t i = 0; i < G_N_ELEMENTS(groups); i++) {
		consider(nearest, wanted, groups[i].name);
		g_string_append_printf(all, "%s%s", i ? ", " : "", groups[i].name);
	}
	for (int i = 0; i < NEAREST; i++)
		g_string_append_printf(text, "%s%s", i ? ", " : "", nearest[i].name);
	err = fail(why, -EINVAL,
		   "--events: there is no event \"%s\"; the nearest are %s; groups are %s", wanted,
		   text->str, all->str);
	g_string_free(text, TRUE);
	g_string_free(all, TRUE);
	g_free(wanted);
	return err;
}

int record_select_parse(const char *list, struct record_select *ret, struct failure *why)
{
	struct record_select select = { .all = !list };
	char **names = g_strsplit(list ?: "", ",", -1);
	int err = 0;

	for (int i = 0; !err && names[i]; i++)
		if (!choose_group(&select, names[i]) && !choose(&select, names[i]))
			err = fail_unknown(names[i], why);
	if (!err && list && !names[0])
		err = fail_unknown("", why);
	if (!err)
		*ret = select;
	g_strfreev(names);
	return err;
}

bool record_select_has(const struct record_select *select, unsigned id)
{
	return select->all || !loop_event_descs[id].is_probe || select->chosen[id];
}
