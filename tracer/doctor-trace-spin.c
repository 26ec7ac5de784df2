// SPDX-License-Identifier: MIT
/*
 * SPIN, DEAD FD and STARVED SOURCE from a recording: in windows of 50 ms, a loop that turns all the
 * time and hardly ever sleeps, with the same cause in every turn of at least two of them.
 *
 * A loop at work is as busy. So a descriptor counts only as long as nobody drains it, a bottom half
 * only where one schedules it and the calls are too short to get anything done, a timer only where
 * its own callback arms it for a time that has come.
 */
#include <inttypes.h>
#include <string.h>

#include "tracer/doctor-trace.h"
#include "tracer/report-words.h"

#define WINDOW_NS   (50 * 1000000ULL)
#define MIN_TURNS   5	  /* of a window: a hundred a second */
#define SLEPT_NS    50000 /* a poll of that length was asleep */
#define MIN_WINDOWS 2
#define AT_ONCE_NS  1000  /* armed for that soon, it has come before anybody looks */
#define SHORT_NS    20000 /* a call that gets nothing done */

/* What was counted in a window. The key: cause, and of a BH callback and context, of a timer
 * callback and list, of an fd its number, of a source its address. */
struct trace_counter {
	struct report_key key;
	uint64_t window;
	uint64_t n, drained, calls, ns;
	uint64_t cb, by;
	uint32_t revents;
};

_Static_assert(sizeof(struct trace_counter) == TRACE_COUNTER_SIZE, "doctor-trace.h knows it");

static struct trace_counter *counter(struct trace_thread *t, enum trace_cause cause, uint64_t a,
				     uint64_t b)
{
	struct trace_counter *c =
		report_map_get(&t->spin.counters, (struct report_key){ cause, a, b, 0 });

	if (c->window != t->spin.window) {
		struct report_key key = c->key;

		memset(c, 0, sizeof(*c));
		c->key = key;
		c->window = t->spin.window;
	}
	return c;
}

/* --- the end of a window ---------------------------------------------------------------------- */

static bool is_all(uint64_t part, uint64_t whole)
{
	return whole && part * 100 >= whole * 98;
}

/* One of the same GMainContext with a priority that is never asked, and that was attached. */
static bool leaves_no_turn(struct trace_doctor *d, const struct trace_source *greedy,
			   uint64_t since_ns)
{
	const struct trace_source *s;

	if (!greedy || !greedy->attached)
		return false;
	report_each(&d->sources, s) if (s->attached && s->gctx == greedy->gctx &&
					s->priority > greedy->priority && s->asked_ns < since_ns &&
					s->dispatched_ns < since_ns) return true;
	return false;
}

/* Is this what keeps the loop awake? What else it needs for that. */
static bool is_cause(struct trace_doctor *d, const struct trace_thread *t,
		     const struct trace_counter *c, uint64_t turns)
{
	uint64_t mean_ns = c->calls ? c->ns / c->calls : 0;

	if (!is_all(c->n, turns))
		return false;
	switch (c->key.a) {
	case CAUSE_STARVES:
		return leaves_no_turn(
			d, report_map_find(&d->sources, (struct report_key){ .a = c->key.b }),
			t->spin.begin_ns);
	case CAUSE_FD:
		return !c->drained;
	case CAUSE_BH:
	case CAUSE_SOURCE:
		return mean_ns < SHORT_NS;
	default:
		return true;
	}
}

static const struct trace_counter *find_cause(struct trace_doctor *d, const struct trace_thread *t,
					      uint64_t turns)
{
	const struct trace_counter *c, *best = NULL;

	report_each(&t->spin.counters, c) if (c->window == t->spin.window &&
					      is_cause(d, t, c, turns) &&
					      (!best || c->key.a < best->key.a)) best = c;
	return best;
}

/* A source that is asked for each turn is the cause only where no descriptor was ready. */
static bool is_driven_by_fd(const struct trace_thread *t, uint64_t turns)
{
	const struct trace_counter *c;

	report_each(&t->spin.counters, c) if (c->window == t->spin.window && c->key.a == CAUSE_FD &&
					      c->n * 10 > turns) return true;
	return false;
}

static void close_window(struct trace_doctor *d, struct trace_thread *t, uint64_t now_ns)
{
	struct trace_spin *s = &t->spin;
	uint64_t turns = MAX(s->polls, s->iterations);
	const struct trace_counter *c = NULL;
	struct trace_run *run = &s->now;

	if (turns >= MIN_TURNS && turns * WINDOW_NS >= MIN_TURNS * (now_ns - s->begin_ns) &&
	    s->slept * 50 <= turns)
		c = find_cause(d, t, turns);
	if (c && c->key.a == CAUSE_SOURCE && is_driven_by_fd(t, turns))
		c = NULL;
	if (!c || c->key.a != run->cause || c->key.b != run->a || c->key.c != run->b)
		*run = (struct trace_run){ .from_ns = s->begin_ns };
	if (!c)
		return;
	run->cause = c->key.a;
	run->a = c->key.b;
	run->b = c->key.c;
	run->cb = c->cb;
	run->by = c->by;
	run->revents |= c->revents;
	run->windows++;
	run->turns += turns;
	run->times += c->n;
	run->to_ns = now_ns;
	if (run->windows > s->best.windows)
		s->best = *run;
}

static void open_window(struct trace_thread *t, uint64_t now_ns)
{
	struct trace_spin *s = &t->spin;

	s->window++;
	s->began = true;
	s->begin_ns = now_ns;
	s->polls = s->iterations = s->slept = 0;
}

static void turn(struct trace_doctor *d, struct trace_thread *t, uint64_t now_ns)
{
	if (t->spin.began && now_ns - t->spin.begin_ns < WINDOW_NS)
		return;
	if (t->spin.began)
		close_window(d, t, now_ns);
	open_window(t, now_ns);
}

void trace_spin_lost(struct trace_thread *t)
{
	/* What was lost were whole packets: what is left shows whole turns, but for one. */
	t->spin.polls -= t->spin.polls > t->spin.iterations;
}

/* --- counting --------------------------------------------------------------------------------- */

#define AS(type) ((const struct loop_##type *)event)

static void count_schedule(struct trace_thread *t, const struct loop_bh_schedule *event)
{
	const struct report_frame *frame = trace_callback(t);
	const struct report_callback *by = frame ? frame->entry : NULL;
	struct trace_counter *c;

	if (!by || frame->kind != REPORT_BH)
		return;
	c = counter(t, CAUSE_BH, event->cb, event->ctx);
	c->n++;
	c->cb = event->cb;
	c->by = by->cb;
}

static void count_arm(struct trace_thread *t, const struct loop_timer_arm *event)
{
	const struct report_frame *frame = trace_callback(t);
	struct trace_counter *c;

	if (!frame || frame->kind != REPORT_TIMER || frame->ident != event->timer ||
	    event->in_ns == LOOP_NS_UNKNOWN || event->in_ns > AT_ONCE_NS)
		return;
	c = counter(t, CAUSE_TIMER, event->cb, event->list);
	c->n++;
	c->cb = event->cb;
}

static void count_source(struct trace_doctor *d, struct trace_thread *t,
			 const struct loop_source_dispatch_begin *event)
{
	struct trace_source *s =
		report_map_get(&d->sources, (struct report_key){ .a = event->source });
	struct trace_counter *c;

	s->dispatched_ns = event->h.time_ns;
	if (!s->attached) {
		s->gctx = event->ctx;
		s->priority = event->priority;
	}
	for (int cause = CAUSE_STARVES; cause <= CAUSE_SOURCE;
	     cause += CAUSE_SOURCE - CAUSE_STARVES) {
		/* An AioContext's dispatch is no event: what it calls is counted. */
		if (report_map_find(&d->contexts, (struct report_key){ .a = event->source }))
			return;
		c = counter(t, cause, event->source, 0);
		c->n++;
		c->cb = event->cb ? event->cb : event->dispatch;
	}
}

static void note_source(struct trace_doctor *d, const struct loop_event *event)
{
	struct trace_source *s;
	uint64_t addr = event->id == LOOP_EV_SOURCE_PREPARE ? AS(source_prepare)->source
							    : AS(source_attach)->source;

	if (event->id == LOOP_EV_SOURCE_DESTROY)
		addr = AS(source_destroy)->source;
	s = report_map_get(&d->sources, (struct report_key){ .a = addr });
	if (event->id == LOOP_EV_SOURCE_ATTACH) {
		s->attached = true;
		s->gctx = AS(source_attach)->ctx;
		s->priority = AS(source_attach)->priority;
	} else if (event->id == LOOP_EV_SOURCE_DESTROY) {
		s->attached = false;
	}
	s->asked_ns = event->time_ns;
}

void trace_spin_record(struct trace_doctor *d, const struct loop_event *event)
{
	struct trace_source *s;

	if (event->id == LOOP_EV_CONTEXT)
		trace_context(d, AS(context)->ctx);
	if (event->id != LOOP_EV_SOURCE_STATE)
		return;
	s = report_map_get(&d->sources, (struct report_key){ .a = AS(source_state)->source });
	s->attached = true;
	s->gctx = AS(source_state)->ctx;
	s->priority = AS(source_state)->priority;
}

static void count_ready(struct trace_thread *t, int32_t fd, uint32_t revents)
{
	struct trace_counter *c = counter(t, CAUSE_FD, (uint32_t)fd, 0);

	c->n++;
	c->revents |= revents;
}

void trace_spin_event(struct trace_doctor *d, struct trace_thread *t,
		      const struct loop_event *event)
{
	struct trace_spin *s = &t->spin;

	switch (event->id) {
	case LOOP_EV_ITERATION_BEGIN:
		turn(d, t, event->time_ns);
		s->iterations++;
		break;
	case LOOP_EV_POLL_ENTER:
		turn(d, t, event->time_ns);
		s->polls++;
		break;
	case LOOP_EV_POLL_EXIT:
		s->slept += t->enter_ns && t->timeout_ns && event->time_ns - t->enter_ns > SLEPT_NS;
		break;
	case LOOP_EV_FD_READY:
		count_ready(t, AS(fd_ready)->fd, AS(fd_ready)->revents);
		break;
	case LOOP_EV_EVENT_NOTIFIER_CLEAR:
		counter(t, CAUSE_FD, (uint32_t)AS(event_notifier_clear)->fd, 0)->drained++;
		break;
	case LOOP_EV_HANDLER_BEGIN:
		counter(t, CAUSE_FD, (uint32_t)AS(handler_begin)->fd, 0)->cb =
			AS(handler_begin)->cb;
		break;
	case LOOP_EV_BH_SCHEDULE:
		count_schedule(t, AS(bh_schedule));
		break;
	case LOOP_EV_TIMER_ARM:
		count_arm(t, AS(timer_arm));
		break;
	case LOOP_EV_SOURCE_DISPATCH_BEGIN:
		count_source(d, t, AS(source_dispatch_begin));
		break;
	case LOOP_EV_SOURCE_ATTACH:
	case LOOP_EV_SOURCE_DESTROY:
	case LOOP_EV_SOURCE_PREPARE:
		note_source(d, event);
		break;
	default:
		break;
	}
}

void trace_spin_called(struct trace_thread *t, const struct report_frame *frame, uint64_t ns)
{
	const struct report_callback *callback = frame->entry;
	struct trace_counter *c;

	if (frame->kind == REPORT_BH)
		c = counter(t, CAUSE_BH, callback->cb, callback->ctx);
	else if (frame->kind == REPORT_SOURCE)
		c = counter(t, CAUSE_SOURCE, frame->ident, 0);
	else
		return;
	c->calls++;
	c->ns += ns;
}

/* --- verdicts --------------------------------------------------------------------------------- */

static char *source_name(const struct trace_doctor *d, uint64_t addr, uint64_t cb)
{
	const struct report_source *source =
		report_map_find(&d->report->sources, (struct report_key){ .a = addr });
	char *function = report_place(d->report, cb), *text;

	text = source && source->name
		       ? g_strdup_printf("GSource \"%s\" (%s", source->name, function)
		       : g_strdup_printf("GSource 0x%" PRIx64 " (%s", addr, function);
	g_free(function);
	return text;
}

/* A descriptor that nobody drains; false if the recording cannot know whether somebody did. */
static bool say_fd(struct trace_doctor *d, uint32_t tid, const struct trace_run *run)
{
	const struct report_fd *fd =
		report_map_find(&d->report->fds, (struct report_key){ .a = run->a });
	bool gone = run->revents & (LOOP_POLL_BITS_HUP | LOOP_POLL_BITS_ERR);
	bool is_eventfd = fd && fd->kind == LOOP_FD_KIND_EVENTFD;
	char *what, *who;
	struct finding *f;

	if (run->revents & LOOP_POLL_BITS_NVAL || (!gone && !is_eventfd) ||
	    (is_eventfd && !trace_has_event(d, LOOP_EV_EVENT_NOTIFIER_CLEAR)))
		return false;
	f = trace_finding(d, gone ? "DEAD FD" : "SPIN", tid);
	what = trace_fd_name(d, (int32_t)run->a);
	who = run->cb ? trace_name(d, "handler", run->cb) : g_strdup("an unknown owner");
	f->culprit = g_strdup_printf("%s never drains %s", who, what);
	finding_say(f, "%s was ready in %" PRIu64 " of %" PRIu64 " turns", what, run->times,
		    run->turns);
	if (is_eventfd)
		finding_say(f, "nobody cleared it in that time");
	if (gone)
		finding_say(f, "poll() reports %s: the other end is gone",
			    run->revents & LOOP_POLL_BITS_HUP ? "a hang-up" : "an error");
	f->advice =
		gone ? "Nothing will come any more: remove the handler when the other end is gone."
		     : "Its callback runs and leaves the event there: let it read until EAGAIN, or "
		       "remove the handler.";
	g_free(what);
	g_free(who);
	return true;
}

static void say_bh(struct trace_doctor *d, uint32_t tid, const struct trace_run *run)
{
	struct finding *f = trace_finding(d, "SPIN", tid);
	char *name = trace_name(d, "BH", run->cb), *by = trace_name(d, "BH", run->by);

	f->culprit = run->by == run->cb ? g_strdup_printf("%s schedules itself", name)
					: g_strdup_printf("%s schedules %s each time", by, name);
	finding_say(
		f, "scheduled %" PRIu64 " times in %" PRIu64 " turns, in the callback %s each time",
		run->times, run->turns, by + strlen("BH "));
	f->advice =
		"A bottom half that waits for something must not schedule itself: let the event, "
		"or a timer, schedule it.";
	g_free(name);
	g_free(by);
}

static void say_timer(struct trace_doctor *d, uint32_t tid, const struct trace_run *run)
{
	struct finding *f = trace_finding(d, "SPIN", tid);
	char *name = trace_name(d, "timer", run->cb);

	f->culprit = g_strdup_printf("%s arms itself in the past", name);
	finding_say(f,
		    "armed in its own callback %" PRIu64 " times in %" PRIu64
		    " turns, each time for a time that had come",
		    run->times, run->turns);
	f->advice = "Compute the next expiry from the clock's now, not from the last expiry, and "
		    "later than it.";
	g_free(name);
}

static void say_source(struct trace_doctor *d, uint32_t tid, const struct trace_run *run)
{
	struct finding *f = trace_finding(d, "SPIN", tid);
	char *name = source_name(d, run->a, run->cb);

	f->culprit = g_strdup_printf("%s) is always ready", name);
	finding_say(f,
		    "dispatched %" PRIu64 " times in %" PRIu64
		    " turns; no descriptor was ready in more than a tenth of them",
		    run->times, run->turns);
	f->advice =
		"Its prepare() or check() must say ready only when there is something to be done.";
	g_free(name);
}

static void say_starved(struct trace_doctor *d, uint32_t tid, const struct trace_run *run)
{
	const struct trace_source *s,
		*greedy = report_map_find(&d->sources, (struct report_key){ .a = run->a });
	struct finding *f = trace_finding(d, "STARVED SOURCE", tid);
	char *name = source_name(d, run->a, run->cb);
	GString *others = g_string_new(NULL);

	report_each(&d->sources, s)
	{
		char *other;

		if (s->gctx != greedy->gctx || s->priority <= greedy->priority ||
		    s->dispatched_ns >= run->from_ns)
			continue;
		other = report_map_find(&d->contexts, s->key) ? trace_context_name(d, s->key.a)
							      : source_name(d, s->key.a, 0);
		g_string_append_printf(others, "%s%s", others->len ? ", " : "", other);
		g_free(other);
	}
	f->culprit = g_strdup_printf("%s, priority %d) leaves %s no turn", name, greedy->priority,
				     others->str);
	finding_say(f, "it was dispatched %" PRIu64 " times in %" PRIu64 " turns", run->times,
		    run->turns);
	finding_say(f,
		    "%s were neither asked nor dispatched: only the highest ready priority gets a "
		    "turn. Whether they had something to do, the recording cannot tell",
		    others->str);
	f->advice =
		"A source that always has work needs the lowest priority, not a high one; or it "
		"has to stop being ready now and then.";
	g_string_free(others, TRUE);
	g_free(name);
}

void trace_spin_conclude(struct trace_doctor *d)
{
	struct trace_thread *t;

	report_each(&d->threads, t)
	{
		const struct trace_run *run = &t->spin.best;
		size_t n = d->findings->len;
		struct finding *f;
		char *from, *span;

		if (run->windows < MIN_WINDOWS || trace_has_finding(d, t->tid, "DEAD FD"))
			continue;
		switch (run->cause) {
		case CAUSE_FD:
			say_fd(d, t->tid, run);
			break;
		case CAUSE_BH:
			say_bh(d, t->tid, run);
			break;
		case CAUSE_TIMER:
			say_timer(d, t->tid, run);
			break;
		case CAUSE_SOURCE:
			say_source(d, t->tid, run);
			break;
		default:
			if (trace_has_event(d, LOOP_EV_SOURCE_PREPARE))
				say_starved(d, t->tid, run);
			else
				say_source(d, t->tid, run);
			break;
		}
		if (d->findings->len == n)
			continue;
		f = d->findings->pdata[n];
		from = trace_when(d, run->from_ns);
		span = report_duration(run->to_ns - run->from_ns);
		f->span = g_strdup_printf("%.0f turns a second, hardly one asleep",
					  (double)run->turns * 1e9 /
						  (double)(run->to_ns - run->from_ns));
		finding_say(f, "from %s on, for %s", from, span);
		g_free(from);
		g_free(span);
	}
}
