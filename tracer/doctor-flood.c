// SPDX-License-Identifier: MIT
/*
 * SPIN, provoked from outside: a loop that gets no rest, as somebody gives it more and more to do.
 *
 * A client that floods: its stream socket had something again in every wait of its loop, which
 * never had to sleep for it; more lies in it, always, than is taken in a tenth of a second (--min);
 * and the threads that take or answer it are on a CPU much of the time. A client that waits for its
 * answers has no more than one command in there; what a stream of data has in its buffer is read at
 * once, however busy the loop is.
 *
 * A kick without end: an eventfd is written many times for each time that its handler runs, and of
 * most of it nothing follows: no bottom half, no timer, no data moved. A driver with something to
 * do kicks for a request, or for several, and each leads to something.
 * (An eventfd of completions may count many, too: but of each run follows more than one thing.)
 */
#include <inttypes.h>
#include <string.h>

#include "tracer/clock.h"
#include "tracer/doctor-spin.h"
#include "tracer/fd-look.h"

#define MIN_READY_PER_S	  100 /* of a flood: thousands where the command is cheap */
#define MIN_RUNS_PER_S	  200 /* of a kicked handler: it may get little of a CPU ... */
#define MIN_KICKS_PER_S	  1000
#define MIN_KICKS_PER_RUN 4 /* ... and what it finds */
#define MIN_CPU		  40 /* per cent of the time they could have had, of all that serve a client */
#define RARE		  1000 /* once in so many times: whoever sends was kept off its CPU */

/* What happened to a descriptor, and to its thread meanwhile. */
struct span {
	uint64_t ready, slept, turns;
	double seconds;
};

static struct watch_fd value_in(const GArray *fds, const struct watch_fd_key *key)
{
	static const struct watch_fd none;

	for (size_t i = 0; fds && i < fds->len; i++) {
		const struct watched_fd *w = &g_array_index(fds, struct watched_fd, i);

		if (w->key.tid == key->tid && w->key.fd == key->fd)
			return w->value;
	}
	return none;
}

static struct span span_of(const struct watch_fd *from, const struct watch_fd *to, uint64_t turns,
			   int64_t ns)
{
	return (struct span){ to->ready - from->ready, to->slept - from->slept, turns,
			      (double)ns / 1e9 };
}

static bool often(const struct span *s, double per_second)
{
	return (double)s->ready >= per_second * s->seconds;
}

static bool is_stream(const struct fd_info *info)
{
	return !strcmp(info->kind, "unix") || !strncmp(info->kind, "tcp", 3);
}

/* Always something in it; not in the turns in which it was not asked for. */
static bool may_be_flooded(const struct span *s)
{
	return often(s, MIN_READY_PER_S) && s->slept * RARE <= s->ready &&
	       s->ready * 5 >= s->turns * 4;
}

static bool may_be_kicked(const struct span *s)
{
	return often(s, MIN_RUNS_PER_S) && s->ready * 4 >= s->turns;
}

static bool is_suspicious(const struct fd_info *info, const struct span *s)
{
	return is_stream(info)			? may_be_flooded(s)
	       : !strcmp(info->kind, "eventfd") ? may_be_kicked(s)
						: false;
}

bool flood_is_suspect(const struct doctor *d, const struct patient *p)
{
	static const struct watch_fd none;
	struct watch_thread now = spin_thread_counts(d, p->tid);
	GArray *fds = watch_read_fds(d->watch);
	bool found = false;

	for (size_t i = 0; i < fds->len && !found; i++) {
		const struct watched_fd *w = &g_array_index(fds, struct watched_fd, i);
		struct watch_fd half = value_in(d->fds_at_half, &w->key);
		struct span first = span_of(&none, &half, p->half.turns, d->half_ns - d->start_ns),
			    second = span_of(&half, &w->value, now.turns - p->half.turns,
					     now_ns() - d->half_ns);
		const struct fd_info *info;

		if (w->key.tid != (uint32_t)p->tid || is_own_fd(d, w->key.fd))
			continue;
		info = fds_get(d->fds, w->key.fd);
		found = is_suspicious(info, &first) && is_suspicious(info, &second);
	}
	g_array_free(fds, TRUE);
	return found;
}

/* --- in words ------------------------------------------------------------------------------- */

/* "handler foo of io0", "GSource callback bar"; "an unknown owner". */
static char *owner_name(struct doctor *d, const struct watched_fd *w)
{
	struct owner owner;
	uint64_t callback;
	char *name, *text;

	loops_owner(d->loops, (pid_t)w->key.tid, w->key.fd, &owner);
	callback = spin_fd_callback(d, &owner, w->value.revents);
	if (!callback)
		return g_strdup("an unknown owner");
	name = doctor_callback_name(d, callback, NULL);
	text = owner.handler && owner.context
		       ? g_strdup_printf("%s of %s", name, owner.context->name)
		       : g_strdup(name);
	g_free(name);
	return text;
}

/* Per cent of the visit, but for the time that it waited for a CPU. */
static double cpu_share(const struct doctor *d, const struct patient *p)
{
	int64_t could =
		d->looked_ns - d->start_ns - (int64_t)(p->now.delay_ns - p->at_start.delay_ns);

	return MIN((double)(p->now.run_ns - p->at_start.run_ns) * 100 / (double)MAX(could, 1), 100);
}

static void say_cpu(struct doctor *d, struct finding *f, struct patient *p)
{
	finding_say(f,
		    "%s, thread %d, was on a CPU for %.0f %% of the time that it could have been",
		    doctor_role(d, p), p->tid, cpu_share(d, p));
}

/* --- a client that floods ------------------------------------------------------------------- */

/* Of struct patient *: those that take what comes, or answer it. To be freed. */
static GPtrArray *servants_of(struct doctor *d, const struct proof *proof, int fd)
{
	GPtrArray *servants = g_ptr_array_new();

	for (size_t i = 0; i < proof->ios->len; i++) {
		const struct watched_io *io = &g_array_index(proof->ios, struct watched_io, i);
		struct patient *p = doctor_patient(d, (pid_t)io->key.tid);

		if (io->key.fd == fd && p && (io->value.in || io->value.out))
			g_ptr_array_add(servants, p);
	}
	return servants;
}

static bool are_busy(const struct doctor *d, const GPtrArray *servants)
{
	double sum = 0;

	for (size_t i = 0; i < servants->len; i++)
		sum += cpu_share(d, servants->pdata[i]);
	return sum >= MIN_CPU;
}

static const struct level *level_of(const struct proof *proof, int fd)
{
	for (size_t i = 0; i < proof->levels->len; i++) {
		const struct level *level = &g_array_index(proof->levels, struct level, i);

		if (level->fd == fd)
			return level;
	}
	return NULL;
}

static bool is_flood(struct doctor *d, struct patient *p, const struct proof *proof,
		     const struct watched_fd *w, const struct span *s)
{
	const struct level *level = level_of(proof, w->key.fd);
	struct watch_io io = spin_fd_calls(proof, w->key.fd);
	double taken = (double)io.bytes / s->seconds, waits_s;
	char *fd, *peer = NULL, *owner;
	GPtrArray *servants;
	struct finding *f;

	if (!may_be_flooded(s) || !level || level->looks < 2 || level->lowest <= 0 || !io.bytes)
		return false;
	waits_s = (double)level->lowest / taken;
	if (waits_s * 1e9 < (double)d->min_ns)
		return false;
	servants = servants_of(d, proof, w->key.fd);
	if (are_busy(d, servants))
		peer = fd_stream_peer(d->t->pid, w->key.fd);
	if (!peer) {
		g_ptr_array_free(servants, TRUE);
		return false;
	}
	fd = doctor_describe_fd(d, w->key.fd);
	owner = owner_name(d, w);
	f = finding_new(d, "SPIN", p);
	f->span = g_strdup_printf("%.0f turns a second for one client",
				  (double)s->turns / s->seconds);
	f->culprit = g_strdup_printf("%s floods %s", peer, fd);
	finding_say(f,
		    "it had something to read in %" PRIu64 " of %" PRIu64
		    " turns of %.1f s, and the loop "
		    "slept for it in %" PRIu64,
		    s->ready, s->turns, s->seconds, s->slept);
	finding_say(f,
		    "%llu bytes were taken in that time, in %llu calls; %" PRId64
		    " wait in it, and never fewer: %.1f s of work",
		    (unsigned long long)io.bytes, (unsigned long long)io.in, level->lowest,
		    waits_s);
	finding_say(f, "it was answered %.0f times a second", (double)io.out / s->seconds);
	for (size_t i = 0; i < servants->len; i++)
		say_cpu(d, f, servants->pdata[i]);
	finding_say(f, "it is read by %s", owner);
	f->advice =
		"This client alone keeps the loop busy: let it wait for an answer before it asks "
		"again, or close its connection.";
	g_ptr_array_free(servants, TRUE);
	g_free(fd);
	g_free(peer);
	g_free(owner);
	return true;
}

/* --- a kick without end --------------------------------------------------------------------- */

static bool is_home(const struct doctor *d, const struct patient *p, uint64_t ctx)
{
	for (size_t i = 0; i < d->loops->contexts->len; i++) {
		const struct context *c = d->loops->contexts->pdata[i];

		if (c->addr == ctx)
			return c->tid == p->tid;
	}
	return false;
}

/* Bottom halves that the thread scheduled or ran, or that others scheduled for it; timers that it
 * armed; data that it moved elsewhere, eventfds of others among it. */
struct follows {
	uint64_t bhs, timers, moved;
};

static struct follows what_follows(const struct doctor *d, const struct patient *p,
				   const struct proof *proof, int fd)
{
	struct follows sum = { 0 };

	for (size_t i = 0; i < proof->after->bhs->len; i++) {
		const struct watched_bh *w =
			&g_array_index(proof->after->bhs, struct watched_bh, i);
		struct watch_bh b = w->value;

		spin_bh_since(proof, &w->key, &b);
		if (w->key.tid == (uint32_t)p->tid)
			sum.bhs += MAX(b.scheduled, b.calls);
		else if (is_home(d, p, w->key.ctx))
			sum.bhs += b.scheduled;
	}
	for (size_t i = 0; i < proof->after->timers->len; i++) {
		const struct watched_timer *w =
			&g_array_index(proof->after->timers, struct watched_timer, i);
		struct watch_timer t = w->value;

		spin_timer_since(proof, w->timer, &t);
		if (t.tid == (uint32_t)p->tid)
			sum.timers += t.armed;
	}
	for (size_t i = 0; i < proof->ios->len; i++) {
		const struct watched_io *io = &g_array_index(proof->ios, struct watched_io, i);

		if (io->key.tid == (uint32_t)p->tid && io->key.fd != fd &&
		    !is_own_fd(d, io->key.fd))
			sum.moved += io->value.in + io->value.out;
	}
	return sum;
}

/* The thread that wrote it most: a vCPU that QEMU itself runs; NULL: none, the kernel did. */
static struct patient *writer_of(struct doctor *d, const struct proof *proof, int fd,
				 uint64_t *ret_times)
{
	struct patient *writer = NULL;

	*ret_times = 0;
	for (size_t i = 0; i < proof->ios->len; i++) {
		const struct watched_io *io = &g_array_index(proof->ios, struct watched_io, i);

		if (io->key.fd != fd || io->value.out <= *ret_times)
			continue;
		*ret_times = io->value.out;
		writer = doctor_patient(d, (pid_t)io->key.tid);
	}
	return writer;
}

static void say_writer(struct doctor *d, struct finding *f, const struct proof *proof, int fd)
{
	uint64_t times;
	struct patient *writer = writer_of(d, proof, fd, &times);

	if (writer)
		finding_say(f, "it was written %" PRIu64 " times by thread %d \"%s\"", times,
			    writer->tid, doctor_comm(d, writer->tid));
	else
		finding_say(f, "no thread of the process writes it: the kernel does, for the guest "
			       "(an ioeventfd), or another process");
}

/* Hardly anything; or less than a thing for two runs, and for ten kicks. */
static bool follows_little(uint64_t things, uint64_t kicks, uint64_t runs)
{
	return things * 200 <= kicks || (things * 2 <= runs && things * 10 <= kicks);
}

static bool is_endless_kick(struct doctor *d, struct patient *p, const struct proof *proof,
			    const struct watched_fd *w, const struct span *s)
{
	struct watch_io io = spin_fd_calls(proof, w->key.fd);
	struct follows follows = what_follows(d, p, proof, w->key.fd);
	uint64_t all = follows.bhs + follows.timers + follows.moved;
	struct finding *f;
	char *fd, *owner;

	if (!io.in || (double)io.counted < MIN_KICKS_PER_S * s->seconds ||
	    io.counted < io.in * MIN_KICKS_PER_RUN || !follows_little(all, io.counted, io.in))
		return false;
	fd = doctor_describe_fd(d, w->key.fd);
	owner = owner_name(d, w);
	f = finding_new(d, "SPIN", p);
	f->span = g_strdup_printf("%.0f kicks a second", (double)io.counted / s->seconds);
	f->culprit = g_strdup_printf("%s is kicked without end: %s", owner, fd);
	finding_say(f,
		    "it ran %llu times in %.1f s, for %llu kicks: it found %.0f each time, where a "
		    "driver that waits for its requests leaves 1",
		    (unsigned long long)io.in, s->seconds, (unsigned long long)io.counted,
		    (double)io.counted / (double)io.in);
	finding_say(f,
		    "what followed of it all: %" PRIu64 " bottom halves, %" PRIu64
		    " timers, %" PRIu64 " system calls that moved data",
		    follows.bhs, follows.timers, follows.moved);
	say_writer(d, f, proof, w->key.fd);
	say_cpu(d, f, p);
	f->advice =
		"The guest notifies a queue with nothing in it: look at its driver, or reset the "
		"device; a device in an IOThread of its own slows down no other.";
	g_free(fd);
	g_free(owner);
	return true;
}

bool flood_explain(struct doctor *d, struct patient *p, const struct proof *proof)
{
	for (size_t i = 0; i < proof->after->fds->len; i++) {
		const struct watched_fd *w =
			&g_array_index(proof->after->fds, struct watched_fd, i);
		struct watch_fd was = spin_fd_before(proof, &w->key);
		struct span s = span_of(&was, &w->value, p->done.turns - p->half.turns,
					proof->after->at_ns - proof->before->at_ns);
		const struct fd_info *info;

		if (w->key.tid != (uint32_t)p->tid || is_own_fd(d, w->key.fd))
			continue;
		info = fds_get(d->fds, w->key.fd);
		if (is_stream(info)
			    ? is_flood(d, p, proof, w, &s)
			    : is_eventfd(d, w->key.fd) && is_endless_kick(d, p, proof, w, &s))
			return true;
	}
	return false;
}
