// SPDX-License-Identifier: MIT
/*
 * What a recording says of itself at its begin: where it has its events from, since only what could
 * be seen and was not has not happened; and which loops wait already, and may do so for ever, since
 * then nothing else would tell that they are there.
 *
 * Waits are looked for once the probes are attached, and are told as of after the look: a thread
 * whose events begin earlier has told by itself where it is, one without any has waited since then.
 */
#include <linux/types.h>

#include "bpf/tables.h"
#include "tracer/clock.h"
#include "tracer/record-functions.h"
#include "tracer/record-glib.h"

static uint32_t monitor_of(const struct poll_set *set)
{
	switch (set->nr) {
	case NR_POLL:
	case NR_PPOLL:
		return LOOP_FDMON_POLL;
	case NR_IO_URING_ENTER:
		return LOOP_FDMON_IO_URING;
	default:
		return LOOP_FDMON_EPOLL;
	}
}

void record_tell_waits(struct recorder *r)
{
	struct tables *tables = NULL;
	uint64_t now;

	if (!r->loops || r->flight ||
	    tables_read(READ_MEM, r->s->t, r->s->images, NULL, 0, 0, &tables, NULL))
		return;
	now = now_ns();
	for (size_t i = 0; i < tables->sets->len; i++) {
		const struct poll_set *set = &g_array_index(tables->sets, struct poll_set, i);
		const struct context *c = loops_context_of(r->loops, set->tid);
		const struct loop_gcontext *g = c ? NULL : loops_gcontext_of(r->loops, set->tid);

		if (!c && !g)
			continue;
		record_thread(r, (uint32_t)set->tid);
		emit(r, now, 0, LOOP_EV_WAIT_STATE,
		     VALUES(c ? c->addr : g->addr, (uint32_t)set->tid, monitor_of(set),
			    (uint64_t)set->timeout_ns, LOOP_NS_UNKNOWN, 0, LOOP_HELD_UNKNOWN));
	}
	tables_free(tables);
}

/* --- descriptors --- */

uint32_t record_fd_kind(const char *kind)
{
	static const struct {
		const char *kind;
		uint32_t value;
	} kinds[] = {
		{ "eventfd", LOOP_FD_KIND_EVENTFD },   { "timerfd", LOOP_FD_KIND_TIMERFD },
		{ "signalfd", LOOP_FD_KIND_SIGNALFD }, { "epoll", LOOP_FD_KIND_EPOLL },
		{ "io_uring", LOOP_FD_KIND_IO_URING }, { "unix", LOOP_FD_KIND_SOCKET },
		{ "tcp", LOOP_FD_KIND_SOCKET },	       { "udp", LOOP_FD_KIND_SOCKET },
		{ "socket", LOOP_FD_KIND_SOCKET },     { "pipe", LOOP_FD_KIND_PIPE },
		{ "fifo", LOOP_FD_KIND_PIPE },	       { "file", LOOP_FD_KIND_FILE },
		{ "chr", LOOP_FD_KIND_CHARDEV },       { "inotify", LOOP_FD_KIND_INOTIFY },
		{ "pidfd", LOOP_FD_KIND_PIDFD },       { "unknown", LOOP_FD_KIND_UNKNOWN },
	};

	for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++)
		if (!strcmp(kind, kinds[i].kind))
			return kinds[i].value;
	return g_str_has_prefix(kind, "kvm") ? LOOP_FD_KIND_KVM : LOOP_FD_KIND_OTHER;
}

void record_tell_fd(struct recorder *r, struct fds *fds, int fd)
{
	struct fds *now = fds ? fds : fds_new(r->pid, true);
	const struct fd_info *info = fds_get(now, fd);

	if (info->open)
		emit_text(r, LOOP_EV_FD, VALUES((uint32_t)fd, record_fd_kind(info->kind), 0),
			  info->detail);
	if (now != fds)
		fds_free(now);
}

/* --- where events come from --- */

static bool is_one_of(const char *event, const char *const *names)
{
	return g_strv_contains(names, event);
}

const char *record_from_tables(const struct session *s, const char *event)
{
	static const char *const of_sources[] = { "source_dispatch_begin", "source_dispatch_end",
						  NULL };
	static const char *const of_handlers[] = { "handler_begin",  "handler_end",
						   "timer_begin",    "timer_end",
						   "handler_add",    "handler_modify",
						   "handler_remove", NULL };
	static const char *const iterations[] = { "iteration_begin", "iteration_end", NULL };
	bool qemu = layout_is_qemu(s->l);

	if (qemu && (is_one_of(event, of_sources) || is_one_of(event, of_handlers)))
		return "callbacks and handlers learned from the loop's tables";
	if (!qemu && is_one_of(event, of_sources))
		return "dispatch functions of the sources in the loop's tables";
	if (!qemu && is_one_of(event, iterations) && !glib_loop_shows_phases(s->images))
		return "from one wait of a loop's thread to the next";
	return NULL;
}

/* What the probes of a recording give, by event. */
struct given {
	uint32_t from[LOOP_EV_END]; /* enum loop_provenance; absent: by a probe that is left out */
	bool usdt;		    /* the program carries probes */
	bool callbacks;		    /* none of the callbacks' probes is left out */
};

static void note(struct given *g, const char *event, uint32_t from)
{
	int id = loop_event_id(event);

	if (id >= 0 && g->from[id] < from)
		g->from[id] = from;
}

static void note_probe(struct given *g, const struct record_probe *p)
{
	char **names;

	if (p->event) {
		g->usdt = true;
		note(g, loop_event_desc(p->event)->name,
		     p->left_out ? LOOP_PROVENANCE_ABSENT : LOOP_PROVENANCE_USDT);
	} else if (p->function) {
		names = g_strsplit(p->function->gives, " ", -1);
		for (int i = 0; names[i]; i++)
			note(g, names[i],
			     p->left_out ? LOOP_PROVENANCE_ABSENT : LOOP_PROVENANCE_UPROBE);
		g_strfreev(names);
	} else {
		g->callbacks &= !p->left_out;
	}
}

/* Where the event comes from, in words too; unknown: from nowhere. */
static uint32_t source_of(const struct recorder *r, const struct given *g, unsigned id,
			  const char **ret_where)
{
	const struct loop_event_desc *desc = loop_event_desc(id);
	const char *tables = !g->usdt && r->loops && desc->is_probe
				     ? record_from_tables(r->s, desc->name)
				     : NULL;

	*ret_where = "not asked for";
	if (!record_select_has(&r->select, id))
		return LOOP_PROVENANCE_ABSENT;
	*ret_where = g->from[id] == LOOP_PROVENANCE_USDT ? "USDT" : "functions";
	if (g->from[id] > LOOP_PROVENANCE_ABSENT)
		return g->from[id];
	*ret_where = r->s->options->overhead > 0 ? "left out by --overhead"
						 : "left out: this kernel has few probes";
	if (g->from[id] || (tables && !g->callbacks))
		return LOOP_PROVENANCE_ABSENT;
	*ret_where = tables;
	return tables ? LOOP_PROVENANCE_UPROBE : LOOP_PROVENANCE_UNKNOWN;
}

void record_tell_sources(struct recorder *r)
{
	struct given given = { .callbacks = true };
	const char *where;
	uint32_t from;

	for (size_t i = 0; i < r->probes->len; i++)
		note_probe(&given, r->probes->pdata[i]);
	for (unsigned id = 0; id < LOOP_EV_END; id++) {
		from = loop_event_desc(id) ? source_of(r, &given, id, &where) : 0;
		if (from)
			emit_text(r, LOOP_EV_EVENT_SOURCE, VALUES(id, from, 0), where);
	}
}
