// SPDX-License-Identifier: MIT
/*
 * A descriptor that is ready in every poll, and nobody drains it. A descriptor that is drained and
 * ready again each time is a loop at work: there, system calls take something from it, and what it
 * holds goes down now and then. Both are looked at, as the taker may be another thread, or use
 * another number for the same file.
 */
#include <inttypes.h>
#include <string.h>

#include "tracer/doctor-spin.h"
#include "tracer/fd-look.h"

int64_t spin_fd_level(const struct doctor *d, int fd)
{
	return fd_level(d->t->pid, fd, is_eventfd(d, fd));
}

struct watch_fd spin_fd_before(const struct proof *proof, const struct watch_fd_key *key)
{
	static const struct watch_fd none;

	for (size_t i = 0; i < proof->before->fds->len; i++) {
		const struct watched_fd *was =
			&g_array_index(proof->before->fds, struct watched_fd, i);

		if (was->key.tid == key->tid && was->key.fd == key->fd)
			return was->value;
	}
	return none;
}

/* Only what is drained by system calls: rings in shared memory (io_uring, AF_XDP) are not. */
static bool is_drained_by_calls(const struct fd_info *info)
{
	static const char *const kinds[] = { "eventfd", "signalfd", "timerfd", "pipe",
					     "fifo",	"unix",	    "tcp",     "tcp6",
					     "udp",	"udp6",	    "chr",     "inotify" };

	for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++)
		if (!strcmp(info->kind, kinds[i]))
			return true;
	return false;
}

struct watch_io spin_fd_calls(const struct proof *proof, int fd)
{
	struct watch_io sum = { 0 };

	for (size_t i = 0; i < proof->ios->len; i++) {
		const struct watched_io *io = &g_array_index(proof->ios, struct watched_io, i);

		if (io->key.fd != fd)
			continue;
		sum.calls += io->value.calls;
		sum.in += io->value.in;
		sum.out += io->value.out;
		sum.bytes += io->value.bytes;
		sum.counted += io->value.counted;
	}
	return sum;
}

static bool fell(const struct proof *proof, int fd, int64_t *ret_level)
{
	*ret_level = -1;
	for (size_t i = 0; i < proof->levels->len; i++) {
		const struct level *level = &g_array_index(proof->levels, struct level, i);

		if (level->fd == fd) {
			*ret_level = level->last;
			return level->fell;
		}
	}
	return false;
}

uint64_t spin_fd_callback(const struct doctor *d, const struct owner *o, unsigned revents)
{
	uint64_t dispatch = 0;

	if (o->handler)
		return o->handler->io_read && revents & (G_IO_IN | G_IO_HUP | G_IO_ERR)
			       ? o->handler->io_read
			       : o->handler->io_write;
	if (!o->source)
		return 0;
	if (o->source->callback)
		return o->source->callback;
	target_read_u64(d->t, o->source->funcs + offsetof(GSourceFuncs, dispatch), &dispatch);
	return dispatch;
}

static char *blame(struct doctor *d, const struct patient *p, const struct watched_fd *fd)
{
	const struct fd_info *info = fds_get(d->fds, fd->key.fd);
	struct owner owner;
	uint64_t callback;
	char *name, *text;

	loops_owner(d->loops, p->tid, fd->key.fd, &owner);
	callback = spin_fd_callback(d, &owner, fd->value.revents);
	name = callback ? doctor_callback_name(d, callback, NULL) : g_strdup("an unknown owner");
	text = g_strdup_printf("%s never drains fd %d (%s%s%s)", name, fd->key.fd, info->kind,
			       info->detail[0] ? " " : "", info->detail);
	g_free(name);
	return text;
}

static bool explain(struct doctor *d, struct patient *p, const struct proof *proof,
		    const struct watched_fd *fd)
{
	struct watch_fd was = spin_fd_before(proof, &fd->key);
	unsigned long long ready = fd->value.ready - was.ready;
	struct watch_io io = spin_fd_calls(proof, fd->key.fd);
	bool event = is_eventfd(d, fd->key.fd);
	struct finding *f;
	int64_t level;
	bool dead;

	if (!in_every_turn(proof, ready, was.turn, fd->value.turn) ||
	    !is_drained_by_calls(fds_get(d->fds, fd->key.fd)) || io.in || (io.out && !event) ||
	    fell(proof, fd->key.fd, &level))
		return false;
	f = spin_finding(d, p, proof);
	f->culprit = blame(d, p, fd);
	dead = level <= 0 && fd->value.revents & (G_IO_HUP | G_IO_ERR);
	if (dead)
		f->verdict = "DEAD FD";
	finding_say(f, "fd %d was ready in %llu of %llu turns, %.1f s", fd->key.fd, ready,
		    fd->value.turn - was.turn, proof->seconds);
	if (io.calls)
		finding_say(f, "%llu system calls on it in that time, and none took anything",
			    io.calls);
	else
		finding_say(f, "no thread made a system call on it in that time");
	if (level >= 0 && event)
		finding_say(f, "it counts %" PRId64 ", and never less", level);
	else if (level >= 0)
		finding_say(f, "%" PRId64 " bytes lie in it, and never fewer", level);
	if (fd->value.revents & (G_IO_HUP | G_IO_ERR))
		finding_say(f, "poll() reports %s: the other end is gone",
			    fd->value.revents & G_IO_HUP ? "a hang-up" : "an error");
	f->advice =
		dead ? "Nothing will come any more: remove the handler when the other end is gone."
		     : "Its callback runs and leaves the event there: let it read until EAGAIN, or remove "
		       "the handler.";
	return true;
}

bool spin_by_fd(struct doctor *d, struct patient *p, const struct proof *proof)
{
	for (size_t i = 0; i < proof->after->fds->len; i++) {
		const struct watched_fd *fd =
			&g_array_index(proof->after->fds, struct watched_fd, i);

		if (fd->key.tid == (uint32_t)p->tid && explain(d, p, proof, fd))
			return true;
	}
	return false;
}
