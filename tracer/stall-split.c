// SPDX-License-Identifier: MIT
/* See stall-split.h. A descriptor is called what it was called when it was told last. */
#include <string.h>

#include "tracer/report-words.h"
#include "tracer/stall-split.h"
#include "tracer/text.h"

#define MAX_CALLS (STALLS_CALLS + 2)

struct stall_splits {
	GHashTable *fds; /* number -> "fd 7 (pipe)" */
	/* The sleeps of the split that is to come. */
	uint32_t tid;
	uint64_t time_ns;
	struct stall_split now;
};

struct stall_split stall_split_copy(const struct stall_split *split)
{
	struct stall_split copy = *split;

	g_array_ref(copy.calls);
	return copy;
}

void stall_split_clear(struct stall_split *split)
{
	if (split->calls)
		g_array_unref(split->calls);
	split->calls = NULL;
}

bool stall_split_fits(const struct stall_split *split, uint64_t begin_ns, uint64_t end_ns)
{
	uint64_t from = MAX(split->begin_ns, begin_ns), to = MIN(split->end_ns, end_ns);
	uint64_t longer = MAX(split->end_ns - split->begin_ns, end_ns - begin_ns);
	uint64_t whole = end_ns - begin_ns;

	if (to <= from)
		return false;
	/* One that began before it was measured, as far as it was; its end was seen. */
	if (split->since_attach && split->begin_ns > begin_ns)
		return to - from >= whole / 2 && MAX(split->end_ns, end_ns) - to <= whole / 10;
	return to - from >= longer - longer / 10;
}

struct stall_splits *stall_splits_new(void)
{
	struct stall_splits *s = g_new0(struct stall_splits, 1);

	s->fds = g_hash_table_new_full(NULL, NULL, NULL, g_free);
	return s;
}

void stall_splits_free(struct stall_splits *s)
{
	if (!s)
		return;
	stall_split_clear(&s->now);
	g_hash_table_destroy(s->fds);
	g_free(s);
}

static void note_fd(struct stall_splits *s, const struct loop_fd *event)
{
	const char *kind = report_enum_name(LOOP_EV_FD, "kind", event->kind);
	char *target = g_strdup(event->target);

	text_make_safe(target);
	g_hash_table_replace(s->fds, GINT_TO_POINTER(event->fd),
			     g_strdup_printf("fd %d (%s%s%s)", event->fd, kind ?: "unknown",
					     *target ? " " : "", target));
	g_free(target);
}

static char *describe_fd(void *data, int fd)
{
	const struct stall_splits *s = data;
	const char *known = g_hash_table_lookup(s->fds, GINT_TO_POINTER(fd));

	return known ? g_strdup(known) : g_strdup_printf("fd %d", fd);
}

/* The sleeps before it are of the same time, or of another split, whose end was lost. */
static void begin(struct stall_splits *s, uint32_t tid, uint64_t time_ns)
{
	if (s->now.calls && s->tid == tid && s->time_ns == time_ns)
		return;
	stall_split_clear(&s->now);
	s->now = (struct stall_split){ .calls = stall_slept_array() };
	s->tid = tid;
	s->time_ns = time_ns;
}

static void add_call(struct stall_splits *s, const struct loop_stall_call *event)
{
	struct stalls_call call = { event->syscall, event->arg, (uint64_t)event->for_ns,
				    event->times };
	struct stall_slept slept;

	begin(s, event->of_tid, event->h.time_ns);
	if (event->for_ns <= 0 || s->now.calls->len == MAX_CALLS)
		return;
	slept.ns = event->for_ns;
	slept.what = stall_call_words(&call, describe_fd, s);
	g_array_append_val(s->now.calls, slept);
	if (call.ns > s->now.longest.ns)
		s->now.longest = call;
}

/* False: no recorder wrote that. */
static bool complete(struct stall_splits *s, const struct loop_stall_split *event)
{
	uint64_t now = event->h.time_ns, for_ns = (uint64_t)event->for_ns;
	struct stall_split *split = &s->now;

	begin(s, event->of_tid, now);
	s->time_ns = 0; /* what comes now is the next one's */
	if (event->ended_ns < 0 || event->for_ns <= 0 || (uint64_t)event->ended_ns > now ||
	    for_ns > now - (uint64_t)event->ended_ns)
		return false;
	split->tid = event->of_tid;
	split->goes_on = event->flags & LOOP_STALL_BITS_GOES_ON;
	split->since_attach = event->flags & LOOP_STALL_BITS_SINCE_ATTACH;
	split->end_ns = now - (uint64_t)event->ended_ns;
	split->begin_ns = split->end_ns - for_ns;
	split->ns[STALLS_RUNNING] = event->running_ns;
	split->ns[STALLS_RUNNABLE] = event->runnable_ns;
	split->ns[STALLS_BLOCKED] = event->blocked_ns;
	split->ns[STALLS_STOPPED] = event->stopped_ns;
	for (int i = 0; i < STALLS_STATES; i++)
		if (split->ns[i] < 0 || split->ns[i] > event->for_ns)
			return false;
	return split->longest.ns <= for_ns;
}

const struct stall_split *stall_splits_event(struct stall_splits *s, const struct loop_event *event)
{
	switch (event->id) {
	case LOOP_EV_FD:
		note_fd(s, (const struct loop_fd *)event);
		break;
	case LOOP_EV_STALL_CALL:
		add_call(s, (const struct loop_stall_call *)event);
		break;
	case LOOP_EV_STALL_SPLIT:
		if (complete(s, (const struct loop_stall_split *)event))
			return &s->now;
		break;
	default:
		break;
	}
	return NULL;
}
