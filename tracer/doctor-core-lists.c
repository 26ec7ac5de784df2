// SPDX-License-Identifier: MIT
/*
 * What the lists of handlers prove in a core: DEAD FD and HANDLER LEAK.
 *
 * A descriptor is proven closed by the poll that said so: POLLNVAL, which GLib's side keeps in the
 * handler's revents until the next poll. A callback may close a descriptor before it removes the
 * handler, so a thread in a callback is not judged. A removed handler is freed when the outermost
 * walk of its list ends: none is left while its thread sleeps in its loop's own wait. How many
 * handlers there are proves nothing: ten thousand of one callback may be as it should be.
 */
#include <inttypes.h>

#include "tracer/doctor-core.h"

#define MAX_SAID 8

static const struct stack *stack_of(const struct doctor *d, const GPtrArray *stacks,
				    const struct patient *p)
{
	for (size_t i = 0; i < d->patients->len; i++)
		if (d->patients->pdata[i] == p)
			return stacks->pdata[i];
	return NULL;
}

static void check_dead(struct doctor *d, struct patient *p, const struct context *c)
{
	struct finding *f = NULL;
	int n = 0;

	for (size_t i = 0; i < c->handlers->len; i++) {
		const struct handler *h = &g_array_index(c->handlers, struct handler, i);
		char *name;

		if (h->deleted || h->fd < 0 || !(h->revents & G_IO_NVAL) || n++ >= MAX_SAID)
			continue;
		name = doctor_callback_name(d, h->io_read ? h->io_read : h->io_write, NULL);
		f = f ?: finding_dead(d, p, name, c, h->fd);
		finding_say(f,
			    "%s (AioHandler at 0x%" PRIx64
			    ") is on the list of %s, and the last poll of fd %d said POLLNVAL: no "
			    "file has that number",
			    name, h->addr, c->name, h->fd);
		g_free(name);
	}
	if (f && n > 1)
		finding_say(f, "%d such handlers in all", n);
	if (f)
		finding_say(f, "%s", ONE_LOOK);
}

static void check_removed(struct doctor *d, struct patient *p, const struct context *c)
{
	GString *fds = g_string_new(NULL);
	struct finding *f;
	int n = 0;

	for (size_t i = 0; i < c->handlers->len; i++) {
		const struct handler *h = &g_array_index(c->handlers, struct handler, i);

		if (h->deleted && n++ < MAX_SAID)
			g_string_append_printf(fds, "%s%d", n > 1 ? ", " : "", h->fd);
	}
	if (n) {
		f = finding_new(d, "HANDLER LEAK", p);
		f->span = g_strdup("asleep");
		f->culprit = g_strdup_printf("%d removed of %u handlers stay in %s", n,
					     c->handlers->len, c->name);
		finding_say(f, "fd %s%s", fds->str, n > MAX_SAID ? " ..." : "");
		finding_say(f,
			    "its thread sleeps in its loop's own wait: nobody walks the list that "
			    "they wait for");
		finding_say(f, "%s", ONE_LOOK);
		f->advice =
			"Look at who raised list_lock and did not lower it, or never frees what it "
			"defers.";
	}
	g_string_free(fds, TRUE);
}

void core_check_lists(struct doctor *d, const GPtrArray *stacks)
{
	for (size_t i = 0; i < d->loops->contexts->len; i++) {
		const struct context *c = d->loops->contexts->pdata[i];
		struct patient *p = doctor_home(d, c);
		const struct stack *stack = p ? stack_of(d, stacks, p) : NULL;
		struct where w;

		if (!stack || c->damaged_at || doctor_has_finding(d, p->tid, NULL))
			continue;
		doctor_where(d, stack, &w);
		if (doctor_is_own_wait(d, stack))
			check_removed(d, p, c);
		if (w.callback < 0)
			check_dead(d, p, c);
	}
}
