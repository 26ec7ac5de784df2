// SPDX-License-Identifier: MIT
/*
 * SPIN, provoked from outside, from a recording: a client that floods, a kick without end
 * (doctor-flood.c tells what they are). The recorder has looked what lay in descriptors that were
 * ready all the time: a client that floods left its socket empty in none of the looks, and its loop
 * hardly asleep; a kicked eventfd counts several kicks before its handler comes to
 * read them, and of most of its runs nothing follows.
 */
#include <inttypes.h>

#include "tracer/doctor-trace.h"
#include "tracer/report-words.h"
#include "tracer/text.h"

#define AS(type) ((const struct loop_##type *)event)

#define SLEPT_NS	50000 /* a poll of that length was asleep, or kept off its CPU */
#define MAX_GAP_NS	(500 * 1000000ULL) /* from look to look */
#define MIN_STEP_NS	2000000ULL	   /* of which a rate can be told */
#define MIN_SPAN_NS	(200 * 1000000ULL)
#define MIN_LOOKS	5
#define MIN_POLLS_PER_S 100
#define MIN_RUNS_PER_S	200
#define MIN_BYTES	1024 /* more than a command has */
#define MIN_KICKED	3
#define KICKS		2	   /* in an eventfd: more than one who waits for an answer leaves */
#define THREAD		UINT64_MAX /* in a key: not a descriptor, but all that a thread does */

static struct trace_flood *entry_of(struct trace_doctor *d, uint32_t tid, uint64_t fd)
{
	struct trace_flood *f = report_map_get(&d->floods, (struct report_key){ tid, fd, 0, 0 });

	f->tid = tid;
	return f;
}

void trace_flood_event(struct trace_doctor *d, const struct trace_thread *t,
		       const struct loop_event *event)
{
	struct trace_flood *f;

	switch (event->id) {
	case LOOP_EV_SOURCE_PREPARE:
		d->has_prepare = true;
		break;
	case LOOP_EV_POLL_EXIT:
		f = entry_of(d, t->tid, THREAD);
		f->polls++;
		if (t->enter_ns && t->timeout_ns && event->time_ns - t->enter_ns > SLEPT_NS)
			f->asleep_ns += event->time_ns - t->enter_ns;
		break;
	case LOOP_EV_HANDLER_BEGIN:
		f = entry_of(d, t->tid, (uint32_t)AS(handler_begin)->fd);
		f->runs++;
		f->cb = AS(handler_begin)->cb;
		f->ctx = AS(handler_begin)->ctx;
		entry_of(d, t->tid, THREAD)->runs++;
		break;
	case LOOP_EV_BH_BEGIN:
	case LOOP_EV_BH_SCHEDULE:
	case LOOP_EV_TIMER_ARM:
	case LOOP_EV_AIO_CO_SCHEDULE:
	case LOOP_EV_THREAD_POOL_SUBMIT:
		entry_of(d, t->tid, THREAD)->follows++;
		break;
	default:
		break;
	}
}

/* --- from look to look ------------------------------------------------------------------------ */

static bool often(uint64_t n, uint64_t ns, uint64_t per_second)
{
	return n * 1000000000 >= per_second * ns;
}

/* Did it go on since the last look? */
static bool goes_on(const struct trace_flood *f, const struct trace_flood *thread,
		    const struct loop_fd_level *now, uint64_t ns)
{
	uint64_t runs = f->runs - f->was.runs, others = thread->runs - f->was.thread_runs - runs +
							thread->follows - f->was.follows;

	if (ns > MAX_GAP_NS)
		return false;
	if (now->kind == LOOP_FD_KIND_SOCKET)
		return now->level && f->was.level;
	return others <= runs;
}

static void note_look(struct trace_doctor *d, struct trace_flood *f,
		      const struct loop_fd_level *now)
{
	struct trace_flood *thread = entry_of(d, f->tid, THREAD);
	struct trace_flood_run *run = &f->now;
	uint64_t ns = now->h.time_ns - f->was.ns, fell;

	if (!f->was.ns || !goes_on(f, thread, now, ns)) {
		*run = (struct trace_flood_run){ .from_ns = now->h.time_ns, .lowest = now->level };
	} else {
		run->looks++;
		run->ns += ns;
		run->polls += thread->polls - f->was.polls;
		run->asleep_ns += thread->asleep_ns - f->was.asleep_ns;
		run->runs += f->runs - f->was.runs;
		run->follows += thread->follows - f->was.follows;
		run->kicked += now->level >= KICKS;
		run->lowest = MIN(run->lowest, now->level);
		run->highest = MAX(run->highest, now->level);
		fell = f->was.level > now->level ? f->was.level - now->level : 0;
		if (ns >= MIN_STEP_NS)
			run->fell_per_s = MAX(run->fell_per_s, fell * 1000000000 / ns);
		if (run->ns > f->best.ns)
			f->best = *run;
	}
	f->was.ns = now->h.time_ns;
	f->was.level = now->level;
	f->was.polls = thread->polls;
	f->was.asleep_ns = thread->asleep_ns;
	f->was.runs = f->runs;
	f->was.thread_runs = thread->runs;
	f->was.follows = thread->follows;
}

void trace_flood_look(struct trace_doctor *d, const struct loop_fd_level *now)
{
	struct trace_flood *f = entry_of(d, now->of_tid, (uint32_t)now->fd);

	f->kind = now->kind;
	if (!f->peer && now->peer[0]) {
		f->peer = g_strdup(now->peer);
		text_make_safe(f->peer);
	}
	note_look(d, f, now);
}

void trace_flood_clear(void *entry)
{
	g_free(((struct trace_flood *)entry)->peer);
}

/* --- verdicts --------------------------------------------------------------------------------- */

static bool is_long(const struct trace_flood_run *run, uint64_t n, uint64_t per_second)
{
	return run->ns >= MIN_SPAN_NS && run->looks >= MIN_LOOKS && often(n, run->ns, per_second);
}

/* Never nearly empty: it would fall for longer than what is a finding. */
static bool is_flood(const struct trace_doctor *d, const struct trace_flood *f)
{
	const struct trace_flood_run *run = &f->best;

	return f->kind == LOOP_FD_KIND_SOCKET && is_long(run, run->polls, MIN_POLLS_PER_S) &&
	       run->asleep_ns * 4 <= run->ns * 3 && run->lowest >= MIN_BYTES &&
	       run->lowest * 1000000000 >= run->fell_per_s * (uint64_t)d->min_ns;
}

static bool is_endless_kick(const struct trace_flood *f)
{
	return f->kind == LOOP_FD_KIND_EVENTFD && is_long(&f->best, f->best.runs, MIN_RUNS_PER_S) &&
	       f->best.kicked >= MIN_KICKED;
}

static void say_flood(struct trace_doctor *d, const struct trace_flood *f)
{
	const struct trace_flood_run *run = &f->best;
	struct finding *finding = trace_finding(d, "SPIN", f->tid);
	char *what = g_strdup_printf("fd %d (socket)", (int)f->key.b),
	     *span = report_duration(run->ns),
	     *reader = f->cb ? trace_name(d, "handler", f->cb) : NULL;
	double seconds = (double)run->ns / 1e9;

	finding->span =
		g_strdup_printf("%.0f turns a second for one client", (double)run->polls / seconds);
	finding->culprit = g_strdup_printf("%s floods %s", f->peer ?: "a client", what);
	finding_say(finding, "%" PRIu64 " turns in %s; the loop slept for %.0f %% of it",
		    run->polls, span, (double)run->asleep_ns * 100 / (double)run->ns);
	finding_say(finding,
		    "%" PRIu64 " looks found %" PRIu64
		    " bytes in it, or more; they got fewer by %" PRIu64 " a second at most",
		    run->looks, run->lowest, run->fell_per_s);
	if (reader)
		finding_say(finding, "it is read by %s", reader);
	finding->advice =
		"This client alone keeps the loop busy: let it wait for an answer before it asks "
		"again, or close its connection.";
	g_free(what);
	g_free(span);
	g_free(reader);
}

static void say_kick(struct trace_doctor *d, const struct trace_flood *f)
{
	const struct trace_flood_run *run = &f->best;
	struct finding *finding = trace_finding(d, "SPIN", f->tid);
	char *name = trace_name(d, "handler", f->cb), *ctx = trace_context_name(d, f->ctx),
	     *what = g_strdup_printf("fd %d (eventfd)", (int)f->key.b),
	     *span = report_duration(run->ns);

	finding->span = g_strdup_printf("%.0f runs a second for nothing",
					(double)run->runs * 1e9 / (double)run->ns);
	finding->culprit = g_strdup_printf("%s of %s is kicked without end: %s", name, ctx, what);
	finding_say(finding,
		    "it ran %" PRIu64 " times in %s; %" PRIu64
		    " bottom halves, timers and coroutines followed of it",
		    run->runs, span, run->follows);
	finding_say(finding,
		    "%" PRIu64 " of %" PRIu64
		    " looks found several kicks in the eventfd, up to %" PRIu64
		    ": a driver that waits for its requests leaves 1",
		    run->kicked, run->looks, run->highest);
	finding->advice =
		"The guest notifies a queue with nothing in it: look at its driver, or reset the "
		"device; a device in an IOThread of its own slows down no other.";
	g_free(name);
	g_free(ctx);
	g_free(what);
	g_free(span);
}

void trace_flood_conclude(struct trace_doctor *d)
{
	struct trace_flood *f;

	report_each (&d->floods, f) {
		size_t n = d->findings->len;
		struct finding *finding;
		char *from;

		if (f->key.b == THREAD || trace_has_finding(d, f->tid, "SPIN"))
			continue;
		if (is_flood(d, f))
			say_flood(d, f);
		else if (f->cb && is_endless_kick(f))
			say_kick(d, f);
		if (d->findings->len == n)
			continue;
		finding = d->findings->pdata[n];
		from = trace_when(d, f->best.from_ns);
		finding_say(finding, "from %s on", from);
		g_free(from);
	}
}
